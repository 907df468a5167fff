"""PERSISTENT RESERVE IN and OUT (SPC-5 6.15, 6.16)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from tapectl.scsi.command_table import GOOD, Task, reply_truncated
from tapectl.scsi.device_server import Device
from tapectl.scsi.logical_unit import Reply
from tapectl.scsi.reservations import (
    MAX_REGISTRATIONS,
    PersistentReservation,
    ReservationConflict,
    Reservations,
    ReservationType,
)
from tapectl.scsi.sense import (
    ASC,
    illegal_request,
    invalid_field_in_cdb,
    invalid_field_in_parameter_list,
)
from tapectl.scsi.unit_attention import UnitAttentions

_PARAMETER_LIST = struct.Struct(">QQ4xB3x")
_FULL_STATUS = struct.Struct(">Q4xBB4xHI")
_RELATIVE_TARGET_PORT = 1
_ISCSI_PROTOCOL = 0x5
# "An additional length of at least 20" (SPC-5 7.6.4.5, iSCSI TransportID).
_TRANSPORT_ID_NAME_MIN_BYTES = 20


@dataclass(frozen=True, slots=True)
class ReserveOut:
    """What a PERSISTENT RESERVE OUT command asks for."""

    nexus: str
    type_code: int
    scope: int
    key: int
    action_key: int

    def reservation_type(self) -> ReservationType:
        """Return the type; raise CheckCondition for a reserved one or another scope than LU."""
        if self.scope != 0:
            raise invalid_field_in_cdb(2, 7)
        try:
            return ReservationType(self.type_code)
        except ValueError:
            raise invalid_field_in_cdb(2, 3) from None


def read_keys(device: Device, task: Task) -> Reply:
    """PERSISTENT RESERVE IN, READ KEYS."""
    state = device.server.reservations
    keys = b"".join(struct.pack(">Q", key) for key in state.registered.values())
    header = struct.pack(">II", state.generation, len(keys))
    return reply_truncated(header + keys, int.from_bytes(task.cdb[7:9], "big"))


def read_reservation(device: Device, task: Task) -> Reply:
    """PERSISTENT RESERVE IN, READ RESERVATION; the key is zero for all registrants."""
    state = device.server.reservations
    body = b""
    if state.reservation is not None:
        key = state.reservation.key if state.reservation.holder is not None else 0
        body = struct.pack(">Q5xB2x", key, state.reservation.type)
    header = struct.pack(">II", state.generation, len(body))
    return reply_truncated(header + body, int.from_bytes(task.cdb[7:9], "big"))


def report_capabilities(_device: Device, task: Task) -> Reply:
    """PERSISTENT RESERVE IN, REPORT CAPABILITIES: all six types, TMV set, no APTPL."""
    types = 0
    for kind in ReservationType:
        types |= 1 << (kind + 8 if kind < 8 else 0)
    return reply_truncated(
        struct.pack(">HBBH2x", 8, 0, 0x80, types), int.from_bytes(task.cdb[7:9], "big")
    )


def read_full_status(device: Device, task: Task) -> Reply:
    """PERSISTENT RESERVE IN, READ FULL STATUS: one descriptor for each registration."""
    state = device.server.reservations
    body = b""
    for name, key in state.registered.items():
        holds = state.holds(name)
        kind = state.reservation.type if state.reservation is not None and holds else 0
        transport_id = encode_transport_id(name)
        body += _FULL_STATUS.pack(key, int(holds), kind, _RELATIVE_TARGET_PORT, len(transport_id))
        body += transport_id
    header = struct.pack(">II", state.generation, len(body))
    return reply_truncated(header + body, int.from_bytes(task.cdb[7:9], "big"))


def encode_transport_id(nexus: str) -> bytes:
    """Return the iSCSI TransportID of an initiator, with its ISID where the name tells it."""
    name = nexus.encode("utf-8", "replace") + b"\0"
    name = name.ljust(max(_TRANSPORT_ID_NAME_MIN_BYTES, (len(name) + 3) & ~3), b"\0")
    form = 0x40 if b",i,0x" in name else 0
    return struct.pack(">BBH", form | _ISCSI_PROTOCOL, 0, len(name)) + name


def persistent_reserve_out(device: Device, task: Task) -> Reply:
    """PERSISTENT RESERVE OUT, every service action that moves no registration elsewhere."""
    cdb = task.cdb
    length = min(int.from_bytes(cdb[5:9], "big"), len(task.data_out))
    if length != _PARAMETER_LIST.size:
        raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
    key, action_key, flags = _PARAMETER_LIST.unpack_from(task.data_out)
    if flags & 0x0C:  # SPEC_I_PT, ALL_TG_PT: not reported in REPORT CAPABILITIES
        raise invalid_field_in_parameter_list(20, 3 if flags & 0x08 else 2)
    if flags & 0x01:  # APTPL
        raise invalid_field_in_parameter_list(20, 0)
    asked = ReserveOut(task.nexus, cdb[2] & 0x0F, cdb[2] >> 4, key, action_key)
    server = device.server
    if server.reservations.legacy_holder is not None:
        raise ReservationConflict
    _ACTIONS[cdb[1] & 0x1F](server.reservations, server.attentions, asked)
    return GOOD


def _require_registered(state: Reservations, asked: ReserveOut) -> None:
    if state.registered.get(asked.nexus) != asked.key:
        raise ReservationConflict


def _register(state: Reservations, attentions: UnitAttentions, asked: ReserveOut) -> None:
    if state.registered.get(asked.nexus, 0) != asked.key:
        raise ReservationConflict
    _register_and_ignore(state, attentions, asked)


def _register_and_ignore(
    state: Reservations, attentions: UnitAttentions, asked: ReserveOut
) -> None:
    if asked.action_key:
        if asked.nexus not in state.registered and len(state.registered) >= MAX_REGISTRATIONS:
            raise illegal_request(ASC.INSUFFICIENT_REGISTRATION_RESOURCES)
        state.registered[asked.nexus] = asked.action_key
        held = state.reservation
        if held is not None and held.holder == asked.nexus:
            state.reservation = PersistentReservation(held.type, asked.action_key, held.holder)
    elif asked.nexus in state.registered:
        ended = state.unregister(asked.nexus)
        if ended is not None and ended.type.admits_registrants:
            _tell(attentions, state.registered, asked.nexus, ASC.RESERVATIONS_RELEASED)
    else:
        return
    state.generation += 1


def _reserve(state: Reservations, attentions: UnitAttentions, asked: ReserveOut) -> None:  # noqa: ARG001
    _require_registered(state, asked)
    kind = asked.reservation_type()
    held = state.reservation
    if held is None:
        holder = None if kind.all_registrants else asked.nexus
        state.reservation = PersistentReservation(kind, asked.key, holder)
    elif not state.holds(asked.nexus) or held.type is not kind:
        raise ReservationConflict


def _release(state: Reservations, attentions: UnitAttentions, asked: ReserveOut) -> None:
    _require_registered(state, asked)
    kind = asked.reservation_type()
    if not state.holds(asked.nexus):
        return  # "shall not be considered an error"
    held = state.reservation
    if held is not None and held.type is not kind:
        raise illegal_request(ASC.INVALID_RELEASE_OF_PERSISTENT_RESERVATION)
    state.reservation = None
    if kind.admits_registrants:
        _tell(attentions, state.registered, asked.nexus, ASC.RESERVATIONS_RELEASED)


def _clear(state: Reservations, attentions: UnitAttentions, asked: ReserveOut) -> None:
    _require_registered(state, asked)
    _tell(attentions, state.registered, asked.nexus, ASC.RESERVATIONS_PREEMPTED)
    state.registered.clear()
    state.reservation = None
    state.generation += 1


def _preempt(state: Reservations, attentions: UnitAttentions, asked: ReserveOut) -> None:
    """PREEMPT and PREEMPT AND ABORT: commands run one at a time here, so there is none to abort."""
    _require_registered(state, asked)
    held = state.reservation
    everyone = held is not None and held.holder is None and asked.action_key == 0
    if asked.action_key == 0 and not everyone:
        raise invalid_field_in_parameter_list(8)
    victims = [
        nexus
        for nexus, key in state.registered.items()
        if nexus != asked.nexus and (everyone or key == asked.action_key)
    ]
    takes_over = held is not None and (
        everyone or (held.holder is not None and held.key == asked.action_key)
    )
    if not victims and not takes_over and asked.action_key not in state.registered.values():
        raise ReservationConflict
    kind = asked.reservation_type() if takes_over else None
    for nexus in victims:
        del state.registered[nexus]
        attentions.establish(nexus, ASC.REGISTRATIONS_PREEMPTED)
    if kind is not None and held is not None:
        holder = None if kind.all_registrants else asked.nexus
        state.reservation = PersistentReservation(kind, asked.key, holder)
        if kind is not held.type:
            _tell(attentions, state.registered, asked.nexus, ASC.RESERVATIONS_RELEASED)
    state.generation += 1


def _tell(attentions: UnitAttentions, nexuses: dict[str, int], but: str, code: ASC) -> None:
    for nexus in nexuses:
        if nexus != but:
            attentions.establish(nexus, code)


_Action = Callable[[Reservations, UnitAttentions, ReserveOut], None]
_ACTIONS: dict[int, _Action] = {
    0x00: _register,
    0x01: _reserve,
    0x02: _release,
    0x03: _clear,
    0x04: _preempt,
    0x05: _preempt,
    0x06: _register_and_ignore,
}
