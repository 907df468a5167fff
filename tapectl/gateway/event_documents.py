"""Events as others read them: AWS's health-log keys, and what tapectl knows besides."""

from __future__ import annotations

from collections.abc import Mapping

from tapectl.state.events import Event
from tapectl.state.tape_status import TapeStatus

_INFO, _ERROR = "INFO", "ERROR"
_TROUBLES = frozenset({"AlertRaised", "GatewayFenced"})


def event_document(event: Event, gateway_id: str) -> Mapping[str, object]:
    """Return an event as JSON: AWS's keys of a TapeStatusTransition (`severity`, `source`, `type`,
    `gateway`, `timestamp` in ms since 1970 as text, `newStatus`), then ours."""
    return {
        "severity": _severity(event),
        "source": event.subject_id,
        "type": event.type,
        "gateway": gateway_id,
        "timestamp": str(event.at_ms),
        "newStatus": event.to_status,
        "oldStatus": event.from_status,
        "sourceType": event.subject_kind,
        "actor": event.actor,
        "eventId": event.id,
        "detail": dict(event.detail),
    }


def _severity(event: Event) -> str:
    lost = event.to_status == TapeStatus.IRRECOVERABLE
    return _ERROR if lost or event.type in _TROUBLES else _INFO
