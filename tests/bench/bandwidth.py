"""Bandwidth limits: how exact they are, of an upload and of a read of what is only in the store."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.bench.report import Table
from tests.support.gateway import Gateway
from tests.support.tapebench import Tapebench

LIMIT_MBIT_PER_S = 200
LIMIT_MIB_PER_S = LIMIT_MBIT_PER_S * 1e6 / 8 / 2**20
TAPE_MIB = 256
BLOCK = "256k"
DRIVE = 2


def measure(
    gateway: Gateway, tapebench: Tapebench, forget_local_copies: Callable[[], None]
) -> Table:
    """Write a tape in drive 2 of a gateway that is not served, upload it and read it back.

    `forget_local_copies` serves the gateway with nothing of its tapes on its disks. The server runs
    no more when this returns.
    """
    limit = f"{LIMIT_MBIT_PER_S}Mbit"
    gateway.cli("bandwidth", "set", "--upload", limit, "--download", limit)
    (barcode,) = gateway.create_tapes("--count", "1")
    gateway.serve()
    gateway.load(barcode, DRIVE)
    options = ("-E", "raw", "-b", BLOCK, "-t", f"{TAPE_MIB}m")
    tapebench.run("-o", "write", *options, urls=gateway.urls([DRIVE])).assert_clean()
    gateway.stop()
    waiting_mib = int(gateway.json("status")["WaitingBytes"]) / 2**20
    sync_s, nothing_s = _sync_s(gateway), _sync_s(gateway)
    forget_local_copies()
    done = tapebench.run("-o", "read", *options, urls=gateway.urls([DRIVE]))
    done.assert_clean()
    gateway.stop()
    table = Table(
        f"{TAPE_MIB} MiB with a limit of {LIMIT_MBIT_PER_S} Mbit/s, {LIMIT_MIB_PER_S:.1f} MiB/s",
        ("", "MiB/s", "x limit", "goal"),
    )
    for what, mib_per_s in (
        (
            "`tapectl sync`, but for what it takes with nothing to do",
            waiting_mib / (sync_s - nothing_s),
        ),
        ("a first pass in order, nothing on the disks", float(done.report["mibs"])),
    ):
        table.add(what, f"{mib_per_s:.2f}", f"{mib_per_s / LIMIT_MIB_PER_S:.3f}", "0.95 to 1.05")
    return table


def _sync_s(gateway: Gateway) -> float:
    started = time.monotonic()
    gateway.cli("sync", timeout_s=300)
    return time.monotonic() - started
