"""How a drive goes on after its worker's death as if nothing had been: for initiators nothing was.

The kernel keeps their sessions and what they have sent. A command that had run and was not answered
is answered as it was; one that had only begun is run again from where it began, so that nothing it
recorded is there twice. What the drive cannot take over it says by a power on attention. Requests
that answers to others have displaced from the ring are taken over with it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tapectl.lio.journal import Journal, Left, Phase
from tapectl.lio.ring import CommandRing, RingCommand
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
    """Keeps the journal of a drive and its ring, and reads what the last process left. One thread
    at a time."""

    def __init__(self, drive: TapeDrive, nexus: str, journal: Journal) -> None:
        self._drive = drive
        self._nexus = nexus
        self._journal = journal
        self._kept = b""
        self._attempts = 0
        # The command that has run to its end and is not answered.
        self._done: RingCommand | None = None
        # Whether nothing is written down of the ring.
        self._in_order = True
        # What the last process left of a command, until that has been looked at.
        self._left: Left | None = None

    def take_over(self, ring: CommandRing) -> Sequence[RingCommand]:
        """Make drive and ring what they were; nothing was taken out of the ring yet, and the
        cartridge is loaded. Return the commands that are not answered and not in the ring any more.

        Where the drive cannot be that, the initiator is told of a power on, as after any restart.
        Raises CartridgeBusyError, RingError.
        """
        left, used = self._journal.left, ring.used
        displaced: Sequence[RingCommand] = ()
        if left is not None:
            displaced = self._take_over_ring(ring, left)
        if left is not None and self._goes_on(left):
            self._kept = left.continuation
            if left.phase in (Phase.BEGUN, Phase.DONE) and left.tail == ring.tail:
                self._left = left
                return displaced
        elif used:
            _log.warning("the drive cannot go on where it was: initiators are told of a restart")
            self._drive.power_on_attention()
        self._journal.answered()
        self.changed()
        return displaced

    def _take_over_ring(self, ring: CommandRing, left: Left) -> Sequence[RingCommand]:
        if left.phase is Phase.ANSWERING and left.tail == ring.tail and ring.unanswered:
            ring.finish(
                left.command_id,
                left.data_bytes,
                left.status,
                sense=left.sense,
                data_in_bytes=left.data_in_bytes,
            )
        disorder = self._journal.disorder_at(ring.tail)
        self._in_order = disorder is None
        return () if disorder is None else ring.resume(disorder)

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

    def command_left(self, commands: Iterable[RingCommand]) -> RingCommand | None:
        """Return the command, of those not answered, that the last process was at."""
        left = self._left
        if left is None:
            return None
        return next((one for one in commands if one.command_id == left.command_id), None)

    def outcome_left(self, command: RingCommand) -> Outcome | None:
        """Return how the `command_left` ended, None if it is to be run (again)."""
        left, self._left = self._left, None
        assert left is not None, "it was left"
        if left.phase is Phase.DONE:
            self._done = command
            return Outcome(left.status, left.sense, left.data_in_bytes)
        outcome = None
        if left.attempts >= ATTEMPTS_MAX:
            _log.error(
                "a command is given up after %d attempts: %s", left.attempts, command.cdb.hex()
            )
            outcome = FAILED
        elif self._was_recorded(left, command.cdb):
            outcome = GOOD
        if outcome is not None:
            self.done(command, outcome)
        self._attempts = left.attempts
        return outcome

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

    def begin(self, command: RingCommand, ring: CommandRing) -> None:
        """A command is going to be run."""
        self._attempts += 1
        self._journal.begin(
            command.command_id, ring.tail, place_of(self._drive), attempts=self._attempts
        )

    def postponed(self) -> None:
        """It could not be run now, and has changed nothing."""
        self._attempts = 0
        self._journal.answered()

    def done(self, command: RingCommand, outcome: Outcome) -> None:
        """It was run, and its data are in place."""
        continuation = None
        # In append-only mode a write uses up what was allowed.
        only_moves = command.cdb[0] in _MOVE_ONLY and not self._drive.overwriting.append_only
        if outcome.status or not only_moves:
            continuation = self._changed_continuation()
        self._journal.done(
            (outcome.status, outcome.sense, outcome.data_in_bytes),
            command.data_bytes,
            place_of(self._drive),
            continuation,
        )
        self._done = command

    def may_answer(self, command: RingCommand, ring: CommandRing) -> bool:
        """Whether what its answer displaces can be written down."""
        return self._journal.has_room_for(ring.disorder_after(command))

    def answering(self, command: RingCommand, outcome: Outcome, ring: CommandRing) -> None:
        """A command is going to be answered, be it run or not."""
        journal = self._journal
        if self._done is not command:
            journal.refused(
                command.command_id,
                ring.tail,
                (outcome.status, outcome.sense, outcome.data_in_bytes),
                command.data_bytes,
            )
        disorder = ring.disorder_after(command)
        if disorder is not None:
            self._in_order = False
            journal.put_disorder(disorder, ring.next_tail, now=ring.tail)
        journal.answering()

    def answered(self, ring: CommandRing) -> None:
        """The kernel has its answer."""
        self._attempts = 0
        self._done = None
        self._journal.answered()
        if not self._in_order and ring.in_order:
            self._journal.put_no_disorder()
            self._in_order = True

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
