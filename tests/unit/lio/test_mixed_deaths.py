"""Any mix of commands, aborts and deaths: each command is answered once, and done once at most."""

from __future__ import annotations

import itertools
import random
import time
from pathlib import Path

import pytest

from tapectl.lio import continuity
from tests.support.fake_kernel import Answer
from tests.unit.lio.test_answers_ahead import (
    ABORT_TASK,
    BLOCK,
    INQUIRY,
    NEXT_BLOCK,
    READ_1000,
    READ_POSITION,
    REQUEST_SENSE,
    WRITE_9,
    Lives,
    cold_cartridge,
)

DEATHS_MAX = 12
WAITING_MAX = 6
ENTRY_BYTES = 112
COMMANDS = {
    INQUIRY: (b"", 36),
    REQUEST_SENSE: (b"", 18),
    WRITE_9: (NEXT_BLOCK, 0),
    READ_POSITION: (b"", 20),
}
ABORTED = (WRITE_9, READ_POSITION)


class Mix:
    """Commands that are sent in any order to a drive that lives several lives."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self._rng = rng
        steps = (rng.choice((None, rng.randrange(30))) for _ in range(DEATHS_MAX))
        self.cartridge = cold_cartridge()
        self.lives = Lives(
            folder,
            self.cartridge,
            itertools.chain(steps, itertools.repeat(None)),
            ring_bytes=rng.choice((1120, 2000, 4096)),
            piece_bytes=rng.choice((300, 1 << 18)),
        )
        self._kernel = self.lives.kernel
        self.pending = {self._kernel.put(READ_1000, room=1000): READ_1000}
        self.answers: dict[bytes, list[Answer]] = {READ_1000: []} | {cdb: [] for cdb in COMMANDS}

    def act(self) -> None:
        rng, kernel = self._rng, self._kernel
        what = rng.random()
        if what < 0.7 and len(self.pending) < WAITING_MAX and kernel.has_room(ENTRY_BYTES):
            cdb = rng.choice(list(COMMANDS))
            data_out, room = COMMANDS[cdb]
            self.pending[kernel.put(cdb, data_out, room=room)] = cdb
        elif what < 0.9 and kernel.has_room(ENTRY_BYTES):
            those = [one for one, cdb in self.pending.items() if cdb in ABORTED]
            kernel.put_task_management(ABORT_TASK, those[:1])
        elif what < 0.93:
            time.sleep(0.002)
        elif what < 0.95:
            self.cartridge.busy.clear()
        self.collect()

    def collect(self) -> None:
        for command_id, answer in self.lives.answers().items():
            self.answers[self.pending.pop(command_id)].append(answer)


@pytest.mark.parametrize("seed", range(60))
def test_any_mix_of_commands_and_deaths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    # Chance may kill one command as often as that.
    monkeypatch.setattr(continuity, "ATTEMPTS_MAX", DEATHS_MAX + 1)
    mix = Mix(tmp_path, random.Random(seed))
    for _ in range(30):
        mix.act()
    mix.cartridge.busy.clear()
    deadline = time.monotonic() + 30
    while mix.pending:
        assert time.monotonic() < deadline
        mix.collect()
        time.sleep(0.0002)
    mix.lives.life.service.stop()
    answers = mix.answers
    assert [answer.data_in for answer in answers[READ_1000]] == [BLOCK]
    assert {answer.data_in[:2] for answer in answers[INQUIRY]} <= {b"\x01\x80"}
    assert {answer.status for answer in answers[REQUEST_SENSE]} <= {0}
    assert {answer.status for cdb in ABORTED for answer in answers[cdb]} <= {0, 0x40}
    written = sum(answer.status == 0 for answer in answers[WRITE_9])
    assert mix.cartridge.objects == [BLOCK] + [NEXT_BLOCK] * written
    places = [answer.data_in[7] for answer in answers[READ_POSITION] if not answer.status]
    assert places == sorted(places)
