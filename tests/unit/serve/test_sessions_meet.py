"""What one session does to another: reinstatement, resets, preemption."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tapectl.serve.connection_loop import ConnectionLoop
from tests.support.gateway import wait_until
from tests.support.initiator import Session, SessionOptions
from tests.unit.serve.one_unit import TARGET, Unit, serving

CLEAR_TASK_SET, LOGICAL_UNIT_RESET, TARGET_COLD_RESET = 4, 5, 7
PREEMPT = 0x5F
PATIENCE_S = 30.0


def numbered(number: int) -> bytes:
    """A CDB that leaves its number in `Unit.ran`."""
    return bytes([0, number])


def halted(unit: Unit, number: int) -> tuple[threading.Event, threading.Event]:
    """Make the unit halt in the command of that number: (it has begun, it may end)."""
    begun, go_on = threading.Event(), threading.Event()

    def before(_nexus: str, cdb: bytes) -> None:
        if cdb[1] == number:
            begun.set()
            assert go_on.wait(PATIENCE_S)

    unit.before = before
    return begun, go_on


@pytest.mark.parametrize("connections", [1, 2])
def test_no_command_of_a_reinstated_session_runs_after_the_new_one_began(
    monkeypatch: pytest.MonkeyPatch, connections: int
) -> None:
    options = SessionOptions(isid=b"\x80\1\2\3\0\1", max_connections=connections)
    with serving(monkeypatch) as (address, unit):
        begun, go_on = halted(unit, 1)
        old = Session(address, TARGET, options)
        for number in (1, 2, 3):
            old.start(numbered(number))
        assert begun.wait(PATIENCE_S)
        new = Session(address, TARGET, options)
        first = threading.Thread(target=new.execute, args=(numbered(9),))
        first.start()
        go_on.set()
        first.join()
        assert old.receive_end()
        new.execute(numbered(10))
        assert unit.ran == [1, 9, 10]
        # The nexus was never lost.
        assert unit.told == ["established"]
        new.logout()


@pytest.mark.parametrize("connections", [1, 2])
@pytest.mark.parametrize(
    ("function", "told"), [(CLEAR_TASK_SET, "cleared"), (LOGICAL_UNIT_RESET, "reset")]
)
def test_commands_that_stand_in_line_go_with_a_reset_by_another(
    monkeypatch: pytest.MonkeyPatch, connections: int, function: int, told: str
) -> None:
    with serving(monkeypatch) as (address, unit):
        begun, go_on = halted(unit, 1)
        victim = Session(address, TARGET, SessionOptions(max_connections=connections))
        other = Session(address, TARGET)
        for number in (1, 2, 3):
            victim.start(numbered(number))
        assert begun.wait(PATIENCE_S)
        managing = threading.Thread(target=other.task_management, args=(function,))
        managing.start()
        go_on.set()
        managing.join()
        run_to_its_end(victim, numbered(7))
        # Which of them the reset meets, and which is still on its way, is the scheduler's choice.
        assert unit.ran[0] == 1
        assert unit.ran[-1] == 7
        assert unit.ran == sorted(set(unit.ran))
        assert told in unit.told or unit.ran == [1, 2, 3, 7]


def run_to_its_end(session: Session, cdb: bytes) -> None:
    """Run a command on a session of whose commands some were answered and some were not."""
    tag = session.start(cdb)
    while session.next_task_tag() != tag:
        pass


def test_a_preempted_nexus_loses_its_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch) as (address, unit):
        names: dict[str, str] = {}

        def before(nexus: str, cdb: bytes) -> None:
            names[chr(cdb[1])] = nexus
            if cdb[0] == PREEMPT:
                unit.abort([names["v"]])

        unit.before = before
        victim, other = Session(address, TARGET), Session(address, TARGET)
        victim.execute(numbered(ord("v")))
        tag = victim.start(b"\x0a" + b"w", data_out_bytes=300_000)
        send_data: Callable[[bytes], None] = victim.wait_for_r2t(tag)
        other.execute(bytes([PREEMPT, ord("o")]))
        send_data(bytes(300_000))
        victim.execute(numbered(ord("x")))
        assert [chr(number) for number in unit.ran] == ["v", "o", "x"]


def test_who_logs_in_after_the_answer_to_a_cold_reset_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late: list[Session] = []
    resetting: list[threading.Thread] = []
    flush = ConnectionLoop.flush

    def answer_and_let_in(loop: ConnectionLoop) -> None:
        flush(loop)
        if threading.current_thread() in resetting and "reset" in unit.told and not late:
            late.append(Session(address, TARGET))

    # Before there is a thread that may be in it.
    monkeypatch.setattr(ConnectionLoop, "flush", answer_and_let_in)
    with serving(monkeypatch) as (address, unit):
        session = Session(address, TARGET)
        unit.before = lambda _nexus, _cdb: resetting.append(threading.current_thread())
        session.execute(numbered(1))
        assert session.task_management(TARGET_COLD_RESET) == 0
        assert session.receive_end()
        late[0].execute(numbered(2))
        assert unit.ran == [1, 2]


def test_the_last_of_a_nexus_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch) as (address, unit):
        Session(address, TARGET).logout()
        wait_until(lambda: unit.told == ["established", "lost"], "the nexus is lost", PATIENCE_S)
