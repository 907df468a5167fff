"""Unit attention conditions, a queue for each I_T nexus (SAM-6 5.14)."""

from __future__ import annotations

from tapectl.scsi.sense import ASC

# Enough for every initiator of a site; the longest unseen is forgotten beyond it, so that an
# initiator that logs in under ever new names cannot make us grow.
MAX_NEXUSES = 1024


_RESETS = frozenset({ASC.POWER_ON_OCCURRED, ASC.BUS_DEVICE_RESET_OCCURRED})


class UnitAttentions:
    """Which attention each known nexus has yet to be told.

    A nexus is known from its first command or login until it is lost. The same
    condition waits once only. A reset comes before whatever else waits. `known` and `pending` (no
    queue in it is empty) are for the device server to look at, on the way of every command.
    """

    def __init__(self) -> None:
        self.known: dict[str, None] = {}
        self.pending: dict[str, list[ASC]] = {}
        self._told_power_on: dict[str, None] | None = None

    def know(self, nexus: str) -> None:
        """Remember a nexus; tell it of the power on that it has not heard of."""
        if nexus in self.known:
            return
        _remember(self.known, nexus)
        if self._told_power_on is not None and nexus not in self._told_power_on:
            _remember(self._told_power_on, nexus)
            self.establish(nexus, ASC.POWER_ON_OCCURRED)

    def forget(self, nexus: str) -> None:
        """Drop a lost nexus and what it was still to be told."""
        self.known.pop(nexus, None)
        self.pending.pop(nexus, None)

    def power_on(self) -> None:
        """Tell every nexus, those to come too, once, that the device was powered on."""
        self._told_power_on = {}
        for nexus in self.known:
            _remember(self._told_power_on, nexus)
            self.establish(nexus, ASC.POWER_ON_OCCURRED)

    def establish(self, nexus: str, code: ASC) -> None:
        """Let a condition wait for one nexus."""
        if nexus not in self.pending and len(self.pending) >= MAX_NEXUSES:
            # Also a nexus that is not logged in may be told something (a preempted registration).
            del self.pending[next(iter(self.pending))]
        queue = self.pending.setdefault(nexus, [])
        if code in queue:
            return
        if code in _RESETS:
            queue.insert(0, code)
        else:
            queue.append(code)

    def establish_all(self, code: ASC, *, but: str | None = None) -> None:
        """Let a condition wait for every known nexus, except the one that caused it."""
        for nexus in self.known:
            if nexus != but:
                self.establish(nexus, code)

    def waiting(self, nexus: str) -> ASC | None:
        """Return the next condition of a nexus; it goes on waiting."""
        queue = self.pending.get(nexus)
        return queue[0] if queue else None

    def has_reset(self, nexus: str) -> bool:
        """Whether what waits is of the 29h family, which goes before a reservation conflict."""
        return self.waiting(nexus) in _RESETS

    def report(self, nexus: str) -> ASC | None:
        """Return the next condition of a nexus and clear it."""
        queue = self.pending.get(nexus)
        if not queue:
            return None
        code = queue.pop(0)
        if not queue:
            del self.pending[nexus]
        return code


def _remember(names: dict[str, None], nexus: str) -> None:
    names[nexus] = None
    if len(names) > MAX_NEXUSES:
        del names[next(iter(names))]
