"""A served gateway under any bytes: no process dies, none hangs, none keeps what it was sent.

Each case is a connection of its own: any bytes, or a login to a device and then requests,
well-formed or not. Whoever sends no more must be let go at once.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapectl.iscsi.pdu import SCSICommandPDU
from tests.fuzz import test_media_changer, test_tape_drive
from tests.fuzz.cases import TIMEOUT, fuzz
from tests.fuzz.commands import Step, Theme, steps
from tests.fuzz.streams import (
    LOGINS,
    MUTATIONS,
    ORDERLY,
    STREAMS,
    Mutation,
    mutated,
    orderly_stream,
)
from tests.support.gateway import POLL_S, Gateway
from tests.unit.iscsi.wire import OPEN_ISCSI, login_request

pytestmark = TIMEOUT

CHANGER_TYPE = "AWS-Gateway-VTL"
# Far more than an answer takes; beyond it somebody waits for what will never come.
ANSWER_TIMEOUT_S = 20.0
SETTLE_TIMEOUT_S = 30.0
# What may stay behind, because it exists once and not per connection: the segments that are open
# in each partition of a tape, threads that wait for work, buffers.
FDS_SLACK, THREADS_SLACK, RESIDENT_SLACK_KIB = 24, 12, 96 * 1024


@dataclass(frozen=True)
class Usage:
    """What a process holds."""

    fds: int
    threads: int
    resident_kib: int

    @classmethod
    def of(cls, pid: int) -> Usage:
        proc = Path("/proc", str(pid))
        status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines())
        return cls(
            len(list((proc / "fd").iterdir())),
            int(status["Threads"]),
            int(status["VmRSS"].split()[0]),
        )

    def exceeds(self, before: Usage) -> bool:
        return (
            self.fds > before.fds + FDS_SLACK
            or self.threads > before.threads + THREADS_SLACK
            or self.resident_kib > before.resident_kib + RESIDENT_SLACK_KIB
        )


@dataclass(frozen=True)
class Served:
    """A portal and the names of its targets by device."""

    portal: tuple[str, int]
    targets: dict[str, str]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway with one drive and a tape in it; at the end it must be as it was."""
    gateway = Gateway(tmp_path_factory.mktemp("fuzzed"))
    try:
        gateway.activate("--drives", "1")
        (barcode,) = gateway.create_tapes("--count", "1")
        gateway.serve()
        gateway.load(barcode)
        pids = processes(gateway)
        target = Served(gateway.portal, gateway.targets())
        for device in target.targets:
            for _ in range(20):
                converse(target, device, b"")
        before = [Usage.of(pid) for pid in pids]
        yield target
        assert processes(gateway) == pids, gateway.log()[-4000:]
        traceback = gateway.log().partition("Traceback")[2]
        assert not traceback, traceback[:4000]
        check_usage(pids, before)
        gateway.drive(1).session.logout()
    finally:
        gateway.close()


def check_usage(pids: list[int], before: list[Usage]) -> None:
    """Fail if a process goes on holding more than before."""
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    while True:
        after = [Usage.of(pid) for pid in pids]
        if not any(now.exceeds(then) for now, then in zip(after, before, strict=True)):
            return
        assert time.monotonic() < deadline, f"held before: {before}, and now: {after}"
        time.sleep(POLL_S)


def processes(gateway: Gateway) -> list[int]:
    """Return the pids of the supervisor, the worker and the transfer process."""
    return [gateway.server_pid, *gateway.child_pids()]


def exchange(served: Served, stream: bytes) -> bytes:
    """Send bytes, say that there are no more, and return what was answered until the end.

    The target may end the connection before it has read everything. Raises TimeoutError.
    """
    answer = bytearray()
    with socket.create_connection(served.portal, timeout=ANSWER_TIMEOUT_S) as wire:
        with until_reset():
            wire.sendall(stream)
            wire.shutdown(socket.SHUT_WR)
        with until_reset():
            while part := wire.recv(1 << 16):
                answer += part
    return bytes(answer)


@contextlib.contextmanager
def until_reset() -> Iterator[None]:
    """Go on after it when the other side has closed."""
    try:
        yield
    except TimeoutError:
        raise
    except OSError:
        pass


def converse(served: Served, device: str, stream: bytes, host: int = 0) -> bytes:
    """Log in to a device, send bytes in the full-feature phase, and leave without a word."""
    names = {
        "InitiatorName": f"iqn.2000-01.test:host-{host}",
        "TargetName": served.targets[device],
        "SessionType": "Normal",
    }
    login = login_request({**names, **OPEN_ISCSI}, "13", isid=bytes((0x80, 0, 0, 0, 0, host)))
    return exchange(served, login.encode() + stream)


def commands_stream(device: str, theme: int, sequence: list[Step]) -> bytes:
    """Return SCSI Command PDUs made of a device's own words, with their data as immediate data."""
    stream = b""
    for number, step in enumerate(sequence, 1):
        themes, words = _WORDS[device]
        row = themes[theme % len(themes)].choose(step.what)
        if isinstance(row, str):
            continue
        cdb, data = words.assemble(row, step.style, step.noise, step.mutation)
        stream += SCSICommandPDU(
            flags=0xA1 if data else 0xC1,
            initiator_task_tag=number,
            expected_data_transfer_length=len(data) or 4096,
            cmd_sn=number,
            cdb=cdb,
            data=data,
        ).encode()
    return stream


_WORDS: dict[str, tuple[tuple[Theme, ...], test_tape_drive.Vocabulary]] = {
    "tapedrive-01": (test_tape_drive.THEMES, test_tape_drive.VOCABULARY),
    "mediachanger": (
        test_media_changer.THEMES[CHANGER_TYPE],
        test_media_changer.VOCABULARIES[CHANGER_TYPE],
    ),
}
DEVICES = st.sampled_from(sorted(_WORDS))
HOSTS = st.integers(0, 3)


@fuzz(0.1)
@given(st.binary(max_size=200) | LOGINS)
def test_any_bytes_before_the_login(served: Served, stream: bytes) -> None:
    exchange(served, stream)


@fuzz(0.2)
@given(DEVICES, HOSTS, STREAMS | ORDERLY.map(lambda r: orderly_stream(r, digests=False)), MUTATIONS)
def test_any_requests_after_the_login(
    served: Served, device: str, host: int, stream: bytes, mutations: list[Mutation]
) -> None:
    assert converse(served, device, mutated(stream, mutations), host)[:1] == b"\x23"


@fuzz(0.2)
@given(DEVICES, HOSTS, steps(), st.integers(0, 15))
def test_any_commands_after_the_login(
    served: Served, device: str, host: int, sequence: list[Step], theme: int
) -> None:
    stream = commands_stream(device, theme, sequence)
    assert converse(served, device, stream, host)[:1] == b"\x23"
