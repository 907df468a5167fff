"""Tells every event to the places that want it, in order, and remembers how far it has come."""

from __future__ import annotations

import logging
import threading
import time

from tapectl.errors import TapectlError
from tapectl.gateway.event_documents import event_document
from tapectl.gateway.settings import Settings
from tapectl.serve.event_sinks import EventSink, NotToldError, event_sinks
from tapectl.state import events, gateways
from tapectl.state.database import State

_log = logging.getLogger(__name__)

# Between two looks for new events.
POLL_S = 1.0
# Waits before an event is told again, doubled each time.
RETRY_FIRST_S, RETRY_MAX_S = 1.0, 60.0
_EVENTS_AT_ONCE = 100
# How long the end of `serve` may be held up by telling of it.
FINISH_WAIT_S = 5.0


class EventFeed:
    """One place, in a thread of its own: one that does not answer holds up no other.

    A new place is told what happens from now on; after a stop it goes on where it was. Each event
    is told at least once.
    """

    def __init__(self, state: State, gateway_id: str, sink: EventSink) -> None:
        self._state = state
        self._gateway_id = gateway_id
        self._sink = sink
        self._key = f"events_told {sink.name}"
        self._stopped = threading.Event()
        self._last_look = False
        self._thread = threading.Thread(target=self._run, name=sink.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let it end after the event in hand; does not wait."""
        self._stopped.set()

    def finish(self) -> None:
        """Let it end when it has told once what has happened until now; does not wait."""
        self._last_look = True
        self._stopped.set()

    def wait(self, within_s: float) -> None:
        """Return when it has ended, or after that time; what is left is told at the next start."""
        self._thread.join(within_s)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._look()
            self._stopped.wait(POLL_S)
        if self._last_look:
            self._look()

    def _look(self) -> None:
        try:
            self._tell_new()
        except TapectlError as exc:
            _log.warning("%s: %s", self._sink.name, exc.message)
        except Exception:
            _log.exception("%s; this is a bug", self._sink.name)

    def _tell_new(self) -> None:
        begin_id = told_id = self._begin()
        with self._state.read() as db:
            found = events.following(db, begin_id, limit=_EVENTS_AT_ONCE)
        try:
            for event in found:
                if not self._tell(event):
                    return
                told_id = event.id
        finally:
            if told_id != begin_id:
                self._remember(told_id)

    def _tell(self, event: events.Event) -> bool:
        """Tell one event until it is taken; False if it is time to end."""
        document = event_document(event, self._gateway_id)
        wait_s = RETRY_FIRST_S
        while True:
            try:
                self._sink.tell(document)
            except NotToldError as exc:
                _log.warning("event %d is not told: %s", event.id, exc)
            else:
                return True
            if self._stopped.wait(wait_s):
                return False
            wait_s = min(2 * wait_s, RETRY_MAX_S)

    def _begin(self) -> int:
        """Return the last event that was told; the newest one for a place that is new, or for a
        state whose events began anew, as after an adoption."""
        with self._state.read() as db:
            kept = gateways.get_setting(db, self._key)
            newest = events.last_id(db)
        if kept is not None and int(kept) <= newest:
            return int(kept)
        self._remember(newest)
        return newest

    def _remember(self, event_id: int) -> None:
        with self._state.write() as db:
            gateways.set_setting(db, self._key, str(event_id))


class EventFeeds:
    """All places that the settings name."""

    def __init__(self, state: State, gateway_id: str) -> None:
        self._state = state
        self._gateway_id = gateway_id
        self._running: list[EventFeed] = []

    def start(self, settings: Settings) -> None:
        """Tell events to these places from now on, and to no others."""
        self.stop()
        self._running = [
            EventFeed(self._state, self._gateway_id, sink) for sink in event_sinks(settings)
        ]
        for feed in self._running:
            feed.start()

    def stop(self) -> None:
        """Let them end after the events in hand; does not wait."""
        for feed in self._running:
            feed.stop()
        self._running = []

    def finish(self) -> None:
        """Tell what has happened until now, and end; waits a moment for it."""
        deadline = time.monotonic() + FINISH_WAIT_S
        for feed in self._running:
            feed.finish()
        for feed in self._running:
            feed.wait(max(0.0, deadline - time.monotonic()))
        self._running = []
