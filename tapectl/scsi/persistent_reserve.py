"""PERSISTENT RESERVE OUT (SPC-5 6.16)."""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from tapectl.scsi.command_table import GOOD, Task
from tapectl.scsi.device_server import Device
from tapectl.scsi.logical_unit import Reply
from tapectl.scsi.reservations import (
    MAX_REGISTRATIONS,
    PersistentReservation,
    PersistentState,
    Registration,
    ReservationConflict,
    ReservationType,
)
from tapectl.scsi.sense import (
    ASC,
    illegal_request,
    invalid_field_in_cdb,
    invalid_field_in_parameter_list,
)
from tapectl.scsi.transport_id import (
    decode_transport_id,
    initiator_port,
    node_name,
    same_target_port,
    target_node,
)

RELATIVE_TARGET_PORT = 1
_PARAMETER_LIST = struct.Struct(">QQ4xB3x")
_REGISTER_AND_MOVE = struct.Struct(">QQxBHI")
_SPEC_I_PT, _ALL_TG_PT, _APTPL = 0x08, 0x04, 0x01
_UNREG = 0x02


class ServiceAction(enum.IntEnum):
    """SPC-5 table 245; REPLACE LOST RESERVATION is not there, for none is ever lost (RLR_C)."""

    REGISTER = 0x00
    RESERVE = 0x01
    RELEASE = 0x02
    CLEAR = 0x03
    PREEMPT = 0x04
    PREEMPT_AND_ABORT = 0x05
    REGISTER_AND_IGNORE_EXISTING_KEY = 0x06
    REGISTER_AND_MOVE = 0x07


_REGISTERS = (ServiceAction.REGISTER, ServiceAction.REGISTER_AND_IGNORE_EXISTING_KEY)
_PREEMPTS = (ServiceAction.PREEMPT, ServiceAction.PREEMPT_AND_ABORT)


@dataclass(slots=True)
class Change:
    """A PERSISTENT RESERVE OUT on its way: what it asks for, and what is to come of it.

    `state` is a copy that takes effect when the action has returned; then `told` are told their
    attentions, and the tasks of `aborted` are aborted. `ports` are the nexuses that SPEC_I_PT or
    REGISTER AND MOVE named.
    """

    nexus: str
    state: PersistentState
    type_and_scope: int
    key: int
    action_key: int
    all_target_ports: bool = False
    activates: bool = False
    unregisters: bool = False
    specifies_ports: bool = False
    ports: Sequence[str] = ()
    counts: bool = False
    told: list[tuple[str, ASC]] = field(default_factory=list)
    aborted: list[str] = field(default_factory=list)

    def reservation_type(self) -> ReservationType:
        """Return the type; raise CheckCondition for a reserved one or another scope than LU."""
        if self.type_and_scope >> 4:
            raise invalid_field_in_cdb(2, 7)
        try:
            return ReservationType(self.type_and_scope & 0x0F)
        except ValueError:
            raise invalid_field_in_cdb(2, 3) from None

    def require_registered(self) -> None:
        own = self.state.registered.get(self.nexus)
        if own is None or own.key != self.key:
            raise ReservationConflict

    def tell_registrants(self, code: ASC) -> None:
        """Let every registered nexus but the one that caused it hear of something."""
        self.told += [(nexus, code) for nexus in self.state.registered if nexus != self.nexus]


def persistent_reserve_out(device: Device, task: Task) -> Reply:
    """PERSISTENT RESERVE OUT, every service action; all of it takes effect or nothing."""
    server = device.server
    reservations = server.reservations
    if reservations.legacy_holder is not None:  # SPC-2 5.5.1: one way of reserving at a time
        raise ReservationConflict
    action = ServiceAction(task.cdb[1] & 0x1F)
    change = _decode(task, action, reservations.persistent.copy(), server.attentions.known)
    _ACTIONS[action](change)
    reservations.replace(change.state, preempts=action in _PREEMPTS)
    reservations.generation += change.counts
    for nexus, code in change.told:
        server.attentions.establish(nexus, code)
    if change.aborted:
        server.abort_tasks(change.aborted)
        server.removal_preventers.difference_update(change.aborted)
    return GOOD


