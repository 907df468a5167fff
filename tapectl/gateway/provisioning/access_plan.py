"""What has to change of who may log in, until the lists and the secrets are as a file says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

from tapectl.gateway import chap, initiators
from tapectl.gateway.devices import ALL_DEVICES, DISCOVERY, devices_meant
from tapectl.gateway.provisioning.change import Action, Change, Hands
from tapectl.gateway.provisioning.document import LibraryDocument, WantedCredential
from tapectl.state.database import State

Wanted = TypeVar("Wanted")


def initiator_changes(state: State, wanted: LibraryDocument, hands: Hands) -> Iterator[Change]:
    """Yield what has to change of the lists of initiators; raise DeviceNotFoundError."""
    listed = initiators.allowed_initiators(state)
    for device, names in _by_device(state, wanted.initiators or {}).items():
        there = set(listed.get(device, ()))
        for name in sorted(set(names) - there):
            make = partial(_allow, state, hands, device, name)
            yield Change(Action.CREATE, f"initiator {name}", f"at {device}", make)
        for name in sorted(there - set(names)):
            make = partial(_disallow, state, hands, device, name)
            yield Change(Action.REMOVE, f"initiator {name}", f"at {device}", make)


def chap_changes(state: State, wanted: LibraryDocument, hands: Hands) -> Iterator[Change]:
    """Yield what has to change of the credentials; raise DeviceNotFoundError."""
    there = {(info.device, info.initiator_name) for info in chap.list_credentials(state)}
    for device, credentials in _by_device(state, wanted.chap or {}).items():
        # First those that are to be, so that a device never is without any in between.
        for one in credentials:
            name = one.initiator_name
            known = (device, name) in there
            if known and chap.has_secrets(state, device, name, one.secret, one.target_secret):
                continue
            detail = f"at {device}{', mutual' if one.target_secret is not None else ''}"
            action = Action.CHANGE if known else Action.CREATE
            make = partial(_set_secrets, state, hands, device, one)
            yield Change(action, f"chap {name}", detail, make)
        names = {one.initiator_name for one in credentials}
        for _, name in sorted(pair for pair in there if pair[0] == device and pair[1] not in names):
            make = partial(_forget_secrets, state, hands, device, name)
            yield Change(Action.REMOVE, f"chap {name}", f"at {device}", make)


def _by_device(
    state: State, section: Mapping[str, Sequence[Wanted]]
) -> Mapping[str, Sequence[Wanted]]:
    """Return what is wanted of each device by its name; one that is named itself goes before
    `all`."""
    found: dict[str, Sequence[Wanted]] = {}
    for target in sorted(section, key=lambda target: target != ALL_DEVICES):
        if target == DISCOVERY:
            found[DISCOVERY] = section[target]
            continue
        for device in devices_meant(state, target):
            found[device.name] = section[target]
    return found


def _allow(state: State, hands: Hands, device: str, name: str) -> None:
    initiators.allow_initiator(state, device, name, actor=hands.actor)
    hands.access_changed(device, name)


def _disallow(state: State, hands: Hands, device: str, name: str) -> None:
    initiators.disallow_initiator(state, device, name, actor=hands.actor)
    hands.access_changed(device, name)


def _set_secrets(state: State, hands: Hands, device: str, one: WantedCredential) -> None:
    chap.set_credentials(
        state,
        device,
        one.initiator_name,
        initiator_secret=one.secret,
        target_secret=one.target_secret,
        actor=hands.actor,
    )
    hands.access_changed(device, one.initiator_name)


def _forget_secrets(state: State, hands: Hands, device: str, name: str) -> None:
    chap.delete_credentials(state, device, name, actor=hands.actor)
    hands.access_changed(device, name)
