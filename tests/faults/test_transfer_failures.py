"""Every call to the store fails once, or is the last of its process: nothing is lost by it.

One life of a tape is led to its end again and again, and in each the next call of the store goes
wrong. What counts is the end: the bytes, the statuses, and that nothing is left over.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tapectl.gateway.transfer.context import PassReport
from tapectl.gateway.transfer.engine import TransferEngine
from tapectl.state.database import State
from tapectl.state.tape_status import TapeStatus
from tapectl.store.interface import ObjectStore, StoreError
from tapectl.store.memory import MemoryStore
from tests.support.failing_store import FailNth
from tests.support.fetched import fetched
from tests.support.transfer_gateway import TransferGateway

TAPE = "FAULT1L5"
PASSES_MAX = 60
# Three segments, two in an object.
OBJECTS, OBJECT_BYTES = 2, 8000
# More than a life has calls; that the loop ended before is asserted.
CALLS_MAX = 200


class KilledError(BaseException):
    """Stands for kill -9: nothing catches it, nothing runs after it."""


def incompressible(seed: int, size_bytes: int = 3000) -> bytes:
    """Bytes that are the same in every run."""
    return hashlib.shake_128(bytes([seed])).digest(size_bytes)


class Life:
    """A gateway and its processes, each of which may be cut off."""

    def __init__(self, root: Path) -> None:
        self.gateway = TransferGateway(root)
        self.inner = MemoryStore(retrieval_delay_s=60, now_ms=lambda: self.gateway.ms)
        self.store: ObjectStore = self.inner
        self.contents: list[bytes] = []

    def settle(self, done: Callable[[], bool]) -> None:
        """Run passes until `done`, with a new process after each that was cut off."""
        engine = self._process()
        for _ in range(PASSES_MAX):
            try:
                report = engine.run_pass()
            except (StoreError, KilledError):
                engine.close()  # its threads die with it
                engine = self._process()
                continue
            if done() and not report.done:
                engine.close()
                return
            if not report.done:
                # As time goes by: restores end, what was put off is looked at again.
                self.gateway.ms += 61_000
        raise AssertionError(f"did not come to its end: {self.gateway.tape(TAPE)}")

    def _process(self) -> TransferEngine:
        return self.gateway.engine(self.store, upload_workers=1, archive_object_bytes=OBJECT_BYTES)

    def status_is(self, status: TapeStatus) -> Callable[[], bool]:
        return lambda: self.gateway.tape(TAPE).status is status

    def lead(self) -> None:
        """Create, write, upload, archive, retrieve, read, eject again."""
        gateway = self.gateway
        gateway.create_tape(TAPE)
        self.contents = [
            gateway.write_segment(TAPE, [incompressible(seed), bytes(5000)]) for seed in range(3)
        ]
        self.settle(lambda: all(one.uploaded_at_ms for one in gateway.segments(TAPE)))
        gateway.change_status(TAPE, TapeStatus.IN_TRANSIT_TO_VTS)
        self.settle(self.status_is(TapeStatus.ARCHIVED))
        gateway.change_status(TAPE, TapeStatus.RETRIEVING, retrieval_tier="Bulk")
        self.settle(self.status_is(TapeStatus.RETRIEVED))
        assert self.read() == self.contents
        gateway.change_status(TAPE, TapeStatus.IN_TRANSIT_TO_VTS)
        self.settle(self.status_is(TapeStatus.ARCHIVED))

    def read(self) -> list[bytes]:
        """Read every segment as a worker does, past whatever goes wrong once."""
        engine = self._process()
        found = [
            fetched(engine, TAPE, record.sequence, 0, record.summary.file_bytes)
            for record in self.gateway.segments(TAPE)
        ]
        engine.close()
        return found

    def delete(self) -> None:
        self.gateway.change_status(TAPE, TapeStatus.DELETING)
        self.settle(self.status_is(TapeStatus.DELETED))

    def objects(self) -> set[str]:
        """Return the keys of tapes in the store without the manifests: a crash may cost one a
        number."""
        keys = {info.key for info in self.inner.list("")}
        of_gateway = {key for key in keys if key.startswith(("gateways/", "inventories/"))}
        return {key for key in keys - of_gateway if "/manifests/" not in key}


def expected_objects(life: Life) -> set[str]:
    """Return the keys of an archived tape."""
    names = life.gateway.archive_keys(TAPE)
    assert len(names) == OBJECTS
    return names | {f"owners/{TAPE}.json", "tapectl.json"}


# The kill may hit a thread of the fetch service.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("after", [False, True], ids=["refused", "answer lost"])
@pytest.mark.parametrize("error", [StoreError, KilledError], ids=["error", "kill"])
def test_any_call_may_go_wrong(tmp_path: Path, error: type[BaseException], after: bool) -> None:
    for n in itertools.count(1):
        life = Life(tmp_path / f"{n}")
        life.store = failing = FailNth(  # type: ignore[assignment]
            life.inner, n, after=after, error=lambda: error("injected failure")
        )
        life.lead()
        assert life.objects() == expected_objects(life), f"call {n}"
        assert [name for name in life.gateway.local_files() if ".fill" not in name] == []
        life.delete()
        assert life.objects() == {"tapectl.json", f"tombstones/{TAPE}.json"}
        assert life.gateway.local_files() == []
        if failing.calls < n:
            return
        assert n < CALLS_MAX


class KillAtCommit:
    """Kills at the n-th commit made while `armed`, before it or after it."""

    def __init__(self, n: int, *, after: bool) -> None:
        self._n = n
        self._after = after
        self._write = State.write
        self.armed = False
        self.count = 0

    def write(self) -> Callable[[State], contextlib.AbstractContextManager[sqlite3.Connection]]:
        """Return what stands in for State.write."""

        @contextlib.contextmanager
        def killing_write(state: State) -> Iterator[sqlite3.Connection]:
            self.count += self.armed
            hit = self.armed and self.count == self._n
            with self._write(state) as db:
                yield db
                if hit and not self._after:
                    raise KilledError
            if hit:
                raise KilledError

        return killing_write


class LifeOfCommits(Life):
    """A life in which only the engine's own commits count, not the test's."""

    def __init__(self, root: Path, kill: KillAtCommit) -> None:
        super().__init__(root)
        self._kill = kill

    def _process(self) -> TransferEngine:
        engine = super()._process()
        run_pass = engine.run_pass

        def armed_pass() -> PassReport:
            self._kill.armed = True
            try:
                return run_pass()
            finally:
                self._kill.armed = False

        engine.run_pass = armed_pass  # type: ignore[method-assign]
        return engine


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_kill_at_any_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool) -> None:
    for n in itertools.count(1):
        kill = KillAtCommit(n, after=after)
        life = LifeOfCommits(tmp_path / f"{n}", kill)
        with monkeypatch.context() as patch:
            patch.setattr(State, "write", kill.write())
            life.lead()
        life.gateway.engine(life.inner).close()  # the next start sweeps
        assert life.objects() == expected_objects(life)
        assert life.gateway.local_files() == []
        if kill.count < n:
            return
        assert n < CALLS_MAX
