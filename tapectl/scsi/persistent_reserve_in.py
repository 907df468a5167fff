"""PERSISTENT RESERVE IN (SPC-5 6.15)."""

from __future__ import annotations

import struct

from tapectl.scsi.command_table import Task, reply_truncated
from tapectl.scsi.device_server import Device
from tapectl.scsi.logical_unit import Reply
from tapectl.scsi.persistent_reserve import RELATIVE_TARGET_PORT
from tapectl.scsi.reservations import ReservationConflict, Reservations, ReservationType
from tapectl.scsi.transport_id import encode_transport_id, initiator_port

_FULL_STATUS = struct.Struct(">Q4xBB4xHI")
_ALL_TG_PT, _R_HOLDER = 0x02, 0x01
# Byte 2: CRH, SIP_C, ATP_C, PTPL_C; byte 3: TMV, and ALLOW COMMANDS 001b, "TEST UNIT READY".
_CAPABILITIES, _ALLOWED, _PTPL_A = 0x10 | 0x08 | 0x04 | 0x01, 0x80 | 0x10, 0x01


def _state(device: Device) -> Reservations:
    reservations = device.server.reservations
    if reservations.legacy_holder is not None:  # SPC-2 5.5.1: one way of reserving at a time
        raise ReservationConflict
    return reservations


def _reply(task: Task, generation: int, body: bytes) -> Reply:
    data = struct.pack(">II", generation & 0xFFFFFFFF, len(body)) + body
    return reply_truncated(data, int.from_bytes(task.cdb[7:9], "big"))


def read_keys(device: Device, task: Task) -> Reply:
    """READ KEYS: one for each registration, also where they are the same."""
    state = _state(device)
    keys = [row.key for row in state.persistent.registered.values()]
    return _reply(task, state.generation, b"".join(struct.pack(">Q", key) for key in keys))


def read_reservation(device: Device, task: Task) -> Reply:
    """READ RESERVATION; the key is zero for all registrants."""
    state = _state(device)
    reservation = state.persistent.reservation
    body = b""
    if reservation is not None:
        body = struct.pack(">Q5xB2x", state.persistent.holder_key, reservation.type)
    return _reply(task, state.generation, body)


def report_capabilities(device: Device, task: Task) -> Reply:
    """REPORT CAPABILITIES: everything but REPLACE LOST RESERVATION; whether APTPL is on."""
    types = 0
    for kind in ReservationType:
        types |= 1 << (kind + 8 if kind < 8 else 0)
    allowed = _ALLOWED | (_PTPL_A if _state(device).persistent.activates else 0)
    data = struct.pack(">HBBH2x", 8, _CAPABILITIES, allowed, types)
    return reply_truncated(data, int.from_bytes(task.cdb[7:9], "big"))


def read_full_status(device: Device, task: Task) -> Reply:
    """READ FULL STATUS: one descriptor for each registration, with its initiator port."""
    state = _state(device)
    persistent = state.persistent
    body = b""
    for nexus, row in persistent.registered.items():
        holds = persistent.holds(nexus)
        flags = (_ALL_TG_PT if row.all_target_ports else 0) | (_R_HOLDER if holds else 0)
        kind = persistent.reservation.type if persistent.reservation is not None and holds else 0
        transport_id = encode_transport_id(initiator_port(nexus))
        body += _FULL_STATUS.pack(row.key, flags, kind, RELATIVE_TARGET_PORT, len(transport_id))
        body += transport_id
    return _reply(task, state.generation, body)