def _decode(
    task: Task, action: ServiceAction, state: PersistentState, known: Iterable[str]
) -> Change:
    length = int.from_bytes(task.cdb[5:9], "big")
    data = bytes(task.data_out[:length])
    if len(data) < length or length < _PARAMETER_LIST.size:
        raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
    if action is ServiceAction.REGISTER_AND_MOVE:
        return _decode_move(task, data, state, known)
    key, action_key, flags = _PARAMETER_LIST.unpack_from(data)
    specifies_ports = bool(flags & _SPEC_I_PT)
    if specifies_ports and action is not ServiceAction.REGISTER:
        raise invalid_field_in_parameter_list(20, 3)
    if not specifies_ports and length != _PARAMETER_LIST.size:
        raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
    registers = action in _REGISTERS
    return Change(
        task.nexus,
        state,
        task.cdb[2],
        key,
        action_key,
        # "Ignored" by every other service action.
        all_target_ports=registers and bool(flags & _ALL_TG_PT),
        activates=bool(flags & _APTPL) if registers else state.activates,
        specifies_ports=specifies_ports,
        ports=_decode_ports(task.nexus, data, known) if specifies_ports else (),
    )


def _decode_ports(nexus: str, data: bytes, known: Iterable[str]) -> Sequence[str]:
    """Return the nexuses that a list of TransportIDs (length, then IDs) at byte 24 names."""
    at = _PARAMETER_LIST.size
    ids_at = at + 4
    if len(data) < ids_at:
        raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
    if int.from_bytes(data[at:ids_at], "big") != len(data) - ids_at:
        raise invalid_field_in_parameter_list(at)
    found: dict[str, None] = {}
    at = ids_at
    while at < len(data):
        nexuses, at = _decode_nexuses(nexus, data, at, known)
        found.update(dict.fromkeys(nexuses))
    return list(found)


def _decode_nexuses(
    nexus: str, data: bytes, at: int, known: Iterable[str]
) -> tuple[Sequence[str], int]:
    """Return the nexuses of one TransportID through our target port, and where the next begins.

    One without an ISID stands for "all initiator ports known to the device server with an iSCSI
    node name matching the one in the TransportID" (SPC-5 7.6.4.6).
    """
    try:
        name, length = decode_transport_id(data[at:])
    except ValueError:
        raise invalid_field_in_parameter_list(at) from None
    if ",i,0x" in name:
        nexuses = [same_target_port(name, nexus)]
    else:
        nexuses = [
            other
            for other in known
            if node_name(initiator_port(other)) == name and target_node(other) == target_node(nexus)
        ]
        if not nexuses:
            raise invalid_field_in_parameter_list(at)
    return nexuses, at + length


def _decode_move(task: Task, data: bytes, state: PersistentState, known: Iterable[str]) -> Change:
    key, action_key, flags, port, id_bytes = _REGISTER_AND_MOVE.unpack_from(data)
    if id_bytes != len(data) - _REGISTER_AND_MOVE.size:
        raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
    if port != RELATIVE_TARGET_PORT:
        raise invalid_field_in_parameter_list(18)
    id_at = _REGISTER_AND_MOVE.size
    nexuses, end = _decode_nexuses(task.nexus, data, id_at, known)
    if len(nexuses) != 1 or end != len(data):
        raise invalid_field_in_parameter_list(id_at)
    return Change(
        task.nexus,
        state,
        task.cdb[2],
        key,
        action_key,
        activates=bool(flags & _APTPL),
        unregisters=bool(flags & _UNREG),
        ports=nexuses,
    )


def _register(change: Change) -> None:
    own = change.state.registered.get(change.nexus)
    if (own.key if own else 0) != change.key:
        raise ReservationConflict
    if change.specifies_ports:
        # SPC-5 table 59: only to register, and only for one that is not registered.
        if own is not None or not change.action_key:
            raise invalid_field_in_parameter_list(20, 3)
        if any(port in change.state.registered for port in change.ports):
            raise ReservationConflict
    _register_and_ignore(change)


def _register_and_ignore(change: Change) -> None:
    state = change.state
    if change.action_key:
        nexuses = dict.fromkeys((change.nexus, *change.ports))
        row = Registration(change.action_key, change.all_target_ports)
        state.registered.update(dict.fromkeys(nexuses, row))
        if len(state.registered) > MAX_REGISTRATIONS:
            raise illegal_request(ASC.INSUFFICIENT_REGISTRATION_RESOURCES)
    elif change.nexus in state.registered:
        ended = state.unregister(change.nexus)
        if ended is not None and ended.type.admits_registrants:
            change.tell_registrants(ASC.RESERVATIONS_RELEASED)
    else:
        return  # "Do nothing except return GOOD status"
    state.activates = change.activates
    change.counts = True


