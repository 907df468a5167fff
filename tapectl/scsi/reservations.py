"""Who may use the device: RESERVE(6) (SPC-2 5.5) and persistent reservations (SPC-5 5.14).

Holds the state and its rules; the commands that change it are in
`tapectl.scsi.persistent_reserve` and `tapectl.scsi.spc`.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from tapectl.scsi.command_table import Access
from tapectl.scsi.nonvolatile import NonvolatileMemory, VolatileMemory

# A registration is a few dozen bytes; what no cluster of initiators needs is refused.
MAX_REGISTRATIONS = 256
_STORED = "persistent reservation"


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
class Registration:
    """A registered nexus's reservation key, and whether ALL_TG_PT was set for it."""

    key: int
    all_target_ports: bool = False


@dataclass(frozen=True, slots=True)
class PersistentReservation:
    """The one reservation; `holder` is None for the all-registrants types."""

    type: ReservationType
    holder: str | None


@dataclass(slots=True)
class PersistentState:
    """Registrations by nexus and the reservation. `activates`: through power loss (APTPL)."""

    registered: dict[str, Registration] = field(default_factory=dict)
    reservation: PersistentReservation | None = None
    activates: bool = False

    def copy(self) -> PersistentState:
        return PersistentState(dict(self.registered), self.reservation, self.activates)

    def holds(self, nexus: str) -> bool:
        """Whether a nexus is a holder of the reservation."""
        reservation = self.reservation
        if reservation is None:
            return False
        if reservation.holder is None:
            return nexus in self.registered
        return reservation.holder == nexus

    @property
    def holder_key(self) -> int:
        """The reservation key of the holder, 0 where every registrant is one."""
        if self.reservation is None or self.reservation.holder is None:
            return 0
        return self.registered[self.reservation.holder].key

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

    def encode(self) -> bytes | None:
        """Return what a power loss must not end, None if there is nothing."""
        if not self.activates or not self.registered:
            return None
        reservation = self.reservation
        stored = {
            "registered": [
                [nexus, row.key, row.all_target_ports] for nexus, row in self.registered.items()
            ],
            "reservation": [reservation.type, reservation.holder] if reservation else None,
        }
        return json.dumps(stored).encode()

    @classmethod
    def decode(cls, stored: bytes | None) -> PersistentState:
        if stored is None:
            return cls()
        values = json.loads(stored)
        registered = {
            nexus: Registration(key, all_ports) for nexus, key, all_ports in values["registered"]
        }
        reservation = None
        if values["reservation"] is not None:
            kind, holder = values["reservation"]
            reservation = PersistentReservation(ReservationType(kind), holder)
        return cls(registered, reservation, activates=True)


class Reservations:
    """Reservation state of one logical unit.

    `legacy_holder` has it by RESERVE; `generation` counts changes of registrations
    (PRGENERATION, zero after power on). `any`, whether anything is reserved, is for the device
    server to look at on the way of every command. `lost` is called with a nexus that holds its
    reservation no more, and whether it was preempted. Raises NonvolatileMemoryError where the
    memory cannot be read.
    """

    def __init__(self, memory: NonvolatileMemory | None = None) -> None:
        self._memory = memory if memory is not None else VolatileMemory()
        self._stored = self._memory.get(_STORED)
        self.persistent = PersistentState.decode(self._stored)
        self.generation = 0
        self.legacy_holder: str | None = None
        self.any = self.persistent.reservation is not None
        self.lost: Callable[[str, bool], None] = lambda _nexus, _preempted: None

    def replace(self, state: PersistentState, *, preempts: bool = False) -> None:
        """Let what PERSISTENT RESERVE OUT has made take effect, once it is kept if it must be.

        `preempts`: whoever holds a reservation no more has lost it by being preempted. Raises
        NonvolatileMemoryError; then everything is as it was.
        """
        stored = state.encode()
        if stored != self._stored:
            self._memory.put(_STORED, stored)
            self._stored = stored
        before, self.persistent = self.persistent, state
        self.any = self.legacy_holder is not None or state.reservation is not None
        for nexus in before.registered:
            if before.holds(nexus) and not state.holds(nexus):
                self.lost(nexus, preempts)

    def conflicts(self, nexus: str, access: Access) -> bool:
        """Whether a command of a nexus must end with RESERVATION CONFLICT."""
        if access is Access.ALWAYS:
            return False
        if self.legacy_holder is not None:
            return self.legacy_holder != nexus
        state = self.persistent
        reservation = state.reservation
        if reservation is None or access is Access.PERSISTENT or state.holds(nexus):
            return False
        if reservation.type.admits_registrants and nexus in state.registered:
            return False
        return not (access is Access.READ and reservation.type.write_exclusive)

    def reserve(self, nexus: str) -> None:
        """RESERVE: a conflict also where another way of reserving is in use."""
        if self._ignores_legacy(nexus):
            return
        if self.legacy_holder not in (None, nexus):
            raise ReservationConflict
        self.legacy_holder = nexus
        self.any = True

    def release(self, nexus: str) -> None:
        """RELEASE: from anyone but the holder it does nothing and is no error."""
        if not self._ignores_legacy(nexus):
            self.end_legacy(nexus)

    def end_legacy(self, nexus: str | None = None) -> None:
        """End what RESERVE has reserved, for this nexus or whoever it was."""
        holder = self.legacy_holder
        if holder is not None and nexus in (None, holder):
            self.legacy_holder = None
            self.any = self.persistent.reservation is not None
            self.lost(holder, False)

    def _ignores_legacy(self, nexus: str) -> bool:
        """Whether RESERVE and RELEASE of a nexus are to do nothing: SPC-5 5.14.3, CRH.

        "An I_T nexus that is a persistent reservation holder, or ... is registered" where the
        type lets registrants in, is not kept from what it may do anyway. For all others
        registrations and RESERVE exclude each other (SPC-2 5.5.1).
        """
        state = self.persistent
        if not state.registered:
            return False
        reservation = state.reservation
        if reservation is not None and (
            state.holds(nexus)
            or (reservation.type.admits_registrants and nexus in state.registered)
        ):
            return True
        raise ReservationConflict
