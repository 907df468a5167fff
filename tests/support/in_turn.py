"""Which tests of a run go at the same time: whole files do, but guests go one after the other."""

from __future__ import annotations

from pathlib import PurePath

from xdist.scheduler import LoadFileScheduling

GUESTS = "guests"


def boots_the_guest(path: PurePath) -> bool:
    """Say whether the tests of a file emulate a machine, which keeps one processor busy."""
    return path.name.startswith("test_guest")


class GuestsInTurn(LoadFileScheduling):  # type: ignore[misc]
    """A process at a time takes a file; one of them takes all files that boot the guest.

    Two guests at once leave nothing for others, and miss time limits of their own.
    """

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return GUESTS if boots_the_guest(PurePath(file)) else file
