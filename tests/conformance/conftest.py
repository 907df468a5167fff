"""Options and fixtures of the conformance suite: which target, and units ready for a test."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator

import pluggy
import pytest

from tests.conformance import commands
from tests.conformance.device import GOOD, Device
from tests.conformance.library import DATA_TRANSFER, Library
from tests.conformance.pages import ModePageKeeper
from tests.conformance.requirements import Features
from tests.conformance.target import (
    OTHER_INITIATOR,
    PROTECTED,
    SCRATCH,
    SMALL,
    WORM,
    Robot,
    Target,
    clear_persistent_reservations,
    protect,
    start_own,
)
from tests.support.gateway import Gateway
from tests.support.initiator import SessionOptions

# A secret on a command line is everybody's.
CHAP_SECRET_VARIABLE = "TAPECTL_CONFORMANCE_CHAP_SECRET"
_READY_TIMEOUT_S = 60.0


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance", "the target of tests/conformance (default: our own)")
    group.addoption("--portal", metavar="HOST:PORT", help="a portal; its tape is overwritten")
    group.addoption("--iqn", help="the drive's target")
    group.addoption("--lun", type=int, default=0, help="the drive's logical unit number")
    group.addoption("--changer-iqn", help="the changer's target (default: the drive's)")
    group.addoption("--changer-lun", type=int, help="the changer's logical unit number")
    group.addoption("--drive-element", type=int, help="the drive's element (default: the first)")
    for part in (SCRATCH, SMALL, WORM, PROTECTED):
        group.addoption(f"--{part}", metavar="BARCODE", help=f"the {part} tape of that library")
    group.addoption("--tape-drive-type", metavar="TYPE", help="our own: what its drives look like")
    group.addoption("--changer-type", metavar="TYPE", help="our own: what its changer looks like")
    group.addoption("--revive", metavar="COMMAND", help="starts the target when it has crashed")
    group.addoption("--chap-user", help=f"CHAP name; the secret is in ${CHAP_SECRET_VARIABLE}")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requires(*features): what the target must have")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pluggy.Result[pytest.TestReport], None]:
    """Against our own target a test that was skipped has failed: what it needs is to be there."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and item.config.getoption("--portal", None) is None:
        report.outcome = "failed"


def _foreign(config: pytest.Config) -> Target | None:
    """Return the target of the options, None without --portal."""

    def option(name: str) -> str | None:
        # There is no such option when the suite is collected with all the other tests.
        value: str | None = config.getoption(name, None)
        return value

    portal = option("--portal")
    if portal is None:
        return None
    host, _, port = portal.rpartition(":")
    iqn = option("--iqn")
    if not host or not port.isdigit() or iqn is None:
        raise pytest.UsageError("a portal is HOST:PORT, and needs --iqn")
    changer = option("--changer-iqn") or iqn
    changer_lun: int | None = config.getoption("--changer-lun", None)
    if changer_lun is None and option("--changer-iqn"):
        changer_lun = 0
    user = option("--chap-user")
    chap = (user, os.environ[CHAP_SECRET_VARIABLE]) if user else None
    parts = (SCRATCH, SMALL, WORM, PROTECTED)
    return Target(
        portal=(host.strip("[]"), int(port)),
        drive=(iqn, config.getoption("--lun", 0)),
        changer=None if changer_lun is None else (changer, changer_lun),
        drive_element=config.getoption("--drive-element", None),
        tapes={part: code for part in parts if (code := option(f"--{part}"))},
        options=SessionOptions(chap=chap),
        revive=option("--revive"),
    )


def _identities(config: pytest.Config) -> Iterator[str]:
    """Return the options of `tapectl activate` for the identities that were chosen."""
    for mine, its in (("--tape-drive-type", "--tape-drive-type"), ("--changer-type", "--changer")):
        if name := config.getoption(mine, None):
            yield from (its, name)


