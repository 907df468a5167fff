"""Another name or time zone for a gateway. Its document in the store follows at the next pass of
the transfer engine (`transfer/standing.py`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tapectl.gateway.activation import check_name, check_timezone
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.state import events, gateways
from tapectl.state.database import State
from tapectl.state.gateways import GatewayRecord


def change_identity(
    state: State,
    *,
    name: str | None = None,
    timezone: str | None = None,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> GatewayRecord:
    """Change what is given and return the gateway; what is so already is no event.

    Raises UsageError.
    """
    if name is not None:
        check_name(name)
    if timezone is not None:
        check_timezone(timezone)
    with state.write() as db:
        before = gateways.read_gateway(db)
        after = replace(before, name=name or before.name, timezone=timezone or before.timezone)
        if after != before:
            gateways.update_identity(db, after)
            events.append(
                db,
                events.NewEvent(
                    at_ms=now_ms(),
                    actor=actor,
                    subject_kind="gateway",
                    subject_id=after.id,
                    type="GatewayChanged",
                    detail={"name": after.name, "timezone": after.timezone},
                ),
            )
    return after
