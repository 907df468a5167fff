"""Initiator lists: which initiators may see a device and log in to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence

from tapectl.errors import ExitCode, TapectlError
from tapectl.gateway.chap import check_initiator_name
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.devices import (
    DISCOVERY,
    LIBRARY,
    DeviceInfo,
    devices_meant,
    list_devices,
)
from tapectl.state import chap, events, initiators
from tapectl.state.database import State
from tapectl.state.initiators import AllowedInitiator


class InitiatorNotListedError(TapectlError):
    """The initiator is not on the list of the device."""

    exit_code = ExitCode.INITIATOR_NOT_LISTED
    code = "initiator_not_listed"
    aws_code = "InitiatorNotFound"


def allow_initiator(
    state: State,
    target: str,
    initiator_name: str,
    *,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> Sequence[DeviceInfo]:
    """Let an initiator log in to a device, or to `all`; with its first entry a list is exclusive.

    An initiator that is listed already stays so. Returns the devices meant. Raises
    DeviceNotFoundError, UsageError.
    """
    devices = devices_meant(state, target)
    check_initiator_name(initiator_name)
    at_ms = now_ms()
    with state.write() as db:
        for device in devices:
            entry = AllowedInitiator(
                target=device.name, initiator_name=initiator_name, created_at_ms=at_ms
            )
            if initiators.add(db, entry):
                events.append(db, _event("InitiatorAllowed", entry, actor, at_ms))
    return devices


def disallow_initiator(
    state: State,
    target: str,
    initiator_name: str,
    *,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> Sequence[DeviceInfo]:
    """Take an initiator off the list of a device, or of `all`; return the devices it was taken off.

    Raises DeviceNotFoundError, and InitiatorNotListedError if it was on none of them.
    """
    devices = devices_meant(state, target)
    at_ms = now_ms()
    taken_off = []
    with state.write() as db:
        for device in devices:
            if initiators.remove(db, device.name, initiator_name):
                taken_off.append(device)
                entry = AllowedInitiator(
                    target=device.name, initiator_name=initiator_name, created_at_ms=at_ms
                )
                events.append(db, _event("InitiatorDisallowed", entry, actor, at_ms))
    if not taken_off:
        raise InitiatorNotListedError(
            f"{initiator_name} is not on the list of {target}",
            hint="run `tapectl device show` for who is",
        )
    return taken_off


def allowed_initiators(state: State) -> Mapping[str, Sequence[str]]:
    """Return the lists by device name; a device without one takes every initiator."""
    found: dict[str, list[str]] = defaultdict(list)
    with state.read() as db:
        for entry in initiators.entries(db):
            found[entry.target].append(entry.initiator_name)
    return found


def is_listed(state: State, device_name: str, initiator_name: str) -> bool:
    """Say whether initiator lists let an initiator in to a device; CHAP comes on top of it.

    The target of the whole library takes whom its own list and those of all devices take.
    """
    listed = allowed_initiators(state)
    names = [device_name]
    if device_name == LIBRARY:
        names += [device.name for device in list_devices(state)]
    return all(name not in listed or initiator_name in listed[name] for name in names)


def permitted_devices(state: State, initiator_name: str) -> Collection[str]:
    """Return the names of the devices that an initiator may use, and `library` if it may use all
    as one target: neither a list nor CHAP for others only keeps it out."""
    listed = allowed_initiators(state)
    with_secret: dict[str, set[str]] = defaultdict(set)
    with state.read() as db:
        for record in chap.entries(db):
            with_secret[record.target].add(record.initiator_name)
    permitted = {
        device.name
        for device in list_devices(state)
        if all(
            device.name not in rule or initiator_name in rule[device.name]
            for rule in (listed, with_secret)
        )
    }
    asks = any(name != DISCOVERY for name in with_secret)
    if is_listed(state, LIBRARY, initiator_name) and (
        not asks or initiator_name in with_secret[LIBRARY]
    ):
        permitted.add(LIBRARY)
    return permitted


def access_changed(state: State, device_name: str, initiator_name: str, concerned: str) -> bool:
    """Say whether a session must end after the access of the initiator `concerned` was changed:
    its own sessions do, and those of initiators that may not log in any more."""
    return initiator_name == concerned or device_name not in permitted_devices(
        state, initiator_name
    )


def access_is_limited(state: State) -> bool:
    """Say whether every device has a list or asks for CHAP, so that not anybody gets in."""
    listed = allowed_initiators(state)
    return all(device.chap_enabled or device.name in listed for device in list_devices(state))


def _event(event_type: str, entry: AllowedInitiator, actor: str, at_ms: int) -> events.NewEvent:
    return events.NewEvent(
        at_ms=at_ms,
        actor=actor,
        subject_kind="target",
        subject_id=entry.target,
        type=event_type,
        detail={"initiator_name": entry.initiator_name},
    )
