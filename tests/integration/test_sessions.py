"""Sessions with the served portal: authentication, digests, addresses, several at once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.support.gateway import Gateway, free_port
from tests.support.initiator import (
    CHAP_HASHES,
    LoginRefusedError,
    Session,
    SessionOptions,
    discover,
)
from tests.support.tape_client import TapeDrive

MakeGateway = Callable[..., Gateway]
NAME, SECRET = SessionOptions().initiator_name, "horse battery 16"
INITIATOR_ERROR, AUTHENTICATION_FAILURE, NOT_FOUND = 0x02, 0x01, 0x03
LOGICAL_UNIT_RESET, FUNCTION_COMPLETE = 5, 0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Two drives, one tape, in the first of them."""
    with contextlib.closing(Gateway(tmp_path_factory.mktemp("served"))) as gateway:
        gateway.activate("--drives", "2")
        (barcode,) = gateway.create_tapes("--count", "1")
        gateway.serve()
        gateway.load(barcode)
        yield gateway


@pytest.fixture(scope="module")
def with_chap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One drive, and nobody logs in to it without the secret."""
    with contextlib.closing(Gateway(tmp_path_factory.mktemp("chap"))) as gateway:
        gateway.activate("--drives", "1")
        secret_file = gateway.root / "secret"
        secret_file.write_text(SECRET)
        gateway.cli("chap", "set", "tapedrive-01", NAME, "--secret-file", str(secret_file))
        gateway.serve()
        yield gateway


def test_discovery_names_the_portal_it_was_reached_by(served: Gateway) -> None:
    found = discover(served.portal)
    assert set(found) == set(served.targets().values())
    assert all(f"127.0.0.1:{served.port},1" in addresses for addresses in found.values())


def test_an_unknown_target_is_refused(served: Gateway) -> None:
    with pytest.raises(LoginRefusedError) as refused:
        Session(served.portal, "iqn.2000-01.example.test:no-such-target")
    assert (refused.value.status_class, refused.value.status_detail) == (INITIATOR_ERROR, NOT_FOUND)


@pytest.mark.parametrize(
    "options",
    [
        SessionOptions(),
        SessionOptions(header_digest=True, data_digest=True),
        SessionOptions(initial_r2t=True, immediate_data=False),
        SessionOptions(initial_r2t=False, immediate_data=False),
        SessionOptions(first_burst_bytes=512, max_burst_bytes=512, receive_segment_bytes=512),
        SessionOptions(max_burst_bytes=(1 << 24) - 1, receive_segment_bytes=(1 << 24) - 1),
    ],
    ids=["plain", "digests", "r2t-only", "unsolicited-no-immediate", "tiny", "huge"],
)
def test_blocks_come_back_whatever_was_negotiated(served: Gateway, options: SessionOptions) -> None:
    drive = served.drive(1, options)
    drive.rewind()
    blocks = [bytes([i]) * size for i, size in enumerate((1, 511, 65536, 300001, 1 << 20))]
    for block in blocks:
        drive.write_block(block)
    drive.rewind()
    assert [drive.read_block(1 << 20) for _ in blocks] == blocks
    assert drive.session.ping(b"still there") == b"still there"
    drive.session.logout()


def test_two_sessions_see_one_position(served: Gateway) -> None:
    first = served.drive(1, SessionOptions(initiator_name="iqn.2000-01.example.test:a"))
    second = served.drive(1, SessionOptions(initiator_name="iqn.2000-01.example.test:b"))
    first.rewind()
    first.write_block(b"one")
    second.write_block(b"two")
    assert first.read_position() == second.read_position() == 2


def test_a_client_that_dies_leaves_the_drive_to_the_next(served: Gateway) -> None:
    drive = served.drive(1)
    drive.rewind()
    drive.write_block(b"kept")
    drive.session.close()
    again = served.drive(1)
    again.rewind()
    assert again.read_block(16) == b"kept"


def test_logical_unit_reset_completes(served: Gateway) -> None:
    drive = served.drive(1)
    assert drive.session.task_management(LOGICAL_UNIT_RESET) == FUNCTION_COMPLETE
    drive.wait_ready()


@pytest.mark.parametrize("algorithm", CHAP_HASHES, ids=CHAP_HASHES.values())
def test_chap_lets_in_who_knows_the_secret(with_chap: Gateway, algorithm: int) -> None:
    options = SessionOptions(chap=(NAME, SECRET), chap_algorithm=algorithm)
    assert b"ULT3580" in TapeDrive(with_chap.connect("tapedrive-01", options)).inquiry()


@pytest.mark.parametrize(
    "options",
    [
        SessionOptions(),
        SessionOptions(chap=(NAME, SECRET[:-1] + "x")),
        SessionOptions(chap=("iqn.2000-01.example.test:other", SECRET)),
    ],
    ids=["no-chap", "wrong-secret", "wrong-name"],
)
def test_chap_keeps_out_who_does_not(with_chap: Gateway, options: SessionOptions) -> None:
    target = with_chap.targets()["tapedrive-01"]
    with pytest.raises(LoginRefusedError) as refused:
        Session(with_chap.portal, target, options)
    assert refused.value.status_class == INITIATOR_ERROR
    assert refused.value.status_detail == AUTHENTICATION_FAILURE
    assert SECRET not in with_chap.log()


def test_ipv6(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    gateway.activate("--drives", "1")
    port = free_port()
    gateway.serve("--listen", f"[::1]:{port}")
    found = discover(("::1", port))
    assert all(f"[::1]:{port},1" in addresses for addresses in found.values())
    with Session(("::1", port), gateway.targets()["tapedrive-01"]) as session:
        assert b"ULT3580" in TapeDrive(session).inquiry()
