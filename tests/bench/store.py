"""Uploads beside `rclone copy` to the same server, and reads of what is only in the store."""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench import bandwidth
from tests.bench.report import Table
from tests.bench.targets import children_cpu_s
from tests.support.gateway import Gateway
from tests.support.s3_servers import ACCESS_KEY, SECRET_KEY, S3Server, weed_server
from tests.support.tape_client import TapeDrive
from tests.support.tapebench import Tapebench

READ_BLOCK, READ_BLOCK_BYTES = "256k", 256 << 10
# Read in no order, where nothing can be read ahead.
SAMPLES = 64


@dataclass(frozen=True, slots=True)
class Moved:
    """Bytes that a program moved, in which time, and the processor time it took."""

    mib_per_s: float
    cpu_s_per_gib: float

    @classmethod
    def by(cls, action: Callable[[], object], moved_bytes: int) -> Moved:
        """Run something whose work is done by children that it waits for."""
        before, started = children_cpu_s(), time.monotonic()
        action()
        seconds = time.monotonic() - started
        used_s = children_cpu_s() - before
        return cls(moved_bytes / 2**20 / seconds, used_s / (moved_bytes / 2**30))


def measure(folder: Path, tapebench: Tapebench, repetitions: int, tape_mib: int) -> list[Table]:
    """Write a tape, upload it and read it back, beside rclone; a new bucket each time."""
    ours: list[Moved] = []
    rclones: list[Moved] = []
    reads: list[tuple[float, ...]] = []
    with weed_server() as server:
        for number in range(repetitions):
            root = folder / f"store-{number}"
            uploaded, copied = _upload(root, server, f"bench-{number}", tapebench, tape_mib)
            ours.append(uploaded)
            rclones.append(copied)
            reads.append(_read(root, server, f"bench-{number}", tapebench, tape_mib))
            if number == repetitions - 1:
                limited = _limited(root, tapebench)
            shutil.rmtree(root)
    return [_uploads_table(ours, rclones), _reads_table(reads), limited]


def _upload(
    root: Path, server: S3Server, bucket: str, tapebench: Tapebench, tape_mib: int
) -> tuple[Moved, Moved]:
    server.client().create_bucket(Bucket=bucket)
    server.client().create_bucket(Bucket=f"{bucket}-rclone")
    gateway = _gateway(root)
    try:
        gateway.activate("--endpoint-url", server.endpoint_url, store=f"s3://{bucket}/tapes")
        (barcode,) = gateway.create_tapes("--count", "1")
        gateway.serve()
        gateway.load(barcode)
        options = ("-E", "raw", "-b", READ_BLOCK, "-t", f"{tape_mib}m")
        tapebench.run("-o", "write", *options, urls=gateway.urls([1])).assert_clean()
        gateway.stop()
        waiting_bytes = int(gateway.json("status")["WaitingBytes"])
        uploaded = Moved.by(lambda: gateway.cli("sync", timeout_s=300), waiting_bytes)
    finally:
        gateway.close()
    files = root / "gateway" / "cache" / "tapes"
    size_bytes = sum(path.stat().st_size for path in files.rglob("*.seg"))
    copied = Moved.by(
        lambda: _rclone(server, "copy", str(files), f":s3:{bucket}-rclone"), size_bytes
    )
    return uploaded, copied


def _read(
    root: Path, server: S3Server, bucket: str, tapebench: Tapebench, tape_mib: int
) -> tuple[float, ...]:
    """Return MiB/s of blocks in no order, of a first pass, both with nothing on the disks, of a
    second pass, and of rclone."""
    gateway = _gateway(root)
    rates = []
    try:
        _forget_local_copies(gateway)
        rates.append(_in_no_order(gateway.drive(1), tape_mib))
        gateway.stop()
        _forget_local_copies(gateway)
        options = ("-o", "read", "-E", "raw", "-b", READ_BLOCK, "-t", f"{tape_mib}m")
        for _ in range(2):
            done = tapebench.run(*options, urls=gateway.urls([1]))
            done.assert_clean()
            rates.append(float(done.report["mibs"]))
    finally:
        gateway.close()
    target = root / "rclone"
    copied = Moved.by(
        lambda: _rclone(server, "copy", f":s3:{bucket}-rclone", str(target)), tape_mib << 20
    )
    return (*rates, copied.mib_per_s)


