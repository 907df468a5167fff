"""Requests that are under way before their answers are asked for, in order and a bounded number."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

Result = TypeVar("Result")


def ahead(pool: Executor, jobs: Iterable[Callable[[], Result]], *, depth: int) -> Iterator[Result]:
    """Yield what jobs return, in their order, while up to `depth` of them are under way or done.

    Raises what a job raises, in its turn. What was not begun when the reader stops never is.
    """
    under_way: deque[Future[Result]] = deque()
    try:
        for job in jobs:
            under_way.append(pool.submit(job))
            if len(under_way) >= depth:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        for future in under_way:
            future.cancel()
