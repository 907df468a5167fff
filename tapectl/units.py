"""Sizes, barcodes and times as people write and read them. Knows no I/O."""

from __future__ import annotations

import re

from tapectl.errors import UsageError

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB
PIB = 1024 * TIB

_SUFFIXES = {"": 1, "B": 1, "K": KIB, "M": MIB, "G": GIB, "T": TIB, "P": PIB}
_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([KMGTP]?)(?:I?B)?\s*$", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Return the bytes that `100GiB`, `100G`, `64m` or `4096` stand for; binary multiples only.

    Raises UsageError for anything else, and where the result is no whole number of bytes.
    """
    match = _SIZE.match(text)
    if match is None:
        raise UsageError(f"not a size: {text}", hint="write a number and a unit, as in 100GiB")
    number, suffix = match.groups()
    size_bytes = float(number) * _SUFFIXES[suffix.upper()]
    if "." not in number:
        return int(number) * _SUFFIXES[suffix.upper()]
    if size_bytes != int(size_bytes):
        raise UsageError(f"not a whole number of bytes: {text}", hint="as in 100GiB")
    return int(size_bytes)


_RATE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([KMG]?)(i?)(bit|b|B)?(?:/s|ps)?\s*$", re.IGNORECASE)
_RATE_FACTORS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3}


def parse_rate(text: str) -> int:
    """Return the bits a second that `100Mbit`, `51200`, `10MB/s` or `1.5MiB/s` stand for.

    As networks count: k, M and G are powers of 1000, Ki, Mi and Gi of 1024, a capital B is a byte.
    Raises UsageError.
    """
    match = _RATE.match(text)
    if match is None:
        raise UsageError(f"not a rate: {text}", hint="as in 100Mbit, 10MB/s, or bits a second")
    number, prefix, binary, unit = match.groups()
    factor = (_SUFFIXES if binary else _RATE_FACTORS)[prefix.upper()]
    return round(float(number) * factor * (8 if unit == "B" else 1))


def format_rate(bits_per_s: int) -> str:
    """Return a rate for people: `100 Mbit/s`, `51.2 kbit/s`."""
    value, unit = float(bits_per_s), "bit/s"
    for unit in ("bit/s", "kbit/s", "Mbit/s", "Gbit/s"):
        if value < 1000 or unit == "Gbit/s":
            break
        value /= 1000
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"


def format_size(size_bytes: int) -> str:
    """Return a size for people: `100 GiB`, `1.5 TiB`, `12 B`."""
    value, unit = float(size_bytes), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if abs(value) < 1024 or unit == "PiB":
            break
        value /= 1024
    text = f"{value:.1f}".removesuffix(".0")
    return f"{text} {unit}"


def format_duration(duration_s: float) -> str:
    """Return a duration for people: `45 s`, `3 min 20 s`, `5 h 2 min`."""
    seconds = round(duration_s)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
