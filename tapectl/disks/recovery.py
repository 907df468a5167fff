"""What a process that was killed left of a tape: its unsealed segments become sealed ones.

All copies of a segment are read frame by frame; each frame is taken from a copy that has it whole,
or from what the process had not brought to any of them yet (`staging`), and put right in the
others. What is nowhere was never acknowledged, or was lost in a power cut before anyone
synchronised it; then so is every segment that goes on from there. All steps may be cut short and
done again.

A disk that refuses something is only read from then on: the copy that it had goes to another disk
of its role, and where there is none the segment has one copy less.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Container, Mapping
from pathlib import Path

from tapectl.disks.disk_directory import BUFFER_ROLE, CACHE_ROLE, read_marker
from tapectl.disks.interface import SegmentJournal
from tapectl.disks.recovered_copies import RecoveredCopies, SegmentName
from tapectl.disks.segment_files import DiskFailedError
from tapectl.disks.staging import reached_bytes, remove_staged
from tapectl.disks.tape_files import OPEN, SEALED, TapeDescription, tape_folder
from tapectl.medium.segment import SEGMENT_HEADER_BYTES, SegmentHeader, encode_tail
from tapectl.scsi.cartridge import CartridgeReadError, CartridgeWriteError

_log = logging.getLogger(__name__)


def recover(tape: TapeDescription, journal: SegmentJournal, journalled: Container[int]) -> int:
    """Seal what was left open, enter in the journal what was sealed; return how many segments.

    `journalled` are the sequence numbers that the journal has.

    Raises CartridgeBusyError if a lost copy has no room yet, CartridgeReadError for a segment that
    cannot be known, CartridgeWriteError if no disk takes it.
    """
    recovered = 0
    try:
        for sequence, names in sorted(_find(tape.barcode, journal).items()):
            if sequence not in journalled:
                _recover_segment(tape, sequence, journal)
                recovered += 1
                continue
            # It was sealed without this copy, whose disk was away or had failed.
            for name in names:
                if name.path.suffix == OPEN:
                    name.remove()
        if not journal.lacks_disks():  # the segment that it belongs to may be on one
            remove_staged(journal.staging_path(tape.uuid))
    except OSError as exc:
        raise CartridgeWriteError(f"recovery of {tape.barcode}: {exc}") from exc
    return recovered


def _find(barcode: str, journal: SegmentJournal) -> Mapping[int, list[SegmentName]]:
    """Return the names of segments on the disks that can be looked at; raise CartridgeReadError if
    none can."""
    found: dict[int, list[SegmentName]] = defaultdict(list)
    disks = journal.disk_paths()
    failures: list[OSError] = []
    for disk in disks:
        try:
            names = sorted(tape_folder(disk, barcode).iterdir())
        except FileNotFoundError:
            continue
        except OSError as exc:
            failures.append(exc)
            continue
        segments = [name for name in names if name.suffix in (OPEN, SEALED) and name.stem.isdigit()]
        marker = read_marker(disk) if segments else None
        if segments and marker is None:
            raise CartridgeReadError(f"no marker of a disk of ours: {disk}")
        for name in segments:
            assert marker is not None, "checked above"
            found[int(name.stem)].append(SegmentName(name, disk, marker))
    if failures and len(failures) == len(disks):
        raise CartridgeReadError(f"no disk can be looked at: {failures[0]}")
    return found


def _recover_segment(tape: TapeDescription, sequence: int, journal: SegmentJournal) -> None:
    """Try with all disks, then without each that refuses, until none is left."""
    failed: set[Path] = set()
    while True:
        names = _find(tape.barcode, journal).get(sequence, ())
        if not names:
            raise CartridgeReadError(f"no copy of segment {sequence} of {tape.barcode} is there")
        try:
            staged = journal.staging_path(tape.uuid)
            _seal_again(tape, sequence, RecoveredCopies(names, failed, staged), journal)
            return
        except DiskFailedError as exc:
            if exc.disk in failed:
                raise
            _log.error("%s: segment %d: %s", tape.barcode, sequence, exc)
            if exc.sick:
                journal.note_failure(exc.disk, str(exc))
            failed.add(exc.disk)


def _seal_again(
    tape: TapeDescription, sequence: int, copies: RecoveredCopies, journal: SegmentJournal
) -> None:
    with copies:
        header = copies.header(tape, sequence)
        scanned = copies.scan(header) if header is not None else None
        found_bytes = SEGMENT_HEADER_BYTES if scanned is None else scanned.end_offset
        _require_all(tape, sequence, found_bytes, journal)
        if scanned is None or not (scanned.index.object_count or scanned.erases):
            copies.discard()
            return
        if not _has_predecessor(tape, scanned.header, journal):
            _log.warning(
                "%s: segment %d goes on from segment %d, of which the end was never synchronised"
                " and is lost: so is what came after it",
                tape.barcode,
                sequence,
                scanned.header.follows,
            )
            copies.discard()
            return
        copies.complete(tape.barcode, sequence, journal)
        copies.write(scanned.header)
        summary = scanned.summary
        copies.seal(encode_tail(summary, scanned.index), summary.file_bytes)
        journal.record_sealed(
            tape.barcode,
            summary,
            cache_disk_id=copies.disk_id(CACHE_ROLE),
            buffer_disk_id=copies.disk_id(BUFFER_ROLE),
        )
        copies.remove_others()


def _require_all(
    tape: TapeDescription, sequence: int, found_bytes: int, journal: SegmentJournal
) -> None:
    """See that all is there that was acknowledged, if the copies may differ.

    Raises CartridgeReadError if the rest may be on a disk that is not there. One that is there and
    has it not has lost it with the power, before anyone synchronised it.
    """
    reached = reached_bytes(journal.staging_path(tape.uuid), sequence)
    if found_bytes >= reached:
        return
    if journal.lacks_disks():
        raise CartridgeReadError(
            f"the end of segment {sequence} of {tape.barcode}: a disk is missing"
        )
    _log.warning(
        "%s: segment %d ends %d bytes before what was written and never synchronised",
        tape.barcode,
        sequence,
        reached - found_bytes,
    )


def _has_predecessor(tape: TapeDescription, header: SegmentHeader, journal: SegmentJournal) -> bool:
    """Whether the segment that this one goes on from is there, up to where this one begins.

    It is, after any death of a process. After a power cut the disks may hold the later one and less
    of the earlier one; then nobody was told that either is safe, and the later one would
    stand on nothing, or on older objects in the place of those that are lost.
    Raises CartridgeReadError if it may be on a disk that is not there.
    """
    if not header.follows:
        return True
    for segment in journal.segments(tape.barcode):
        summary = segment.summary
        if summary.sequence == header.follows:
            return summary.first_object + summary.object_count >= header.first_object
    if journal.lacks_disks():
        raise CartridgeReadError(f"segment {header.follows} of {tape.barcode}: a disk is missing")
    return False
