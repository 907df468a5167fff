"""Bandwidth limits of the gateway: set, shown, cleared, and asked for while bytes flow."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tapectl.errors import ExitCode, TapectlError, UsageError
from tapectl.gateway.activation import describe_gateway
from tapectl.gateway.bandwidth_schedule import (
    ALWAYS,
    check_schedule,
    format_interval,
    interval_at,
)
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.points_in_time import zone_of
from tapectl.state import bandwidth, events, gateways
from tapectl.state.bandwidth import BandwidthInterval
from tapectl.state.database import State
from tapectl.state.errors import StateError

# How soon a changed limit is felt.
_LOOK_MS = 1000
_BITS = 8


class BandwidthScheduleError(TapectlError):
    """There is a schedule of several intervals, where one limit was to be changed."""

    exit_code = ExitCode.USAGE
    code = "bandwidth_schedule"
    aws_code = "InvalidParameters"


@dataclass(frozen=True, slots=True)
class BandwidthInfo:
    """An interval of the schedule, and whether it holds now."""

    interval: BandwidthInterval
    active: bool


def show_bandwidth(
    state: State, *, now_ms: Callable[[], int] = clock_now_ms
) -> Sequence[BandwidthInfo]:
    """Return the intervals; none: there is no limit."""
    zone = zone_of(describe_gateway(state).timezone)
    with state.read() as db:
        intervals = bandwidth.schedule(db)
    active = interval_at(intervals, now_ms(), zone)
    return [BandwidthInfo(one, one is active) for one in intervals]


def set_limits(
    state: State,
    *,
    upload_bits_per_s: int | None = None,
    download_bits_per_s: int | None = None,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> None:
    """Limit uploads, downloads or both at all times; what is not given stays as it is.

    Raises UsageError, and BandwidthScheduleError over a schedule.
    """
    if upload_bits_per_s is None and download_bits_per_s is None:
        raise UsageError("give a limit for uploads or for downloads", hint="--upload, --download")
    with state.read() as db:
        there = bandwidth.schedule(db)
    before = there[0] if there else ALWAYS
    if len(there) > 1 or format_interval(before) != format_interval(ALWAYS):
        raise BandwidthScheduleError(
            "there is a schedule of limits, which one limit would replace",
            hint="run `tapectl bandwidth clear` first, or change it with `bandwidth schedule`",
        )
    wanted = replace(
        before,
        upload_bits_per_s=before.upload_bits_per_s
        if upload_bits_per_s is None
        else upload_bits_per_s,
        download_bits_per_s=before.download_bits_per_s
        if download_bits_per_s is None
        else download_bits_per_s,
    )
    set_schedule(state, [wanted], actor=actor, now_ms=now_ms)


def set_schedule(
    state: State,
    intervals: Sequence[BandwidthInterval],
    *,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> None:
    """Put a schedule in the place of what there was; the same again changes nothing.

    Raises UsageError.
    """
    check_schedule(intervals)
    gateway = describe_gateway(state)
    with state.write() as db:
        if list(bandwidth.schedule(db)) == list(intervals):
            return
        bandwidth.replace_schedule(db, intervals)
        events.append(
            db,
            events.NewEvent(
                at_ms=now_ms(),
                actor=actor,
                subject_kind="gateway",
                subject_id=gateway.id,
                type="BandwidthLimitsChanged",
                detail={"intervals": [_describe(one) for one in intervals]},
            ),
        )


def clear_limits(
    state: State,
    *,
    upload: bool = True,
    download: bool = True,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> None:
    """Lift the limits of one direction or of both, at all times."""
    with state.read() as db:
        there = bandwidth.schedule(db)
    left = [
        replace(
            one,
            upload_bits_per_s=None if upload else one.upload_bits_per_s,
            download_bits_per_s=None if download else one.download_bits_per_s,
        )
        for one in there
    ]
    kept = [one for one in left if one.upload_bits_per_s or one.download_bits_per_s]
    set_schedule(state, kept, actor=actor, now_ms=now_ms)


class LiveLimits:
    """The limits that hold now, in bytes a second; None: none. For any thread.

    The state is asked once a second at most, so that a change is felt without a restart.
    """

    def __init__(self, state: State, *, now_ms: Callable[[], int] = clock_now_ms) -> None:
        self._state = state
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._looked_ms: int | None = None
        self._interval: BandwidthInterval | None = None

    def upload_bytes_per_s(self) -> float | None:
        interval = self._current()
        rate = None if interval is None else interval.upload_bits_per_s
        return None if rate is None else rate / _BITS

    def download_bytes_per_s(self) -> float | None:
        interval = self._current()
        rate = None if interval is None else interval.download_bits_per_s
        return None if rate is None else rate / _BITS

    def _current(self) -> BandwidthInterval | None:
        now_ms = self._now_ms()
        with self._lock:
            if self._looked_ms is None or abs(now_ms - self._looked_ms) >= _LOOK_MS:
                # A state that cannot be read now says nothing new.
                with contextlib.suppress(StateError), self._state.read() as db:
                    zone = zone_of(gateways.read_gateway(db).timezone)
                    self._interval = interval_at(bandwidth.schedule(db), now_ms, zone)
                self._looked_ms = now_ms
            return self._interval


def _describe(interval: BandwidthInterval) -> dict[str, object]:
    return {
        "when": format_interval(interval),
        "upload_bits_per_s": interval.upload_bits_per_s,
        "download_bits_per_s": interval.download_bits_per_s,
    }
