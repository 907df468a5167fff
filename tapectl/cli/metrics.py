"""`tapectl metrics`: the gateway in numbers, in the text format of Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from tapectl.cli.options import examples
from tapectl.cli.session import open_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from prometheus_client.core import Metric as PrometheusMetric

    from tapectl.gateway.metrics import Metric


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command(
        "metrics",
        epilog=examples(
            ("tapectl metrics", "to look at"),
            (
                "tapectl metrics > /var/lib/node_exporter/tapectl.prom",
                "for node_exporter's textfile collector, from cron",
            ),
        ),
    )(metrics)


def metrics(context: typer.Context) -> None:
    """Write the gateway in numbers, for Prometheus.

    In its text format: for an exporter that reads files, or to look at.
    """
    from prometheus_client import CollectorRegistry, generate_latest

    from tapectl.gateway.metrics import gateway_metrics
    from tapectl.serve.client import connect

    with open_gateway(context) as (state, settings):
        found = gateway_metrics(state)
        supervisor = connect(settings.state_path)
        answer: Mapping[str, object] | None = None
        if supervisor is not None:
            with supervisor:
                answer = supervisor.request("status")
    registry = CollectorRegistry()
    registry.register(_Collector([*found, *_of_serving(answer)]))
    typer.echo(generate_latest(registry).decode(), nl=False)


class _Collector:
    """What prometheus_client asks for metrics."""

    def __init__(self, found: Sequence[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterator[PrometheusMetric]:
        from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

        from tapectl.gateway.metrics import MetricKind

        for metric in self._found:
            if metric.kind is MetricKind.INFO:
                info = InfoMetricFamily(metric.name, metric.help)
                for values in metric.values:
                    info.add_metric((), dict(zip(metric.labels, values, strict=True)))
                yield info
            else:
                gauge = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
                for values, value in metric.values.items():
                    gauge.add_metric(values, value)
                yield gauge


def _of_serving(answer: Mapping[str, object] | None) -> Iterator[Metric]:
    from tapectl.gateway.alerts import AlertKind
    from tapectl.gateway.metrics import Metric

    yield Metric("tapectl_up", "1 while `tapectl serve` runs.", {(): float(answer is not None)})
    if answer is None:
        return
    alerts = answer.get("alerts")
    raised = [one["alert"] for one in alerts] if isinstance(alerts, list) else []
    yield Metric(
        "tapectl_alerts",
        "What is wrong (AvailabilityNotifications).",
        {(kind.value,): raised.count(kind.value) for kind in AlertKind},
        ("alert",),
    )
