"""The life of a tape, one command after the other, and what must be true of the tape at any time.

A life is made from a seed. Beside it a history is kept: what the tape held after each command,
whether that was synchronised, and where in the log of changes its answer came.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tapectl.gateway.shelf import eject_tape, retrieve_tape
from tapectl.scsi.cartridge import CartridgeError
from tapectl.state.errors import StateError
from tapectl.state.tape_status import TapeStatus
from tests.faults.one_process import BLOCK_BYTES_MAX, TAPE, Objects, OneProcess, RefusedError

NEVER = 1 << 62
_ON_THE_WAY = {TapeStatus.IN_TRANSIT_TO_VTS, TapeStatus.ARCHIVING}


@dataclass(slots=True)
class Version:
    """What one command made of the tape. `issued` and `answered` are positions in the log.

    Not `synchronised`, it may be lost by a power cut; unanswered, it may be there or not.
    """

    value: Objects | bytes
    issued: int
    answered: int
    synchronised: bool


@dataclass(slots=True)
class History:
    """All versions of one thing, the first of them there from the beginning."""

    versions: list[Version]

    @classmethod
    def of(cls, value: Objects | bytes) -> History:
        return cls([Version(value, 0, 0, True)])

    @property
    def now(self) -> Objects | bytes:
        return self.versions[-1].value

    def answered_last(self) -> list[Objects | bytes]:
        """Return what may be found after the death of a process: what the last answered command
        made, or one after it."""
        last = max(at for at, one in enumerate(self.versions) if one.answered < NEVER)
        return [one.value for one in self.versions[last:]]

    def allowed(self, cut: int) -> list[Objects | bytes]:
        """Return what may be found when the power was cut at that position of the log."""
        begun = [one for one in self.versions if one.issued < cut or not one.issued]
        sure = max(at for at, one in enumerate(begun) if one.synchronised and one.answered <= cut)
        return [one.value for one in begun[sure:]]


@dataclass
class Life:
    """Leads one tape of a gateway through its life. `position` tells where the log is."""

    world: OneProcess
    rng: random.Random
    position: Callable[[], int] = lambda: 0
    objects: History = field(default_factory=lambda: History.of(()))
    label: History = field(default_factory=lambda: History.of(b""))
    # Where the eject was asked for, and where that was answered.
    eject_issued: int = NEVER
    eject_answered: int = NEVER
    _blocks: int = 0

    # -- single steps -------------------------------------------------------------------------
    def write(self) -> None:
        block = self._new_block()
        self._change((*self.tape, block), lambda: self.world.write(block))

    def write_some(self) -> None:
        for _ in range(self.rng.randint(2, 8)):
            self.write()

    def filemark(self) -> None:
        self._change((*self.tape, None), lambda: self.world.write_filemarks(1), synchronises=True)

    def filemark_at_once(self) -> None:
        self._change((*self.tape, None), lambda: self.world.write_filemarks(1, immediate=True))

    def synchronise(self) -> None:
        self._change(self.tape, lambda: self.world.write_filemarks(0), synchronises=True)

    def overwrite(self) -> None:
        """Go somewhere, which synchronises, and write there."""
        at = self.rng.randint(0, len(self.tape))
        self._change(self.tape, lambda: self.world.locate(at), synchronises=True)
        block = self._new_block()
        self._change((*self.tape[:at], block), lambda: self.world.write(block))

    def erase(self) -> None:
        at = self.rng.randint(0, len(self.tape))
        self._change(self.tape, lambda: self.world.locate(at), synchronises=True)
        self._change(self.tape[:at], self.world.erase)
        self.synchronise()

    def format(self) -> None:
        self._change((), self.world.format, synchronises=True)

    def set_label(self) -> None:
        text = b"label %d" % self.rng.randrange(1000)
        version = Version(text, self.position(), NEVER, True)
        self.label.versions.append(version)
        self.world.set_label(text)
        version.answered = self.position()

    def encryption(self) -> None:
        self.world.encrypt(self.rng.random() < 0.5)

    def reload(self) -> None:
        self._change(self.tape, self.world.unload, synchronises=True)
        self.world.load()
        self.world.locate(len(self.tape))

    def transfer(self) -> None:
        self.world.engine().run_pass()

    def restart_transfer(self) -> None:
        self.world.restart_engine()

    def eject(self) -> None:
        """Unload, eject, and have it archived."""
        self._change(self.tape, self.world.unload, synchronises=True)
        state, now_ms = self.world.gateway.state, self.world.gateway.ms
        self.eject_issued = self.position()
        eject_tape(state, TAPE, hold_s=0, now_ms=lambda: now_ms)
        self.eject_answered = self.position()
        self.world.restart_engine()
        self.world.transfer(lambda: self.status is TapeStatus.ARCHIVED)

    def retrieve(self) -> None:
        state, now_ms = self.world.gateway.state, self.world.gateway.ms
        retrieve_tape(state, TAPE, now_ms=lambda: now_ms)
        self.world.transfer(lambda: self.status is TapeStatus.RETRIEVED)
        self.world.load()
        self.world.read_all()

    # -- whole lives --------------------------------------------------------------------------
    def begin(self) -> None:
        """Create the tape and load it."""
        self.world.create_tape()
        self.world.transfer(lambda: self.status is TapeStatus.AVAILABLE)
        self.world.restart_engine()
        self.world.load()

    def lead(self, steps: int) -> None:
        """Take so many steps at random, then eject the tape, or not."""
        for _ in range(steps):
            self.step()
        for last in self.ending():
            last()

    def ending(self) -> Sequence[Callable[[], None]]:
        """Return what is done at the end: the tape goes to the shelf and comes back, or not."""
        return self.rng.choice([(), (), (self.eject,), (self.eject, self.retrieve)])

    def step(self) -> None:
        """Take one step at random."""
        (step,) = self.rng.choices(list(_STEPS), list(_STEPS.values()))
        step(self)

    @property
    def tape(self) -> Objects:
        now = self.objects.now
        assert isinstance(now, tuple)
        return now

    @property
    def status(self) -> TapeStatus:
        return self.world.gateway.tape(TAPE).status

    def _new_block(self) -> bytes:
        """A block unlike any other, small or large, in part compressible."""
        self._blocks += 1
        most = self.rng.choice([2000, BLOCK_BYTES_MAX])
        length = self.rng.randint(40, most)
        noise = self.rng.randbytes(min(length, 600))
        return (self._blocks.to_bytes(4, "big") + noise).ljust(length, b"\x5a")[:length]

    def _change(
        self, after: Objects, command: Callable[[], object], *, synchronises: bool = False
    ) -> None:
        before = self.position()
        version = Version(after, before, NEVER, synchronises)
        self.objects.versions.append(version)
        command()
        version.answered = self.position()


_STEPS: dict[Callable[[Life], None], int] = {
    Life.write: 20,
    Life.write_some: 30,
    Life.filemark: 8,
    Life.filemark_at_once: 6,
    Life.synchronise: 6,
    Life.overwrite: 8,
    Life.erase: 2,
    Life.format: 1,
    Life.set_label: 4,
    Life.encryption: 5,
    Life.reload: 4,
    Life.transfer: 8,
    Life.restart_transfer: 2,
}


class Survivor:
    """The gateway as it is found after a fault, and what it must still be good for."""

    def __init__(self, world: OneProcess, rng: random.Random) -> None:
        self.world = world
        self._rng = rng

    def examine(
        self,
        objects: Sequence[Objects | bytes],
        labels: Sequence[Objects | bytes],
        *,
        may_be_in_library: bool = True,
        may_be_ejected: bool = False,
    ) -> None:
        """Assert that the tape holds one of `objects`, and can go its way to the end."""
        self._check_state()
        if self._rng.random() < 0.3:
            # `tapectl sync` before anything serves.
            self.world.transfer(lambda: True)
        self.world.restart_engine()
        tape = self.world.gateway.tape(TAPE)
        if tape.status is TapeStatus.AVAILABLE:
            assert may_be_in_library, "an eject that was acknowledged is lost"
            found = self._use(objects, labels)
        else:
            assert may_be_ejected, f"the tape is {tape.status}"
            found = self._bring_back(objects, labels)
        self._archive(found)

    def _check_state(self) -> None:
        with self.world.gateway.state.read() as db:
            (verdict,) = db.execute("PRAGMA integrity_check").fetchone()
            assert verdict == "ok", verdict
            assert not db.execute("PRAGMA foreign_key_check").fetchall()

    def _check_is_clean(self) -> None:
        found = self.world.check()
        assert not found, found

    def _use(
        self, objects: Sequence[Objects | bytes], labels: Sequence[Objects | bytes]
    ) -> Objects:
        """Read the tape, write on at its end, read it again; return what is on it then."""
        world = self.world
        world.load()
        found = self._compare(objects, labels)
        block = b"after the fault %d" % self._rng.randrange(1 << 30)
        world.locate(len(found))
        world.write(block)
        world.write_filemarks(1)
        after = (*found, block, None)
        assert world.read_all() == after
        world.unload()
        world.load()
        assert world.read_all() == after
        world.unload()
        return after

    def _bring_back(
        self, objects: Sequence[Objects | bytes], labels: Sequence[Objects | bytes]
    ) -> Objects:
        """Read a tape that is, or will be, on the shelf."""
        world = self.world
        world.transfer(lambda: world.gateway.tape(TAPE).status not in _ON_THE_WAY)
        if world.gateway.tape(TAPE).status is TapeStatus.ARCHIVED:
            now_ms = world.gateway.ms
            retrieve_tape(world.gateway.state, TAPE, now_ms=lambda: now_ms)
        world.transfer(lambda: world.gateway.tape(TAPE).status is TapeStatus.RETRIEVED)
        world.load()
        found = self._compare(objects, labels)
        world.unload()
        return found

    def _compare(
        self, objects: Sequence[Objects | bytes], labels: Sequence[Objects | bytes]
    ) -> Objects:
        found = self.world.read_all()
        assert found in objects, describe(found, objects)
        label = self.world.label()
        assert label in labels, f"the label is {label!r}, not one of {labels}"
        return found

    def _archive(self, objects: Objects) -> None:
        """Eject, retrieve, read: the tape can go its way, and the store has all of it."""
        world = self.world
        state = world.gateway.state
        world.restart_engine()
        world.transfer(world.all_uploaded)
        self._check_is_clean()
        now_ms = world.gateway.ms
        eject_tape(state, TAPE, hold_s=0, now_ms=lambda: now_ms)
        world.transfer(lambda: world.gateway.tape(TAPE).status is TapeStatus.ARCHIVED)
        # Nothing of it is left on the disks, whatever the fault left there.
        world.restart_engine()
        world.transfer(lambda: True)
        left = [
            name
            for name in world.gateway.local_files()
            if name.startswith(("cache/", "buffer/")) and not name.endswith(".fill")
        ]
        assert not left, left
        self._check_is_clean()
        now_ms = world.gateway.ms
        retrieve_tape(state, TAPE, now_ms=lambda: now_ms)
        world.transfer(lambda: world.gateway.tape(TAPE).status is TapeStatus.RETRIEVED)
        world.load()
        found = world.read_all()
        assert found == objects, describe(found, [objects])
        world.unload()


def describe(found: Objects, allowed: Sequence[Objects | bytes]) -> str:
    """Say where what was found departs from what may be."""
    shortest, longest = min(map(len, allowed)), max(map(len, allowed))

    def name(item: bytes | None) -> str:
        return "mark" if item is None else f"{int.from_bytes(item[:4], 'big')}/{len(item)}"

    text = " ".join(map(name, found))
    sure = " ".join(name(item) for item in allowed[0])  # type: ignore[arg-type]
    last = " ".join(name(item) for item in allowed[-1])  # type: ignore[arg-type]
    return (
        f"{len(found)} objects, and {shortest} to {longest} were to be there:\n"
        f"found {text}\nfirst allowed {sure}\nlast allowed  {last}"
    )


def try_again(action: Callable[[], object], most: int = 5) -> None:
    """Do what an admin or a program does that met an error once."""
    for _ in range(most):
        with contextlib.suppress(RefusedError, CartridgeError, StateError, OSError):
            action()
            return
    action()
