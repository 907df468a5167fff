"""The TapeAlert flags of one device: which are active, and who has been told (SSC-5 4.2.20)."""

from __future__ import annotations

from collections.abc import Callable, Iterable


class TapeAlerts:
    """Flags by number, 1 to 64.

    An event activates its flag until `deactivate`; a condition that something else watches is
    held, and its flag active, until it is not held any more. A nexus that has read the TapeAlert
    log page has the flags it read cleared, the others keep theirs: so each is told once of what
    happened, and told again when it happens again. `activated` is called for every new one.
    """

    def __init__(self, activated: Callable[[], None] = lambda: None) -> None:
        self._activated = activated
        self._active: set[int] = set()
        self._held: dict[str, frozenset[int]] = {}
        # By nexus: the active flags it has read, and those it saw in the last response page.
        self._read: dict[str, set[int]] = {}
        self._responded: dict[str, frozenset[int]] = {}

    @property
    def active(self) -> frozenset[int]:
        """The flags that are active, whoever has read them."""
        return frozenset(self._active)

    def add(self, *flags: int) -> None:
        """Something happened: activate flags, for every nexus anew."""
        self._active.update(flags)
        for seen in self._read.values():
            seen.difference_update(flags)
        self._activated()

    def hold(self, flags: Iterable[int], *, watcher: str = "") -> None:
        """Take what holds now: a flag is activated when its condition begins, and goes with it.

        Each `watcher` tells of its own conditions; a flag stays as long as any of them holds it.
        """
        before = self._all_held()
        self._held[watcher] = frozenset(flags)
        now = self._all_held()
        began, ended = now - before, before - now
        self.deactivate(ended)
        if began:
            self.add(*began)

    def _all_held(self) -> frozenset[int]:
        return frozenset().union(*self._held.values())

    def deactivate(self, flags: Iterable[int]) -> None:
        """The cause of these flags is gone."""
        gone = set(flags)
        self._active -= gone
        for seen in self._read.values():
            seen -= gone

    def clear(self) -> None:
        """LOG SELECT set the page back; a condition that still holds comes when it begins anew."""
        self._active.clear()
        self._read.clear()

    def flags_for(self, nexus: str) -> frozenset[int]:
        """Return the active flags that a nexus has not read yet."""
        return frozenset(self._active - self._read.get(nexus, set()))

    def read_by(self, nexus: str) -> None:
        """A nexus was sent the TapeAlert log page."""
        self._read.setdefault(nexus, set()).update(self._active)

    def responded_to(self, nexus: str) -> None:
        """A nexus was sent the TapeAlert Response log page, which clears no flag."""
        self._responded[nexus] = self.flags_for(nexus)

    def changed_for(self, nexus: str) -> bool:
        """Whether any flag has changed since a nexus was sent the response page: TAFC (ADC-4)."""
        return self.flags_for(nexus) != self._responded.get(nexus, frozenset())

    def forget(self, nexus: str) -> None:
        """A nexus was lost."""
        self._read.pop(nexus, None)
        self._responded.pop(nexus, None)
