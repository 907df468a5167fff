"""Memory that large buffers leave is kept by the process, for the next ones."""

from __future__ import annotations

import ctypes

# Parameters of mallopt(3), which Python does not know.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# The most that glibc takes for the second. So much at most stays with each thread that has had it.
_KEPT_BYTES = 32 << 20


def keep_freed_memory() -> None:
    """Have this process give no memory back that it takes again with the next request.

    glibc returns what an object of some MiB had to the kernel, which makes it zeros page by page
    when it is taken anew: as much work as the transfer itself, and more on a virtual machine that
    gives free memory back to its host. Does nothing where libc has no such parameters.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
            mallopt(parameter, _KEPT_BYTES)
