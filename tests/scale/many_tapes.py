"""A full library, 1,500 tapes and 1 PiB of metadata, a process for each step.

    python -m tests.scale.many_tapes STEP FOLDER TAPES SEGMENTS

Each tape has as many segments. The store and the segments are those of `full_tape`.
"""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from tapectl.gateway.elements import ElementMap
from tapectl.gateway.recovery import list_points
from tapectl.gateway.transfer.bucket_layout import segment_key
from tapectl.gateway.transfer.manifests import RecoveryPoint, note_manifest, put_manifest
from tapectl.medium.manifest import ManifestRow
from tapectl.scsi.library import ElementType
from tapectl.state import tapes
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import TapeFilter
from tapectl.store.directory import DirectoryStore
from tapectl.units import TIB
from tests.scale import steps
from tests.scale.full_tape import BLOCKS, require_clean
from tests.scale.simulated_tape import SimulatedTape
from tests.scale.sparse_store import SparseStore
from tests.scale.steps import Result
from tests.support.adopted_gateway import adopt_on
from tests.support.s3_servers import free_ports
from tests.support.transfer_gateway import (
    GATEWAY,
    START_MS,
    TransferGateway,
    run_until_idle,
)

# The most that a library takes, as with AWS.
TAPES, SEGMENTS = 1500, 2800
_CLAIMS_MAX = 1000
_START_S = 60.0
_LISTS = 3


class Stage:
    """The gateway and its store, as a process finds them in a folder."""

    def __init__(self, folder: Path, tape_count: int, segment_count: int) -> None:
        self.folder = folder
        self.tape_count, self.segment_count = tape_count, segment_count
        self.directory = folder / "directory"
        gateway = replace(GATEWAY, slot_count=tape_count, store_url=f"file://{self.directory}")
        self.gateway = TransferGateway(folder / "gateway", gateway=gateway, cache_bytes=TIB)
        self.store = SparseStore(folder / "store.db", self._make, now_ms=lambda: self.gateway.ms)
        self.sample = SimulatedTape("SAMPLE", uuid.UUID(int=0), segment_count, BLOCKS)

    def barcodes(self) -> list[str]:
        return [f"MANY{number:04d}L9" for number in range(self.tape_count)]

    def _make(self, key: str, offset: int, size_bytes: int) -> bytes:
        raise AssertionError(f"nobody reads data here: {key}, {size_bytes} bytes from {offset}")


def fill(stage: Stage) -> Result:
    """Create the tapes, and put what the store has of them."""
    gateway, store, sample = stage.gateway, stage.store, stage.sample
    slots = ElementMap.of(gateway.gateway).addresses(ElementType.STORAGE)
    for barcode, address in zip(stage.barcodes(), slots, strict=True):
        gateway.create_tape(barcode)
        with gateway.state.write() as db:
            tapes.update(db, barcode, element_address=address)
    engine = gateway.engine(store)
    run_until_idle(engine, _CLAIMS_MAX)
    rows = [
        ManifestRow(sample.summary(one), sample.object_bytes, 1)
        for one in range(1, stage.segment_count + 1)
    ]
    for barcode in stage.barcodes():
        put = put_manifest(engine._context, barcode, RecoveryPoint(added=rows))
        with gateway.state.write() as db:
            tapes.update(db, barcode, manifest_number=put.number, used_bytes=sample.data_bytes)
            note_manifest(db, barcode, put)
            db.executemany(
                "INSERT INTO segment (barcode, sequence, first_object, object_count,"
                " filemark_count, data_bytes, file_bytes, sealed_at_ms, uploaded_at_ms,"
                " object_bytes, store_epoch, last_read_at_ms)"
                " VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, ?, 1, ?)",
                (
                    (
                        barcode,
                        row.summary.sequence,
                        row.summary.first_object,
                        row.summary.object_count,
                        row.summary.data_bytes,
                        row.summary.file_bytes,
                        *[START_MS] * 2,
                        row.object_bytes,
                        START_MS,
                    )
                    for row in rows
                ),
            )
        store.add_sparse(
            (segment_key(barcode, 1, row.summary.sequence, row.object_bytes), row.object_bytes)
            for row in rows
        )
    run_until_idle(engine)
    engine.close()
    # What `serve` looks at of its store when it starts.
    stage.directory.mkdir()
    copy = DirectoryStore(stage.directory, now_ms=lambda: gateway.ms)
    for prefix in ("tapectl.json", "gateways/", "inventories/"):
        for info in store.list(prefix):
            copy.put(info.key, store.get(info.key))
    return {"bytes": sample.data_bytes * stage.tape_count}


