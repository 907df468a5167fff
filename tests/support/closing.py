"""What a test makes and nobody else closes: it is closed when the test ends, however it ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol, TypeVar


class _Closable(Protocol):
    def close(self) -> None: ...


Made = TypeVar("Made", bound=_Closable)

# Of the test under way. Empty where none is: fixtures of more than one test, and benchmarks, close
# what they make themselves.
_under_way: list[contextlib.ExitStack] = []


@contextlib.contextmanager
def closing_at_end() -> Iterator[None]:
    """Close what `closed_at_end` is given meanwhile, the latest first."""
    with contextlib.ExitStack() as made:
        _under_way.append(made)
        try:
            yield
        finally:
            _under_way.remove(made)


def closed_at_end(made: Made, *expected: type[Exception]) -> Made:
    """Return what a test has made. It is closed when the test ends, which may raise `expected`;
    that the test has closed it already must be harmless."""

    def close() -> None:
        with contextlib.suppress(*expected):
            made.close()

    if _under_way:
        _under_way[-1].callback(close)
    return made
