"""AWS's formula for the size of the upload buffer, with AWS's own example."""

from __future__ import annotations

import json

import pytest

from tapectl.cli.app import main
from tapectl.gateway.sizing import Workload, recommended_sizes
from tapectl.units import GIB, TIB

MB = 10**6


@pytest.mark.parametrize(
    ("write_mb", "upload_mb", "ratio", "hours", "required", "upload_buffer", "cache"),
    [
        # The user guide: ((40 MB/s) - (12 MB/s * 2)) * (12 h * 3600 s/h) = 691,200 MB.
        (40, 12, 2, 12, 691_200 * MB, 691_200 * MB, 760_320 * MB),
        (10, 12, 2, 12, 0, 150 * GIB, 165 * GIB),
        (1000, 10, 1, 24, 85_536_000 * MB, 2 * TIB, 64 * TIB),
    ],
)
def test_what_piles_up_sets_the_size(
    write_mb: int,
    upload_mb: int,
    ratio: int,
    hours: int,
    required: int,
    upload_buffer: int,
    cache: int,
) -> None:
    sizes = recommended_sizes(
        Workload(
            write_bytes_per_s=write_mb * MB,
            upload_bytes_per_s=upload_mb * MB,
            compression_ratio=ratio,
            duration_s=hours * 3600,
        )
    )
    assert sizes.required_bytes == required
    assert (sizes.upload_buffer_bytes, sizes.cache_bytes) == (upload_buffer, cache)


def test_the_command_needs_no_gateway(capsys: pytest.CaptureFixture[str]) -> None:
    words = "disk size --write 40MB/s --upload 96Mbit --compression 2 --hours 12 -o json"
    assert main(words.split()) == 0
    assert json.loads(capsys.readouterr().out)["RequiredInBytes"] == 691_200 * MB
