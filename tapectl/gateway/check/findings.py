"""What a check can find: codes that stay, how bad each is, and what to do about it."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType


@enum.unique
class Severity(enum.StrEnum):
    """ERROR: data or a promise is at stake. WARNING: will be, or something does not work.
    INFO: passes by itself, or is only worth knowing; a check that finds no more is clean."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class FindingKind:
    """How bad a finding is and what to do about it."""

    severity: Severity
    hint: str


@enum.unique
class Code(enum.StrEnum):
    """The stable words of findings; never renamed."""

    # Host
    OPEN_FILES_LIMIT = "open_files_limit"
    CLOCK_BEHIND = "clock_behind"
    STATE_PERMISSIONS = "state_permissions"
    STATE_SPACE = "state_space"
    STATE_DAMAGED = "state_damaged"
    LEFTOVER_PROCESS = "leftover_process"
    FRONT_END_LACKS = "front_end_lacks"
    FRONT_END_FALLS_BACK = "front_end_falls_back"
    # Disks
    DISKS_NEEDED = "disks_needed"
    DISK_MISSING = "disk_missing"
    DISK_MISMATCH = "disk_mismatch"
    DISK_READ_ONLY = "disk_read_only"
    DISK_FAILING = "disk_failing"
    DISK_FULL = "disk_full"
    DISK_TOO_LARGE = "disk_too_large"
    DISK_SIZE = "disk_size"
    DISK_DRAINING = "disk_draining"
    DISK_PERMISSIONS = "disk_permissions"
    DISK_NOT_IN_FSTAB = "disk_not_in_fstab"
    DISKS_SHARED = "disks_shared"
    # Segments on the disks
    SEGMENT_LOST = "segment_lost"
    SECOND_COPY_MISSING = "second_copy_missing"
    COPY_MISSING = "copy_missing"
    COPY_DAMAGED = "copy_damaged"
    BUFFER_COPY_KEPT = "buffer_copy_kept"
    SEGMENT_UNSEALED = "segment_unsealed"
    SEGMENT_UNRECORDED = "segment_unrecorded"
    ORPHAN_FILE = "orphan_file"
    FOREIGN_FILE = "foreign_file"
    # Tapes
    TAPE_GAP = "tape_gap"
    TAPE_IRRECOVERABLE = "tape_irrecoverable"
    TAPE_WAITS = "tape_waits"
    TAPE_STUCK = "tape_stuck"
    TAPE_ELEMENT = "tape_element"
    UPLOAD_BACKLOG = "upload_backlog"
    TAPE_KEY_MISSING = "tape_key_missing"
    # Store
    STORE_UNREACHABLE = "store_unreachable"
    STORE_OWNERSHIP = "store_ownership"
    STORE_MANIFEST_MISSING = "store_manifest_missing"
    STORE_OBJECT_MISSING = "store_object_missing"
    STORE_OBJECT_UNKNOWN = "store_object_unknown"


_E, _W, _I = Severity.ERROR, Severity.WARNING, Severity.INFO
_REPAIR = "run `tapectl check --repair`"

