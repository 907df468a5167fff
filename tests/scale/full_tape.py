"""The life of one very long tape, a process for each step; each tells its time and its memory.

    python -m tests.scale.full_tape STEP FOLDER SEGMENTS BLOCKS

The steps stand in STEPS; `simulate` runs them in order. Everything is the gateway's own code, but
for the store, which has no bytes of the segments and makes them as they are read.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from tapectl.gateway.adoption import disable_gateway
from tapectl.gateway.check.run import CheckRequest, check_gateway
from tapectl.gateway.check.view import Serving
from tapectl.gateway.recovery import list_points, restore
from tapectl.gateway.recovery_points import WhichPoint
from tapectl.gateway.restoration import RestoreRequest
from tapectl.gateway.transfer.bucket_layout import archive_prefix, segment_key
from tapectl.gateway.transfer.engine import TransferEngine
from tapectl.gateway.transfer.manifests import RecoveryPoint, note_manifest, put_manifest
from tapectl.medium.manifest import ManifestRow
from tapectl.scsi.cartridge import CartridgeBusyError
from tapectl.serve.fetch_socket import FetchClient, FetchOperations, transfer_socket_path
from tapectl.serve.json_server import JsonServer
from tapectl.state import segments, tapes
from tapectl.state.segments import SegmentRecord
from tapectl.state.tape_status import TapeStatus
from tapectl.units import MIB, TIB
from tests.scale import steps
from tests.scale.simulated_tape import BLOCK_BYTES, SimulatedTape, block
from tests.scale.sparse_store import SparseStore
from tests.scale.steps import Result
from tests.support.adopted_gateway import adopt_on
from tests.support.transfer_gateway import (
    GATEWAY,
    SETTINGS,
    START_MS,
    TransferGateway,
    run_until_idle,
)
from tests.support.two_gateways import other_gateway

BARCODE = "SCALE1L9"
SEGMENT_BYTES = 256 * MIB
# As many as a segment of that size takes; the tape has 15 TiB.
BLOCKS = 1023
SEGMENTS = -(-15 * TIB // (BLOCKS * BLOCK_BYTES))
# As many segments as one pass uploads with the default settings.
_SEGMENTS_A_POINT = 8
_DELAY_S = 3600.0
_PASSES_MAX = 100_000
_WAIT_S = 120.0


class Stage:
    """The gateway, the store and the tape, as a process finds them in a folder."""

    def __init__(self, folder: Path, segment_count: int, blocks: int) -> None:
        self.folder = folder
        self.gateway = TransferGateway(folder / "gateway", cache_bytes=TIB)
        self.tape = SimulatedTape(BARCODE, _uuid(), segment_count, blocks)
        self.store = SparseStore(
            folder / "store.db",
            self._make,
            now_ms=lambda: self.gateway.ms,
            retrieval_delay_s=_DELAY_S,
        )

    def engine(self) -> TransferEngine:
        return self.gateway.engine(self.store)

    def _make(self, key: str, offset: int, size_bytes: int) -> bytes:
        sequence = int(key.rpartition("/")[2].split("-")[1])
        return self.tape.stored(sequence, offset, size_bytes)


def upload(stage: Stage) -> Result:
    """Create the tape, and name its segments in recovery points, as uploads do."""
    gateway, tape = stage.gateway, stage.tape
    gateway.create_tape(BARCODE)
    engine = stage.engine()
    run_until_idle(engine)
    count = tape.segments
    keys = (segment_key(BARCODE, 1, one, tape.object_bytes) for one in range(1, count + 1))
    stage.store.add_sparse((key, tape.object_bytes) for key in keys)
    last_s = 0.0
    for start in range(1, count + 1, _SEGMENTS_A_POINT):
        rows = [
            ManifestRow(tape.summary(one), tape.object_bytes, 1)
            for one in range(start, min(start + _SEGMENTS_A_POINT, count + 1))
        ]
        began_s = time.monotonic()
        put = put_manifest(engine._context, BARCODE, RecoveryPoint(added=rows))
        last_s = time.monotonic() - began_s
        with gateway.state.write() as db:
            tapes.update(
                db,
                BARCODE,
                manifest_number=put.number,
                used_bytes=start * tape.blocks * BLOCK_BYTES,
            )
            note_manifest(db, BARCODE, put)
            for row in rows:
                segments.insert(db, _record(row))
    engine.close()
    return {"last_point_s": last_s}


def _record(row: ManifestRow) -> SegmentRecord:
    return SegmentRecord(
        barcode=BARCODE,
        summary=row.summary,
        sealed_at_ms=START_MS,
        cache_disk_id=None,
        buffer_disk_id=None,
        uploaded_at_ms=START_MS,
        object_bytes=row.object_bytes,
        store_epoch=row.epoch,
    )


def archive(stage: Stage) -> Result:
    """Eject the tape, and run passes until it is on the shelf."""
    engine = stage.engine()
    stage.gateway.change_status(BARCODE, TapeStatus.IN_TRANSIT_TO_VTS)
    longest_s = _until(stage, engine, TapeStatus.ARCHIVED)
    engine.close()
    objects = sum(1 for _ in stage.store.list(archive_prefix(BARCODE)))
    return {
        "objects": objects,
        "longest_pass_s": longest_s,
    }


def retrieve(stage: Stage) -> Result:
    """Ask for the tape, let the time of the restore go by, and have it in the library."""
    engine = stage.engine()
    stage.gateway.change_status(BARCODE, TapeStatus.RETRIEVING, retrieval_tier="Bulk")
    longest_s = _until(stage, engine, TapeStatus.RETRIEVED)
    engine.close()
    return {"longest_pass_s": longest_s}


def _until(stage: Stage, engine: TransferEngine, status: TapeStatus) -> float:
    """Run passes until the tape has a status; return the time of the longest one."""
    longest_s = 0.0
    for _ in range(_PASSES_MAX):
        began_s = time.monotonic()
        report = engine.run_pass()
        longest_s = max(longest_s, time.monotonic() - began_s)
        if stage.gateway.tape(BARCODE).status is status:
            return longest_s
        if not report.done:
            stage.gateway.ms += round(_DELAY_S * 1000)
    raise AssertionError(f"never {status}: {stage.gateway.tape(BARCODE)}")


def serve_fetches(stage: Stage) -> Result:
    """Be the transfer process for `read`, until the standard input ends."""
    stage.gateway.ms += 2 * round(_DELAY_S * 1000)
    engine = stage.engine()
    operations = FetchOperations(engine.fetch_service, lambda: None)
    JsonServer(_socket(stage), operations.answer).start()
    print("ready", flush=True)
    sys.stdin.read()
    engine.close()
    return {}


def read(stage: Stage) -> Result:
    """Be the drive's worker: load the tape, LOCATE the middle and the end, and read there."""
    fetcher = FetchClient(_socket(stage))
    began_s = time.monotonic()
    cartridge = stage.gateway.load(BARCODE, fetcher=fetcher, segment_bytes=SEGMENT_BYTES)
    load_s = time.monotonic() - began_s
    assert cartridge.end_of_data == stage.tape.block_count
    locate_s = []
    buffer = memoryview(bytearray(BLOCK_BYTES))
    for position in (stage.tape.block_count // 2, stage.tape.block_count - 1, 0):
        began_s = time.monotonic()
        cartridge.locate(position)
        locate_s.append(time.monotonic() - began_s)
        deadline_s = time.monotonic() + _WAIT_S
        while True:
            try:
                length = cartridge.read_block(buffer)
                break
            except CartridgeBusyError:
                assert time.monotonic() < deadline_s, f"block {position} never came"
                time.sleep(0.02)
        assert length == BLOCK_BYTES
        assert buffer == block(position), f"block {position} is another one"
    return {
        "load_s": load_s,
        "locate_s": max(locate_s),
    }


def _socket(stage: Stage) -> Path:
    return transfer_socket_path(stage.gateway.root / "tapectl.db")


def points(stage: Stage) -> Result:
    """List the recovery points, one by one and all of them."""
    began_s = time.monotonic()
    list_points(stage.store, barcode=BARCODE)
    one_s = time.monotonic() - began_s
    found = list_points(stage.store, barcode=BARCODE, all_points=True)
    return {"last_20_s": one_s, "points": len(found)}


def check(stage: Stage) -> Result:
    """Run the whole check of the gateway."""
    require_clean(stage.gateway, stage.store)
    return {}


def require_clean(gateway: TransferGateway, store: SparseStore) -> None:
    """Check a gateway and its store, and find nothing wrong with a tape."""
    request, serving = CheckRequest(), Serving()
    report = check_gateway(
        gateway.state, SETTINGS, request, serving=serving, now_ms=lambda: gateway.ms, store=store
    )
    assert not report.tapes, report.findings


def adopt(stage: Stage) -> Result:
    """Become the gateway on an empty machine."""
    _, machine = adopt_on(stage.gateway, stage.store, stage.folder / "machine")
    with machine.state.read() as db:
        assert len(segments.of_tape_after(db, BARCODE, stage.tape.segments - 1, limit=2)) == 1
    return {}


def take_over(stage: Stage) -> Result:
    """Give the tape to another gateway, this one being gone for good, at an early point."""
    other = other_gateway(stage.folder / "other")
    other.ms = stage.gateway.ms
    engine = other.engine(stage.store)
    run_until_idle(engine)
    engine.close()
    disable_gateway(stage.store, GATEWAY.id, by="test", now_ms=lambda: other.ms)
    request = RestoreRequest(barcode=BARCODE, point=WhichPoint(number=2))
    restore(other.state, stage.store, request, actor="test", now_ms=lambda: other.ms)
    tape = other.tape(BARCODE)
    assert tape.status is TapeStatus.ARCHIVED
    assert tape.archived_through_sequence == stage.tape.segments
    return {}


STEPS: Mapping[str, Callable[[Stage], Result]] = {
    "upload": upload,
    "archive": archive,
    "retrieve": retrieve,
    "serve_fetches": serve_fetches,
    "read": read,
    "points": points,
    "check": check,
    "adopt": adopt,
    "take_over": take_over,
}


def simulate(folder: Path, segment_count: int, blocks: int) -> Mapping[str, Result]:
    """Run every step in a process of its own; return what they have told, by name.

    The drive's worker and the transfer process run at the same time.
    """

    def step_of(step: str) -> list[str]:
        return steps.command(__name__, step, folder, segment_count, blocks)

    told: dict[str, Result] = {}
    for step in STEPS:
        if step == "serve_fetches":
            continue
        if step != "read":
            told[step] = steps.run(step_of(step))
            continue
        with subprocess.Popen(
            step_of("serve_fetches"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            told[step] = steps.run(step_of(step))
            told["serve_fetches"] = json.loads(server.communicate()[0])
    return told


def _uuid() -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{GATEWAY.id}/{BARCODE}")


if __name__ == "__main__":
    steps.main(Stage, STEPS)
