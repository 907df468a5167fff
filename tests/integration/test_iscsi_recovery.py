"""Sessions in a served gateway: several connections, lost ones, reinstated ones, and their ends."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.gateway import Gateway, wait_until
from tests.support.initiator import InitiatorError, LoginRefusedError, Session, SessionOptions
from tests.support.tape_client import MediaChanger, Sense, TapeDrive

MakeGateway = Callable[..., Gateway]
TEST_UNIT_READY = bytes(6)
ERASE = b"\x19\x01\0\0\0\0"  # to the end of the tape
RESERVE, RELEASE = b"\x16\0\0\0\0\0", b"\x17\0\0\0\0\0"
GOOD, RESERVATION_CONFLICT = 0x00, 0x18
ABORT_TASK, ABORT_TASK_SET, CLEAR_ACA, CLEAR_TASK_SET = 1, 2, 3, 4
LOGICAL_UNIT_RESET, TARGET_WARM_RESET, TARGET_COLD_RESET, TASK_REASSIGN = 5, 6, 7, 8
SEVERAL = SessionOptions(max_connections=4)
OTHER = SessionOptions(initiator_name="iqn.2000-01.example.test:other")
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def of_all_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with contextlib.closing(Gateway(tmp_path_factory.mktemp("served"))) as gateway:
        yield with_tape(gateway)


@pytest.fixture
def served(of_all_tests: Gateway) -> Gateway:
    """One drive with a blank tape in it, and no sessions."""
    drive = of_all_tests.drive(1)
    drive.wait_ready()
    drive.rewind()
    assert drive.session.execute(ERASE).status == GOOD
    drive.session.logout()
    drive.session.close()
    wait_until(lambda: not sessions(of_all_tests), "no sessions", PATIENCE_S)
    return of_all_tests


def with_tape(gateway: Gateway) -> Gateway:
    gateway.activate("--drives", "1")
    (barcode,) = gateway.create_tapes("--count", "1")
    gateway.serve()
    gateway.load(barcode)
    return gateway


def join(gateway: Gateway, session: Session, cid: int) -> Session:
    return Session(gateway.portal, session.target, session.options, joins=session, cid=cid)


def pair(gateway: Gateway, device: str = "tapedrive-01") -> tuple[Session, Session]:
    first = gateway.connect(device, SEVERAL)
    return first, join(gateway, first, 1)


def write_cdb(size: int) -> bytes:
    return b"\x0a\0" + size.to_bytes(3, "big") + b"\0"


def sense_of(session: Session) -> tuple[int, int, int] | None:
    """TEST UNIT READY once, without any retry; return its sense, None when it is GOOD."""
    response = session.execute(TEST_UNIT_READY)
    if response.status == GOOD:
        return None
    sense = Sense.decode(response.sense)
    return sense.key, sense.asc, sense.ascq


def settle(session: Session) -> None:
    """Take whatever unit attentions wait for a new session."""
    while sense_of(session) is not None:
        pass


def sessions(gateway: Gateway) -> list[dict[str, object]]:
    found: list[dict[str, object]] = gateway.control("status")["drives"][0]["sessions"]
    return found


# -- several connections -------------------------------------------------------------------
def test_two_connections_of_a_session_write_and_read_one_tape(served: Gateway) -> None:
    first, second = pair(served)
    assert first.tsih == second.tsih
    drives = [TapeDrive(first), TapeDrive(second)]
    drives[0].rewind()
    blocks = [bytes([i]) * (20000 * i + 1) for i in range(20)]
    for i, block in enumerate(blocks):
        drives[i % 2].write_block(block)
    assert drives[1].read_position() == drives[0].read_position() == 20
    drives[1].rewind()
    assert [drives[(i + 1) % 2].read_block(1 << 20) for i in range(20)] == blocks
    assert second.ping(b"there") == b"there"
    (shown,) = sessions(served)
    assert shown["connections"] == 2
    first.logout()
    assert second.receive_end()


def test_commands_in_flight_on_two_connections_run_in_the_order_of_the_session(
    served: Gateway,
) -> None:
    first, second = pair(served)
    drive = TapeDrive(first)
    drive.rewind()
    # The first block's data come last: nothing behind it may run before.
    block = b"a" * 600_000
    tag = first.start(write_cdb(len(block)), data_out_bytes=len(block))
    waiting = threading.Thread(target=lambda: TapeDrive(second).write_block(b"second"))
    waiting.start()
    response = first.finish_write(tag, block)
    assert response.status == GOOD
    waiting.join()
    drive.rewind()
    assert [drive.read_block(1 << 20) for _ in range(2)] == [block, b"second"]


def test_the_changer_takes_two_connections_too(served: Gateway) -> None:
    first, second = pair(served, "mediachanger")
    for session in (first, second, first):
        assert b"AWS" in MediaChanger(session).inquiry()
    assert first.request_logout(1, 0) == 0
    assert first.receive_end()
    assert b"AWS" in MediaChanger(second).inquiry()
    second.logout()


def test_more_connections_than_agreed_are_refused(served: Gateway) -> None:
    options = SessionOptions(max_connections=2)
    first = served.connect("tapedrive-01", options)
    second = join(served, first, 1)
    with pytest.raises(LoginRefusedError) as refused:
        join(served, first, 2)
    assert (refused.value.status_class, refused.value.status_detail) == (2, 6)
    assert second.ping() == b"ping"
    only = served.connect("tapedrive-01")
    with pytest.raises(LoginRefusedError) as refused:
        join(served, only, 1)
    assert (refused.value.status_class, refused.value.status_detail) == (2, 6)


def test_a_session_that_is_over_cannot_be_joined(served: Gateway) -> None:
    session = served.connect("tapedrive-01", SEVERAL)
    session.close()
    wait_until(lambda: not sessions(served), "the session ends", PATIENCE_S)
    with pytest.raises(LoginRefusedError) as refused:
        join(served, session, 1)
    assert (refused.value.status_class, refused.value.status_detail) == (2, 0x0A)


def test_a_connection_is_logged_out_and_the_other_goes_on(served: Gateway) -> None:
    first, second = pair(served)
    assert second.request_logout(2, 0) == 2  # for recovery: not at error recovery level 0
    assert second.request_logout(1, 7) == 1
    assert second.request_logout(1, 0) == 0
    assert first.receive_end()
    settle(second)
    assert second.request_logout(1, 1) == 0
    assert second.receive_end()
    wait_until(lambda: not sessions(served), "the session ends", PATIENCE_S)


def test_a_connection_that_fails_leaves_the_others_and_the_reservation(served: Gateway) -> None:
    first, second = pair(served)
    drive = TapeDrive(second)
    drive.rewind()
    assert second.execute(RESERVE).status == GOOD
    first.start(write_cdb(600_000), data_out_bytes=600_000, immediate_data=b"x" * 1000)
    first.close()
    # The command of the lost connection has died; what stood behind it runs.
    assert drive.read_position() == 0
    other = served.drive(1, OTHER)
    assert other.command(TEST_UNIT_READY).status == RESERVATION_CONFLICT
    third = join(served, second, 0)
    assert third.execute(TEST_UNIT_READY).status == GOOD
    second.close()
    assert third.execute(TEST_UNIT_READY).status == GOOD
    # With its last connection the session ends, and the reservation with it.
    third.close()
    wait_until(lambda: len(sessions(served)) == 1, "the session ends", PATIENCE_S)
    assert other.command(TEST_UNIT_READY).status == GOOD


def test_a_joining_connection_takes_the_place_of_one_with_its_id(served: Gateway) -> None:
    first, second = pair(served)
    settle(first)
    again = join(served, first, 1)
    assert second.receive_end()
    for session in (again, first, again):
        assert session.execute(TEST_UNIT_READY).status == GOOD


def test_task_management_reaches_across_connections(served: Gateway) -> None:
    first, second = pair(served)
    settle(first)
    tag = first.start(write_cdb(600_000), data_out_bytes=600_000)
    assert second.task_management(ABORT_TASK, referenced_tag=tag) == 0
    assert second.task_management(ABORT_TASK, referenced_tag=tag) == 1
    assert second.execute(TEST_UNIT_READY).status == GOOD
    first.start(write_cdb(600_000), data_out_bytes=600_000)
    assert second.task_management(ABORT_TASK_SET) == 0
    assert TapeDrive(second).read_position() == 0


# -- lost and reinstated -------------------------------------------------------------------
def test_a_write_cut_off_by_a_lost_connection_has_changed_nothing(served: Gateway) -> None:
    drive = served.drive(1)
    drive.rewind()
    drive.write_block(b"before")
    drive.session.start(write_cdb(600_000), data_out_bytes=600_000, immediate_data=b"x" * 5000)
    drive.session.close()
    again = served.drive(1)
    assert again.read_position() == 1
    again.write_block(b"after")
    again.rewind()
    assert [again.read_block(64), again.read_block(64)] == [b"before", b"after"]


def test_a_reinstated_session_finds_the_tape_where_it_was(served: Gateway) -> None:
    options = SessionOptions(isid=b"\x80\1\2\3\0\1")
    drive = served.drive(1, options)
    drive.rewind()
    drive.write_block(b"one")
    assert drive.session.execute(RESERVE).status == GOOD
    new = served.connect("tapedrive-01", options)
    # An implicit logout of the old session: its connection is closed, its nexus lives on.
    assert drive.session.receive_end()
    assert sense_of(new) is None
    assert TapeDrive(new).read_position() == 1
    other = served.drive(1, OTHER)
    assert other.command(TEST_UNIT_READY).status == RESERVATION_CONFLICT
    assert len(sessions(served)) == 2


def test_a_lost_session_that_comes_back_is_told_nothing_either(served: Gateway) -> None:
    options = SessionOptions(isid=b"\x80\1\2\3\0\2")
    drive = served.drive(1, options)
    drive.rewind()
    drive.write_block(b"one")
    drive.session.close()
    wait_until(lambda: not sessions(served), "the session ends", PATIENCE_S)
    again = served.connect("tapedrive-01", options)
    assert sense_of(again) is None
    assert TapeDrive(again).read_position() == 1


def test_the_only_connection_of_a_session_is_reinstated(served: Gateway) -> None:
    first = served.connect("tapedrive-01")
    drive = TapeDrive(first)
    drive.rewind()
    drive.write_block(b"one")
    first.start(write_cdb(600_000), data_out_bytes=600_000)
    again = join(served, first, 0)
    assert first.receive_end()
    assert again.tsih == first.tsih
    assert sense_of(again) is None
    assert TapeDrive(again).read_position() == 1
    assert len(sessions(served)) == 1
    again.logout()


# -- silence and departure -----------------------------------------------------------------
def test_a_silent_connection_is_closed_and_a_living_one_is_not(make_gateway: MakeGateway) -> None:
    gateway = with_tape(make_gateway(ping_interval_s="1"))
    silent = gateway.connect("tapedrive-01", OTHER)
    several = gateway.connect("tapedrive-01", SEVERAL)
    living = gateway.connect("tapedrive-01")
    stop = threading.Event()

    def answer() -> None:
        while not stop.is_set():
            living.ping()
            time.sleep(0.2)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        assert silent.receive_end()
        assert several.receive_end()
    finally:
        stop.set()
        thread.join()
    assert living.execute(TEST_UNIT_READY).status == GOOD
    assert "silent" in gateway.log()


def test_initiators_are_asked_to_log_out_when_serve_stops(make_gateway: MakeGateway) -> None:
    gateway = with_tape(make_gateway(logout_wait_s="20"))
    everybody = [
        *pair(gateway),
        gateway.connect("tapedrive-01", OTHER),
        gateway.connect("mediachanger"),
    ]
    drive = TapeDrive(everybody[2])
    drive.rewind()
    drive.write_block(b"the last word")
    stopping = threading.Thread(target=gateway.stop)
    stopping.start()
    for session in everybody:
        assert session.wait_for_async_event() == (1, 20)
    for session in (everybody[0], everybody[2], everybody[3]):
        session.logout()
    stopping.join(PATIENCE_S)
    assert not stopping.is_alive()
    gateway.serve()
    again = gateway.drive(1)
    again.rewind()
    assert again.read_block(64) == b"the last word"


def test_who_does_not_log_out_is_not_waited_for_longer(make_gateway: MakeGateway) -> None:
    gateway = with_tape(make_gateway(logout_wait_s="1"))
    session = gateway.connect("tapedrive-01")
    gateway.stop()
    assert session.receive_end()


# -- task management -----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("function", "lun", "answer"),
    [
        (ABORT_TASK, 0, 1),
        (ABORT_TASK_SET, 0, 0),
        (ABORT_TASK_SET, 5, 2),
        (CLEAR_ACA, 0, 5),
        (CLEAR_TASK_SET, 0, 0),
        (LOGICAL_UNIT_RESET, 0, 0),
        (LOGICAL_UNIT_RESET, 5, 2),
        (TARGET_WARM_RESET, 0, 0),
        (TASK_REASSIGN, 0, 4),
        (99, 0, 255),
    ],
)
def test_every_function_is_answered(served: Gateway, function: int, lun: int, answer: int) -> None:
    drive = served.drive(1)
    drive.rewind()
    drive.write_block(b"kept")
    assert drive.session.task_management(function, lun) == answer
    assert drive.read_position() == 1


def test_a_cold_reset_ends_every_session(served: Gateway) -> None:
    first, second = served.connect("tapedrive-01"), served.connect("tapedrive-01", OTHER)
    assert first.task_management(TARGET_COLD_RESET) == 0
    assert first.receive_end()
    assert second.receive_end()
    assert served.drive(1).read_position() == 0


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (LOGICAL_UNIT_RESET, (6, 0x29, 0x03)),
        (TARGET_WARM_RESET, (6, 0x29, 0x03)),
        (CLEAR_TASK_SET, (6, 0x2F, 0x00)),
        (ABORT_TASK_SET, None),
    ],
)
def test_commands_of_other_sessions_are_gone_after_a_reset(
    served: Gateway, function: int, told: tuple[int, int, int] | None
) -> None:
    victim = served.connect("tapedrive-01", OTHER)
    settle(victim)
    tag = victim.start(write_cdb(300_000), data_out_bytes=300_000)
    send_data = victim.wait_for_r2t(tag)
    other = served.connect("tapedrive-01")
    settle(other)
    assert other.task_management(function) == 0
    if told is None:
        send_data(b"x" * 300_000)
        assert victim.finish_write(tag, b"").status == GOOD
        assert TapeDrive(other).read_position() == 1
        return
    send_data(b"x" * 300_000)
    # No answer to the write, and no effect; the next command tells why.
    assert sense_of(victim) == told
    assert sense_of(victim) is None
    assert TapeDrive(victim).read_position() == 0


def test_unknown_answers_never_come(served: Gateway) -> None:
    session = served.connect("tapedrive-01")
    with pytest.raises(InitiatorError, match="reject"):
        session.send_snack()
    assert session.ping(b"goes on") == b"goes on"
