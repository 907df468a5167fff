"""What a host lacks for the kernel's target is said before anything is tried."""

from __future__ import annotations

import importlib.util
import os
from importlib.machinery import ModuleSpec

import pytest

from tapectl.errors import ExitCode
from tapectl.gateway.settings import Fabric
from tapectl.lio import requirements
from tapectl.lio.errors import FrontEndUnavailableError
from tapectl.lio.requirements import missing, require


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that has everything."""
    monkeypatch.setattr(requirements, "_has_module", lambda _name: True)
    monkeypatch.setattr(requirements, "_has_capability", lambda _number: True)
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.mark.usefixtures("complete")
def test_nothing_is_missing_where_everything_is_there() -> None:
    assert missing(Fabric.ISCSI) == []
    require(Fabric.LOOPBACK)


@pytest.mark.usefixtures("complete")
def test_a_module_that_the_kernel_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "_has_module", lambda name: name != "tcm_loop")
    assert missing(Fabric.ISCSI) == []
    (found,) = missing(Fabric.LOOPBACK)
    assert "tcm_loop" in found.what
    assert "linux-image-amd64" in found.hint


@pytest.mark.usefixtures("complete")
def test_who_is_not_root_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(FrontEndUnavailableError, match="root") as refused:
        require(Fabric.ISCSI)
    assert refused.value.exit_code is ExitCode.FRONT_END_UNAVAILABLE
    assert refused.value.hint is not None


@pytest.mark.usefixtures("complete")
def test_rtslib_is_named_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    found_by_name = importlib.util.find_spec

    def find(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "rtslib_fb" else found_by_name(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    assert [one.hint for one in missing(Fabric.ISCSI)] == ["pip install rtslib-fb"]
