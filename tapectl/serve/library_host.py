"""All units of the library behind one target: LUN 0 the changer, LUN k drive k.

A SessionHost whose sessions run beside one another: there is a lock a nexus, and each unit has
its own. What the changer is asked runs in this process, what a drive is asked in its worker.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field

from tapectl.scsi.cartridge import CartridgeBusyError
from tapectl.scsi.logical_unit import Reply, Status
from tapectl.scsi.sense import ASC, Sense, SenseKey
from tapectl.serve.channel import ChannelClosedError
from tapectl.serve.drives import DriveUnit
from tapectl.serve.nexus_link import LinkClosedError, NexusLink
from tapectl.serve.session_table import SESSIONS_MAX, Occupant, SessionTable
from tapectl.serve.unit_host import Session, UnitHost
from tapectl.serve.unit_nexus import UnitNexus

_log = logging.getLogger(__name__)

_TEST_UNIT_READY = bytes(16)
_REQUEST_SENSE, _INQUIRY, _REPORT_LUNS = 0x03, 0x12, 0xA0
# SAM-6 6.3.4; what it had to say of the command that was lost with it, nobody knows.
_NEXUS_LOST = Reply(
    Status.CHECK_CONDITION,
    sense=Sense(SenseKey.UNIT_ATTENTION, ASC.I_T_NEXUS_LOSS_OCCURRED).encode_fixed(),
)
_NO_DATA = memoryview(b"")
# Each is a descriptor of the supervisor, of which a process has 1024 unless it asks for more.
LINKS_MAX = 512
# A worker is restarted within seconds.
_RESTART_POLL_S = 0.1


@dataclass(eq=False, slots=True)
class _Nexus:
    """An I_T nexus at all units. `broken` are LUNs whose link has ended: to be told of it."""

    owner: Session
    changer: UnitNexus
    links: dict[int, NexusLink] = field(default_factory=dict)
    broken: set[int] = field(default_factory=set)


class LibraryHost:
    """The changer and all drives as one SessionHost. `drives` may grow."""

    # A reply's data are in a buffer of the nexus itself.
    shared = False

    def __init__(self, changer: UnitHost, drives: Sequence[DriveUnit]) -> None:
        self.table = SessionTable(min(SESSIONS_MAX, LINKS_MAX // len(drives)))
        self._changer = changer
        self._drives = drives
        self._nexuses: dict[str, _Nexus] = {}
        self._locks: weakref.WeakValueDictionary[str, threading.Lock] = (
            weakref.WeakValueDictionary()
        )
        self._locks_lock = threading.Lock()

    @property
    def luns(self) -> int:
        """How many logical units there are: the changer and the drives."""
        return 1 + len(self._drives)

    def lock_of(self, session: Occupant) -> threading.Lock:
        """Return the lock of the session's nexus: one that reinstates it has the same."""
        with self._locks_lock:
            return self._locks.setdefault(session.nexus, threading.Lock())

    def establish(self, session: Session) -> None:
        """See SessionHost.establish."""
        with self.lock_of(session):
            nexus = self._nexuses.get(session.nexus)
            if nexus is not None and session.reinstates:
                nexus.owner = session
                return
            if nexus is not None:
                self._close(nexus)
            changer = UnitNexus(self._changer, session.nexus, session.initiator_name)
            changer.open()
            nexus = self._nexuses[session.nexus] = _Nexus(session, changer)
            for lun in range(1, self.luns):
                # A drive whose worker is being restarted gets it with the first command.
                with contextlib.suppress(CartridgeBusyError):
                    self._link(nexus, lun)

    def detach(self, session: Session) -> None:
        """See SessionHost.detach."""
        if not self.table.leave(session):
            return
        with self.lock_of(session):
            nexus = self._nexuses.get(session.nexus)
            if nexus is not None and nexus.owner is session:
                self._close(nexus)

    def execute(self, nexus: str, cdb: bytes, data_out: memoryview, lun: int) -> Reply:
        """Run a command on the unit of that LUN; the changer answers for LUNs that are not there.

        Raises CartridgeBusyError also while a drive's worker is being restarted.
        """
        here = self._nexuses[nexus]
        if cdb[0] == _REPORT_LUNS:
            return here.changer.execute(cdb, data_out)
        if not 0 < lun < self.luns:
            return here.changer.execute(cdb, data_out, lun)
        try:
            link = self._link(here, lun)
            if lun in here.broken and cdb[0] not in (_INQUIRY, _REQUEST_SENSE):
                return self._report_break(here, lun, link)
            return link.execute(cdb, data_out)
        except LinkClosedError as exc:
            self._break(here, lun)
            raise self._unreachable(lun) from exc

    def reset(self, session: Occupant, lun: int) -> None:
        """See SessionHost.reset. A drive whose worker is being restarted needs none."""
        with self.lock_of(session), contextlib.suppress(CartridgeBusyError):
            self._manage(self._nexuses[session.nexus], lun, resets=True)

    def clear_task_set(self, session: Occupant, lun: int) -> None:
        """See SessionHost.clear_task_set."""
        with self.lock_of(session), contextlib.suppress(CartridgeBusyError):
            self._manage(self._nexuses[session.nexus], lun, resets=False)

    def _manage(self, nexus: _Nexus, lun: int, *, resets: bool) -> None:
        unit = self._link(nexus, lun) if lun else nexus.changer
        try:
            if resets:
                unit.reset()
            else:
                unit.clear_task_set()
        except LinkClosedError:
            self._break(nexus, lun)

    def _link(self, nexus: _Nexus, lun: int) -> NexusLink:
        """Return the link to a drive, a new one if need be; raise CartridgeBusyError if it is not
        there."""
        link = nexus.links.get(lun)
        if link is None:
            owner = nexus.owner
            try:
                stream = self._drives[lun - 1].open_nexus(owner.nexus, owner.initiator_name)
            except ChannelClosedError as exc:
                raise self._unreachable(lun) from exc
            link = nexus.links[lun] = NexusLink(stream)
        return link

    def _unreachable(self, lun: int) -> CartridgeBusyError:
        name = self._drives[lun - 1].device.name
        return CartridgeBusyError(f"{name} is being restarted", _RESTART_POLL_S)

    def _break(self, nexus: _Nexus, lun: int) -> None:
        """Drop a link that has ended: whoever sends the next command there is to hear of it."""
        _log.warning("%s: lost LUN %d", nexus.owner.nexus, lun)
        nexus.broken.add(lun)
        nexus.links.pop(lun).close()

    def _report_break(self, nexus: _Nexus, lun: int, link: NexusLink) -> Reply:
        """Return the attention for a link that had ended: the drive's own after a restart.

        A command that was under way may have been executed or not, so it is never sent again.
        """
        reply = link.execute(_TEST_UNIT_READY, _NO_DATA)
        nexus.broken.discard(lun)
        return reply if _is_attention(reply.sense) else _NEXUS_LOST

    def _close(self, nexus: _Nexus) -> None:
        """End a nexus at all units; the caller holds its lock."""
        del self._nexuses[nexus.owner.nexus]
        links = list(nexus.links.values())
        for link in links:
            link.leave()
        nexus.changer.close()
        for link in links:
            link.close()


def _is_attention(sense: bytes) -> bool:
    """Say whether sense in either format (SPC-5 4.4) is a unit attention."""
    if not sense:
        return False
    descriptor_format = sense[0] & 0x02
    return sense[1 if descriptor_format else 2] & 0x0F == SenseKey.UNIT_ATTENTION
