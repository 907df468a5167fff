"""What this host lacks for the kernel's target, and how to get it. Changes nothing."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tapectl.gateway.settings import Fabric
from tapectl.lio.errors import FrontEndUnavailableError

_MODULES = {
    Fabric.ISCSI: ("target_core_user", "iscsi_target_mod"),
    Fabric.LOOPBACK: ("target_core_user", "tcm_loop"),
}
_CAP_SYS_ADMIN = 21
_NO_MODULE_HINT = (
    "kernels for clouds and containers leave it out; Debian: apt install linux-image-amd64, reboot"
)


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that is not there, in words, and what to do about it."""

    what: str
    hint: str


def missing(fabric: Fabric) -> Sequence[Missing]:
    """Return all that this host, or this process, lacks for a fabric of the kernel's target."""
    return list(_look(fabric))


def require(fabric: Fabric) -> None:
    """Raise FrontEndUnavailableError unless everything is there."""
    found = missing(fabric)
    if found:
        what = "; ".join(one.what for one in found)
        raise FrontEndUnavailableError(
            f"the kernel's target cannot be used: {what}", hint=found[0].hint
        )


def _look(fabric: Fabric) -> Iterator[Missing]:
    if importlib.util.find_spec("rtslib_fb") is None:
        yield Missing("the Python package rtslib-fb is not installed", "pip install rtslib-fb")
    else:
        try:
            import pyudev  # noqa: F401  # whether it finds libudev, which it loads when imported
        except ImportError as exc:
            yield Missing(f"rtslib-fb does not load: {exc}", "Debian: apt install libudev1")
    if not _has_capability(_CAP_SYS_ADMIN) or os.geteuid() != 0:
        yield Missing(
            "this process is not root with CAP_SYS_ADMIN",
            "start it as root, and without --user; or use --frontend user, which needs no rights",
        )
    for module in _MODULES[fabric]:
        if not _has_module(module):
            yield Missing(f"the kernel has no module {module}", _NO_MODULE_HINT)
    if not Path("/sys/kernel/config").is_dir() and not _has_module("configfs"):
        yield Missing("the kernel has no configfs", _NO_MODULE_HINT)


def _has_capability(number: int) -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def _has_module(name: str) -> bool:
    """Whether a module is loaded, built in, or can be loaded."""
    if Path("/sys/module", name).is_dir():
        return True
    try:
        found = subprocess.run(["modprobe", "--dry-run", "--quiet", name], check=False)
    except OSError:  # a container without kmod
        return False
    return found.returncode == 0
