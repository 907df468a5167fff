"""What a stock Debian has for tapes beside mt and tar, each with a library of its own.

One boot of the guest goes from library to library: to boot takes longer than some of the suites.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from tests.support.gateway import Gateway
from tests.support.guest import GuestResult, run_guest

# Whichever test comes first waits for the tour.
pytestmark = pytest.mark.timeout(1800)

SMALL, FILL = "SMALL001", "FILL0001"
CHANGER = ("ch", "library")
PROGRAMS = ("spc", "stenc", "eom", "bacula")
LOGS = ("logs",)
MEDIA = ("media",)


def as_one_target(gateway: Gateway) -> None:
    """A library of another maker with 200 slots, one target beside those of its devices."""
    gateway.settings |= {"hold_s": "600", "library_target": "true"}
    gateway.activate(
        "--changer", "STK-L700", "--drives", "2", "--slots", "200", "--import-export", "8"
    )
    gateway.create_tapes("--count", "4")
    gateway.serve()


def with_small_tapes(gateway: Gateway) -> None:
    gateway.activate("--drives", "1", "--slots", "8")
    gateway.create_tapes("--count", "2")
    gateway.create_tapes("--barcode", SMALL, "--allow-small", size="64MiB")
    gateway.create_tapes("--barcode", FILL, "--allow-small", size="400MiB")
    gateway.serve()


def without_its_store(gateway: Gateway) -> None:
    gateway.settings |= {"alert_after_s": "0.5", "seal_idle_s": "1"}
    gateway.activate("--drives", "1", "--slots", "4")
    (barcode,) = gateway.create_tapes("--count", "1")
    gateway.serve()
    gateway.load(barcode)
    gateway.store.rename(gateway.store.with_name("away"))


def with_other_media(gateway: Gateway) -> None:
    gateway.activate("--drives", "1", "--slots", "4", "--tape-drive-type", "HPE-Ultrium-9")
    gateway.create_tapes("--barcode", "DATA09L9")
    gateway.create_tapes("--barcode", "DATA05L5", "--generation", "LTO-5")
    gateway.cli("tape", "create", "--cleaning", "--barcode", "CLNU01L1", "--to-slots", "--wait")
    gateway.serve()


# In the guest's order. Linux's changer driver knows the first by the device of its first changer.
LIBRARIES: tuple[tuple[Callable[[Gateway], None], tuple[str, ...]], ...] = (
    (as_one_target, CHANGER),
    (with_small_tapes, PROGRAMS),
    (without_its_store, LOGS),
    (with_other_media, MEDIA),
)


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> GuestResult:
    """What the guest found in all of the libraries."""
    gateways: list[Gateway] = []
    suites: list[str] = []
    with contextlib.ExitStack() as stack:
        for serve, its_suites in LIBRARIES:
            made = Gateway(tmp_path_factory.mktemp(serve.__name__))
            gateways.append(stack.enter_context(contextlib.closing(made)))
            serve(made)
            suites += [*(["next"] if suites else []), *its_suites]
        first, *others = gateways
        result = run_guest(
            first.portal,
            *suites,
            TARGETS="mediachanger|tapedrive",
            EXPECT_DRIVES="2",
            SMALL_BARCODE=SMALL,
            FILL_BARCODE=FILL,
            JOB_ARGS=" ".join(str(gateway.port) for gateway in others),
        )
        for gateway in gateways:
            gateway.stop()
    return result


def assert_passed(tour: GuestResult, *suites: str) -> list[str]:
    """Nothing of these suites failed or was left out; return what passed of them."""

    def theirs(names: list[str] | dict[str, str]) -> list[str]:
        return [name for name in names if name.split("/")[0] in suites]

    assert tour.exit_status in (0, 1), tour.output
    assert not theirs(tour.failed), {name: tour.failed[name] for name in theirs(tour.failed)}
    assert not theirs(tour.skipped)
    passed = theirs(tour.passed)
    assert {name.split("/")[0] for name in passed} == set(suites), tour.output
    return passed


def test_every_library_was_reached(tour: GuestResult) -> None:
    passed = assert_passed(tour, "next")
    assert passed.count("next/login") == len(LIBRARIES) - 1
    named = {name.split("/")[0] for name in (*tour.failed, *tour.skipped, *tour.passed)}
    assert named == {"next", *CHANGER, *PROGRAMS, *LOGS, *MEDIA}


def test_the_kernels_changer_driver(tour: GuestResult) -> None:
    """Linux's own, by its ioctls; and the library as one target."""
    assert len(assert_passed(tour, *CHANGER)) == 11 + 6


def test_programs_for_tapes_are_content(tour: GuestResult) -> None:
    """sg3_utils, stenc, Bacula's btape, the end of a tape."""
    # The last checks of each suite: none has ended early.
    assert {"spc/changer-clear", "stenc/plain-again", "bacula/fill"} <= set(
        assert_passed(tour, *PROGRAMS)
    )


def test_log_pages_and_a_store_outage(tour: GuestResult) -> None:
    """sg3_utils and tapeinfo: log pages, statistics, and the alert of an outage."""
    assert "logs/outage" in assert_passed(tour, *LOGS)


def test_other_drives_and_media(tour: GuestResult) -> None:
    """sg3_utils, mt and mtx with LTO-9 drives by HPE, and media of other kinds."""
    assert "media/cleaning" in assert_passed(tour, *MEDIA)
