"""`tapectl metrics`: the gateway in numbers, in the text format of Prometheus."""

from __future__ import annotations

import typer

from tapectl.cli.options import examples
from tapectl.cli.session import open_gateway


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

    In its text format: for an exporter that reads files, or to look at. With the setting
    metrics_listen `tapectl serve` answers Prometheus itself.
    """
    from tapectl.serve.client import connect
    from tapectl.serve.metrics import metrics_text

    with open_gateway(context) as (state, settings):
        supervisor = connect(settings.state_path)
        if supervisor is None:
            text = metrics_text(state, None)
        else:
            with supervisor:
                text = metrics_text(state, supervisor.request("status"))
    typer.echo(text.decode(), nl=False)
