"""VERIFY(6): read without handing out, or compare with what the initiator sends (SSC-5 5.14)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tapectl.scsi.cartridge import (
    Cartridge,
    CartridgeBusyError,
    CartridgeReadError,
    CommandUnfinishedError,
    EncryptedBlock,
    Mark,
)
from tapectl.scsi.command_table import GOOD, Task
from tapectl.scsi.logical_unit import Reply
from tapectl.scsi.sense import ASC, CheckCondition, Sense, SenseKey, invalid_field_in_cdb
from tapectl.scsi.ssc.block_coding import read_plain_block
from tapectl.scsi.ssc.data_buffer import MAX_TRANSFER_BYTES
from tapectl.scsi.ssc.failures import sense_of_unreadable
from tapectl.scsi.ssc.read_write import stopped_by

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive

# So much is checked before others are served: initiators give a silent session up.
_SLICE_BYTES = 256 << 20
_VTE, _VBF, _BYTCMP, _FIXED = 0x20, 0x08, 0x02, 0x01
_LENGTH_BYTE = 2


def verify_6(drive: TapeDrive, task: Task) -> Reply:
    """VERIFY(6): so many blocks, one block, so many filemarks (VBF), or up to end of data (VTE)."""
    cdb = task.cdb
    length = int.from_bytes(cdb[2:5], "big")
    drive.synchronise()
    if cdb[1] & (_VBF | _VTE):
        _verify_far(drive, cdb, length)
        return GOOD
    block_bytes = drive.parameters.block_bytes if cdb[1] & _FIXED else length
    count = length if cdb[1] & _FIXED else 1
    if not block_bytes and cdb[1] & _FIXED:
        raise invalid_field_in_cdb(1, 0)
    if not length:
        return GOOD
    if count * block_bytes > MAX_TRANSFER_BYTES:
        raise invalid_field_in_cdb(_LENGTH_BYTE)
    expected: memoryview | None = None
    if cdb[1] & _BYTCMP:
        expected = task.data_out
        if len(expected) < count * block_bytes:
            raise invalid_field_in_cdb(_LENGTH_BYTE)
    asked = _Asked(count, block_bytes, expected, fixed=bool(cdb[1] & _FIXED))
    _verify_blocks(drive, task.nexus, asked)
    return GOOD


class UnfinishedVerify(NamedTuple):
    """A VERIFY that goes on here when the command with the very same `cdb` is run again."""

    cdb: bytes
    medium: Cartridge
    start: tuple[int, int]
    partition: int
    position: int
    left: int


@dataclass(frozen=True, slots=True)
class _Asked:
    """`count` blocks of `block_bytes`, which if any are `expected` are these."""

    count: int
    block_bytes: int
    expected: memoryview | None
    fixed: bool


def _verify_blocks(drive: TapeDrive, nexus: str, asked: _Asked) -> None:
    """INFORMATION counts blocks where they are fixed, and bytes of the one otherwise."""
    block_bytes = asked.block_bytes
    medium = drive.threaded_medium()
    view = drive.data_buffer.view(block_bytes)
    drive.early_warning.moved()
    start = medium.position
    for done in range(asked.count):
        residue = asked.count - done if asked.fixed else block_bytes
        try:
            outcome = read_plain_block(drive, nexus, view, residue=residue)
        except CartridgeReadError as error:
            raise CheckCondition(sense_of_unreadable(error, residue)) from error
        except CartridgeBusyError:
            medium.locate(start)
            raise
        if isinstance(outcome, Mark):
            raise CheckCondition(stopped_by(outcome, residue))
        if outcome != block_bytes:
            raise CheckCondition(
                Sense(
                    SenseKey.NO_SENSE,
                    ASC.NO_ADDITIONAL_SENSE_INFORMATION,
                    information=residue if asked.fixed else block_bytes - outcome,
                    incorrect_length=True,
                )
            )
        expected = asked.expected
        if expected is not None and view != expected[done * block_bytes :][:block_bytes]:
            sense = Sense(SenseKey.MISCOMPARE, ASC.MISCOMPARE_DURING_VERIFY_OPERATION, residue)
            raise CheckCondition(sense)


def _verify_far(drive: TapeDrive, cdb: bytes, length: int) -> None:
    """Check what is recorded between here and a filemark or end of data, whatever its length."""
    if cdb[1] & (_BYTCMP | _FIXED):
        raise invalid_field_in_cdb(1, 1 if cdb[1] & _BYTCMP else 0)
    to_end = bool(cdb[1] & _VTE)
    if to_end and (cdb[1] & _VBF or length):
        raise invalid_field_in_cdb(1, 5)
    medium = drive.threaded_medium()
    drive.early_warning.moved()
    unfinished, drive.unfinished_verify = drive.unfinished_verify, None
    left, start = length, (medium.partition, medium.position)
    if unfinished is not None and unfinished.cdb is cdb and unfinished.medium is medium:
        left, start = unfinished.left, unfinished.start
        medium.select_partition(unfinished.partition)
        medium.locate(unfinished.position)
    budget = _SLICE_BYTES
    try:
        while left or to_end:
            if budget <= 0:
                raise CommandUnfinishedError("verifying")
            outcome = _read_any(drive, medium, left)
            if outcome is Mark.FILEMARK:
                left -= not to_end
            elif outcome is Mark.END_OF_DATA:
                if to_end:
                    return
                raise CheckCondition(stopped_by(outcome, left))
            elif isinstance(outcome, EncryptedBlock):
                budget -= len(outcome.data)
            elif isinstance(outcome, int):
                budget -= outcome
    except CartridgeBusyError:
        place = medium.partition, medium.position
        drive.unfinished_verify = UnfinishedVerify(cdb, medium, start, *place, left)
        # Nobody is to see a command half done, least of all when it is never run again.
        medium.select_partition(start[0])
        medium.locate(start[1])
        raise


def _read_any(drive: TapeDrive, medium: Cartridge, residue: int) -> int | Mark | EncryptedBlock:
    """Read the next object; what the drive has encrypted proves itself by its checksum."""
    try:
        return medium.read_block(drive.data_buffer.view(1))
    except CartridgeReadError as error:
        raise CheckCondition(sense_of_unreadable(error, residue)) from error