@pytest.fixture(scope="session")
def target(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    """The target of this run; our own gateway is served as long as the run lasts."""
    foreign = _foreign(pytestconfig)
    if foreign is not None:
        yield foreign
        return
    gateway = Gateway(
        tmp_path_factory.mktemp("conformance"),
        hold_s="0",
        directory_retrieval_delay_s="0",
        retrieval_poll_s="0.1",
    )
    try:
        yield start_own(gateway, *_identities(pytestconfig))
    finally:
        gateway.close()


@pytest.fixture(scope="session")
def robot(target: Target) -> Robot:
    return Robot(target)


@pytest.fixture(scope="session")
def features(target: Target) -> Callable[[tuple[str, int]], Features]:
    """Return a function from a logical unit to what it lists."""
    known: dict[tuple[str, int], Features] = {}

    def of(unit: tuple[str, int]) -> Features:
        if unit not in known:
            known[unit] = Features(lambda: target.connect(unit))
        return known[unit]

    return of


def _require(request: pytest.FixtureRequest, features: Features) -> None:
    for mark in request.node.iter_markers("requires"):
        for feature in mark.args:
            if missing := features.missing(feature):
                pytest.skip(f"the target has {missing}")


def _logged_in(
    target: Target, unit: tuple[str, int], *, initiator: str | None = None
) -> Iterator[Device]:
    """Yield a unit by a session of the test's own, with no unit attention waiting."""
    device = target.connect(unit, initiator=initiator)
    device.attentions()
    try:
        yield device
    finally:
        device.session.close()


@pytest.fixture
def drive(
    request: pytest.FixtureRequest,
    target: Target,
    features: Callable[[tuple[str, int]], Features],
) -> Iterator[Device]:
    """The drive, whatever is in it: its parameters at their defaults, nobody's reservation on it.

    The session ends with the test, and with it what belongs to an I_T nexus (RESERVE, prevention).
    """
    for device in _logged_in(target, target.drive):
        _require(request, features(target.drive))
        clear_persistent_reservations(device)
        device.run(commands.mode_select_6(bytes((0, 0, 0x10, 8)) + bytes(8)))
        yield device
        clear_persistent_reservations(device)


@pytest.fixture
def other(target: Target, drive: Device) -> Iterator[Device]:  # noqa: ARG001 -- it comes second
    """The same drive by another initiator."""
    yield from _logged_in(target, target.drive, initiator=OTHER_INITIATOR)


@pytest.fixture
def relogin(target: Target) -> Iterator[Callable[[Device], Device]]:
    """Return a function that logs in to the drive again, as the initiator that a device was."""
    made: list[Device] = []

    def again(device: Device) -> Device:
        name = device.session.options.initiator_name
        made.append(target.connect(target.drive, initiator=name))
        made[-1].attentions()
        return made[-1]

    yield again
    for device in made:
        device.session.close()


def _with_tape(target: Target, robot: Robot, drive: Device, part: str) -> Device:
    """Bring the tape of that part into the drive, ready and rewound."""
    barcode = target.tapes.get(part)
    if part != SCRATCH and (barcode is None or target.changer is None):
        pytest.skip(f"no {part} tape was named")
    ready = commands.test_unit_ready()
    for _ in range(2):
        if barcode is not None and target.changer is not None:
            robot.put(barcode, lambda: drive.run(commands.load_unload(0)))
        drive.attentions()
        if drive.run(ready).status == GOOD:
            break
        drive.run(commands.load_unload(commands.LOAD))
        robot.forget()
    drive.wait(ready, lambda response: response.status == GOOD, _READY_TIMEOUT_S)
    drive.good(commands.rewind())
    return drive


@pytest.fixture
def tape(target: Target, robot: Robot, drive: Device) -> Device:
    """The drive with the scratch tape at its beginning; what is recorded on it is of no use."""
    return _with_tape(target, robot, drive, SCRATCH)


@pytest.fixture
def blank(tape: Device) -> Device:
    """The drive with the scratch tape, nothing recorded on it."""
    tape.good(commands.erase())
    return tape


@pytest.fixture
def mode_pages(tape: Device) -> Iterator[ModePageKeeper]:
    """What changes mode pages of the drive with the scratch tape, for one test."""
    keeper = ModePageKeeper(tape)
    yield keeper
    keeper.restore()


@pytest.fixture
def small_tape(target: Target, robot: Robot, drive: Device) -> Device:
    """The drive with a tape that a test can fill."""
    return _with_tape(target, robot, drive, SMALL)


@pytest.fixture
def worm_tape(target: Target, robot: Robot, drive: Device) -> Device:
    """The drive with a WORM tape, which holds what earlier tests have written."""
    return _with_tape(target, robot, drive, WORM)


@pytest.fixture(scope="session")
def protected_barcode(target: Target) -> str | None:
    """The write protected tape, on our own made so at its first use."""
    barcode = target.tapes.get(PROTECTED)
    if target.own and barcode is not None:
        protect(target, barcode)
    return barcode


@pytest.fixture
def protected_tape(
    target: Target,
    robot: Robot,
    drive: Device,
    protected_barcode: str | None,  # noqa: ARG001 -- it is made by asking for it
) -> Device:
    """The drive with a tape that is write protected."""
    return _with_tape(target, robot, drive, PROTECTED)


@pytest.fixture
def changer(
    request: pytest.FixtureRequest,
    target: Target,
    robot: Robot,
    features: Callable[[tuple[str, int]], Features],
) -> Iterator[Device]:
    """The changer, with no unit attention waiting and nobody's reservation on it."""
    if target.changer is None:
        pytest.skip("no changer was named")
    for device in _logged_in(target, target.changer):
        _require(request, features(target.changer))
        clear_persistent_reservations(device)
        yield device
        clear_persistent_reservations(device)
        robot.forget()


@pytest.fixture
def library(changer: Device) -> Iterator[Library]:
    """The changer with its elements; cartridges that a test moves are brought back."""
    library = Library(changer)
    before = library.tags()
    yield library
    changer.attentions()
    if library.tags() != before:
        library.put_back(before)


@pytest.fixture
def drive_element(target: Target, library: Library, drive_address: int) -> int:
    """The element of the drive under test, without a cartridge in it."""
    for drive in _logged_in(target, target.drive):
        library.empty_drive(drive, drive_address)
    return drive_address


@pytest.fixture
def drive_address(target: Target, library: Library) -> int:
    """The element of the drive under test, whatever is in it."""
    return target.drive_element or library.addresses[DATA_TRANSFER][0]


@pytest.fixture
def drive_identity(target: Target) -> bytes:
    """VPD page 83h of the drive under test."""
    page = b""
    for drive in _logged_in(target, target.drive):
        page = drive.good(commands.inquiry(0x83))
    return page


@pytest.fixture
def target_worm(target: Target) -> str:
    """The barcode of the WORM tape."""
    barcode = target.tapes.get(WORM)
    if barcode is None:
        pytest.skip("no WORM tape was named")
    return barcode


@pytest.fixture
def other_changer(target: Target, changer: Device) -> Iterator[Device]:  # noqa: ARG001
    """The same changer by another initiator."""
    assert target.changer is not None
    yield from _logged_in(target, target.changer, initiator=OTHER_INITIATOR)
