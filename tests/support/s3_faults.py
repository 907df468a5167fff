"""What an S3 server can do wrong: faults, and the switch that chooses one for each request."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any


class Cut(Enum):
    """How a connection goes wrong, and where."""

    NO_ANSWER = auto()  # takes the request and never answers
    BLACK_HOLE = auto()  # takes nothing
    RESET_UPLOAD = auto()  # RST after `after_bytes` of the request's body
    RESET_DOWNLOAD = auto()  # RST after `after_bytes` of the answer's body
    TRUNCATE = auto()  # an orderly end after `after_bytes` of the answer's body
    LOSE_ANSWER = auto()  # the server does it, the answer is lost
    CORRUPT_UPLOAD = auto()  # a bit of the request's body flips at `after_bytes`
    CORRUPT_DOWNLOAD = auto()  # a bit of the answer's body flips at `after_bytes`


@dataclass(slots=True)
class Request:
    """A request as it came; `body_bytes` counts what of its body was handed on."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body_bytes: int = 0
    status: int = 0


@dataclass(slots=True)
class Fault:
    """What to do wrong: `cut`, or an answer of `status` and `code`, or pace.

    Of the requests for which `when` holds, the part `share` meets it (chosen by the proxy's own
    random numbers), at most `times` of them.
    """

    cut: Cut | None = None
    after_bytes: int = 0
    status: int = 0
    code: str = ""
    bytes_per_s: int = 0
    when: Callable[[Request], bool] = lambda _: True
    share: float = 1.0
    times: int | None = None
    met: int = 0


def answers(status: int, code: str, **options: Any) -> Fault:
    """Return a fault that answers instead of the server."""
    return Fault(status=status, code=code, **options)


def slow(bytes_per_s: int = 10 * 1024, **options: Any) -> Fault:
    """Return a fault that paces each direction of each connection."""
    return Fault(bytes_per_s=bytes_per_s, **options)


def requests_of(method: str, part: str = "") -> Callable[[Request], bool]:
    """Return a condition: the method, and `part` in path or query."""
    return lambda request: request.method == method and part in f"{request.path}?{request.query}"


class FaultySwitch:
    """What the proxy does wrong now; any thread may change it. `requests` came, oldest first."""

    def __init__(self, seed: int) -> None:
        self.requests: list[Request] = []
        self._rng = random.Random(seed)
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def set(self, *faults: Fault) -> None:
        """Do these wrong from now on, the first that holds; none: all is well."""
        with self._lock:
            for fault in faults:
                fault.met = 0
            self._faults = list(faults)

    def choose(self, request: Request) -> Fault | None:
        """Note a request, and return what shall go wrong with it."""
        self.requests.append(request)
        with self._lock:
            for fault in self._faults:
                if fault.times is not None and fault.met >= fault.times:
                    continue
                if fault.when(request) and self._rng.random() < fault.share:
                    fault.met += 1
                    return fault
        return None
