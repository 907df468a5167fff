"""When what goes on will be done, or full, if it goes on as it does now. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tapectl.store.interface import RetrievalTier, StorageClass

_MIN_S, _HOUR_S = 60, 3600

_LONGEST_RETRIEVAL_S: Mapping[tuple[str, str], int] = MappingProxyType(
    {
        (StorageClass.GLACIER, RetrievalTier.EXPEDITED): 5 * _MIN_S,
        (StorageClass.GLACIER, RetrievalTier.STANDARD): 5 * _HOUR_S,
        (StorageClass.GLACIER, RetrievalTier.BULK): 12 * _HOUR_S,
        (StorageClass.DEEP_ARCHIVE, RetrievalTier.STANDARD): 12 * _HOUR_S,
        (StorageClass.DEEP_ARCHIVE, RetrievalTier.BULK): 48 * _HOUR_S,
    }
)
"""How long S3 takes at most, typically: "Archive retrieval options", Amazon S3 user guide."""


def seconds_to_go(left_bytes: float, bytes_per_s: float) -> float | None:
    """Return how long it takes to move what is left; None: for ever, as things are."""
    if left_bytes <= 0:
        return 0.0
    return left_bytes / bytes_per_s if bytes_per_s > 0 else None


def seconds_to_full(free_bytes: float, filling_per_s: float, emptying_per_s: float) -> float | None:
    """Return how long until there is no room any more; None: never, as things are."""
    growing_per_s = filling_per_s - emptying_per_s
    return max(0.0, free_bytes) / growing_per_s if growing_per_s > 0 else None


def seconds_to_retrieved(
    storage_class: str, tier: str, elapsed_s: float, *, simulated_s: float | None
) -> float | None:
    """Return how long a retrieval takes still, if it takes as long as it may; 0: it is late.

    `simulated_s` is how long a directory store pretends that one takes. None: nobody knows.
    """
    longest_s = simulated_s
    if longest_s is None:
        longest_s = _LONGEST_RETRIEVAL_S.get((storage_class, tier))
    return None if longest_s is None else max(0.0, longest_s - elapsed_s)