def one_pass(stage: Stage) -> Result:
    """Run the first pass of a new transfer process, with its inventory, and one more."""
    engine = stage.gateway.engine(stage.store)
    engine.run_pass()
    began_s = time.monotonic()
    engine.run_pass()
    idle_s = time.monotonic() - began_s
    engine.close()
    return {"idle_s": idle_s}


def points(stage: Stage) -> Result:
    """List the latest recovery point of every tape."""
    assert len(list_points(stage.store)) == stage.tape_count
    return {}


def check(stage: Stage) -> Result:
    """Run the whole check of the gateway."""
    require_clean(stage.gateway, stage.store)
    return {}


def tape_list(stage: Stage) -> Result:
    """Run `tapectl tape list` as a user does; the best of a few."""
    times = []
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(_LISTS):
        began_s = time.monotonic()
        listed = subprocess.run(
            [*_tapectl(), "tape", "list", "--output", "tsv"],
            env=_environment(stage),
            check=True,
            stdout=subprocess.PIPE,
        )
        times.append(time.monotonic() - began_s)
        assert listed.stdout.count(b"MANY") == stage.tape_count
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"best_s": min(times), "cpu_s": cpu_s / _LISTS}


def serve(stage: Stage) -> Result:
    """Run `tapectl serve` until its portal answers."""
    (port,) = free_ports(1)
    began_s = time.monotonic()
    with subprocess.Popen(
        [*_tapectl(), "serve", "--listen", f"127.0.0.1:{port}"],
        env=_environment(stage),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            while not _answers(port):
                assert server.poll() is None, "serve has ended"
                assert time.monotonic() < began_s + _START_S, "serve does not answer"
                time.sleep(0.02)
            answered_s = time.monotonic() - began_s
        finally:
            server.terminate()
    return {"answers_s": answered_s}


def adopt(stage: Stage) -> Result:
    """Become the gateway on an empty machine."""
    _, machine = adopt_on(stage.gateway, stage.store, stage.folder / "machine")
    with machine.state.read() as db:
        found = tapes.select(db, TapeFilter(statuses=frozenset({TapeStatus.AVAILABLE})))
        (count,) = db.execute("SELECT count(*) FROM segment").fetchone()
    assert (len(found), count) == (stage.tape_count, stage.tape_count * stage.segment_count)
    return {}


def _tapectl() -> list[str]:
    return [str(Path(sys.executable).with_name("tapectl"))]


def _environment(stage: Stage) -> dict[str, str]:
    return {**os.environ, "TAPECTL_STATE": str(stage.gateway.root / "tapectl.db")}


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


STEPS: Mapping[str, Callable[[Stage], Result]] = {
    "fill": fill,
    "one_pass": one_pass,
    "tape_list": tape_list,
    "serve": serve,
    "points": points,
    "check": check,
    "adopt": adopt,
}


def simulate(folder: Path, tape_count: int, segment_count: int) -> Mapping[str, Result]:
    """Run every step in a process of its own; return what they have told, by name."""
    return {
        step: steps.run(steps.command(__name__, step, folder, tape_count, segment_count))
        for step in STEPS
    }


if __name__ == "__main__":
    steps.main(Stage, STEPS)
