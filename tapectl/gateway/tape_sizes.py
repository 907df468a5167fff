"""Which sizes a tape can have: those of AWS, and smaller ones for labs."""

from __future__ import annotations

from tapectl.errors import ExitCode, TapectlError
from tapectl.units import GIB, MIB, TIB, format_size

MIN_SIZE_BYTES = 100 * GIB
MAX_SIZE_BYTES = 15 * TIB
MIN_SMALL_SIZE_BYTES = MIB


class TapeSizeError(TapectlError):
    """A size that no tape can have."""

    exit_code = ExitCode.TAPE_INVALID
    code = "tape_size"
    aws_code = "InvalidParameters"


def check_size(size_bytes: int, *, allow_small: bool) -> None:
    """Raise TapeSizeError for a size that no tape can have; `allow_small` takes 1 MiB and more."""
    minimum = MIN_SMALL_SIZE_BYTES if allow_small else MIN_SIZE_BYTES
    if not minimum <= size_bytes <= MAX_SIZE_BYTES:
        lab = "" if allow_small else "; --allow-small takes less, for labs"
        raise TapeSizeError(
            f"a tape cannot have this size: {format_size(size_bytes)}",
            hint=f"{format_size(minimum)} to {format_size(MAX_SIZE_BYTES)}{lab}",
        )
    step = MIB if size_bytes < MIN_SIZE_BYTES else GIB
    if size_bytes % step:
        raise TapeSizeError(
            f"the size of a tape must be whole {'MiB' if step == MIB else 'GiB'}:"
            f" {size_bytes} bytes",
            hint=f"the next one is {format_size(-(-size_bytes // step) * step)}",
        )
