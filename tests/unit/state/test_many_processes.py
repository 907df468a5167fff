"""Ten processes on one state file: nobody sees a lock, nobody sees half a change."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tapectl.state import events, tapes
from tapectl.state.database import State
from tapectl.state.tape_status import TapeStatus

PROCESSES = 10
CHANGES = 20

# Every process opens the file by itself (one of them makes it), writes pairs of tapes that belong
# together, and looks between whether it ever finds a pair that is not whole.
PROGRAM = """
import sys
from pathlib import Path
from tapectl.state import tapes
from tapectl.state.database import State
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import Stamp, TapeFilter, TapeRecord

path, me, changes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
by = Stamp(f"process {me}", 1)
for change in range(changes):
    with State.open(path, create=True) as state:
        pair = [f"{half}{me:02d}X{change:03d}" for half in "AB"]
        with state.write() as db:
            for barcode in pair:
                tapes.insert(db, TapeRecord(barcode=barcode, tape_uuid=barcode, size_bytes=1,
                             pool_id="GLACIER", created_at_ms=1, status_at_ms=1), by)
        with state.write() as db:
            for barcode in pair:
                tapes.transition(db, barcode, TapeStatus.AVAILABLE, by)
        with state.read() as db:
            seen = {tape.barcode: tape.status for tape in tapes.select(db, TapeFilter())}
        for barcode, status in seen.items():
            other = ("B" if barcode[0] == "A" else "A") + barcode[1:]
            assert seen.get(other) == status, f"half a change: {barcode} {status}"
"""


@pytest.fixture
def outcomes(state_path: Path) -> list[subprocess.CompletedProcess[str]]:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(state_path), str(number), str(CHANGES)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    done = []
    for process in running:
        _, errors = process.communicate(timeout=120)
        done.append(subprocess.CompletedProcess(process.args, process.returncode, "", errors))
    return done


def test_ten_processes_at_once(
    outcomes: list[subprocess.CompletedProcess[str]], state_path: Path
) -> None:
    assert [outcome.stderr for outcome in outcomes if outcome.returncode] == []
    with State.open(state_path) as state, state.read() as db:
        assert tapes.count_by_status(db) == {TapeStatus.AVAILABLE: 2 * PROCESSES * CHANGES}
        told = events.select(db, events.EventFilter(limit=10_000))
    assert len(told) == 4 * PROCESSES * CHANGES


def test_a_process_killed_in_a_transaction_leaves_the_state_as_it_was(state: State) -> None:
    program = """
import os, signal, sys
from pathlib import Path
from tapectl.state import gateways
from tapectl.state.database import State
with State.open(Path(sys.argv[1])).write() as db:
    gateways.set_setting(db, "half", "done")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program, str(state.path)], check=False, timeout=60)
    with state.write() as db:
        assert db.execute("SELECT count(*) FROM setting").fetchone()[0] == 0
