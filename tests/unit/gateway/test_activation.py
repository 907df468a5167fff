"""Activation: what is checked, what is left in the store, and that nothing is half done."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tapectl.errors import ExitCode, TapectlError, UsageError
from tapectl.gateway.activation import (
    ActivationRequest,
    AlreadyActivatedError,
    activate,
    describe_gateway,
    normalise_store_url,
)
from tapectl.gateway.adoption import choose_gateway, list_gateways
from tapectl.gateway.gateway_document import GatewayNotFoundError
from tapectl.state.database import State
from tapectl.store.interface import BucketNotFoundError, StoreError
from tapectl.store.memory import MemoryStore


class Closed(MemoryStore):
    """A store whose bucket is not there."""

    def check(self) -> None:
        raise BucketNotFoundError("no such bucket: bucket")


class ReadOnly(MemoryStore):
    """A store that may be listed but not written."""

    def put_if_absent(self, key: str, body: bytes) -> None:  # type: ignore[override]
        raise StoreError(f"denied: {key} {len(body)}")


def keys(store: MemoryStore) -> list[str]:
    return [info.key for info in store.list("")]


def test_a_gateway_is_known_to_the_store_and_to_the_state(
    tmp_path: Path, activation: ActivationRequest, store: MemoryStore
) -> None:
    path = tmp_path / "new" / "tapectl.db"
    made = activate(path, activation, open_store=lambda _record: store)
    assert made.id.startswith("sgw-")
    assert len(made.id) == 12
    assert made.id[4:] == made.id[4:].upper()
    marker = json.loads(store.get(f"gateways/{made.id}.json"))
    assert marker["gateway_name"] == "lab"
    with State.open(path) as state:
        assert describe_gateway(state) == made


def test_a_gateway_is_listed_before_it_is_served(
    tmp_path: Path, activation: ActivationRequest, store: MemoryStore
) -> None:
    made = activate(tmp_path / "tapectl.db", activation, open_store=lambda _record: store)
    assert [one.gateway_id for one in list_gateways(store)] == [made.id]
    assert choose_gateway(store, None).document.gateway_id == made.id


def test_a_store_without_a_gateway_has_none_to_choose(store: MemoryStore) -> None:
    assert list(list_gateways(store)) == []
    with pytest.raises(GatewayNotFoundError, match="knows no gateway") as caught:
        choose_gateway(store, None)
    assert caught.value.hint


@pytest.mark.parametrize("broken", [Closed, ReadOnly])
def test_a_store_that_cannot_be_used_leaves_no_state(
    tmp_path: Path, activation: ActivationRequest, broken: type[MemoryStore]
) -> None:
    store = broken()
    with pytest.raises(StoreError):
        activate(tmp_path / "tapectl.db", activation, open_store=lambda _record: store)
    assert list(tmp_path.iterdir()) == []
    assert keys(store) == []


def test_a_state_that_cannot_be_written_leaves_no_mark_in_the_store(
    tmp_path: Path, activation: ActivationRequest, store: MemoryStore
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TapectlError) as caught:
        activate(tmp_path / "file" / "tapectl.db", activation, open_store=lambda _record: store)
    assert caught.value.exit_code in (ExitCode.STATE_ACCESS, ExitCode.NOT_ACTIVATED)
    assert keys(store) == []


def test_a_second_activation_is_refused_before_the_store_is_asked(
    bare_state: State, activation: ActivationRequest
) -> None:
    def no_store(_record: object) -> MemoryStore:
        raise AssertionError("asked")

    with pytest.raises(AlreadyActivatedError) as caught:
        activate(bare_state.path, activation, open_store=no_store)
    assert caught.value.exit_code == ExitCode.ALREADY_ACTIVATED


def test_if_not_exists_returns_the_gateway_there_is(
    bare_state: State, activation: ActivationRequest, store: MemoryStore
) -> None:
    again = replace(activation, if_not_exists=True)
    made = activate(bare_state.path, again, open_store=lambda _record: store)
    assert made == describe_gateway(bare_state)
    with pytest.raises(AlreadyActivatedError):
        activate(bare_state.path, replace(again, name="other"), open_store=lambda _record: store)


def test_a_corrupt_state_file_is_never_replaced(
    tmp_path: Path, activation: ActivationRequest, store: MemoryStore
) -> None:
    path = tmp_path / "tapectl.db"
    path.write_bytes(b"precious")
    with pytest.raises(TapectlError) as caught:
        activate(path, activation, open_store=lambda _record: store)
    assert caught.value.exit_code == ExitCode.STATE_CORRUPT
    assert path.read_bytes() == b"precious"


@pytest.mark.parametrize(
    "change",
    [
        {"name": "x"},
        {"name": "a/b"},
        {"name": "a\\b"},
        {"name": "    "},
        {"name": "n" * 256},
        {"name": "größe"},
        {"timezone": "Europe/Berlin"},
        {"timezone": "GMT+15:00"},
        {"timezone": "GMT+1"},
        {"changer_type": "HP-MSL"},
        {"drive_type": "IBM-ULT3580-TD0"},
        {"drive_count": 0},
        {"drive_count": 65},
        {"slot_count": 10_001},
        {"import_export_count": 0},
        {"iqn_prefix": "iqn.tapectl"},
        {"iqn_prefix": "iqn.2026-13.io.tapectl"},
        {"store_url": "s3://B"},
        {"store_url": "https://host/bucket"},
        {"store_url": "file://relative"},
        {"store_url": ""},
        {"store_url": "s3://bucket", "endpoint_url": "127.0.0.1:9000"},
        {"store_url": "s3://bucket", "endpoint_url": "https://"},
        {"store_url": "s3://bucket", "endpoint_url": "http://127.0.0.1:99999"},
        {"store_url": "s3://bucket", "endpoint_url": "http://me:secret@127.0.0.1:9000"},
        {"store_url": "/srv/tapes", "endpoint_url": "http://127.0.0.1:9000"},
    ],
)
def test_what_aws_would_refuse(
    tmp_path: Path, activation: ActivationRequest, store: MemoryStore, change: dict[str, object]
) -> None:
    request = replace(activation, **change)  # type: ignore[arg-type]
    with pytest.raises(UsageError) as caught:
        activate(tmp_path / "tapectl.db", request, open_store=lambda _record: store)
    assert caught.value.hint
    assert "secret" not in caught.value.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("timezone", ["GMT", "GMT-5:00", "GMT+05:30", "GMT+14:00"])
def test_time_zones_as_aws_writes_them(
    tmp_path: Path, activation: ActivationRequest, store: MemoryStore, timezone: str
) -> None:
    request = replace(activation, timezone=timezone)
    made = activate(tmp_path / "tapectl.db", request, open_store=lambda _record: store)
    assert made.timezone == timezone


def test_store_addresses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert normalise_store_url("s3://my-bucket/") == "s3://my-bucket"
    assert normalise_store_url("s3://my-bucket/a/b") == "s3://my-bucket/a/b"
    assert normalise_store_url("file:///srv/tapes") == "file:///srv/tapes"
    assert normalise_store_url("/srv/tapes") == "file:///srv/tapes"
    assert normalise_store_url("tapes") == f"file://{tmp_path}/tapes"
    assert normalise_store_url("other/../tapes") == f"file://{tmp_path}/tapes"
