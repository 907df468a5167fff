"""The checksum of every frame, header and index: CRC32C (polynomial 1EDC6F41h)."""

from __future__ import annotations

from collections.abc import Callable

import awscrt.checksums

# `crc32c(buffer, previous=0)` takes any contiguous bytes without copying them. It is bound and not
# wrapped: a Python function more in the way of every block is a microsecond no drive gets back.
crc32c: Callable[..., int] = awscrt.checksums.crc32c
