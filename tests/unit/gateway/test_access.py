"""Who may log in to a device, for a target that has to be told beforehand."""

from __future__ import annotations

from tapectl.gateway.access import initiators_let_in
from tapectl.gateway.chap import set_credentials
from tapectl.gateway.devices import list_devices
from tapectl.gateway.initiators import allow_initiator
from tapectl.state.database import State

ONE, OTHER = "iqn.1993-08.org.debian:01:one", "iqn.1993-08.org.debian:01:other"
DRIVE = "tapedrive-01"


def let_in(state: State) -> dict[str, bytes | None] | None:
    found = initiators_let_in(state, list_devices(state)[1])
    if found is None:
        return None
    return {name: None if one is None else one.secret for name, one in found.items()}


def test_without_a_list_and_a_secret_whoever_comes(bare_state: State) -> None:
    set_credentials(bare_state, "mediachanger", ONE, initiator_secret="twelve-bytes-1")
    assert let_in(bare_state) is None


def test_a_list_lets_in_without_a_secret(bare_state: State) -> None:
    allow_initiator(bare_state, DRIVE, ONE)
    assert let_in(bare_state) == {ONE: None}


def test_secrets_let_in_those_who_have_one(bare_state: State) -> None:
    set_credentials(bare_state, DRIVE, ONE, initiator_secret="twelve-bytes-1")
    assert let_in(bare_state) == {ONE: b"twelve-bytes-1"}


def test_with_both_who_has_both(bare_state: State) -> None:
    for name in (ONE, OTHER):
        allow_initiator(bare_state, DRIVE, name)
    set_credentials(
        bare_state,
        DRIVE,
        ONE,
        initiator_secret="twelve-bytes-1",
        target_secret="of-the-target",
    )
    assert let_in(bare_state) == {ONE: b"twelve-bytes-1"}
    found = initiators_let_in(bare_state, list_devices(bare_state)[1])
    assert found is not None
    credential = found[ONE]
    assert credential is not None
    assert credential.mutual_secret == b"of-the-target"
    assert credential.mutual_user == list_devices(bare_state)[1].target_name
