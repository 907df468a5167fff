"""`tapectl report`: a page that is whole, loads nothing, and shows text as text."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

Active = Callable[..., int]

VOID = {"meta", "br"}


class Page(HTMLParser):
    """Collects the text, and fails where a tag is not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def test_the_page_has_it_all_and_loads_nothing(
    active: Active, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    active("tape", "create", "--size", "100GiB", "--barcode", "VTL001L5", "--wait")
    active("tape", "create", "--size", "100GiB", "--barcode", "VTL002L5", "--wait")
    active("tape", "eject", "VTL002L5", "--wait")
    path = tmp_path / "gateway.html"
    assert active("report", str(path)) == 0
    html = path.read_text()
    page = Page(html)
    for text in ("VTL001L5", "AVAILABLE", "VTL002L5", "ARCHIVED", "CACHE_STORAGE", "Shelf"):
        assert text in page.texts, text
    assert "prefers-color-scheme: dark" in html
    assert not [name for name, _ in page.attributes if name in ("src", "href", "srcset")]
    assert re.search(r"url\(|@import|<script", html) is None
    capsys.readouterr()
    assert active("report") == 0
    assert capsys.readouterr().out.startswith("<!DOCTYPE html>")


def test_a_month_of_use_is_drawn(active: Active, tmp_path: Path) -> None:
    """Also of a gateway that nobody has written to yet: without an empty frame."""
    path = tmp_path / "gateway.html"
    assert active("report", str(path)) == 0
    assert "<svg" not in path.read_text()
    image = tmp_path / "image"
    image.write_bytes(b"data" * 1000)
    active("tape", "create", "--size", "100GiB", "--barcode", "VTL001L5", "--wait")
    words = ("tape", "import", "VTL001L5", str(image), "--format", "raw", "--block-size", "1000")
    assert active(*words) == 0
    assert active("sync") == 0
    assert active("tape", "verify", "VTL001L5") == 0
    assert active("report", str(path)) == 0
    html = path.read_text()
    page = Page(html)
    assert '<span class="good">SOUND</span>' in html
    assert html.count("<svg") == 3
    bars = [text for text in page.texts if re.match(r"\d{4}-\d\d-\d\d: ", text)]
    assert len(bars) == 3 * 30
    written = [bar.partition(": ")[2] for bar in bars[30:60]]
    assert sorted(written) == [*(["0 B"] * 29), "3.9 KiB"]


def test_names_are_text(active: Active, tmp_path: Path) -> None:
    assert active("gateway", "set", "--name", "<b>&'basement'") == 0
    path = tmp_path / "gateway.html"
    assert active("report", str(path)) == 0
    html = path.read_text()
    assert "<b>" not in html
    assert any("<b>&'basement'" in text for text in Page(html).texts)


def test_a_page_that_cannot_be_written_is_an_error(active: Active, tmp_path: Path) -> None:
    assert active("report", str(tmp_path / "no" / "folder.html")) == 2
