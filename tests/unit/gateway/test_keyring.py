"""The keyring: made, copied, brought to another machine, and what it opens."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from tapectl.errors import ExitCode, UsageError
from tapectl.gateway.encryption import TapeEncryption, choose_encryption
from tapectl.gateway.events import list_events
from tapectl.gateway.keyring import (
    Keyring,
    TapeKeyError,
    create_key,
    export_keys,
    import_keys,
    keyring_path,
)
from tapectl.gateway.keys import give_keys, list_keys, make_key, take_keys
from tapectl.gateway.tape_creation import TapeCreation, TapeExistsError, create_tapes
from tapectl.gateway.tape_keys import key_id, missing_keys, new_data_key, seal_of
from tapectl.gateway.verification import request_verification
from tapectl.state import tapes
from tapectl.state.database import State
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import Stamp, TapeRecord
from tapectl.units import TIB

SEALED = TapeCreation(
    size_bytes=TIB, barcode="SEALD1L5", encryption=TapeEncryption(client_side=True)
)


def tape(state: State, barcode: str = "SEALD1L5") -> TapeRecord:
    with state.read() as db:
        return tapes.get(db, barcode)


def lose_keys(state: State) -> None:
    keyring_path(state.path).unlink()


def test_tapes_are_made_with_the_key_that_was_made_last(state: State) -> None:
    with pytest.raises(TapeKeyError) as refused:
        create_tapes(state, SEALED)
    assert refused.value.exit_code == ExitCode.TAPE_KEY
    assert "key create" in str(refused.value.hint)
    first = make_key(state, actor="me").id
    (made,) = create_tapes(state, SEALED)
    assert (made.encryption, made.key_id) == ("CSE", first)
    second = make_key(state, actor="me").id
    (later,) = create_tapes(state, replace(SEALED, barcode="SEALD2L5"))
    assert later.key_id == second != first
    assert [(one.id, one.current, one.tapes) for one in list_keys(state)] == [
        (first, False, 1),
        (second, True, 1),
    ]
    # Both can be read.
    for barcode in ("SEALD1L5", "SEALD2L5"):
        assert seal_of(state.path, tape(state, barcode), 1) is not None
    kinds = [event.type for event in list_events(state)]
    assert kinds.count("TapeKeyCreated") == 2


def test_the_same_tape_again_must_be_encrypted_the_same_way(state: State) -> None:
    make_key(state, actor="me")
    again = replace(SEALED, if_not_exists=True)
    create_tapes(state, again)
    before = tape(state).data_key
    create_tapes(state, again)
    assert tape(state).data_key == before
    with pytest.raises(TapeExistsError):
        create_tapes(state, replace(again, encryption=TapeEncryption()))


def test_a_request_with_a_token_stands_for_its_encryption(state: State) -> None:
    make_key(state, actor="me")
    request = replace(SEALED, barcode=None, client_token="token-1")
    (made,) = create_tapes(state, request)
    assert [one.barcode for one in create_tapes(state, request)] == [made.barcode]
    with pytest.raises(UsageError):
        create_tapes(state, replace(request, encryption=TapeEncryption()))


def test_how_it_is_asked_for() -> None:
    assert choose_encryption("cse", None, default_word="NONE", default_key="") == TapeEncryption(
        client_side=True
    )
    assert choose_encryption(None, None, default_word="CSE", default_key="").client_side
    with pytest.raises(UsageError):
        choose_encryption("CSE", "alias/k", default_word="NONE", default_key="")


def test_the_file_is_for_its_owner_only(state: State, tmp_path: Path) -> None:
    make_key(state, actor="me")
    path = keyring_path(state.path)
    copy = tmp_path / "copy.keys"
    give_keys(state, copy, actor="me")
    for file in (path, copy):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    path.chmod(0o640)
    with pytest.raises(TapeKeyError, match="others may read") as refused:
        list_keys(state)
    assert refused.value.hint == f"chmod 600 {path}"


def test_a_copy_is_never_written_over(state: State, tmp_path: Path) -> None:
    copy = tmp_path / "copy.keys"
    with pytest.raises(TapeKeyError):
        give_keys(state, copy, actor="me")
    copy.write_text("something else")
    make_key(state, actor="me")
    with pytest.raises(UsageError):
        give_keys(state, copy, actor="me")
    assert copy.read_text() == "something else"


def test_a_machine_without_a_gateway_takes_keys_up(state: State, tmp_path: Path) -> None:
    keys = [make_key(state, actor="me").id for _ in range(2)]
    copy = tmp_path / "copy.keys"
    give_keys(state, copy, actor="me")
    other = tmp_path / "new" / "machine" / "tapectl.db"
    assert [one.id for one in import_keys(other, copy)] == keys
    assert Keyring.load(other).current.id == keys[-1]
    assert import_keys(other, copy) == []
    # One that has a key goes on with it.
    third = tmp_path / "third" / "tapectl.db"
    own = create_key_at(third)
    import_keys(third, copy)
    assert [one.id for one in Keyring.load(third).keys] == [*keys, own]


def test_keys_that_come_are_told_where_there_is_a_gateway(state: State, tmp_path: Path) -> None:
    elsewhere, copy = tmp_path / "elsewhere" / "tapectl.db", tmp_path / "copy.keys"
    key = create_key_at(elsewhere)
    export_keys(elsewhere, copy)
    for _ in range(2):  # those that are here already are no news
        take_keys(state.path, copy, actor="me")
    (told,) = list_events(state, event_type="TapeKeysImported")
    assert (told.actor, told.detail) == ("me", {"keys": [key]})
    nowhere = tmp_path / "nowhere" / "tapectl.db"
    assert [one.id for one in take_keys(nowhere, copy, actor="me")] == [key]


def create_key_at(state_path: Path) -> str:
    return create_key(state_path).id


@pytest.mark.parametrize("damage", ["", "{}", "no json", '{"format": 1, "keys": [{"id": "x"}]}'])
def test_a_damaged_file_is_named(state: State, tmp_path: Path, damage: str) -> None:
    make_key(state, actor="me")
    keyring_path(state.path).write_text(damage)
    with pytest.raises(TapeKeyError, match="damaged"):
        list_keys(state)
    (tmp_path / "copy").write_text(damage)
    with pytest.raises(TapeKeyError, match="damaged"):
        import_keys(tmp_path / "tapectl.db", tmp_path / "copy")


def test_a_key_that_changed_by_a_bit_is_found(state: State) -> None:
    make_key(state, actor="me")
    path = keyring_path(state.path)
    document = json.loads(path.read_text())
    key = document["keys"][0]["key"]
    document["keys"][0]["key"] = ("B" if key[0] == "A" else "A") + key[1:]
    path.write_text(json.dumps(document))
    with pytest.raises(TapeKeyError, match="damaged"):
        Keyring.load(state.path)


def test_a_data_key_opens_for_its_tape_alone(state: State) -> None:
    make_key(state, actor="me")
    create_tapes(state, SEALED)
    right = tape(state)
    assert seal_of(state.path, right, 1) is not None
    with pytest.raises(TapeKeyError, match="does not open"):
        seal_of(state.path, replace(right, tape_uuid="0" * 32), 1)
    one, other = (new_data_key(Keyring.load(state.path).current, right.tape_uuid) for _ in range(2))
    assert one != other
    assert key_id(one) == key_id(other)


def test_who_lacks_a_key_is_told(state: State) -> None:
    make_key(state, actor="me")
    create_tapes(state, SEALED)
    with state.write() as db:
        tapes.transition(db, "SEALD1L5", TapeStatus.AVAILABLE, Stamp("test", 1))
    needed = key_id(tape(state).data_key or "")
    assert missing_keys(state) == {}
    lose_keys(state)
    assert missing_keys(state) == {needed: 1}
    (missing,) = list_keys(state)
    assert (missing.id, missing.created_ms, missing.tapes) == (needed, None, 1)
    with pytest.raises(TapeKeyError, match=needed) as refused:
        request_verification(state, ["SEALD1L5"])
    assert "key import" in str(refused.value.hint)
    request_verification(state, ["SEALD1L5"], local_only=True)
