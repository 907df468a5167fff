"""The gateway in numbers, for Prometheus: what the state knows, and whoever serves.

`prometheus_client` is imported when it is used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tapectl.gateway.alerts import AlertKind
from tapectl.gateway.devices import device_name
from tapectl.gateway.metrics import Metric, MetricKind, gateway_metrics
from tapectl.gateway.settings import ListenAddress
from tapectl.serve.errors import AddressInUseError
from tapectl.serve.json_lines import Message
from tapectl.state.database import State

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric as PrometheusMetric

_log = logging.getLogger(__name__)

Answer = dict[str, Any]

# What the processes that serve count since they began: key, name, help.
_DRIVE_COUNTERS = (
    ("written_bytes", "drive_written_bytes", "Written by initiators (WriteBytes)."),
    ("read_bytes", "drive_read_bytes", "Read by initiators (ReadBytes)."),
    (
        "missed_bytes",
        "drive_cache_missed_bytes",
        "Of what was read: not in the cache, and on its way from the store meanwhile.",
    ),
)
_TRANSFER_COUNTERS = (
    ("uploaded_bytes", "uploaded_bytes", "Sent to the store (CloudBytesUploaded)."),
    ("downloaded_bytes", "downloaded_bytes", "Come from the store (CloudBytesDownloaded)."),
    ("store_gets", "store_gets", "Reads that the store has answered."),
    (
        "store_gets_s",
        "store_gets_seconds",
        "How long they took; by their number: CloudDownloadLatency.",
    ),
)


def metrics_text(state: State, answer: Answer | None) -> bytes:
    """Return the metrics; `answer` is what a supervisor says of itself, None where none runs."""
    from prometheus_client import generate_latest

    return generate_latest(_registry(lambda: [*gateway_metrics(state), *_of_serving(answer)]))


class MetricsServer:
    """Answers GET /metrics. `status` is asked for each answer."""

    def __init__(self, address: ListenAddress, state: State, status: Callable[[], Message]) -> None:
        """Begin to listen; raise AddressInUseError."""
        from prometheus_client import start_http_server

        def collect() -> Sequence[Metric]:
            return [*gateway_metrics(state), *_of_serving(status())]

        try:
            self._server, self._thread = start_http_server(
                address.port, address.host, registry=_registry(collect)
            )
        except OSError as exc:
            raise AddressInUseError(
                f"cannot serve metrics on {address}: {exc.strerror}",
                hint="choose another port with the setting metrics_listen",
            ) from exc
        host, port = self._server.server_address[:2]
        self.address = ListenAddress(str(host), int(port))
        _log.info("metrics on http://%s/metrics", self.address)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _registry(collect: Callable[[], Sequence[Metric]]) -> CollectorRegistry:
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(collect))
    return registry


class _Collector:
    """What prometheus_client asks for metrics."""

    def __init__(self, collect: Callable[[], Sequence[Metric]]) -> None:
        self._collect = collect

    def describe(self) -> Sequence[PrometheusMetric]:
        return ()

    def collect(self) -> Iterator[PrometheusMetric]:
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            InfoMetricFamily,
        )

        for metric in self._collect():
            if metric.kind is MetricKind.INFO:
                info = InfoMetricFamily(metric.name, metric.help)
                for values in metric.values:
                    info.add_metric((), dict(zip(metric.labels, values, strict=True)))
                yield info
                continue
            counts = metric.kind is MetricKind.COUNTER
            kind = CounterMetricFamily if counts else GaugeMetricFamily
            family = kind(metric.name, metric.help, labels=metric.labels)
            for values, value in metric.values.items():
                family.add_metric(values, value)
            yield family


def cache_hit_percent(answer: Answer) -> float | None:
    """Return which part of what initiators have read came from the cache, in percent, since the
    drives' processes began; None if they have read nothing. `answer` is a supervisor's."""
    read = sum(drive.get("read_bytes", 0) for drive in answer["drives"])
    missed = sum(drive.get("missed_bytes", 0) for drive in answer["drives"])
    # Blocks that were read and not asked for, as a shorter transfer has it, are in `missed` alone.
    return 100 * max(0, read - missed) / read if read else None


def _of_serving(answer: Answer | None) -> Iterator[Metric]:
    yield Metric("tapectl_up", "1 while `tapectl serve` runs.", {(): float(answer is not None)})
    if answer is None:
        return
    raised = [one["alert"] for one in answer["alerts"]]
    yield Metric(
        "tapectl_alerts",
        "What is wrong (AvailabilityNotifications).",
        {(kind.value,): raised.count(kind.value) for kind in AlertKind},
        ("alert",),
    )
    drives = {device_name(one["drive_number"]): one for one in answer["drives"]}
    sessions = {name: one.get("sessions", ()) for name, one in drives.items()}
    sessions[device_name(0)] = answer["changer"]["sessions"]
    yield Metric(
        "tapectl_sessions",
        "iSCSI sessions.",
        {(name,): len(found) for name, found in sessions.items()},
        ("device",),
    )
    for key, name, text in _DRIVE_COUNTERS:
        moved: dict[tuple[str, ...], float] = {
            (drive,): one[key] for drive, one in drives.items() if key in one
        }
        yield Metric(f"tapectl_{name}", text, moved, ("device",), MetricKind.COUNTER)
    processes = {**drives, "transfer": answer["transfer"]}
    yield Metric(
        "tapectl_process_deaths",
        "Processes that have died since `serve` began (HealthNotifications has them, too).",
        {(name,): one["deaths"] for name, one in processes.items() if "deaths" in one},
        ("process",),
        MetricKind.COUNTER,
    )
    refused = answer.get("refused_logins", {})
    yield Metric(
        "tapectl_refused_logins",
        "Logins that were refused since `serve` began, by reason.",
        {(reason,): count for reason, count in refused.items()},
        ("reason",),
        MetricKind.COUNTER,
    )
    hit = cache_hit_percent(answer)
    yield Metric(
        "tapectl_cache_hit_percent",
        "Of what initiators read since `serve` began: from the cache (CacheHitPercent).",
        {} if hit is None else {(): hit},
    )
    transfer = answer["transfer"]
    for key, name, text in _TRANSFER_COUNTERS:
        # A transfer process that is being restarted has none to tell.
        found: dict[tuple[str, ...], float] = {(): transfer[key]} if key in transfer else {}
        yield Metric(f"tapectl_{name}", text, found, (), MetricKind.COUNTER)
