"""READ(6), WRITE(6), WRITE FILEMARKS(6) and ERASE(6): the way of every block (SSC-5 5, 6).

Fixed or variable, a cartridge holds blocks of whatever length; FIXED says only how
a command counts them.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from tapectl.scsi.cartridge import (
    CartridgeBusyError,
    CartridgeFullError,
    CartridgeReadError,
    CartridgeWriteError,
    Mark,
)
from tapectl.scsi.command_table import GOOD, Task
from tapectl.scsi.logical_unit import Reply, Status
from tapectl.scsi.sense import ASC, CheckCondition, Sense, SenseKey, invalid_field_in_cdb
from tapectl.scsi.ssc.block_coding import received, to_be_recorded
from tapectl.scsi.ssc.block_protection import protection
from tapectl.scsi.ssc.data_buffer import MAX_TRANSFER_BYTES
from tapectl.scsi.ssc.failures import sense_of_unreadable
from tapectl.scsi.ssc.mode_pages import short_erase_has_no_effect

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive

_FIXED = 0x01
_SILI = 0x02
_IMMED = 0x01
_LONG = 0x01
_TRANSFER_LENGTH_BYTE = 2
_GOOD = Status.GOOD


def read_6(drive: TapeDrive, task: Task) -> Reply:
    """READ(6)."""
    cdb = task.cdb
    length = cdb[2] << 16 | cdb[3] << 8 | cdb[4]
    if drive.unsynchronised:
        drive.synchronise()
    if cdb[1] & _FIXED:
        if cdb[1] & _SILI:  # "If the FIXED bit is set to one ... SILI bit ... 5/24"
            raise invalid_field_in_cdb(1, 1)
        return _read_fixed(drive, task.nexus, length)
    if not length:
        return GOOD
    view = drive.data_buffer.view(length)
    drive.early_warning.moved()
    try:
        outcome = drive.threaded_medium().read_block(view)
    except CartridgeReadError as error:
        return drive.server.check_condition(sense_of_unreadable(error, length))
    if drive.coded or not isinstance(outcome, int):
        outcome = received(drive, task.nexus, outcome, view, residue=length)
    if isinstance(outcome, int):
        if outcome == length:
            drive.counters.mounted.read_bytes += length
            return Reply(_GOOD, view)
        return _incorrect_length(drive, view, outcome, suppress=bool(cdb[1] & _SILI))
    return drive.server.check_condition(stopped_by(outcome, length))


def _incorrect_length(drive: TapeDrive, view: memoryview, actual: int, *, suppress: bool) -> Reply:
    """A variable READ met a block of another length: `view` is as long as was asked for.

    SSC, READ(6), SILI: "report CHECK CONDITION status for an incorrect-length condition only if
    the overlength condition exists and the BLOCK LENGTH field in the mode parameter block
    descriptor is nonzero".
    """
    requested = len(view)
    transferred = view[: min(actual, requested)]
    drive.counters.mounted.read_bytes += len(transferred)
    if suppress and (actual < requested or not drive.parameters.block_bytes):
        return Reply(_GOOD, transferred)
    sense = Sense(
        SenseKey.NO_SENSE,
        ASC.NO_ADDITIONAL_SENSE_INFORMATION,
        information=requested - actual,
        incorrect_length=True,
    )
    return drive.server.check_condition(sense, transferred)


def stopped_by(mark: Mark, residue: int) -> Sense:
    """Return the sense of a read that met a mark; `residue` is what was not read."""
    if mark is Mark.FILEMARK:
        return Sense(SenseKey.NO_SENSE, ASC.FILEMARK_DETECTED, information=residue, filemark=True)
    # EOM stays clear: Linux st takes it for the end of the tape and the data for good.
    return Sense(SenseKey.BLANK_CHECK, ASC.END_OF_DATA_DETECTED, information=residue)


def _read_fixed(drive: TapeDrive, nexus: str, count: int) -> Reply:
    """Read `count` blocks, each as long as the block descriptor says; INFORMATION counts blocks."""
    block_bytes = drive.parameters.block_bytes
    if not block_bytes:
        raise invalid_field_in_cdb(1, 0)
    if count * block_bytes > MAX_TRANSFER_BYTES:
        raise invalid_field_in_cdb(_TRANSFER_LENGTH_BYTE)
    if not count:
        return GOOD
    medium = drive.threaded_medium()
    view = drive.data_buffer.view(count * block_bytes)
    drive.early_warning.moved()
    start = medium.position
    done = 0
    try:
        while done < count:
            at = done * block_bytes
            block = view[at : at + block_bytes]
            outcome = medium.read_block(block)
            if drive.coded or not isinstance(outcome, int):
                outcome = received(drive, nexus, outcome, block, residue=count - done)
            if outcome != block_bytes:
                sense = _fixed_stopped_by(outcome, count - done)
                drive.counters.mounted.read_bytes += at
                return drive.server.check_condition(sense, view[:at])
            done += 1
    except CartridgeBusyError:
        medium.locate(start)
        raise
    except CartridgeReadError as error:
        sense = sense_of_unreadable(error, count - done)
        return drive.server.check_condition(sense, view[: done * block_bytes])
    except CheckCondition as refusal:
        return drive.server.check_condition(refusal.sense, view[: done * block_bytes])
    drive.counters.mounted.read_bytes += len(view)
    return Reply(_GOOD, view)


def _fixed_stopped_by(outcome: int | Mark, residue: int) -> Sense:
    """A block of the wrong length is passed, is not transferred, and counts as not read."""
    if isinstance(outcome, Mark):
        return stopped_by(outcome, residue)
    return Sense(
        SenseKey.NO_SENSE,
        ASC.NO_ADDITIONAL_SENSE_INFORMATION,
        information=residue,
        incorrect_length=True,
    )


def write_6(drive: TapeDrive, task: Task) -> Reply:
    """WRITE(6)."""
    cdb = task.cdb
    length = cdb[2] << 16 | cdb[3] << 8 | cdb[4]
    if cdb[1] & _FIXED:
        block_bytes = drive.parameters.block_bytes
        if not block_bytes:
            raise invalid_field_in_cdb(1, 0)
        length *= block_bytes
    else:
        block_bytes = length
        longest = drive.personality.maximum_block_bytes
        if length > longest and length > longest + _written_protection_bytes(drive, task.nexus):
            raise invalid_field_in_cdb(_TRANSFER_LENGTH_BYTE)
    if drive.guarded:
        drive.check_writable()
    if not length:
        return GOOD
    data = task.data_out
    if len(data) != length:
        return _write_with_residual(drive, task, length)
    medium = drive.threaded_medium()
    # Before the write, so that what a failing one leaves behind is synchronised too.
    drive.unsynchronised = True
    if drive.coded or block_bytes != length or not drive.parameters.buffered:
        return _write_blocks_slowly(drive, task, block_bytes)
    try:
        medium.write_blocks(data, block_bytes)
    except CartridgeFullError:
        raise _volume_overflow(_transfer_length(cdb)) from None
    except CartridgeWriteError as error:
        raise _write_failed(_transfer_length(cdb)) from error
    return _written(drive, length)


def _transfer_length(cdb: bytes) -> int:
    """What INFORMATION counts down from: blocks with FIXED, bytes of the one block without."""
    return int.from_bytes(cdb[2:5], "big")


def _written_protection_bytes(drive: TapeDrive, nexus: str) -> int:
    return protection(drive.server.mode_pages, nexus).written_bytes


def _write_with_residual(drive: TapeDrive, task: Task, length: int) -> Reply:
    """The initiator declared other than the `length` bytes that its CDB asks us to write.

    What is beyond them is passed over; where they are not all there, no block is cut short.
    """
    if len(task.data_out) < length:
        refusal = invalid_field_in_cdb(_TRANSFER_LENGTH_BYTE)
        reply = drive.server.check_condition(refusal.sense)
    else:
        reply = write_6(drive, Task(task.nexus, task.cdb, task.data_out[:length]))
    return replace(reply, data_out_bytes=length)


def _write_blocks_slowly(drive: TapeDrive, task: Task, block_bytes: int) -> Reply:
    """Write several blocks, or coded ones, or one that must be on stable storage before GOOD."""
    medium = drive.threaded_medium()
    start = medium.position
    data, requested = task.data_out, _transfer_length(task.cdb)
    recorded, recorded_block_bytes, encrypted = data, block_bytes, False
    attributes: AbstractContextManager[None] = nullcontext()
    if drive.coded:
        try:
            recorded, recorded_block_bytes, encrypted = to_be_recorded(
                drive, task.nexus, data, block_bytes, residue=requested
            )
        except CheckCondition:
            drive.overwriting.give_back(medium)
            raise
        attributes = drive.encrypted_blocks.writing(medium, encrypted=encrypted)
    try:
        with attributes:
            medium.write_blocks(recorded, recorded_block_bytes, encrypted=encrypted)
    except CartridgeFullError as error:
        drive.counters.mounted.written_bytes += error.written * block_bytes
        raise _volume_overflow(requested - error.written) from None
    except CartridgeWriteError as error:
        raise _write_failed(requested - (medium.position - start)) from error
    if not drive.parameters.buffered:
        drive.synchronise_or_step_back(start)
    return _written(drive, len(data), len(recorded))


def _written(drive: TapeDrive, wrote_bytes: int, recorded_bytes: int | None = None) -> Reply:
    """Count what a command wrote, of which the medium took `recorded_bytes` if not as many."""
    drive.counters.mounted.written_bytes += wrote_bytes
    recorded = wrote_bytes if recorded_bytes is None else recorded_bytes
    warning = drive.early_warning.after_write(drive, recorded)
    if warning is not None:
        return drive.server.check_condition(warning)
    return drive.written


def _volume_overflow(residue: int) -> CheckCondition:
    code = ASC.END_OF_PARTITION_MEDIUM_DETECTED
    sense = Sense(SenseKey.VOLUME_OVERFLOW, code, information=residue, end_of_medium=True)
    return CheckCondition(sense)


def _write_failed(residue: int) -> CheckCondition:
    return CheckCondition(Sense(SenseKey.MEDIUM_ERROR, ASC.WRITE_ERROR, information=residue))


def write_filemarks_6(drive: TapeDrive, task: Task) -> Reply:
    """WRITE FILEMARKS(6): unless IMMED is set, everything written is on stable storage after it.

    "A transfer length of zero ... is not considered an error", and synchronises: also on a
    medium that is write protected.
    """
    cdb = task.cdb
    if cdb[1] & 0x02:  # WSMK, obsolete
        raise invalid_field_in_cdb(1, 1)
    count = int.from_bytes(cdb[2:5], "big")
    immediate = cdb[1] & _IMMED
    medium = drive.threaded_medium()
    if not count:
        if not immediate:
            drive.synchronise()
        return GOOD
    if drive.guarded:
        drive.check_writable()
    start = medium.position
    drive.unsynchronised = True
    try:
        with drive.encrypted_blocks.ending(medium) if drive.coded else nullcontext():
            medium.write_filemarks(count)
    except CartridgeFullError as error:
        raise _volume_overflow(count - error.written) from None
    except CartridgeWriteError as error:
        raise _write_failed(count - (medium.position - start)) from error
    if not immediate:
        drive.synchronise_or_step_back(start)
    return _written(drive, 0)


def erase_6(drive: TapeDrive, task: Task) -> Reply:
    """ERASE(6), short or long: the position becomes end of data.

    What was recorded is gone for readers either way; a long erase has no pattern to leave behind.
    A short one does nothing where SHORT ERASE MODE says so. IMMED makes no difference.
    """
    medium = drive.threaded_medium()
    if drive.guarded:
        drive.check_writable(appends=False)
    if not task.cdb[1] & _LONG and short_erase_has_no_effect(drive):
        drive.synchronise()
        return GOOD
    drive.unsynchronised = True
    try:
        with drive.encrypted_blocks.ending(medium) if drive.coded else nullcontext():
            medium.erase()
    except CartridgeWriteError as error:
        raise _write_failed(0) from error
    drive.synchronise()
    return GOOD
