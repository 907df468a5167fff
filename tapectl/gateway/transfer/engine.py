"""The transfer engine: passes of steps over the state, and the fetch service.

Every step reads from the state what there is to do, does it in an order that can be cut off at any
instant, and enters it in the state; so a pass after a crash goes on where the last one was.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.settings import Settings
from tapectl.gateway.transfer.archiving import Archiving
from tapectl.gateway.transfer.automatic_creation import AutomaticCreation
from tapectl.gateway.transfer.claims import Claims
from tapectl.gateway.transfer.context import (
    PassReport,
    StepReport,
    StoppedError,
    TransferContext,
    combine,
)
from tapectl.gateway.transfer.deletion import Deletion
from tapectl.gateway.transfer.draining import Draining
from tapectl.gateway.transfer.eviction import Eviction
from tapectl.gateway.transfer.expiry import Expiry
from tapectl.gateway.transfer.fetching import FetchService
from tapectl.gateway.transfer.inventory import InventoryKeeper
from tapectl.gateway.transfer.leftovers import Leftovers
from tapectl.gateway.transfer.local_files import sweep
from tapectl.gateway.transfer.pool_changes import PoolChanges
from tapectl.gateway.transfer.retrieval import Retrieval
from tapectl.gateway.transfer.shelf_marks import ShelfMarks
from tapectl.gateway.transfer.standing import Standing
from tapectl.gateway.transfer.tape_errors import TapeErrors
from tapectl.gateway.transfer.unfinished_puts import UnfinishedPuts
from tapectl.gateway.transfer.uploads import Uploads
from tapectl.gateway.transfer.verification import Verification
from tapectl.gateway.transfer.volume_changes import VolumeChanges
from tapectl.state import gateways, segments
from tapectl.state.database import State
from tapectl.store.interface import ObjectStore, StoreError
from tapectl.store.traffic import Traffic
from tapectl.store.watching import WatchedStore

__all__ = ["PassReport", "TransferEngine"]

# A store that cannot be used is tried again after this.
_OUTAGE_MS = 5_000


class _Step(Protocol):
    def run(self) -> StepReport: ...


class TransferEngine:
    """One a gateway and process. `run_pass` is for one thread, `stop` and `fetch_service` for any.

    `now_ms` is the time since 1970, `monotonic_s` is for waits. With `drives_run` false the caller
    holds the lock that keeps drives from running, and what they left open is sealed and uploaded
    too. `traffic` is what the store's bytes pass by. Raises NotActivatedError if the state has no
    gateway.
    """

    def __init__(
        self,
        state: State,
        store: ObjectStore,
        settings: Settings,
        *,
        now_ms: Callable[[], int] = clock_now_ms,
        monotonic_s: Callable[[], float] = time.monotonic,
        drives_run: bool = True,
        traffic: Traffic | None = None,
    ) -> None:
        with state.read() as db:
            gateway = gateways.read_gateway(db)
        pool = ThreadPoolExecutor(settings.upload_workers, thread_name_prefix="transfer")
        self._traffic = traffic or Traffic()
        self._store = WatchedStore(store, now_ms=now_ms)
        self._context = context = TransferContext(
            state, self._store, settings, gateway, now_ms, pool, threading.Event()
        )
        self.fetch_service = FetchService(context, monotonic_s=monotonic_s)
        self._standing = Standing(context)
        self._inventory = InventoryKeeper(context, at_once=not drives_run)
        errors = TapeErrors(context)
        leftovers = () if drives_run else (Leftovers(context, errors),)
        self._uploads = Uploads(context, errors)
        self._steps: tuple[_Step, ...] = (
            *leftovers,
            Claims(context, errors),
            self._uploads,
            ShelfMarks(context, errors),
            VolumeChanges(context, errors),
            Archiving(context, errors),
            PoolChanges(context, errors),
            Retrieval(context, errors),
            Deletion(context, errors),
            Expiry(context, errors),
            AutomaticCreation(context),
            UnfinishedPuts(context),
        )
        self._verification = Verification(context)
        self._draining = Draining(context)
        self._eviction = Eviction(context, self.fetch_service.filling_bytes)
        # Before anything new is begun, so that only what a dead process left can be found.
        sweep(context)

    def run_pass(self) -> PassReport:
        """Do what can be done now and return when there will be more.

        Raises the StoreError of a store that cannot be used, if nothing at all could be done.
        """
        reports: list[StepReport] = []
        outage: StoreError | None = None
        try:
            # Asked also when there is nothing to do: an outage is known before the next backup.
            if self._standing.holds():
                for step in self._steps:
                    reports.append(step.run())
                reports.append(self._inventory.run(busy=combine(reports).done > 0))
        except StoppedError:
            return combine(reports)
        except StoreError as error:
            outage = error
        # Local copies can be verified in an outage too.
        try:
            reports.append(self._verification.run())
        except StoreError as error:
            outage = outage or error
        if outage is not None:
            due_ms = self._context.now_ms() + _OUTAGE_MS
            reports.append(StepReport(waiting=1, next_due_ms=due_ms))
        # Room on the disks does not depend on the store.
        with contextlib.suppress(StoppedError):
            reports.append(self._draining.run())
            reports.append(self._eviction.run())
        report = combine(reports)
        if outage is not None and not report.done:
            raise outage
        return report

    def status(self) -> Mapping[str, object]:
        """Return what waits and what ails, for whoever asks the transfer process."""
        with self._context.state.read() as db:
            waiting = segments.waiting_uploads(db)
        outage = self._store.outage
        return {
            "waiting_segments": waiting.segments,
            "waiting_bytes": waiting.bytes,
            "fetching_bytes": sum(self.fetch_service.filling_bytes().values()),
            **self.moved_bytes(),
            "store_gets": self._store.gets,
            "store_gets_s": self._store.gets_ms / 1000,
            "store_error": None if outage is None else outage.error.message,
            "store_hint": None if outage is None else outage.error.hint,
            "store_error_since_ms": None if outage is None else outage.since_ms,
        }

    def moved_bytes(self) -> Mapping[str, int]:
        """Return what went to the store and came from it since the process began, and how much of
        the waiting segments has arrived there, as it was before compression."""
        return {
            "uploaded_bytes": self._traffic.up.passed_bytes,
            "downloaded_bytes": self._traffic.down.passed_bytes,
            "arrived_bytes": self._uploads.arrived_bytes,
        }

    def finish(self) -> None:
        """After the last pass: leave word in the store of what has changed since it was last said.

        A machine that was stopped may be adopted elsewhere. Raises StoreError.
        """
        if self._standing.holds():
            self._inventory.finish()

    def stop(self) -> None:
        """Let a pass end at the next object, and the fetches; from any thread."""
        self._context.stopping.set()
        self._traffic.end()
        self.fetch_service.stop()

    def close(self) -> None:
        """Stop, wait for the threads, and let go of all files."""
        self.stop()
        self._context.pool.shutdown(wait=True)
        self._verification.close()
        self.fetch_service.close()
