"""The gateway in numbers, for monitoring: names, what they mean, and their values now."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tapectl.gateway.status import GatewayStatus, gateway_status
from tapectl.state import events, verifications
from tapectl.state.database import State
from tapectl.state.verifications import VerificationRecord


class MetricKind(enum.Enum):
    """Whether a value goes up and down, only grows, or only says what is so."""

    GAUGE = "gauge"
    COUNTER = "counter"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Metric:
    """One name with its values by label values; `help` names AWS's metric where AWS has it."""

    name: str
    help: str
    values: Mapping[tuple[str, ...], float]
    labels: tuple[str, ...] = ()
    kind: MetricKind = MetricKind.GAUGE


def gateway_metrics(state: State) -> Sequence[Metric]:
    """Return what the state knows; whoever serves knows more."""
    status = gateway_status(state)
    with state.read() as db:
        verified = verifications.all_verifications(db)
        troubles = events.count_troubles(db)
    return [
        *_of_gateway(status),
        Metric(
            "tapectl_health_notifications",
            "Events that tell of trouble (HealthNotifications).",
            {(): troubles},
            (),
            MetricKind.COUNTER,
        ),
        *_of_verifications(verified),
    ]


def _of_gateway(status: GatewayStatus) -> Iterator[Metric]:
    gateway = status.gateway
    yield Metric(
        "tapectl_gateway",
        "The gateway.",
        {(gateway.id, gateway.name): 1},
        ("gateway_id", "gateway_name"),
        MetricKind.INFO,
    )
    yield Metric(
        "tapectl_tapes",
        "Tapes by status.",
        {(word.value,): count for word, count in status.tapes_by_status.items()},
        ("status",),
    )
    for name, text, value in (
        ("tapes_size_bytes", "Capacity of the tapes of the library.", status.size_bytes),
        ("tapes_in_drives", "Tapes that are loaded.", status.tapes_in_drives),
        ("drives", "Drives.", status.drives),
        ("upload_waiting_segments", "Sealed segments not in the store.", status.waiting_segments),
        ("upload_waiting_bytes", "Bytes not in the store (QueuedWrites).", status.waiting_bytes),
        (
            "overwritten_bytes",
            "Bytes of the store that hold what was overwritten, until it is let go of.",
            status.overwritten_bytes,
        ),
        ("cache_size_bytes", "Room of the cache (TotalCacheSize).", status.cache.allocated_bytes),
        ("cache_used_bytes", "Of it in use (CacheUsed).", status.cache.used_bytes),
        ("cache_used_percent", "The same (CachePercentUsed).", status.cache.used_percent),
        (
            "cache_dirty_percent",
            "Of the cache not uploaded (CachePercentDirty).",
            status.cache_dirty_percent,
        ),
        (
            "upload_buffer_size_bytes",
            "Room of the upload buffer.",
            status.upload_buffer.allocated_bytes,
        ),
        (
            "upload_buffer_used_bytes",
            "Of it in use (UploadBufferUsed).",
            status.upload_buffer.used_bytes,
        ),
        (
            "upload_buffer_used_percent",
            "The same (UploadBufferPercentUsed).",
            status.upload_buffer.used_percent,
        ),
        (
            "upload_buffer_free_bytes",
            "Of it not in use (UploadBufferFree).",
            status.upload_buffer.free_bytes,
        ),
    ):
        yield Metric(f"tapectl_{name}", text, {(): value})


def _of_verifications(verified: Mapping[str, VerificationRecord]) -> Iterator[Metric]:
    records = verified.values()
    finished = [one for one in records if one.finished_at_ms is not None]
    yield Metric(
        "tapectl_verified_tapes",
        "Tapes by their last verification.",
        {(word,): count for word, count in Counter(one.status for one in records).items()},
        ("status",),
    )
    yield Metric(
        "tapectl_verify_oldest_timestamp_seconds",
        "When the tape was verified whose last verification is longest ago.",
        {(): min((one.finished_at_ms or 0) / 1000 for one in finished)} if finished else {},
    )
    for name, text, value in (
        ("checked_bytes", "Read and found right.", sum(one.checked_bytes for one in records)),
        ("healed_copies", "Copies made anew.", sum(one.healed_count for one in records)),
        (
            "damaged_segments",
            "Segments with a copy that stays damaged.",
            sum(one.damaged_count for one in records),
        ),
        (
            "lost_segments",
            "Segments without a copy that is right.",
            sum(one.lost_count for one in records),
        ),
        (
            "unread_segments",
            "Segments with a copy that could not be read.",
            sum(one.unread_count for one in records),
        ),
    ):
        yield Metric(f"tapectl_verify_{name}", f"{text} By the last verifications.", {(): value})
