"""Tapes that are neither here nor there: ejected, archiving, retrieving; and how long still."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tapectl.gateway.activation import describe_gateway
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.outlook import seconds_to_go, seconds_to_retrieved
from tapectl.gateway.settings import Settings
from tapectl.state import pools, segments, tapes
from tapectl.state.database import State
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import TapeFilter, TapeRecord

_UNDER_WAY = frozenset(
    {TapeStatus.IN_TRANSIT_TO_VTS, TapeStatus.ARCHIVING, TapeStatus.RETRIEVING, TapeStatus.DELETING}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TapeUnderWay:
    """A tape on its way. `seconds_left` None: nobody knows."""

    barcode: str
    status: TapeStatus
    tier: str | None
    progress: float | None
    waiting_bytes: int
    seconds_left: float | None
    status_detail: str | None


def tapes_under_way(
    state: State,
    settings: Settings,
    *,
    arrived_bytes_per_s: float,
    now_ms: Callable[[], int] = clock_now_ms,
) -> Sequence[TapeUnderWay]:
    """Return the tapes on their way by barcode; `arrived_bytes_per_s` is how fast uploads are."""
    gateway = describe_gateway(state)
    simulated = gateway.store_url.startswith("file:")
    with state.read() as db:
        found = tapes.select(db, TapeFilter(statuses=_UNDER_WAY))
        waiting = segments.waiting_bytes_by_tape(db)
        classes = {pool.id: pool.storage_class for pool in pools.all_pools(db)}

    def seconds_left(tape: TapeRecord) -> float | None:
        if tape.status is TapeStatus.IN_TRANSIT_TO_VTS:
            return seconds_to_go(waiting.get(tape.barcode, 0), arrived_bytes_per_s)
        if tape.status is not TapeStatus.RETRIEVING or tape.retrieval_requested_at_ms is None:
            return None
        return seconds_to_retrieved(
            classes[tape.pool_id],
            tape.retrieval_tier or "",
            (now_ms() - tape.retrieval_requested_at_ms) / 1000,
            simulated_s=settings.directory_retrieval_delay_s if simulated else None,
        )

    return [
        TapeUnderWay(
            barcode=tape.barcode,
            status=tape.status,
            tier=tape.retrieval_tier if tape.status is TapeStatus.RETRIEVING else None,
            progress=tape.progress,
            waiting_bytes=waiting.get(tape.barcode, 0),
            seconds_left=seconds_left(tape),
            status_detail=tape.status_detail,
        )
        for tape in found
    ]
