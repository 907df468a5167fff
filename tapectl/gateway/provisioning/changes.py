"""What has to change until a library is as a file says: changes, each of which can be made.

Nothing is ever destroyed: disks and tapes that the file does not name stay, and a tape or a gateway
that differs in what cannot be changed is refused, before anything is done.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tapectl.errors import ExitCode, TapectlError
from tapectl.gateway import (
    automatic_creation,
    bandwidth,
    disk_allocation,
    initiators,
    pools,
    tape_creation,
)
from tapectl.gateway.activation import (
    ActivationRequest,
    describe_gateway,
    normalise_store_url,
)
from tapectl.gateway.bandwidth_schedule import format_interval
from tapectl.gateway.drive_types import default_generation
from tapectl.gateway.encryption import TapeEncryption
from tapectl.gateway.identity_change import change_identity
from tapectl.gateway.library_change import LibraryChange
from tapectl.gateway.media import generation_name
from tapectl.gateway.provisioning.document import LibraryDocument, WantedRule
from tapectl.gateway.tape_creation import TapeCreation
from tapectl.gateway.tape_info import TapeInfo
from tapectl.gateway.tapes import list_tapes
from tapectl.state import disks
from tapectl.state.database import State
from tapectl.state.gateways import GatewayRecord
from tapectl.state.tape_status import TapeStatus
from tapectl.units import format_size


class LibraryConflictError(TapectlError):
    """The library has something of the same name that is otherwise, and cannot be changed."""

    exit_code = ExitCode.GATEWAY_STATE
    code = "library_conflict"
    aws_code = "OperationAborted"


class Action(enum.StrEnum):
    """What a change does."""

    CREATE = "create"
    CHANGE = "change"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Change:
    """One change: what, of which thing, to what; `make` makes it."""

    action: Action
    subject: str
    detail: str
    make: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Hands:
    """How what is beyond the state is done: by whom, how new tapes are encrypted, the shape of a
    library that may be served, and the sessions that a change of access concerns (device,
    initiator)."""

    actor: str
    tape_encryption: TapeEncryption
    change_library: Callable[[LibraryChange], object]
    access_changed: Callable[[str, str], object]


def plan_library(state: State, wanted: LibraryDocument, hands: Hands) -> Sequence[Change]:
    """Return what has to change of gateway, disks and tapes, in the order in which it can be done.

    Raises LibraryConflictError.
    """
    return [
        *_gateway_changes(state, wanted, hands),
        *_disk_changes(state, wanted, hands),
        *_tape_changes(state, wanted, hands),
    ]


def plan_policies(state: State, wanted: LibraryDocument, hands: Hands) -> Sequence[Change]:
    """Return what has to change of rules, limits and lists; the library is as wanted already.

    Raises DeviceNotFoundError.
    """
    return [
        *_rule_changes(state, wanted, hands),
        *_bandwidth_changes(state, wanted, hands),
        *_initiator_changes(state, wanted, hands),
    ]


def plan_anew(wanted: LibraryDocument) -> Sequence[str]:
    """Return what a file would create where there is no gateway yet, in words."""
    return [
        *(f"disk {disk.path}" for disk in wanted.disks),
        *(f"tape {tape.barcode}" for tape in wanted.tapes),
        *(f"autocreate {one.rule.prefix}" for one in wanted.autocreate or ()),
        *(f"bandwidth {format_interval(one)}" for one in wanted.bandwidth or ()),
        *(f"initiators of {device}" for device in wanted.initiators or ()),
    ]


def _gateway_changes(state: State, wanted: LibraryDocument, hands: Hands) -> Iterator[Change]:
    request = wanted.gateway
    if request is None:
        return
    here = describe_gateway(state)
    _refuse_other_gateway(here, request, wanted.given)
    identity: dict[str, Any] = {
        name: getattr(request, name)
        for name in ("name", "timezone")
        if name in wanted.given and getattr(request, name) != getattr(here, name)
    }
    if identity:
        make = partial(change_identity, state, **identity, actor=hands.actor)
        yield Change(Action.CHANGE, "gateway", _words(identity), make)
    shape: dict[str, Any] = {
        name: getattr(request, name)
        for name in ("changer_type", "drive_count", "slot_count", "import_export_count")
        if name in wanted.given and getattr(request, name) != getattr(here, name)
    }
    if shape:
        change = LibraryChange(**shape)
        make_shape = partial(hands.change_library, change)
        yield Change(Action.CHANGE, "library", _words(shape), make_shape)


def _refuse_other_gateway(
    here: GatewayRecord, request: ActivationRequest, given: frozenset[str]
) -> None:
    store_url = normalise_store_url(request.store_url)
    for name, value in (("store_url", store_url), ("drive_type", request.drive_type)):
        if name in given and getattr(here, name) != value:
            raise LibraryConflictError(
                f"the gateway here has {name} {getattr(here, name)}, which cannot become {value}",
                hint="name another state file with --state for another gateway",
            )


def _disk_changes(state: State, wanted: LibraryDocument, hands: Hands) -> Iterator[Change]:
    with state.read() as db:
        there = {disk.path: disk.role for disk in disks.all_disks(db)}
    for disk in wanted.disks:
        path = disk.path.expanduser().resolve()
        found = there.get(path)
        if found is disk.role:
            continue
        if found is not None:
            raise LibraryConflictError(f"disk {path} is allocated as {found}, not {disk.role}")
        make = partial(disk_allocation.add_disk, state, disk, actor=hands.actor)
        yield Change(Action.CREATE, f"disk {path}", disk.role.value, make)


def _tape_changes(state: State, wanted: LibraryDocument, hands: Hands) -> Iterator[Change]:
    if not wanted.tapes:
        return
    gateway = describe_gateway(state)
    found = {one.barcode: one for one in list_tapes(state, statuses=TapeStatus)}
    pool_ids = _pool_ids(state)
    for named in wanted.tapes:
        pool_id = pool_ids.get(named.pool_id, named.pool_id)
        tape = replace(named, pool_id=pool_id, encryption=hands.tape_encryption)
        assert tape.barcode is not None, "the schema says so"
        there = found.get(tape.barcode)
        generation = tape.generation or default_generation(gateway)
        if there is not None:
            _refuse_other_tape(there, tape, generation)
            continue
        detail = f"{format_size(tape.size_bytes)}, {generation_name(generation)}, {tape.pool_id}"
        make = partial(tape_creation.create_tapes, state, tape, actor=hands.actor)
        yield Change(Action.CREATE, f"tape {tape.barcode}", detail, make)


def _pool_ids(state: State) -> Mapping[str, str]:
    """Return the ids of the pools by name."""
    return {info.record.name: info.record.id for info in pools.list_pools(state)}


def _refuse_other_tape(there: TapeInfo, tape: TapeCreation, generation: int) -> None:
    facts: Mapping[str, tuple[object, object]] = {
        "size": (format_size(there.size_bytes), format_size(tape.size_bytes)),
        "pool": (there.pool_id, tape.pool_id),
        "worm": (there.worm, tape.worm),
        "generation": (there.generation, generation),
    }
    if there.status is TapeStatus.DELETED:
        raise LibraryConflictError(
            f"tape {there.barcode} was deleted, and a barcode is never given again",
            hint="choose another barcode",
        )
    for name, (has, wants) in facts.items():
        if has != wants:
            raise LibraryConflictError(
                f"tape {there.barcode} has {name} {has}, which cannot become {wants}",
                hint="choose another barcode for the new tape",
            )


def _rule_changes(state: State, wanted: LibraryDocument, hands: Hands) -> Iterator[Change]:
    if wanted.autocreate is None:
        return
    there = {info.rule.prefix: info.rule for info in automatic_creation.list_rules(state)}
    prefixes = {one.rule.prefix for one in wanted.autocreate}
    for prefix in sorted(there.keys() - prefixes):
        make = partial(automatic_creation.delete_rules, state, [prefix], actor=hands.actor)
        yield Change(Action.REMOVE, f"autocreate {prefix}", "", make)
    pool_ids = _pool_ids(state)
    for one in wanted.autocreate:
        pool_id = pool_ids.get(one.rule.pool_id, one.rule.pool_id)
        if there.get(one.rule.prefix) != replace(one.rule, pool_id=pool_id):
            action = Action.CHANGE if one.rule.prefix in there else Action.CREATE
            yield Change(action, *_rule_text(one), partial(_set_rule, state, one, hands.actor))


def _rule_text(one: WantedRule) -> tuple[str, str]:
    rule = one.rule
    detail = f"keep {rule.minimum_tapes} of {format_size(rule.size_bytes)}, {rule.pool_id}"
    return f"autocreate {rule.prefix}", f"{detail}{', WORM' if rule.worm else ''}"


def _set_rule(state: State, one: WantedRule, actor: str) -> None:
    automatic_creation.set_rule(state, one.rule, allow_small=one.allow_small, actor=actor)


def _bandwidth_changes(state: State, wanted: LibraryDocument, hands: Hands) -> Iterator[Change]:
    if wanted.bandwidth is None:
        return
    there = [info.interval for info in bandwidth.show_bandwidth(state)]
    if there != list(wanted.bandwidth):
        detail = ", ".join(format_interval(one) for one in wanted.bandwidth) or "no limits"
        make = partial(bandwidth.set_schedule, state, wanted.bandwidth, actor=hands.actor)
        yield Change(Action.CHANGE, "bandwidth", detail, make)


def _initiator_changes(state: State, wanted: LibraryDocument, hands: Hands) -> Iterator[Change]:
    listed = initiators.allowed_initiators(state)
    for device, names in (wanted.initiators or {}).items():
        for one in initiators.devices_meant(state, device):
            there = set(listed.get(one.name, ()))
            for name in sorted(set(names) - there):
                make = partial(_allow, state, hands, one.name, name)
                yield Change(Action.CREATE, f"initiator {name}", f"at {one.name}", make)
            for name in sorted(there - set(names)):
                make = partial(_disallow, state, hands, one.name, name)
                yield Change(Action.REMOVE, f"initiator {name}", f"at {one.name}", make)


def _allow(state: State, hands: Hands, device: str, name: str) -> None:
    initiators.allow_initiator(state, device, name, actor=hands.actor)
    hands.access_changed(device, name)


def _disallow(state: State, hands: Hands, device: str, name: str) -> None:
    initiators.disallow_initiator(state, device, name, actor=hands.actor)
    hands.access_changed(device, name)


def _words(fields: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in fields.items())
