"""Events as others read them: AWS's health-log keys, and what tapectl knows besides."""

from __future__ import annotations

from collections.abc import Mapping

from tapectl.state.events import Event, tells_of_trouble

_INFO, _ERROR = "INFO", "ERROR"


def event_document(event: Event, gateway_id: str) -> Mapping[str, object]:
    """Return an event as JSON: AWS's keys of a TapeStatusTransition (`severity`, `source`, `type`,
    `gateway`, `timestamp` in ms since 1970 as text, `newStatus`), then ours."""
    return {
        "severity": _ERROR if tells_of_trouble(event) else _INFO,
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
