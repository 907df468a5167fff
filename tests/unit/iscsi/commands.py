"""PDUs and small steps that the tests of the full-feature phase share."""

from __future__ import annotations

from typing import Any

from tapectl.iscsi.connection import TargetConnection
from tapectl.iscsi.events import CommandReceived
from tapectl.iscsi.pdu import (
    R2TPDU,
    SCSICommandPDU,
    SCSIDataOutPDU,
)
from tapectl.iscsi.task import ScsiTask
from tests.unit.iscsi.wire import OPEN_ISCSI, feed, outgoing

READ, WRITE, FINAL = 0x40, 0x20, 0x80
NO_TAG = 0xFFFFFFFF
CDB = bytes.fromhex("0a000000100000000000000000000000")
SMALL = {**OPEN_ISCSI, "FirstBurstLength": "1024", "MaxBurstLength": "2048"}


def pattern(size: int) -> bytes:
    return bytes(i * 7 & 0xFF for i in range(size))


def command(cmd_sn: int, flags: int, expected: int = 0, **fields: Any) -> SCSICommandPDU:
    values = {"initiator_task_tag": 0x100 + (cmd_sn & 0xFFFF), "cdb": CDB, **fields}
    return SCSICommandPDU(
        cmd_sn=cmd_sn, flags=flags, expected_data_transfer_length=expected, **values
    )


def send(connection: TargetConnection, *pdus: Any) -> None:
    parameters = connection.session.parameters if connection.session else None
    assert parameters is not None
    for pdu in pdus:
        feed(
            connection,
            pdu.encode(header_digest=parameters.header_digest, data_digest=parameters.data_digest),
        )


def received_tasks(connection: TargetConnection) -> list[ScsiTask]:
    return [event.task for event in connection.events() if isinstance(event, CommandReceived)]


def one_task(connection: TargetConnection) -> ScsiTask:
    [task] = received_tasks(connection)
    return task


def answer_r2t(connection: TargetConnection, r2t: R2TPDU, data: bytes, segment: int) -> list[Any]:
    """Send what an R2T asks for in PDUs of `segment` bytes; return what the target sent."""
    end = r2t.buffer_offset + r2t.desired_data_transfer_length
    sent: list[Any] = []
    for data_sn, offset in enumerate(range(r2t.buffer_offset, end, segment)):
        piece = data[offset : min(offset + segment, end)]
        send(
            connection,
            SCSIDataOutPDU(
                flags=FINAL if offset + len(piece) == end else 0,
                lun=r2t.lun,
                initiator_task_tag=r2t.initiator_task_tag,
                target_transfer_tag=r2t.target_transfer_tag,
                data_sn=data_sn,
                buffer_offset=offset,
                data=piece,
            ),
        )
        sent += outgoing(connection)
    return sent
