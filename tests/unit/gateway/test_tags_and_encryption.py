"""Tags of tapes, pools and the gateway; how a new tape is encrypted."""

from __future__ import annotations

import pytest

from tapectl.errors import UsageError
from tapectl.gateway.activation import describe_gateway
from tapectl.gateway.encryption import TapeEncryption, choose_encryption
from tapectl.gateway.events import list_events
from tapectl.gateway.pool_document import read_pool
from tapectl.gateway.pools import PoolCreation, create_pool
from tapectl.gateway.resource_tags import add_tags, list_tags, remove_tags
from tapectl.gateway.tag_rules import MAX_TAGS, parse_tags
from tapectl.gateway.tape_creation import TapeCreation, create_tapes
from tapectl.gateway.tapes import describe_tape
from tapectl.state.database import State
from tapectl.state.errors import TapeNotFoundError
from tapectl.store.memory import MemoryStore
from tapectl.units import GIB
from tests.unit.gateway.conftest import Maker


@pytest.mark.parametrize(
    ("words", "tags"),
    [
        (["a=b"], {"a": "b"}),
        (["a="], {"a": ""}),
        (["a=b=c"], {"a": "b=c"}),
        (["Straße 5=Köln/ñ_.:+-@"], {"Straße 5": "Köln/ñ_.:+-@"}),
    ],
)
def test_words_are_tags(words: list[str], tags: dict[str, str]) -> None:
    assert parse_tags(words) == tags


@pytest.mark.parametrize(
    "words",
    [
        ["a"],
        ["=b"],
        ["aws:x=1"],
        ["AWS:x=1"],
        ["a*=1"],
        ["a=<b>"],
        ["a=\n"],
        [f"{'k' * 129}=v"],
        [f"k={'v' * 257}"],
        ["a=1", "a=2"],
        [f"k{number}=v" for number in range(MAX_TAGS + 1)],
    ],
)
def test_words_that_are_no_tags(words: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_tags(words)


def test_tags_come_and_go(state: State, store: MemoryStore, make: Maker) -> None:
    (tape,) = make("TAPE01L5")
    pool = create_pool(state, store, PoolCreation(name="ledger", storage_class="GLACIER")).record
    for name, resource in (("tape/TAPE01L5", tape), ("ledger", pool.id), ("gateway", None)):
        add_tags(state, name, {"a": "1", "b": "2"}, open_store=lambda: store)
        tagged = add_tags(state, name, {"b": "3"}, open_store=lambda: store)
        assert tagged.tags == {"a": "1", "b": "3"}
        assert tagged.id == (resource or describe_gateway(state).id)
        remove_tags(state, name, ["a", "nosuch"], open_store=lambda: store)
        assert list_tags(state, name).tags == {"b": "3"}
    assert describe_tape(state, tape).tags == {"b": "3"}
    changes = list_events(state, event_type="TagsChanged")
    assert [one.subject_kind for one in changes] == ["tape"] * 3 + ["gateway"] * 6
    assert changes[-1].detail == {"Tags": {"b": "3"}}
    assert changes[3].detail["PoolId"] == pool.id
    document = read_pool(store, pool.id)
    assert document is not None
    assert document.tags == {"b": "3"}


def test_fifty_tags_are_enough(state: State, store: MemoryStore, make: Maker) -> None:
    make("TAPE01L5")
    fifty = {f"key{number}": "v" for number in range(MAX_TAGS)}
    add_tags(state, "TAPE01L5", fifty, open_store=lambda: store)
    with pytest.raises(UsageError, match="too many"):
        add_tags(state, "TAPE01L5", {"one": "more"}, open_store=lambda: store)
    assert list_tags(state, "TAPE01L5").tags == fifty


@pytest.mark.parametrize("name", ["nosuch", "tapepool/TAPE01L5", "GLACIER", "disk/x"])
def test_what_has_no_tags(state: State, store: MemoryStore, make: Maker, name: str) -> None:
    make("TAPE01L5")
    with pytest.raises(Exception, match=r"no such pool|nothing that has tags|built in"):
        add_tags(state, name, {"a": "b"}, open_store=lambda: store)
    with pytest.raises(TapeNotFoundError):
        list_tags(state, "tape/NOSUCH01")


@pytest.mark.parametrize(
    ("given", "defaults", "wanted"),
    [
        ((None, None), ("NONE", ""), TapeEncryption()),
        ((None, "alias/k"), ("NONE", ""), TapeEncryption("aws:kms", "alias/k")),
        (("sse-kms", None), ("NONE", ""), TapeEncryption("aws:kms")),
        (("SSE-S3", None), ("SSE-KMS", "alias/k"), TapeEncryption("AES256")),
        ((None, None), ("SSE-KMS", "alias/k"), TapeEncryption("aws:kms", "alias/k")),
        ((None, None), ("SSE-KMS", ""), TapeEncryption("aws:kms")),
        (("NONE", None), ("SSE-KMS", "alias/k"), TapeEncryption()),
    ],
)
def test_encryption_is_what_is_asked_for(
    given: tuple[str | None, str | None], defaults: tuple[str, str], wanted: TapeEncryption
) -> None:
    found = choose_encryption(*given, default_word=defaults[0], default_key=defaults[1])
    assert found == wanted


@pytest.mark.parametrize(
    "given",
    [("ROT13", None), ("SSE-S3", "alias/k"), ("NONE", "alias/k"), (None, "a b"), (None, "")],
)
def test_encryption_that_cannot_be(given: tuple[str | None, str | None]) -> None:
    with pytest.raises(UsageError):
        choose_encryption(*given, default_word="NONE", default_key="")


def test_a_tape_says_how_it_is_encrypted(state: State) -> None:
    request = TapeCreation(
        size_bytes=100 * GIB,
        barcode="TAPE01L5",
        encryption=TapeEncryption("aws:kms", "alias/k"),
        tags={"owner": "finance"},
        client_token="tuesday",
    )
    (tape,) = create_tapes(state, request)
    assert (tape.encryption, tape.kms_key) == ("SSE-KMS", "alias/k")
    assert tape.tags == {"owner": "finance"}
    assert [again.barcode for again in create_tapes(state, request)] == ["TAPE01L5"]
