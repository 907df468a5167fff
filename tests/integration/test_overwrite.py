"""A tape is written over and over by a real client, while the store has what was on it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from tapectl.errors import ExitCode
from tapectl.state import segments
from tapectl.state.database import State
from tests.support.gateway import Gateway, wait_until
from tests.support.tapebench import Tapebench

BLOCKS = 128  # 8 MiB


def cache_files(gateway: Gateway, barcode: str) -> Collection[Path]:
    return list((gateway.cache / "tapes" / barcode).iterdir())


def uploaded(gateway: Gateway, barcode: str) -> None:
    """Wait until the store and the cache have all that was written, and the buffer nothing."""

    def only_there() -> bool:
        with State.open(gateway.state) as state, state.read() as db:
            records = segments.of_tape(db, barcode)
        # The last segment is in the state once it is sealed, which the others may be long before.
        last = records[-1].summary if records else None
        return (
            last is not None
            and last.first_object + last.object_count >= BLOCKS
            and all(one.uploaded_at_ms and one.buffer_disk_id is None for one in records)
        )

    wait_until(only_there, "all in the store", 60)


def test_its_files_are_taken_and_its_recovery_points_stay(
    make_gateway: Callable[..., Gateway], tapebench: Tapebench
) -> None:
    gateway = make_gateway(segment_bytes="1MiB", seal_idle_s="0.2", hold_s="0")
    gateway.activate("--drives", "1")
    (barcode,) = gateway.create_tapes("--count", "1")
    gateway.serve()
    gateway.load(barcode)

    def bench(operation: str, seed: int) -> None:
        options = ("-o", operation, "-E", "raw", "-b", "64k", "-t", "8m", "--seed", str(seed))
        tapebench.run(*options, urls=gateway.urls([1])).assert_clean()

    bench("write", 1)
    uploaded(gateway, barcode)
    points = gateway.json("recovery", "list", barcode)
    old = {path.stat().st_ino: path for path in cache_files(gateway, barcode)}
    bench("write", 2)
    bench("verify", 2)
    taken = {path.stat().st_ino for path in cache_files(gateway, barcode)} & old.keys()
    # The first new segment is there before the old ones are void, and the last old one is shorter.
    assert len(taken) >= len(old) - 2

    uploaded(gateway, barcode)
    bench("write", 3)
    gateway.kill_server()
    gateway.serve()
    bench("verify", 3)
    gateway.cli("tape", "unload", barcode)
    assert not any(path.exists() for path in old.values())
    (verified,) = gateway.json("tape", "verify", barcode)
    assert verified["DamagedSegments"] == 0

    at = points[0]["TapeRecoveryPointTime"]
    gateway.cli("recovery", "restore", barcode, "--at", at, "--yes")
    gateway.load(barcode)
    bench("verify", 1)


def test_what_was_overwritten_leaves_the_store(
    make_gateway: Callable[..., Gateway], tapebench: Tapebench
) -> None:
    gateway = make_gateway(
        segment_bytes="1MiB", seal_idle_s="0.2", hold_s="0", keep_overwritten_days="0"
    )
    gateway.activate("--drives", "1")
    (barcode,) = gateway.create_tapes("--count", "1")
    gateway.serve()
    gateway.load(barcode)

    def bench(operation: str, seed: int) -> None:
        options = ("-o", operation, "-E", "raw", "-b", "64k", "-t", "8m", "--seed", str(seed))
        tapebench.run(*options, urls=gateway.urls([1])).assert_clean()

    def objects() -> Collection[Path]:
        return list((gateway.store / "tapes" / barcode / "segments").iterdir())

    bench("write", 1)
    uploaded(gateway, barcode)
    once = len(objects())
    points = gateway.json("recovery", "list", barcode)
    bench("write", 2)
    uploaded(gateway, barcode)
    wait_until(lambda: len(objects()) <= once, "what was overwritten gone", 60)
    bench("verify", 2)
    assert gateway.json("tape", "show", barcode)["OverwrittenBytes"] == 0
    (told,) = gateway.json("events", barcode, "--type", "OverwrittenDataExpired")
    assert told["Detail"]["segments"] >= once - 1

    gateway.cli("tape", "unload", barcode)
    (verified,) = gateway.json("tape", "verify", barcode)
    assert verified["DamagedSegments"] == 0
    gone = gateway.run(
        "recovery", "restore", barcode, "--point", str(points[0]["RecoveryPointNumber"]), "--yes"
    )
    assert gone.returncode == ExitCode.RECOVERY_POINT
    assert gateway.json("check")["Clean"]
