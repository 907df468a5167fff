"""Failing calls and power cuts under a served gateway: a sample; see served_faults.py."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults.served_faults import Served, cut_power, fail_calls
from tests.faults.shim import Call, Shim


@pytest.mark.timeout(0)
def test_calls_that_fail_lose_nothing_acknowledged(
    tmp_path: Path, shim_library: Path, seed: int, thoroughness: int
) -> None:
    fail_calls(tmp_path, shim_library, seed, thoroughness)


@pytest.mark.timeout(0)
def test_what_was_synchronised_survives_a_power_cut(
    tmp_path: Path, shim_library: Path, seed: int, thoroughness: int
) -> None:
    assert cut_power(tmp_path, shim_library, seed, thoroughness)["power cuts"] == thoroughness


def test_a_failure_that_has_passed_keeps_no_tape_in_its_drive(
    tmp_path: Path, shim_library: Path
) -> None:
    (tmp_path / "root").mkdir()
    shim = Shim.create(tmp_path, tmp_path / "root", library=shim_library)
    served = Served(tmp_path, shim)
    try:
        served.set_up()
        served.gateway.serve()
        tape = served.tape(random.Random(1), shim)
        tape.begin()
        tape.write_some()
        shim.fail(Call.RENAME, at=1)
        tape.leave()
        tape._unload()
        fired = shim.relent().where
        assert fired is not None
        assert fired.startswith("rename ")
        tape.begin()
        tape.compare_after_death()
        tape.leave()
    finally:
        served.gateway.close()
