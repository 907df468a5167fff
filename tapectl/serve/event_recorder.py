"""Writes down what happens to those that serve, without letting a flood of it fill the state."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

from tapectl.errors import TapectlError
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.events import forget_old_events
from tapectl.state import events
from tapectl.state.database import State
from tapectl.state.events import NewEvent

_log = logging.getLogger(__name__)

# Of what happens again and again the first is told at once, then what has come meanwhile: after a
# minute, and each time after twice as long, up to an hour. An hour in which nothing comes ends it.
INTERVAL_FIRST_S, INTERVAL_MAX_S = 60.0, 3600.0
# Kinds of it that are told apart; more than these at a time are told together, by their type.
KINDS_MAX = 64
# What waits for the state at most; the log has all of it.
_WAITING_MAX = 1000
_LOOK_S = 1.0
_FORGET_S = 3600.0


@dataclass(slots=True)
class _Flood:
    """Something that happens again and again: what has come since it was told last."""

    interval_s: float
    due_s: float
    newest: NewEvent | None = None
    left_out: int = 0


class FloodGate:
    """Decides what of many events is told. Not thread-safe; time is given in seconds."""

    def __init__(self) -> None:
        self._floods: dict[Hashable, _Flood] = {}

    def let_through(self, kind: Hashable, event: NewEvent, now_s: float) -> NewEvent | None:
        """Return the event if it is to be told now; else it is counted, and told later."""
        if kind not in self._floods and len(self._floods) >= KINDS_MAX:
            kind = event.type
        flood = self._floods.get(kind)
        if flood is None:
            self._floods[kind] = _Flood(INTERVAL_FIRST_S, now_s + INTERVAL_FIRST_S)
            return _told(event, 0)
        if flood.newest is not None:
            flood.left_out += 1
        flood.newest = event
        return None

    def due(self, now_s: float, *, all_of_it: bool = False) -> Sequence[NewEvent]:
        """Return what is to be told now of what was counted, the newest of each kind."""
        told: list[NewEvent] = []
        for kind, flood in list(self._floods.items()):
            if now_s < flood.due_s and not all_of_it:
                continue
            if flood.newest is None:
                if now_s >= flood.due_s + INTERVAL_MAX_S - flood.interval_s:
                    del self._floods[kind]
                continue
            told.append(_told(flood.newest, flood.left_out))
            flood.newest, flood.left_out = None, 0
            flood.interval_s = min(2 * flood.interval_s, INTERVAL_MAX_S)
            flood.due_s = now_s + flood.interval_s
        return told


def _told(event: NewEvent, left_out: int) -> NewEvent:
    return replace(event, detail={**event.detail, "left_out": left_out})


class EventRecorder:
    """Appends events to the state in a thread of its own, and removes what is too old there.

    Whoever tells waits neither for the state nor for anything else.
    """

    def __init__(
        self,
        state: State,
        keep_days: float,
        *,
        now_ms: Callable[[], int] = clock_now_ms,
    ) -> None:
        self._state = state
        self._now_ms = now_ms
        self._gate = FloodGate()
        self._waiting: deque[NewEvent] = deque(maxlen=_WAITING_MAX)
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self.keep(keep_days)

    def keep(self, days: float) -> None:
        """Remove what happened longer ago from now on."""
        self._keep_days = days
        self._forget_at_s = 0.0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write down what is waiting, all that was counted too, and end."""
        self._stopped.set()
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join()

    def tell(self, event: NewEvent, *, flood: Hashable = None) -> None:
        """Record an event; of those of a `flood`, which says what is alike, not each one."""
        with self._lock:
            told: NewEvent | None = event
            if flood is not None:
                told = self._gate.let_through((event.type, flood), event, time.monotonic())
            if told is not None:
                self._waiting.append(told)
        if told is not None:
            self._changed.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._changed.wait(_LOOK_S)
            self._changed.clear()
            self._look()
        self._look(all_of_it=True)

    def _look(self, *, all_of_it: bool = False) -> None:
        with self._lock:
            self._waiting.extend(self._gate.due(time.monotonic(), all_of_it=all_of_it))
        try:
            self._write()
            if not all_of_it:
                self._forget()
        except TapectlError as exc:
            _log.warning("events: %s", exc.message)
        except Exception:
            _log.exception("events; this is a bug")

    def _forget(self) -> None:
        """Remove some of what is too old, at each look as long as there is any."""
        if time.monotonic() < self._forget_at_s:
            return
        if not forget_old_events(self._state, self._keep_days, now_ms=self._now_ms):
            self._forget_at_s = time.monotonic() + _FORGET_S

    def _write(self) -> None:
        """Append what waits; what the state does not take goes on waiting."""
        with self._lock:
            found, self._waiting = self._waiting, deque(maxlen=_WAITING_MAX)
        if not found:
            return
        try:
            with self._state.write() as db:
                for event in found:
                    events.append(db, event)
        except TapectlError:
            with self._lock:
                self._waiting.extendleft(reversed(found))
            raise