def _register_and_move(change: Change) -> None:
    """The reservation goes to another nexus, which is registered with it (SPC-5 5.14.8)."""
    change.require_registered()
    state, destination = change.state, change.ports[0]
    reservation = state.reservation
    if reservation is None:
        raise invalid_field_in_cdb(1, 4)
    if reservation.type.all_registrants:
        raise ReservationConflict
    if reservation.holder != change.nexus:
        raise invalid_field_in_cdb(1, 4)
    if not change.action_key:
        raise invalid_field_in_parameter_list(8)
    if destination == change.nexus:
        raise invalid_field_in_parameter_list(_REGISTER_AND_MOVE.size)
    state.registered[destination] = Registration(change.action_key)
    if len(state.registered) > MAX_REGISTRATIONS:
        raise illegal_request(ASC.INSUFFICIENT_REGISTRATION_RESOURCES)
    state.reservation = replace(reservation, holder=destination)
    if change.unregisters:
        state.unregister(change.nexus)
    state.activates = change.activates
    change.counts = True


def _reserve(change: Change) -> None:
    change.require_registered()
    state, kind = change.state, change.reservation_type()
    held = state.reservation
    if held is None:
        holder = None if kind.all_registrants else change.nexus
        state.reservation = PersistentReservation(kind, holder)
    elif not state.holds(change.nexus) or held.type is not kind:
        raise ReservationConflict


def _release(change: Change) -> None:
    change.require_registered()
    state, kind = change.state, change.reservation_type()
    held = state.reservation
    if held is None or not state.holds(change.nexus):
        return  # "shall not be considered an error"
    if held.type is not kind:
        raise illegal_request(ASC.INVALID_RELEASE_OF_PERSISTENT_RESERVATION)
    state.reservation = None
    if kind.admits_registrants:
        change.tell_registrants(ASC.RESERVATIONS_RELEASED)


def _clear(change: Change) -> None:
    change.require_registered()
    change.tell_registrants(ASC.RESERVATIONS_PREEMPTED)
    change.state.registered.clear()
    change.state.reservation = None
    change.counts = True


def _preempt(change: Change) -> None:
    """PREEMPT: the registrations of a key go, and the reservation if its holder was among them."""
    change.require_registered()
    state, action_key = change.state, change.action_key
    held = state.reservation
    everyone = held is not None and held.holder is None and action_key == 0
    if action_key == 0 and not everyone:
        raise invalid_field_in_parameter_list(8)
    same_key = [
        nexus for nexus, row in state.registered.items() if everyone or row.key == action_key
    ]
    if not same_key:
        raise ReservationConflict
    takes_over = held is not None and (
        everyone or (held.holder is not None and state.holder_key == action_key)
    )
    kind = change.reservation_type() if takes_over else None
    victims = [nexus for nexus in same_key if nexus != change.nexus]
    for nexus in victims:
        del state.registered[nexus]
    if kind is not None and held is not None:
        holder = None if kind.all_registrants else change.nexus
        state.reservation = PersistentReservation(kind, holder)
        if kind is not held.type:
            change.tell_registrants(ASC.RESERVATIONS_RELEASED)
    change.told += [(nexus, ASC.REGISTRATIONS_PREEMPTED) for nexus in victims]
    change.counts = True


def _preempt_and_abort(change: Change) -> None:
    """PREEMPT, and the tasks and prevention of medium removal of who is preempted end too."""
    before = set(change.state.registered)
    _preempt(change)
    change.aborted = sorted(before - set(change.state.registered))


_ACTIONS: dict[ServiceAction, Callable[[Change], None]] = {
    ServiceAction.REGISTER: _register,
    ServiceAction.RESERVE: _reserve,
    ServiceAction.RELEASE: _release,
    ServiceAction.CLEAR: _clear,
    ServiceAction.PREEMPT: _preempt,
    ServiceAction.PREEMPT_AND_ABORT: _preempt_and_abort,
    ServiceAction.REGISTER_AND_IGNORE_EXISTING_KEY: _register_and_ignore,
    ServiceAction.REGISTER_AND_MOVE: _register_and_move,
}
