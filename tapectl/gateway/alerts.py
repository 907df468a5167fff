"""What ails the gateway while it serves, and which TapeAlert flags say so to initiators."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tapectl.disks.disk_health import DiskHealth, DiskState, disk_health
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.journal import StateJournal
from tapectl.gateway.keyring import TapeKeyError
from tapectl.gateway.settings import Settings
from tapectl.gateway.tape_keys import missing_keys
from tapectl.scsi.smc.alerts import LibraryAlert
from tapectl.scsi.ssc.alerts import TapeAlert
from tapectl.state import disks, events, gateways
from tapectl.state.database import State
from tapectl.state.disks import DiskRecord, DiskRole
from tapectl.state.events import NewEvent

ALERT_RAISED = "AlertRaised"
ALERT_CLEARED = "AlertCleared"
_ACTOR = "serve"


class AlertKind(enum.StrEnum):
    """What can be wrong."""

    STORE_UNREACHABLE = "StoreUnreachable"
    DISK_MISSING = "DiskMissing"
    DISK_FAILING = "DiskFailing"
    UPLOAD_BUFFER_FULL = "UploadBufferFull"
    CACHE_FULL = "CacheFull"
    GATEWAY_FENCED = "GatewayFenced"
    TAPE_KEY_MISSING = "TapeKeyMissing"


# A store outage loses nothing and stops no write: whoever looks after the gateway must look. Where
# a disk is gone the drives cannot go on; where one fails they still can; where all are full they
# write as fast as uploads make room.
_DRIVE_FLAGS: Mapping[AlertKind, TapeAlert] = MappingProxyType(
    {
        AlertKind.STORE_UNREACHABLE: TapeAlert.DIAGNOSTICS_REQUIRED,
        AlertKind.DISK_MISSING: TapeAlert.HARDWARE_B,
        AlertKind.DISK_FAILING: TapeAlert.PREDICTIVE_FAILURE,
        AlertKind.UPLOAD_BUFFER_FULL: TapeAlert.WRITE_WARNING,
        AlertKind.CACHE_FULL: TapeAlert.WRITE_WARNING,
        AlertKind.GATEWAY_FENCED: TapeAlert.HARDWARE_B,
        AlertKind.TAPE_KEY_MISSING: TapeAlert.DIAGNOSTICS_REQUIRED,
    }
)
_LIBRARY_FLAGS: Mapping[AlertKind, LibraryAlert] = MappingProxyType(
    {
        AlertKind.STORE_UNREACHABLE: LibraryAlert.DIAGNOSTICS_REQUIRED,
        AlertKind.DISK_MISSING: LibraryAlert.HARDWARE_D,
        AlertKind.DISK_FAILING: LibraryAlert.PREDICTIVE_FAILURE,
        AlertKind.UPLOAD_BUFFER_FULL: LibraryAlert.MAINTENANCE,
        AlertKind.CACHE_FULL: LibraryAlert.MAINTENANCE,
        AlertKind.GATEWAY_FENCED: LibraryAlert.HARDWARE_D,
        AlertKind.TAPE_KEY_MISSING: LibraryAlert.DIAGNOSTICS_REQUIRED,
    }
)
_FULL = MappingProxyType(
    {
        DiskRole.UPLOAD_BUFFER: AlertKind.UPLOAD_BUFFER_FULL,
        DiskRole.CACHE_STORAGE: AlertKind.CACHE_FULL,
    }
)
_SICK = MappingProxyType(
    {
        DiskState.MISSING: AlertKind.DISK_MISSING,
        DiskState.FAILING: AlertKind.DISK_FAILING,
    }
)
# These do not pass by themselves.
_AT_ONCE = frozenset((*_SICK.values(), AlertKind.GATEWAY_FENCED, AlertKind.TAPE_KEY_MISSING))


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that is wrong since `since_ms`; `subject` is the id of a disk or the gateway."""

    kind: AlertKind
    subject: str
    message: str
    since_ms: int


def drive_flags(alerts: Iterable[Alert]) -> frozenset[TapeAlert]:
    """Return the TapeAlert flags that a drive shows while these hold."""
    return frozenset(_DRIVE_FLAGS[alert.kind] for alert in alerts)


