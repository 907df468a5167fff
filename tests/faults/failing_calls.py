"""Lets the n-th call of each kind fail, for n = 1, 2, 3 and on until none fires; under the shim.

    python -m tests.faults.failing_calls SEED SAMPLE [MANNER ...]

A short life of a tape is led anew for each n. Nothing is tried that an admin would not try: a tape
that met an error is unloaded and loaded again. SAMPLE is how many n of each kind are taken, spread
over all there are; 0 takes every one. A MANNER is how it is printed: "open EIO".
"""

from __future__ import annotations

import contextlib
import errno
import json
import random
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from tapectl.errors import TapectlError
from tapectl.scsi.cartridge import CartridgeError
from tapectl.store.interface import ObjectStore
from tests.faults.one_process import Objects, OneProcess, RefusedError
from tests.faults.shim import Call, Fired, Shim
from tests.faults.tape_life import Life, Survivor, describe
from tests.support.failing_store import FailNth

_STEPS_OF_A_LIFE = 16
# What a command may end with when a call under it fails; anything else is a fault of ours.
_TROUBLE = (RefusedError, CartridgeError, TapectlError)


@dataclass(frozen=True, slots=True)
class Failure:
    """Which calls of the operating system fail, and how."""

    call: Call
    error: int
    short_write: bool = False
    lasting: bool = False

    def __str__(self) -> str:
        manner = " half done" * self.short_write + " until repaired" * self.lasting
        return f"{self.call.name.lower()} {errno.errorcode[self.error]}{manner}"


@dataclass(frozen=True, slots=True)
class StoreFailure:
    """A call of the store fails: refused, or done and only the answer is lost."""

    answer_lost: bool

    def __str__(self) -> str:
        return "store call, answer lost" if self.answer_lost else "store call refused"


FAILURES = (
    *(Failure(call, errno.EIO) for call in Call),
    *(Failure(call, errno.ENOSPC) for call in (Call.WRITE, Call.ALLOCATE, Call.OPEN, Call.MKDIR)),
    Failure(Call.WRITE, errno.EIO, short_write=True),
    Failure(Call.WRITE, errno.ENOSPC, lasting=True),
    Failure(Call.SYNC, errno.EIO, lasting=True),
)
STORE_FAILURES = (StoreFailure(answer_lost=False), StoreFailure(answer_lost=True))


@dataclass
class TroubledLife(Life):
    """A life in which commands fail. What failed is looked into, and must have changed nothing.

    `repair` ends what makes calls fail; it is needed before the end if it is `lasting`.
    """

    repair: Callable[[], object] = lambda: None
    lasting: bool = False

    def _change(
        self, after: Objects, command: Callable[[], object], *, synchronises: bool = False
    ) -> None:
        before = self.tape
        try:
            super()._change(after, command, synchronises=synchronises)
        except _TROUBLE:
            # It may be there after a power cut; here and now it must not.
            self.objects.versions[-1].synchronised = False
            # A filemark may be written and its flush fail; a block is written or is not.
            may_be_done = synchronises or command == self.world.erase
            self._look(before, after if may_be_done else before)
            raise

    def _look(self, before: Objects, after: Objects) -> None:
        """Load the tape anew, as an admin does, and see what is on it."""
        self.repair()
        self.reopen()
        found = self.world.read_all()
        assert found in (before, after), describe(found, [before, after])
        super()._change(found, lambda: None, synchronises=True)
        self.world.locate(len(found))

    def reopen(self) -> None:
        if self.world.cartridge is not None:
            with contextlib.suppress(*_TROUBLE):
                self.world.unload()
        self.world.load()

    def lead(self, steps: int) -> None:
        for _ in range(steps):
            with contextlib.suppress(*_TROUBLE):
                self.step()
            if self.world.cartridge is None:
                self._look(self.tape, self.tape)
        if self.lasting:
            self.repair()
        for last in self.ending():
            with contextlib.suppress(*_TROUBLE):
                last()


