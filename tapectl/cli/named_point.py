"""The recovery point that a command is about: by its number, or by a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tapectl.errors import UsageError

if TYPE_CHECKING:
    from datetime import timezone

    from tapectl.gateway.recovery_points import WhichPoint

At = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="TIME",
        help='The last recovery point not after this: ISO 8601, "2h ago", 3d.',
    ),
]
PointNumber = Annotated[
    int | None,
    typer.Option("--point", metavar="N", min=1, help="This recovery point, by its number."),
]


def which_point(at: str | None, number: int | None, zone: timezone) -> WhichPoint:
    """Return what was asked for, the latest if nothing was; raise UsageError."""
    from tapectl.gateway.clock import now_ms
    from tapectl.gateway.points_in_time import parse_time
    from tapectl.gateway.recovery_points import WhichPoint

    if at is not None and number is not None:
        raise UsageError("give a time or a number, not both", hint="--at or --point")
    if at is None:
        return WhichPoint(number=number)
    return WhichPoint(at_ms=parse_time(at, now_ms=now_ms(), zone=zone))
