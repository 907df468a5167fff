"""Guessing secrets is slow: an address that has failed often is not listened to for a while."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

# A host with eleven devices and an old secret fails at all of them, and tries again.
FAILURES_MAX = 30
PERIOD_S = 60.0
# The oldest is forgotten: an attacker with so many addresses is not held up by counting them.
_ADDRESSES_MAX = 4096
_IPV6_PREFIX_BITS = 64


class LoginThrottle:
    """Counts failed authentications by address, for IPv6 by network of a host. Thread-safe."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        # Address → when its period began, and failures in it.
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._lock = threading.Lock()

    def failed(self, address: str) -> bool:
        """Count a failure; say whether the address is shut out by it, which is told once."""
        place, now_s = place_of(address), self._monotonic_s()
        with self._lock:
            began_s, count = self._failures.get(place, (now_s, 0))
            if now_s - began_s >= PERIOD_S:
                began_s, count = now_s, 0
            count += 1
            if count == FAILURES_MAX:
                began_s = now_s
            self._failures[place] = began_s, count
            self._failures.move_to_end(place)
            while len(self._failures) > _ADDRESSES_MAX:
                self._failures.popitem(last=False)
            return count == FAILURES_MAX

    def shuts_out(self, address: str) -> bool:
        """Say whether connections of an address are closed at once."""
        with self._lock:
            began_s, count = self._failures.get(place_of(address), (0.0, 0))
            return count >= FAILURES_MAX and self._monotonic_s() - began_s < PERIOD_S


def place_of(address: str) -> str:
    """Return what the addresses of a host have in common: of IPv6 ones, their network."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 6 and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, _IPV6_PREFIX_BITS), strict=False))
    return str(parsed)
