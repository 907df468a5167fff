"""Looks at what ails the gateway, again and again, and tells the devices."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from tapectl.errors import TapectlError
from tapectl.gateway.alerts import Alert, AlertWatch
from tapectl.gateway.settings import Settings
from tapectl.serve.json_lines import Message
from tapectl.state.database import State

_log = logging.getLogger(__name__)

# Often enough for a backup that polls its devices; a look reads markers and counts open segments.
LOOK_S = 2.0


class AlertMonitor:
    """`transfer_status` asks the transfer process, `tell` is called in the monitor's thread with
    every look's alerts."""

    def __init__(
        self,
        state: State,
        settings: Settings,
        *,
        transfer_status: Callable[[], Message],
        tell: Callable[[Sequence[Alert]], None],
    ) -> None:
        self._watch = AlertWatch(state, settings)
        self._transfer_status = transfer_status
        self._tell = tell
        self._stopped = threading.Event()
        self.alerts: Sequence[Alert] = ()

    def start(self) -> None:
        threading.Thread(target=self._run, name="alerts", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def take_over(self, settings: Settings) -> None:
        """Go by other settings from the next look on."""
        self._watch.be_patient(settings.alert_after_s)

    def messages(self) -> list[Message]:
        """Return the alerts as an answer on the control socket has them."""
        return [
            {
                "alert": alert.kind.value,
                "subject": alert.subject,
                "message": alert.message,
                "since_ms": alert.since_ms,
            }
            for alert in self.alerts
        ]

    def _run(self) -> None:
        while True:
            try:
                self._look()
            except TapectlError as exc:
                _log.warning("alerts: %s", exc.message)
            if self._stopped.wait(LOOK_S):
                return

    def _look(self) -> None:
        before = {alert.kind for alert in self.alerts}
        self.alerts = self._watch.look(_store_error(self._transfer_status()))
        for alert in self.alerts:
            if alert.kind not in before:
                _log.warning("%s: %s", alert.kind.value, alert.message)
        self._tell(self.alerts)


def _store_error(transfer_status: Message) -> str | None:
    """Return what ails the store and what to do about it; None if nothing does."""
    error, hint = transfer_status.get("store_error"), transfer_status.get("store_hint")
    if error is None:
        return None
    return str(error) if hint is None else f"{error} ({hint})"