@dataclass
class WholeLife(TroubledLife):
    """One that goes to the shelf and comes back in any case: there is every kind of call in it."""

    def ending(self) -> Sequence[Callable[[], None]]:
        return self.transfer, self.eject, self.retrieve


def lead_life(shim: Shim, seed: int, failure: Failure, at: int) -> Fired:
    """Lead a life in which that call fails, check what is left, and return how it went."""
    rng = random.Random(seed)
    shutil.rmtree(shim.root, ignore_errors=True)
    world = OneProcess(shim.root, shared=rng.random() < 0.5)
    fired: list[Fired] = []

    def relent() -> None:
        fired.append(shim.relent())

    life = WholeLife(world, rng, repair=relent, lasting=failure.lasting)
    life.begin()
    shim.fail(
        failure.call,
        at=at,
        error=failure.error,
        forever=failure.lasting,
        short_write=failure.short_write,
    )
    try:
        life.lead(_STEPS_OF_A_LIFE)
        relent()
        world.abandon()
        _examine(shim.root, life, world.gateway.ms, rng)
    except Exception as error:
        relent()
        error.add_note(f"seed {seed}, call {at} of {failure}: {[one.where for one in fired]}")
        raise
    return Fired(
        sum(one.calls for one in fired), next((one.where for one in fired if one.where), None)
    )


def lead_life_on_a_bad_store(shim: Shim, seed: int, failure: StoreFailure, at: int) -> Fired:
    """The same, where that call of the store fails."""
    rng = random.Random(seed)
    shutil.rmtree(shim.root, ignore_errors=True)
    stores: list[FailNth] = []

    def failing(store: ObjectStore) -> ObjectStore:
        stores.append(FailNth(store, at, after=failure.answer_lost))
        return cast("ObjectStore", stores[0])

    world = OneProcess(shim.root, shared=rng.random() < 0.5, wrap=failing)
    life = WholeLife(world, rng)
    try:
        life.begin()
        life.lead(_STEPS_OF_A_LIFE)
        world.abandon()
        _examine(shim.root, life, world.gateway.ms, rng)
    except Exception as error:
        error.add_note(f"seed {seed}, call {at} of {failure}")
        raise
    calls = stores[0].names
    return Fired(len(calls), calls[at - 1] if len(calls) >= at else None)


def _examine(root: Path, life: Life, ms: int, rng: random.Random) -> None:
    world = OneProcess(root, shared=rng.random() < 0.5)
    world.gateway.ms = ms
    try:
        labels = [one.value for one in life.label.versions]
        Survivor(world, rng).examine(
            [life.tape],
            labels,
            may_be_in_library=True,
            may_be_ejected=True,
        )
    finally:
        world.abandon()


def numbers(lead: Callable[[int], Fired], rng: random.Random, sample: int) -> Iterator[int]:
    """Yield the n to try: all, for as long as the caller goes on, or a sample of all there are."""
    if not sample:
        yield from range(1, 1 << 30)
    # A call that is never reached: counts them.
    calls = lead(1 << 40).calls
    yield from sorted(rng.sample(range(1, calls + 1), min(sample, calls)))


def main(seed: int, sample: int, manners: Sequence[str] = ()) -> dict[str, int]:
    shim = Shim.inherited()
    leads: dict[str, Callable[[int], Fired]] = {
        **{str(one): partial(lead_life, shim, seed, one) for one in FAILURES},
        **{str(one): partial(lead_life_on_a_bad_store, shim, seed, one) for one in STORE_FAILURES},
    }
    done: dict[str, int] = {}
    for failure in manners or leads:
        lead = leads[failure]
        failed = 0
        for at in numbers(lead, random.Random(f"{seed} {failure}"), sample):
            if lead(at).where is None:
                break
            failed += 1
        assert failed, f"nothing calls {failure}"
        done[failure] = failed
    return done


if __name__ == "__main__":
    try:
        print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])))
    except Exception:
        traceback.print_exc()
        sys.exit(1)
