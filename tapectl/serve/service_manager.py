"""What `serve` tells the service manager that started it: ready, reloading, stopping, alive.

The protocol is that of sd_notify(3): datagrams of NAME=VALUE lines to the socket that the
environment names. Without one, nothing is told. Knows nothing of what is served.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from typing import Self

_log = logging.getLogger(__name__)

# sd_watchdog_enabled(3): "it is recommended that a daemon sends a keep-alive notification message
# to the service manager every half of the time returned here". A third leaves time for the look.
KEEP_ALIVES_A_PERIOD = 3
US_PER_S = 1_000_000


class ServiceManager:
    """The service manager at `address` ("" is none), which wants a sign of life each `watchdog_s`
    (None: it wants none).
    """

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        # A name that begins with @ is one of the abstract namespace.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog_s = watchdog_s

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> Self:
        """Return the one that started this process; its variables go, as no child has it."""
        address = environ.pop("NOTIFY_SOCKET", "")
        period_us = environ.pop("WATCHDOG_USEC", "")
        watched_pid = environ.pop("WATCHDOG_PID", str(os.getpid()))
        watched = period_us.isdecimal() and int(period_us) > 0 and watched_pid == str(os.getpid())
        return cls(address, int(period_us) / US_PER_S if watched else None)

    def ready(self, status: str) -> None:
        """Tell that initiators can come; `status` is for people."""
        self._tell("READY=1", f"STATUS={status}")

    def stopping(self) -> None:
        self._tell("STOPPING=1", "STATUS=draining")

    @contextlib.contextmanager
    def reloading(self) -> Iterator[None]:
        """Tell that settings are read anew, and at the end that this is over, well or not."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            yield
        finally:
            self._tell("READY=1")

    @contextlib.contextmanager
    def kept_alive(self, is_alive: Callable[[float], bool]) -> Iterator[None]:
        """Give signs of life meanwhile, in a thread of its own, as far as there is life.

        `is_alive` gets the seconds that it may take to find out.
        """
        if self._watchdog_s is None:
            yield
            return
        ended = threading.Event()
        pause_s = self._watchdog_s / KEEP_ALIVES_A_PERIOD

        def run() -> None:
            while not ended.is_set():
                if is_alive(pause_s):
                    self._tell("WATCHDOG=1")
                ended.wait(pause_s)

        threading.Thread(target=run, name="keep-alive", daemon=True).start()
        try:
            yield
        finally:
            ended.set()

    def _tell(self, *assignments: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stream:
                stream.connect(self._address)
                stream.sendall("\n".join(assignments).encode())
        except OSError as exc:
            _log.warning("service manager at %s: %s", self._address, exc)
