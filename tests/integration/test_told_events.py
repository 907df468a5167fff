"""`tapectl serve` tells events to a file and to hooks, and takes new settings over."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable

from tests.support.gateway import Gateway, wait_until


def test_a_new_tape_is_told_to_a_hook_and_after_a_reload_to_a_file(
    make_gateway: Callable[..., Gateway],
) -> None:
    gateway = make_gateway()
    log, hooks, told = (gateway.root / name for name in ("events.jsonl", "hooks.d", "told"))
    config = gateway.root / "tapectl.toml"
    config.write_text("")
    gateway.credentials = {"TAPECTL_CONFIG": str(config)}
    gateway.settings |= {"hooks_dir": str(hooks)}
    hooks.mkdir()
    hook = hooks / "10-tell"
    hook.write_text(f'#!/bin/sh\necho "$TAPECTL_EVENT_SOURCE $TAPECTL_EVENT_STATUS" >> {told}\n')
    hook.chmod(0o755)
    gateway.activate("--drives", "1", "--slots", "4", "--import-export", "4")
    gateway.serve("--log-format", "json")
    transfer = gateway.transfer_pid()
    config.write_text(f'event_log = "{log}"\nupload_workers = 3\nlibrary_target = true\n')
    os.kill(gateway.server_pid, signal.SIGHUP)
    wait_until(lambda: "next start only: library_target" in gateway.log(), "a reload", 60)
    wait_until(lambda: gateway.transfer_pid() != transfer, "a new transfer process", 60)
    (barcode,) = gateway.create_tapes("--count", "1")
    wait_until(lambda: told.exists() and f"{barcode} AVAILABLE" in told.read_text(), "the hook", 60)
    wait_until(lambda: log.exists() and "AVAILABLE" in log.read_text(), "the file", 60)
    found = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(one["source"], one["oldStatus"], one["newStatus"]) for one in found] == [
        (barcode, None, "CREATING"),
        (barcode, "CREATING", "AVAILABLE"),
    ]
    assert {one["gateway"] for one in found} == {gateway.json("gateway", "show")["GatewayId"]}
    gateway.load(barcode)
    gateway.cli("gateway", "stop")
    assert gateway.control("status") == {}
    gateway.cli("gateway", "stop")  # there is nothing to do
    # All processes write the log so.
    lines = [line for line in gateway.log().splitlines() if not line.startswith("serving ")]
    messages = {(one["logger"], one["message"]) for one in map(json.loads, lines)}
    assert ("tapectl.serve.worker", f"loaded {barcode}") in messages
    reloaded = "settings reloaded: event_log, upload_workers"
    assert ("tapectl.serve.supervisor", reloaded) in messages