def _limited(root: Path, tapebench: Tapebench) -> Table:
    gateway = _gateway(root)
    try:
        return bandwidth.measure(gateway, tapebench, lambda: _forget_local_copies(gateway))
    finally:
        gateway.close()


def _forget_local_copies(gateway: Gateway) -> None:
    """Serve a tape that is only in the store, but for the state, which takes it for cached."""
    for kind in ("seg", "fill"):
        for path in gateway.cache.rglob(f"*.{kind}"):
            path.unlink()
    gateway.serve()


def _in_no_order(drive: TapeDrive, tape_mib: int) -> float:
    blocks = (tape_mib << 20) // READ_BLOCK_BYTES
    places = random.Random(tape_mib).sample(range(blocks), min(SAMPLES, blocks))
    drive.wait_ready()
    started = time.monotonic()
    for place in places:
        drive.locate(place)
        assert len(drive.read_block(READ_BLOCK_BYTES)) == READ_BLOCK_BYTES
    rate = len(places) * READ_BLOCK_BYTES / 2**20 / (time.monotonic() - started)
    drive.session.logout()
    return rate


def _gateway(root: Path) -> Gateway:
    gateway = Gateway(root / "gateway")
    gateway.credentials = {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    return gateway


def _rclone(server: S3Server, *words: str) -> None:
    settings = {
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_S3_PROVIDER": "Other",
        "RCLONE_S3_ENDPOINT": server.endpoint_url,
        "RCLONE_S3_ACCESS_KEY_ID": ACCESS_KEY,
        "RCLONE_S3_SECRET_ACCESS_KEY": SECRET_KEY,
    }
    done = subprocess.run(
        ["rclone", *words],
        env={k: v for k, v in os.environ.items() if not k.startswith("AWS_")} | settings,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"rclone {' '.join(words)}: {done.stderr[-2000:]}"


def _uploads_table(ours: list[Moved], rclones: list[Moved]) -> Table:
    table = Table(
        "Uploads to SeaweedFS on this machine, of data that does not compress",
        ("", "MiB/s", "x rclone", "goal", "CPU s/GiB", "x rclone", "goal"),
    )
    rate = [a.mib_per_s / b.mib_per_s for a, b in zip(ours, rclones, strict=True)]
    cpu = [a.cpu_s_per_gib / b.cpu_s_per_gib for a, b in zip(ours, rclones, strict=True)]
    table.add(
        "`tapectl sync`",
        *_medians(ours)[:1],
        f"{statistics.median(rate):.2f}",
        "0.8",
        *_medians(ours)[1:],
        f"{statistics.median(cpu):.2f}",
        "1.0",
    )
    table.add("`rclone copy`", _medians(rclones)[0], "", "", _medians(rclones)[1], "", "")
    table.notes.append(
        "Of tapectl from its start to its end, with claims, CRC checks, compression tried on every"
        " chunk, and manifests; of rclone the same segment files, as they are."
    )
    return table


def _medians(moved: list[Moved]) -> tuple[str, str]:
    return (
        f"{statistics.median(one.mib_per_s for one in moved):.0f}",
        f"{statistics.median(one.cpu_s_per_gib for one in moved):.2f}",
    )


def _reads_table(reads: list[tuple[float, ...]]) -> Table:
    table = Table(
        f"Reads of a tape that is only in SeaweedFS, {READ_BLOCK} a command",
        ("", "MiB/s"),
    )
    names = (
        f"{SAMPLES} blocks in no order, nothing on the disks and nothing to read ahead",
        "first pass in order, nothing on the disks",
        "second pass",
        "`rclone copy` of the same bytes",
    )
    for name, rates in zip(names, zip(*reads, strict=True), strict=True):
        table.add(name, f"{statistics.median(rates):.0f}")
    return table