# fmt: off
KINDS: Mapping[Code, FindingKind] = MappingProxyType({
    Code.OPEN_FILES_LIMIT:       FindingKind(_W, "raise it: LimitNOFILE= in the systemd unit, or"
                                                 " ulimit -n"),
    Code.CLOCK_BEHIND:           FindingKind(_W, "set the clock; holds and retrievals depend on"
                                                 " it, and S3 refuses requests of another time"),
    Code.STATE_PERMISSIONS:      FindingKind(_E, "chmod go= on it: CHAP secrets are in the state"),
    Code.STATE_SPACE:            FindingKind(_W, "make room there: nothing can be written without"
                                                 " the state"),
    Code.STATE_DAMAGED:          FindingKind(_E, "put a copy of the file back; the tapes are safe"
                                                 " in the store"),
    Code.LEFTOVER_PROCESS:       FindingKind(_W, "it ends by itself when it has flushed; if not,"
                                                 " look at that process"),
    Code.FRONT_END_LACKS:        FindingKind(_E, "or set frontend to user, which needs nothing"),
    Code.FRONT_END_FALLS_BACK:   FindingKind(_I, "frontend is auto: our own target is used"),
    Code.DISKS_NEEDED:           FindingKind(_E, "add one with `tapectl disk add-cache` or"
                                                 " `tapectl disk add-buffer`; until then nothing"
                                                 " is written, and without a cache nothing read"
                                                 " that is in the store only"),
    Code.DISK_MISSING:           FindingKind(_E, "mount it; if it is dead, add another and"
                                                 " `tapectl disk remove --force` this one"),
    Code.DISK_MISMATCH:          FindingKind(_E, "mount the right disk at this path"),
    Code.DISK_READ_ONLY:         FindingKind(_E, "look at the kernel's log; if the device fails,"
                                                 " add another and `tapectl disk drain` this one"),
    Code.DISK_FAILING:           FindingKind(_W, "add another and `tapectl disk drain` this one;"
                                                 " if it is well again, `tapectl check --repair`"),
    Code.DISK_FULL:              FindingKind(_W, "writers wait for uploads: see `tapectl status`,"
                                                 " or add a disk"),
    Code.DISK_TOO_LARGE:         FindingKind(_W, "it was given more room than its file system has"),
    Code.DISK_SIZE:              FindingKind(_I, "AWS takes 150 GiB to 64 TiB of cache and 150 GiB"
                                                 " to 2 TiB of upload buffer"),
    Code.DISK_DRAINING:          FindingKind(_I, "then `tapectl disk remove` takes it away"),
    Code.DISK_PERMISSIONS:       FindingKind(_W, "chmod go= on it: data of tapes is there"),
    Code.DISK_NOT_IN_FSTAB:      FindingKind(_W, "add it to /etc/fstab, or it is missing after the"
                                                 " next start"),
    Code.DISKS_SHARED:           FindingKind(_I, "use two disks: when this one fails, what is not"
                                                 " uploaded is lost"),
    Code.SEGMENT_LOST:           FindingKind(_E, "put the disk back that had it; its blocks read as"
                                                 " medium errors, all others can be read"),
    Code.SECOND_COPY_MISSING:    FindingKind(_W, _REPAIR),
    Code.COPY_MISSING:           FindingKind(_W, _REPAIR),
    Code.COPY_DAMAGED:           FindingKind(_W, _REPAIR),
    Code.BUFFER_COPY_KEPT:       FindingKind(_W, _REPAIR),
    Code.SEGMENT_UNSEALED:       FindingKind(_I, "the next load, or `tapectl sync`, seals it"),
    Code.SEGMENT_UNRECORDED:     FindingKind(_I, "the next load, or `tapectl sync`, enters it"),
    Code.ORPHAN_FILE:            FindingKind(_I, "the next start of `serve` removes it, or"
                                                 " --repair"),
    Code.FOREIGN_FILE:           FindingKind(_W, "nothing is known of it, so nothing removes it:"
                                                 " look where it comes from"),
    Code.TAPE_GAP:               FindingKind(_E, "it cannot be loaded: a segment in the middle is"
                                                 " not known"),
    Code.TAPE_IRRECOVERABLE:     FindingKind(_W, "see `tapectl events`; `tapectl tape delete`"
                                                 " gives it up"),
    Code.TAPE_WAITS:             FindingKind(_W, "it goes on by itself when the cause is gone"),
    Code.TAPE_STUCK:             FindingKind(_W, "see `tapectl status` and the log of"
                                                 " `tapectl serve`"),
    Code.TAPE_ELEMENT:           FindingKind(_E, _REPAIR),
    Code.UPLOAD_BACKLOG:         FindingKind(_I, "`tapectl serve` or `tapectl sync` uploads it"),
    Code.TAPE_KEY_MISSING:       FindingKind(_E, "bring the key with `tapectl key import FILE`:"
                                                 " without it nobody can read the tape"),
    Code.STORE_UNREACHABLE:      FindingKind(_E, "the store was not looked at; writing goes on"
                                                 " until the upload buffer is full"),
    Code.STORE_OWNERSHIP:        FindingKind(_E, "another gateway may own the tape; nothing of it"
                                                 " is uploaded from here"),
    Code.STORE_MANIFEST_MISSING: FindingKind(_E, "something else has deleted objects in the"
                                                 " bucket"),
    Code.STORE_OBJECT_MISSING:   FindingKind(_E, "something else has deleted objects in the"
                                                 " bucket; --repair puts back what is on a disk"),
    Code.STORE_OBJECT_UNKNOWN:   FindingKind(_I, "left there: it may be from before this state"
                                                 " file"),
})
# fmt: on


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a check has found.

    `subject_type` is gateway, disk, tape or file; `tapes` are the barcodes that it concerns.
    """

    code: Code
    subject_type: str
    subject: str
    message: str
    tapes: Sequence[str] = ()

    @property
    def severity(self) -> Severity:
        return KINDS[self.code].severity

    @property
    def hint(self) -> str:
        return KINDS[self.code].hint


def of_tape(code: Code, barcode: str, message: str) -> Finding:
    """Return a finding about one tape."""
    return Finding(
        code=code, subject_type="tape", subject=barcode, message=message, tapes=(barcode,)
    )


def of_disk(code: Code, disk_id: str, message: str, tapes: Sequence[str] = ()) -> Finding:
    """Return a finding about one disk, and the tapes that depend on it."""
    return Finding(code=code, subject_type="disk", subject=disk_id, message=message, tapes=tapes)


def of_gateway(code: Code, gateway_id: str, message: str, tapes: Sequence[str] = ()) -> Finding:
    """Return a finding about the gateway as a whole."""
    return Finding(
        code=code, subject_type="gateway", subject=gateway_id, message=message, tapes=tapes
    )


def worst(findings: Sequence[Finding]) -> Severity | None:
    """Return the severity of the worst finding, None where there is none."""
    order = list(Severity)
    return min((found.severity for found in findings), key=order.index, default=None)