def library_flags(alerts: Iterable[Alert]) -> frozenset[LibraryAlert]:
    """Return the TapeAlert flags that the media changer shows while these hold."""
    return frozenset(_LIBRARY_FLAGS[alert.kind] for alert in alerts)


class AlertWatch:
    """Looks at the gateway again and again, and records what begins and ends as events.

    What passes by itself, an outage or full disks, is an alert after `settings.alert_after_s`.
    """

    def __init__(
        self, state: State, settings: Settings, *, now_ms: Callable[[], int] = clock_now_ms
    ) -> None:
        self._state = state
        self._journal = StateJournal(state, settings)
        self.be_patient(settings.alert_after_s)
        self._now_ms = now_ms
        # What was found by the last look, alert already or not.
        self._found: dict[tuple[AlertKind, str], Alert] = {}
        self._alerts: tuple[Alert, ...] = ()
        with state.read() as db:
            self._gateway_id = gateways.read_gateway(db).id

    def be_patient(self, alert_after_s: float) -> None:
        """Let an outage or full disks be an alert after this time from now on."""
        self._patience_ms = round(alert_after_s * 1000)

    def look(self, store_error: str | None = None) -> Sequence[Alert]:
        """Return what is wrong now; `store_error` is what the transfer process says of the store.

        Raises StateError.
        """
        with self._state.read() as db:
            all_disks = disks.all_disks(db)
            fenced = gateways.read_standing(db).fenced_detail
        now_ms = self._now_ms()
        seen: dict[tuple[AlertKind, str], Alert] = {}
        for kind, subject, message in self._conditions(all_disks, store_error, fenced):
            key = kind, subject
            since_ms = self._found[key].since_ms if key in self._found else now_ms
            seen[key] = Alert(kind, subject, message, since_ms)
        self._found = seen
        alerts = tuple(
            alert
            for alert in seen.values()
            if alert.kind in _AT_ONCE or now_ms - alert.since_ms >= self._patience_ms
        )
        self._record(alerts, now_ms)
        self._alerts = alerts
        return alerts

    def _conditions(
        self, all_disks: Sequence[DiskRecord], store_error: str | None, fenced: str | None
    ) -> Iterable[tuple[AlertKind, str, str]]:
        if fenced is not None:
            yield AlertKind.GATEWAY_FENCED, self._gateway_id, f"{fenced}: its tapes are read-only"
        if store_error is not None:
            yield AlertKind.STORE_UNREACHABLE, self._gateway_id, store_error
        if (lack := self._missing_keys()) is not None:
            yield AlertKind.TAPE_KEY_MISSING, self._gateway_id, lack
        for disk in all_disks:
            health: DiskHealth = disk_health(disk.path, disk.id)
            if health.state in _SICK:
                yield _SICK[health.state], disk.id, f"{disk.path}: {health.reason}"
            elif disk.failed:
                yield AlertKind.DISK_FAILING, disk.id, f"{disk.path}: {disk.failed_detail}"
        for role in self._journal.full_roles():
            yield _FULL[role], self._gateway_id, f"every {role} disk is full"

    def _missing_keys(self) -> str | None:
        """Return what is said of keys that tapes need and nobody has here."""
        try:
            missing = missing_keys(self._state)
        except TapeKeyError as error:
            return error.message
        if not missing:
            return None
        return f"{sum(missing.values())} tapes need keys that are not here: {', '.join(missing)}"

    def _record(self, alerts: Sequence[Alert], now_ms: int) -> None:
        before = {(alert.kind, alert.subject): alert for alert in self._alerts}
        after = {(alert.kind, alert.subject): alert for alert in alerts}
        changes = [
            *((ALERT_RAISED, alert) for key, alert in after.items() if key not in before),
            *((ALERT_CLEARED, alert) for key, alert in before.items() if key not in after),
        ]
        if not changes:
            return
        with self._state.write() as db:
            for event_type, alert in changes:
                of_gateway = alert.subject == self._gateway_id
                events.append(
                    db,
                    NewEvent(
                        at_ms=now_ms,
                        actor=_ACTOR,
                        subject_kind="gateway" if of_gateway else "disk",
                        subject_id=alert.subject,
                        type=event_type,
                        detail={"alert": alert.kind, "message": alert.message},
                    ),
                )
