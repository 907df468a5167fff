"""How a drive goes on after its worker's death as if nothing had been: for initiators nothing was.

The kernel keeps their sessions and what they have sent. A command that had run and was not answered
is answered as it was; one that had only begun is run again from where it began, so that nothing it
recorded is there twice. What the drive cannot take over it says by a power on attention.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from tapectl.lio.journal import Journal, Left, Phase
from tapectl.lio.ring import RingCommand
from tapectl.scsi.cartridge import CartridgeError
from tapectl.scsi.logical_unit import Status
from tapectl.scsi.sense import ASC, Sense, SenseKey
from tapectl.scsi.ssc.continuation import encode_continuation, go_on, place_of
from tapectl.scsi.ssc.drive import TapeDrive

_log = logging.getLogger(__name__)

# A command by which a worker dies again and again is not run for ever.
ATTEMPTS_MAX = 3
_WRITE_6, _WRITE_FILEMARKS_6 = 0x0A, 0x10
_FIXED = 0x01
# Commands that change nothing of a drive but the place of its tape, when they end well.
_MOVE_ONLY = frozenset((0x00, 0x01, 0x08, 0x0A, 0x10, 0x11, 0x2B, 0x34, 0x92, 0x91))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended; `data_in_bytes` are in the ring's memory already."""

    status: int
    sense: bytes
    data_in_bytes: int


GOOD = Outcome(Status.GOOD, b"", 0)
FAILED = Outcome(
    Status.CHECK_CONDITION,
    Sense(SenseKey.HARDWARE_ERROR, ASC.INTERNAL_TARGET_FAILURE).encode_fixed(),
    0,
)


class Continuity:
    """Keeps the journal of a drive, and reads what the last process left. One thread at a time."""

    def __init__(self, drive: TapeDrive, nexus: str, journal: Journal) -> None:
        self._drive = drive
        self._nexus = nexus
        self._journal = journal
        self._kept = b""
        self._attempts = 0
        # What the last process left of the command at the tail, until that has been looked at.
        self._left: Left | None = None

    def take_over(self, tail: int, *, used: bool) -> None:
        """Make the drive what it was; `tail` is the ring's, which has been `used` before. The
        cartridge is loaded.

        Where that cannot be, the initiator is told of a power on, as after any restart.
        """
        left = self._journal.left
        if left is not None and self._goes_on(left):
            self._kept = left.continuation
            if left.phase is not Phase.NONE and left.at == tail:
                self._left = left
                return
        elif used:
            _log.warning("the drive cannot go on where it was: initiators are told of a restart")
            self._drive.power_on_attention()
        self._journal.answered()
        self.changed()

    def _goes_on(self, left: Left) -> bool:
        place = left.place
        if place is not None and left.phase is Phase.BEGUN:
            # It may have been a write: what stood after its place may be gone by intent.
            place = replace(place, end_of_data=place.position)
        try:
            return go_on(self._drive, self._nexus, left.continuation, place)
        except CartridgeError as exc:
            _log.warning("the tape cannot be positioned: %s", exc)
            return False

    def outcome_left(self, command: RingCommand) -> Outcome | None:
        """Return how the first command in the ring ended, if it needs not be run (again)."""
        left, self._left = self._left, None
        if left is None or left.at != command.at:
            return None
        if left.phase is Phase.DONE:
            return Outcome(left.status, left.sense, left.data_in_bytes)
        if left.attempts >= ATTEMPTS_MAX:
            _log.error(
                "a command is given up after %d attempts: %s", left.attempts, command.cdb.hex()
            )
            return FAILED
        self._attempts = left.attempts
        return GOOD if self._was_recorded(left, command.cdb) else None

    def _was_recorded(self, left: Left, cdb: bytes) -> bool:
        """Whether the objects of a command that only appends are all on the tape.

        Then it must not be run again where nothing can be overwritten. Any other command is: what
        it did is done anew from where it began, and a part of a write that is there is overwritten.
        """
        place, cartridge = left.place, self._drive.medium
        if place is None or cartridge is None or place.position != place.end_of_data:
            return False
        if cdb[0] == _WRITE_6:
            count = int.from_bytes(cdb[2:5], "big") if cdb[1] & _FIXED else 1
        elif cdb[0] == _WRITE_FILEMARKS_6:
            count = int.from_bytes(cdb[2:5], "big")
        else:
            return False
        if not count or cartridge.end_of_data != place.end_of_data + count:
            return False
        cartridge.locate(cartridge.end_of_data)
        return True

    def begin(self, command: RingCommand) -> None:
        """A command is going to be run."""
        self._attempts += 1
        self._journal.begin(command.at, place_of(self._drive), attempts=self._attempts)

    def postponed(self) -> None:
        """It could not be run now, and has changed nothing."""
        self.answered()

    def done(self, command: RingCommand, outcome: Outcome) -> None:
        """It was run, and its data are in place."""
        continuation = None
        # In append-only mode a write uses up what was allowed.
        only_moves = command.cdb[0] in _MOVE_ONLY and not self._drive.overwriting.append_only
        if outcome.status or not only_moves:
            continuation = self._changed_continuation()
        self._journal.done(
            (outcome.status, outcome.sense, outcome.data_in_bytes),
            place_of(self._drive),
            continuation,
        )

    def answered(self) -> None:
        """The kernel has its answer."""
        self._attempts = 0
        self._journal.answered()

    def changed(self) -> None:
        """The drive changed otherwise than by a command: a cartridge came or went."""
        self._kept = encode_continuation(self._drive, self._nexus)
        self._journal.changed(place_of(self._drive), self._kept)

    def _changed_continuation(self) -> bytes | None:
        continuation = encode_continuation(self._drive, self._nexus)
        if continuation == self._kept:
            return None
        self._kept = continuation
        return continuation
