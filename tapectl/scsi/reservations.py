"""Who may use the device: RESERVE(6) (SPC-2 5.5) and persistent reservations (SPC-5 5.14).

Holds the state and its rules; the commands that change it are in
`tapectl.scsi.persistent_reserve` and `tapectl.scsi.spc`. The state lives as
long as the device server does: no activation through power loss (APTPL).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from tapectl.scsi.command_table import Access

# A registration is a few dozen bytes; what no cluster of initiators needs is refused.
MAX_REGISTRATIONS = 256


class ReservationConflict(Exception):  # noqa: N818 -- SAM's own word for this status
    """Ends a command with RESERVATION CONFLICT."""


class ReservationType(enum.IntEnum):
    """SPC-5 table 66."""

    WRITE_EXCLUSIVE = 0x1
    EXCLUSIVE_ACCESS = 0x3
    WRITE_EXCLUSIVE_REGISTRANTS_ONLY = 0x5
    EXCLUSIVE_ACCESS_REGISTRANTS_ONLY = 0x6
    WRITE_EXCLUSIVE_ALL_REGISTRANTS = 0x7
    EXCLUSIVE_ACCESS_ALL_REGISTRANTS = 0x8

    @property
    def write_exclusive(self) -> bool:
        return self in _WRITE_EXCLUSIVE

    @property
    def admits_registrants(self) -> bool:
        return self not in _HOLDER_ONLY

    @property
    def all_registrants(self) -> bool:
        return self in _ALL_REGISTRANTS


_WRITE_EXCLUSIVE = frozenset(
    {
        ReservationType.WRITE_EXCLUSIVE,
        ReservationType.WRITE_EXCLUSIVE_REGISTRANTS_ONLY,
        ReservationType.WRITE_EXCLUSIVE_ALL_REGISTRANTS,
    }
)
_HOLDER_ONLY = frozenset({ReservationType.WRITE_EXCLUSIVE, ReservationType.EXCLUSIVE_ACCESS})
_ALL_REGISTRANTS = frozenset(
    {
        ReservationType.WRITE_EXCLUSIVE_ALL_REGISTRANTS,
        ReservationType.EXCLUSIVE_ACCESS_ALL_REGISTRANTS,
    }
)


@dataclass(frozen=True, slots=True)
class PersistentReservation:
    """The one reservation; `holder` is None for the all-registrants types."""

    type: ReservationType
    key: int
    holder: str | None


class Reservations:
    """Reservation state of one logical unit.

    `legacy_holder` has it by RESERVE; `registered` maps nexus to reservation
    key; `generation` counts changes of registrations (PRGENERATION).
    """

    def __init__(self) -> None:
        self.legacy_holder: str | None = None
        self.registered: dict[str, int] = {}
        self.reservation: PersistentReservation | None = None
        self.generation = 0

    @property
    def any(self) -> bool:
        return self.legacy_holder is not None or self.reservation is not None

    def holds(self, nexus: str) -> bool:
        """Whether a nexus is a holder of the persistent reservation."""
        reservation = self.reservation
        if reservation is None:
            return False
        if reservation.holder is None:
            return nexus in self.registered
        return reservation.holder == nexus

    def conflicts(self, nexus: str, access: Access) -> bool:
        """Whether a command of a nexus must end with RESERVATION CONFLICT."""
        if access is Access.ALWAYS:
            return False
        if self.legacy_holder is not None:
            return self.legacy_holder != nexus
        reservation = self.reservation
        if reservation is None or access is Access.PERSISTENT or self.holds(nexus):
            return False
        if reservation.type.admits_registrants and nexus in self.registered:
            return False
        return not (access is Access.READ and reservation.type.write_exclusive)

    def reserve(self, nexus: str) -> None:
        """RESERVE: "a conflict exists" also where another way of reserving is in use."""
        if self.registered or self.legacy_holder not in (None, nexus):
            raise ReservationConflict
        self.legacy_holder = nexus

    def release(self, nexus: str) -> None:
        """RELEASE: from anyone but the holder it does nothing and is no error."""
        if self.legacy_holder == nexus:
            self.legacy_holder = None

    def unregister(self, nexus: str) -> PersistentReservation | None:
        """Drop a registration; return the reservation that ended with it, if one did."""
        del self.registered[nexus]
        reservation = self.reservation
        if reservation is None:
            return None
        last_of_all = reservation.holder is None and not self.registered
        if last_of_all or reservation.holder == nexus:
            self.reservation = None
            return reservation
        return None
