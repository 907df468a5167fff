"""Which initiator is logged in where, and from which address: told when it comes and has gone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tapectl.errors import TapectlError
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.devices import LIBRARY, device_name
from tapectl.serve.event_recorder import EventRecorder
from tapectl.state.events import NewEvent

LOGGED_IN = "InitiatorLoggedIn"
LOGGED_OUT = "InitiatorLoggedOut"

# Backup software and scripts log in for each command, and a connection that breaks is there again
# after seconds. Only one that stays away for so long has gone.
AWAY_S = 600.0
# A session that nobody has told of, as of the kernel's target, is found as soon.
LOOK_S = 10.0
# Initiators times devices; who is let in can give itself any name where there is no list.
PRESENCES_MAX = 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Presence:
    """An initiator at a device (or the target of the whole library), from an address."""

    initiator_name: str
    device: str
    address: str


def presences(status: dict[str, Any]) -> Iterator[Presence]:
    """Yield who is logged in by what a supervisor says of itself."""
    found = {device_name(one["drive_number"]): one for one in status["drives"]}
    found[device_name(0)] = status["changer"]
    if status["library"] is not None:
        found[LIBRARY] = status["library"]
    for device, answer in found.items():
        for session in answer.get("sessions") or ():
            yield Presence(session["initiator_name"], device, session["peer"])


class SessionWatch:
    """Tells the recorder of each that comes and that has gone. Thread-safe.

    Portals say who comes, `look` who is there: it is asked in a thread of this one.
    """

    def __init__(
        self,
        recorder: EventRecorder,
        look: Callable[[], Iterable[Presence]],
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = clock_now_ms,
    ) -> None:
        self._recorder = recorder
        self._look = look
        self._monotonic_s = monotonic_s
        self._now_ms = now_ms
        # When each was seen last: on a clock that only grows, and on the wall.
        self._seen: dict[Presence, tuple[float, int]] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="sessions", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def saw(self, presence: Presence) -> None:
        """It is there now."""
        with self._lock:
            known = presence in self._seen
            if not known and len(self._seen) >= PRESENCES_MAX:
                _log.warning("too many initiators to tell of: %s", presence)
                return
            self._seen[presence] = self._monotonic_s(), self._now_ms()
        if not known:
            self._tell(LOGGED_IN, presence, {})

    def look(self) -> None:
        """See who is there, and who has gone."""
        for presence in self._look():
            self.saw(presence)
        now_s = self._monotonic_s()
        with self._lock:
            gone = {one: at for one, at in self._seen.items() if now_s - at[0] >= AWAY_S}
            for presence in gone:
                del self._seen[presence]
        for presence, (_, last_seen_at_ms) in gone.items():
            self._tell(LOGGED_OUT, presence, {"last_seen_at_ms": last_seen_at_ms})

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_S):
            try:
                self.look()
            except TapectlError as exc:
                _log.warning("sessions: %s", exc.message)

    def _tell(self, event_type: str, presence: Presence, more: dict[str, object]) -> None:
        self._recorder.tell(
            NewEvent(
                at_ms=self._now_ms(),
                actor=f"initiator:{presence.initiator_name}",
                subject_kind="target",
                subject_id=presence.device,
                type=event_type,
                detail={
                    "initiator_name": presence.initiator_name,
                    "address": presence.address,
                    **more,
                },
            )
        )
