"""What is measured: tape drives behind a portal, and the processes that serve them."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL

from tests.support.clients import SHARED
from tests.support.gateway import Gateway, free_port

TGT_SCRIPT = SHARED / "bench" / "tgt-ref.sh"
TGT_TARGET = "iqn.2025-01.bench.tgt:lib"
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE, Linux 5.14
# tgtadm takes no more.
_CONTROL_PORT_MAX = 32000
# Room for what four drives write in one cell, and for a second copy of a repetition.
TGT_TAPE_MIB = 3000
SECOND_DISK_BYTES = 24 << 30


@dataclass(frozen=True, slots=True)
class Target:
    """Loaded drives; `pids` are the processes whose time counts as the server's."""

    name: str
    urls: tuple[str, ...]
    pids: tuple[int, ...]

    def cpu_s(self) -> float:
        """Return the processor time that the server's processes have used, in seconds."""
        return sum(cpu_of(pid) for pid in self.pids)


def cpu_of(pid: int) -> float:
    """Return the user and system time of a process and the children it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(int(field) for field in fields[11:15]) / _TICKS_PER_S


def children_cpu_s() -> float:
    """Return the processor time of all processes that this one has waited for, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def memory_mib(pid: int) -> float:
    """Return the proportional set size of a process: what it adds to the machine's memory."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no memory of process {pid}")


def warm_memory(size_mib: int) -> None:
    """Have memory of that size in use and free it: what is allocated next has just been used.

    A virtual machine may give free memory back to its host, and wait for the host when it takes
    it again. Whoever writes new files would pay for that, and not who overwrites old ones.
    """
    code = f"import mmap; m = mmap.mmap(-1, {size_mib} << 20); m.madvise({_POPULATE_WRITE})"
    subprocess.run([sys.executable, "-c", code], check=False, timeout=120, stderr=DEVNULL)


@contextmanager
def tgtd(folder: Path, drives: int) -> Iterator[Target]:
    """Run Debian's tgtd with negotiation limits raised; its files are in `folder`."""
    port = free_port()
    environment = os.environ | {
        "TUNE": "1",
        "NDRV": str(drives),
        "PORT": str(port),
        "CP": str(os.getpid() % _CONTROL_PORT_MAX + 1),
        "DIR": str(folder),
        "SIZE": str(TGT_TAPE_MIB),
        "CHANGER": "0",
    }
    try:
        _script("start", environment)
        pid = int((folder / "pid").read_text())
        portal = f"iscsi://127.0.0.1:{port}/{TGT_TARGET}"
        yield Target("tgtd", tuple(f"{portal}/{n}" for n in range(1, drives + 1)), (pid,))
    finally:
        _script("stop", environment)


def _script(verb: str, environment: dict[str, str]) -> None:
    subprocess.run([str(TGT_SCRIPT), verb], env=environment, check=True, stdout=DEVNULL, timeout=60)


@contextmanager
def served(
    name: str,
    root: Path,
    drives: int,
    *,
    buffer: Path | None = None,
    uploads: bool = False,
    **settings: str,
) -> Iterator[tuple[Target, Gateway]]:
    """Serve a new gateway with a tape in each drive; `buffer` is a folder on another file system.

    Without `uploads` its store is away, as in an outage.
    """
    gateway = Gateway(root, **settings)
    if buffer is not None:
        gateway.buffer = buffer
        buffer.mkdir(parents=True, exist_ok=True)
    try:
        gateway.activate("--drives", str(max(drives, 1)))
        barcodes = gateway.create_tapes("--count", str(drives))
        gateway.serve()
        for number, barcode in enumerate(barcodes, start=1):
            gateway.load(barcode, number)
        if not uploads:
            gateway.store.rename(gateway.store.with_name("store-away"))
        pids = (gateway.server_pid, *gateway.child_pids())
        yield Target(name, gateway.urls(range(1, drives + 1)), pids), gateway
    finally:
        gateway.close()
        shutil.rmtree(root, ignore_errors=True)
        if buffer is not None:
            shutil.rmtree(buffer, ignore_errors=True)


@contextmanager
def second_disk(folder: Path) -> Iterator[Path | None]:
    """Mount another file system, from a file past whose cache it goes; None without root."""
    if os.geteuid() != 0:
        yield None
        return
    image, mounted = folder / "disk.img", folder / "disk"
    mounted.mkdir(parents=True, exist_ok=True)
    with ExitStack() as undo:
        undo.callback(image.unlink, missing_ok=True)
        with image.open("wb") as file:
            file.truncate(SECOND_DISK_BYTES)
        _run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0", str(image))
        device = _run("losetup", "--find", "--show", "--direct-io=on", str(image)).strip()
        undo.callback(_run, "losetup", "--detach", device)
        _run("mount", device, str(mounted))
        undo.callback(_run, "umount", "--lazy", str(mounted))
        yield mounted


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
