"""Processes that die, and the end of a gateway, orderly or not, are told as events."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tapectl import __version__
from tapectl.state import events
from tapectl.state.database import State
from tapectl.state.events import NewEvent
from tests.support.gateway import Gateway, wait_until

pytestmark = pytest.mark.timeout(120)


def of_type(gateway: Gateway, event_type: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = gateway.ask("events", "--type", event_type)
    return found


def happened_long_ago(gateway: Gateway) -> None:
    event = NewEvent(
        at_ms=1, actor="serve", subject_kind="gateway", subject_id="sgw-1", type="AlertCleared"
    )
    with State.open(gateway.state) as state, state.write() as db:
        events.append(db, event)


def test_a_killed_process_and_a_killed_gateway_are_told(
    make_gateway: Callable[..., Gateway],
) -> None:
    gateway = make_gateway()
    hooks, told = gateway.root / "hooks.d", gateway.root / "told"
    hooks.mkdir()
    hook = hooks / "10-tell"
    hook.write_text(f'#!/bin/sh\necho "$TAPECTL_EVENT_TYPE" >> {told}\n')
    hook.chmod(0o755)
    gateway.settings |= {"hooks_dir": str(hooks)}
    gateway.activate("--drives", "1", "--slots", "4", "--import-export", "2")
    happened_long_ago(gateway)
    (barcode,) = gateway.create_tapes("--count", "1")
    gateway.serve()
    wait_until(lambda: of_type(gateway, "AlertCleared") == [], "what is old to be removed", 30)
    (started,) = of_type(gateway, "GatewayStarted")
    run = {"version": __version__, "pid": gateway.server_pid, "frontend": "user"}
    assert started["Detail"] == run
    gateway.load(barcode)
    drive = gateway.drive()
    worker = gateway.worker_pid(drive.session)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: of_type(gateway, "WorkerDied") != [], "the death of the worker", 30)
    os.kill(gateway.transfer_pid(), signal.SIGABRT)
    wait_until(lambda: of_type(gateway, "TransferDied") != [], "the death of the other", 30)
    (died,) = of_type(gateway, "WorkerDied")
    assert died["Subject"] == "tapedrive-01"
    assert died["Detail"].pop("restarted_after_s") > 0
    assert died["Detail"] == {
        "pid": worker,
        "tape": barcode,
        "signal": "SIGKILL",
        "exit_status": None,
        "problem": None,
        "left_out": 0,
    }
    (died,) = of_type(gateway, "TransferDied")
    assert died["Detail"]["signal"] == "SIGABRT"
    metrics = gateway.cli("metrics")
    assert 'tapectl_process_deaths_total{process="tapedrive-01"} 1.0' in metrics
    assert 'tapectl_process_deaths_total{process="transfer"} 1.0' in metrics
    assert "tapectl_health_notifications_total 2.0" in metrics

    last = gateway.server_pid
    gateway.kill_server()
    gateway.serve()
    (uncleanly,) = of_type(gateway, "GatewayEndedUncleanly")
    assert uncleanly["Detail"].pop("started_at_ms") > 0
    assert uncleanly["Detail"] == run | {"pid": last, "machine_restarted": False}
    types = [one["Type"] for one in gateway.ask("events") if one["SubjectType"] == "gateway"]
    assert types[-2:] == ["GatewayEndedUncleanly", "GatewayStarted"]

    gateway.cli("gateway", "stop")
    gateway.serve()
    gateway.stop()
    by_command, by_signal = of_type(gateway, "GatewayStopped")
    orderly = {"clean": True, "killed": []}
    assert by_command["Detail"] == orderly | {"reason": "gateway stop"}
    assert by_command["Actor"].startswith("cli:")
    assert by_signal["Detail"] == orderly | {"reason": "SIGTERM"}
    assert len(of_type(gateway, "GatewayEndedUncleanly")) == 1
    # The last of it, too, before the gateway is gone.
    assert told.read_text().splitlines()[-1] == "GatewayStopped"
    assert "tapectl_health_notifications_total 3.0" in gateway.cli("metrics")
