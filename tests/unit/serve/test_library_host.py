"""The units of the library behind one target: who is asked, and what happens when one is gone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from tapectl.scsi.cartridge import CartridgeBusyError
from tapectl.scsi.logical_unit import Reply, Status
from tapectl.scsi.sense import ASC, Sense, SenseKey
from tapectl.serve.channel import ChannelClosedError
from tapectl.serve.drives import DriveUnit
from tapectl.serve.library_host import LibraryHost
from tapectl.serve.nexus_link import serve_nexus
from tapectl.serve.unit_host import Session, UnitHost
from tests.support.gateway import wait_until
from tests.support.nexus_unit import ScriptedUnit

PATIENCE_S = 30.0
NO_DATA = memoryview(b"")
INITIATOR = "iqn.2000-01.com.example:one"
INQUIRY, REPORT_LUNS = 0x12, 0xA0
POWER_ON = Sense(SenseKey.UNIT_ATTENTION, ASC.POWER_ON_OCCURRED)


def cdb(number: int) -> bytes:
    return bytes([number]).ljust(16, b"\0")


class Drive:
    """A drive whose worker is a thread; `unit` None: it is being restarted."""

    def __init__(self, name: str) -> None:
        self.device = SimpleNamespace(name=name)
        self.unit = ScriptedUnit()
        self.host: UnitHost | None = UnitHost(self.unit)

    def open_nexus(self, nexus: str, initiator_name: str) -> socket.socket:
        if self.host is None:
            raise ChannelClosedError("starting")
        ours, theirs = socket.socketpair()
        arguments = (theirs, self.host, nexus, initiator_name)
        threading.Thread(target=serve_nexus, args=arguments).start()
        return ours

    def die(self) -> None:
        assert self.host is not None
        host, self.host = self.host, None
        host.table.drop()
        wait_until(lambda: host.table.all() == [], "its end", PATIENCE_S)

    def restart(self) -> None:
        self.unit = ScriptedUnit()
        self.host = UnitHost(self.unit)


def session(nexus: str = "one") -> Session:
    made = SimpleNamespace(nexus=nexus, initiator_name=INITIATOR, reinstates=False, relayed=False)
    made.end = lambda: None
    return cast("Session", made)


class Library:
    """A changer, two drives, and a session."""

    def __init__(self) -> None:
        self.changer = ScriptedUnit()
        self.drives = [Drive("tapedrive-01"), Drive("tapedrive-02")]
        self.host = LibraryHost(UnitHost(self.changer), cast("list[DriveUnit]", self.drives))
        self.session = session()
        self.enter(self.session)

    def enter(self, entering: Session) -> None:
        assert self.host.table.enter(entering)
        self.host.establish(entering)

    def run(self, number: int, lun: int) -> Reply:
        return self.host.execute("one", cdb(number), NO_DATA, lun)

    def told(self) -> list[list[str]]:
        """What each unit was told, in words, once all have been told."""
        for lun in (1, 2):
            self.run(0xFF, lun)
        units = (self.changer, *(drive.unit for drive in self.drives))
        return [[word for word, _ in unit.told] for unit in units]


@pytest.fixture
def library() -> Iterator[Library]:
    library = Library()
    yield library
    library.host.detach(library.session)


def test_each_lun_is_a_unit(library: Library) -> None:
    assert library.host.luns == 3
    for lun in range(3):
        library.run(lun, lun)
    # The changer answers for all, and for what is not there.
    library.run(REPORT_LUNS, 2)
    library.run(7, 3)
    assert library.changer.ran == [(b"\0", b"", 0), (b"\xa0", b"", 0), (b"\7", b"", 3)]
    for lun, drive in enumerate(library.drives, 1):
        assert drive.unit.ran == [(bytes([lun]), b"", 0)]


def test_a_nexus_begins_and_ends_at_every_unit() -> None:
    library = Library()
    assert library.told() == [["established"]] * 3
    library.host.detach(library.session)
    units = (library.changer, *(drive.unit for drive in library.drives))
    assert [[word for word, _ in unit.told] for unit in units] == [["established", "lost"]] * 3


def test_a_reinstated_nexus_lives_on(library: Library) -> None:
    old, library.session = library.session, session()
    library.enter(library.session)
    assert library.host.lock_of(old) is library.host.lock_of(library.session)
    library.host.detach(old)
    assert library.told() == [["established"]] * 3


@pytest.mark.parametrize(("lun", "reset"), [(0, 0), (1, 1), (2, 2)])
def test_a_reset_is_for_its_lun(library: Library, lun: int, reset: int) -> None:
    library.host.reset(library.session, lun)
    expected = [["established"] for _ in range(3)]
    expected[reset].append("reset")
    assert library.told() == expected


def attention(sense: bytes) -> Reply:
    return Reply(Status.CHECK_CONDITION, sense=sense)


@pytest.mark.parametrize("encode", [Sense.encode_fixed, Sense.encode_descriptor])
def test_a_command_for_a_dead_drive_waits_and_is_told_of_the_restart(
    library: Library, encode: Callable[[Sense], bytes]
) -> None:
    library.drives[0].die()
    command = cdb(9)
    for _ in range(3):
        with pytest.raises(CartridgeBusyError, match="tapedrive-01"):
            library.host.execute("one", command, NO_DATA, 1)
    assert library.run(1, 2).status is Status.GOOD
    library.drives[0].restart()
    unit = library.drives[0].unit
    unit.outcomes = [attention(encode(POWER_ON))]
    assert library.host.execute("one", command, NO_DATA, 1).sense == encode(POWER_ON)
    # What may have been executed already never is again.
    assert [ran[0] for ran in unit.ran] == [b"\0"]
    assert library.run(9, 1).status is Status.GOOD


def test_a_nexus_that_was_lost_is_told_so_where_the_drive_says_nothing(library: Library) -> None:
    library.drives[0].die()
    library.drives[0].restart()
    with pytest.raises(CartridgeBusyError):
        library.run(9, 1)
    # It stands before no INQUIRY.
    assert library.run(INQUIRY, 1).status is Status.GOOD
    told = library.run(9, 1)
    assert told.sense == Sense(SenseKey.UNIT_ATTENTION, ASC.I_T_NEXUS_LOSS_OCCURRED).encode_fixed()
    assert library.run(9, 1).status is Status.GOOD


def test_a_drive_that_was_not_there_at_login_is_found_later(library: Library) -> None:
    library.drives[1].host = None
    late = session("late")
    library.enter(late)
    with pytest.raises(CartridgeBusyError):
        library.host.execute("late", cdb(1), NO_DATA, 2)
    library.host.reset(late, 2)
    library.drives[1].restart()
    assert library.host.execute("late", cdb(1), NO_DATA, 2).status is Status.GOOD
    library.host.detach(late)


def test_a_drive_that_is_added_is_a_further_unit(library: Library) -> None:
    library.drives.append(Drive("tapedrive-03"))
    library.run(3, 3)
    assert library.drives[2].unit.ran == [(b"\3", b"", 0)]
