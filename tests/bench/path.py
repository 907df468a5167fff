"""One drive's way of a block in this process, without a network: what of the time is Python's.

`.venv/bin/python -m tests.bench.path` prints microseconds a block, with the disk and without it.
"""

from __future__ import annotations

import os
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from tapectl.disks.segment_files import SegmentFiles
from tapectl.iscsi.connection import TargetConnection
from tapectl.iscsi.params import SessionParameters
from tapectl.iscsi.pdu import SCSICommandPDU
from tapectl.iscsi.policy import TargetConfig
from tapectl.iscsi.session import SessionInfo, SessionType
from tapectl.scsi.personality import DRIVE_PERSONALITIES
from tapectl.scsi.ssc.drive import TapeDrive
from tapectl.serve.connection_loop import ConnectionLoop, SessionTimes
from tapectl.serve.unit_host import Session, UnitHost
from tests.support.tape_disks import TapeDisks

BLOCKS = 1000
ROUNDS = 15
_CMD_SN = struct.Struct(">I")
_LIMIT_BYTES = 262144
_WRITE_FLAGS, _READ_FLAGS = 0xA1, 0xC1  # F, W or R, simple task


class PreparedStream:
    """A socket that has always received the same PDU, with the next command number."""

    family = None

    def __init__(self) -> None:
        self.cmd_sn = 1
        self._header = b""
        self._data = b""
        self._wants_header = True

    def prepare(self, cdb: bytes, flags: int, length: int, data: bytes) -> None:
        pdu = SCSICommandPDU(
            flags=flags,
            initiator_task_tag=7,
            expected_data_transfer_length=length,
            cmd_sn=0,
            exp_stat_sn=0,
            cdb=cdb.ljust(16, b"\0"),
            data=data,
        )
        encoded = pdu.encode()
        self._header, self._data = encoded[:48], encoded[48:]

    def recv_into(self, view: memoryview, _size: int, _flags: int) -> int:
        if self._wants_header:
            view[:] = self._header
            _CMD_SN.pack_into(view, 24, self.cmd_sn)
            self.cmd_sn += 1
            self._wants_header = not self._data
            return len(view)
        # The bytes of the block stay in the buffer: copying them is the kernel's work.
        self._wants_header = True
        return len(view)

    def sendmsg(self, buffers: list[Any]) -> int:
        return sum(map(len, buffers))

    def sendall(self, _buffer: object) -> None:
        """All of it has gone."""

    def setsockopt(self, *_: object) -> None:
        """A socket would wait no longer than this."""

    def fileno(self) -> int:
        """Return a descriptor that is open; nobody polls it."""
        return 0


def measure(folder: Path, block_bytes: int, count: int) -> dict[str, float]:
    """Return the microseconds of one command that writes or reads `count` blocks."""
    disks = TapeDisks(folder, shared=True)
    cartridge = disks.load(segment_bytes=256 << 20)
    drive = TapeDrive(DRIVE_PERSONALITIES["IBM-ULT3580-TD5"], serial="0123456789")
    drive.load(cartridge, attention=False)
    stream = PreparedStream()
    loop = _loop(drive, stream)
    length = block_bytes * count
    data = os.urandom(length)
    fixed = 1 if count > 1 else 0
    if fixed:
        drive.parameters.block_bytes = block_bytes
    cdb_length = (count if fixed else length).to_bytes(3, "big")

    def steps(name: str) -> Callable[[], None]:
        if name == "write":
            stream.prepare(bytes([0x0A, fixed]) + cdb_length, _WRITE_FLAGS, length, data)
            receives = 2
        else:
            stream.prepare(bytes([0x08, fixed]) + cdb_length, _READ_FLAGS, length, b"")
            receives = 1
        pending = loop._pending

        def step() -> None:
            for _ in range(receives):
                loop.receive()
            while pending:
                loop.handle(pending.popleft())

        return step

    found = {}
    for name in ("write", "read"):
        drive.synchronise()
        cartridge.locate(0)
        found[name] = _best_us(steps(name), lambda: cartridge.locate(0), length)
        assert cartridge.position, "the commands were refused"
    real = SegmentFiles._write
    SegmentFiles._write = lambda *_: None  # type: ignore[method-assign]
    cartridge.locate(0)
    found["write, no disk"] = _best_us(steps("write"), lambda: cartridge.locate(0), length)
    SegmentFiles._write = real  # type: ignore[method-assign]
    return found


def _loop(drive: TapeDrive, stream: PreparedStream) -> ConnectionLoop:
    info = SessionInfo(
        session_type=SessionType.NORMAL,
        initiator_name="iqn.2025-01.bench:path",
        target_name="iqn.2025-01.bench:drive",
        isid=bytes(6),
        tsih=1,
        cid=0,
        parameters=SessionParameters(
            initial_r2t=False,
            first_burst_length=16 << 20,
            max_burst_length=16 << 20,
            initiator_max_recv_data_segment_length=_LIMIT_BYTES,
            target_max_recv_data_segment_length=16 << 20,
        ),
    )
    handed_over = {
        "version": 2,
        "session": info.to_json(),
        "outgoing": "",
        "exp_cmd_sn": 1,
        "max_cmd_sn": 64,
        "stat_sn": 1,
    }
    connection = TargetConnection.resume(cast("Any", None), TargetConfig(), handed_over)
    host = UnitHost(drive)
    session = Session(info, "path")
    times = SessionTimes(busy_timeout_s=1, ping_interval_s=60)
    loop = ConnectionLoop(session, (cast("Any", stream), connection), host, times)
    host.establish(session)
    return loop


def _best_us(step: Callable[[], None], rewind: Callable[[], None], length: int) -> float:
    blocks = min(BLOCKS, (48 << 20) // length)
    rounds = []
    for _ in range(ROUNDS):
        rewind()
        step()
        started = time.process_time()
        for _ in range(blocks):
            step()
        rounds.append((time.process_time() - started) / blocks * 1e6)
    return min(rounds)


def main() -> None:
    for block_bytes, count in ((10240, 1), (65536, 1), (262144, 1), (10240, 26)):
        with tempfile.TemporaryDirectory(prefix="tapectl-path-") as folder:
            for name, us in measure(Path(folder), block_bytes, count).items():
                print(f"{count} x {block_bytes}: {name}: {us:.1f} us")


if __name__ == "__main__":
    main()
