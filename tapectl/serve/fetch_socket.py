"""The transfer process's socket: drive workers ask for cold data and wake it.

The worker imports no store; what its cache lacks it asks for here, one JSON
line each way. Ops: `fetch` (barcode, sequence, offset, size), `discard` (barcode, sequence: its
copies on the disks are damaged) and `wake`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tapectl.scsi.cartridge import CartridgeBusyError, CartridgeKeyError, CartridgeReadError
from tapectl.serve.json_lines import JsonLines, Message, connect

_log = logging.getLogger(__name__)

# Answers come soon: "not there yet" is an answer. A process that hangs must not keep a drive, which
# others may ask something, for longer; the command asks again.
_TIMEOUT_S = 2.0
# So long an answer waits for the data, and whoever serves the drive with it; and so long the drive
# then leaves the store alone.
_WAIT_S = 0.02
_RETRY_S = 0.03


def transfer_socket_path(state_path: Path) -> Path:
    return state_path.with_name("transfer.sock")


class FetchSource(Protocol):
    """What serves fetches: the transfer engine's fetch service. Thread-safe, waits for `wait_s`."""

    def ensure(
        self, barcode: str, sequence: int, offset: int, size_bytes: int, *, wait_s: float
    ) -> tuple[Path, bool]: ...

    def discard(self, barcode: str, sequence: int) -> None: ...


class FetchOperations:
    """What workers may ask of the transfer process."""

    def __init__(self, source: FetchSource, wake: Callable[[], None]) -> None:
        self._source = source
        self._wake = wake

    def answer(self, request: Message) -> Message:
        """Answer one request; see json_server.Answer."""
        if request.get("op") == "wake":
            self._wake()
            return {"ok": True}
        try:
            if request.get("op") == "discard":
                self._source.discard(str(request["barcode"]), int(str(request["sequence"])))
                return {"ok": True}
            path, ready = self._source.ensure(
                str(request["barcode"]),
                int(str(request["sequence"])),
                int(str(request["offset"])),
                int(str(request["size"])),
                wait_s=_WAIT_S,
            )
        except Exception as exc:
            # The worker turns it into sense data; the reason belongs in this log.
            _log.exception("request %s", request)
            needs_key = isinstance(exc, CartridgeKeyError)
            return {"ok": False, "message": str(exc), "needs_key": needs_key}
        return {"ok": True, "path": str(path), "ready": ready}


class FetchClient:
    """The worker's side: a disks.SegmentFetcher. Reconnects when the transfer process restarts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: JsonLines | None = None
        self._lock = threading.Lock()
        # Of what was read: what was not on a disk of this machine, or not with its whole segment.
        self.missed_bytes = 0

    def ensure(self, barcode: str, sequence: int, offset: int, size_bytes: int) -> Path:
        """See disks.SegmentFetcher.ensure."""
        answer = self._ask(
            {
                "op": "fetch",
                "barcode": barcode,
                "sequence": sequence,
                "offset": offset,
                "size": size_bytes,
            }
        )
        if answer is None:
            raise CartridgeBusyError("the transfer process does not answer")
        if not answer["ok"]:
            kind = CartridgeKeyError if answer["needs_key"] else CartridgeReadError
            raise kind(str(answer["message"]))
        if not answer["ready"]:
            raise CartridgeBusyError(f"segment {sequence} of {barcode} is on its way", _RETRY_S)
        return Path(str(answer["path"]))

    def discard(self, barcode: str, sequence: int) -> None:
        """See disks.SegmentFetcher.discard."""
        self._ask({"op": "discard", "barcode": barcode, "sequence": sequence})

    def count_missed(self, size_bytes: int) -> None:
        """See disks.SegmentFetcher.count_missed."""
        self.missed_bytes += size_bytes

    def wake(self) -> None:
        """Tell the transfer process that there is something to do; it looks by itself too."""
        self._ask({"op": "wake"})

    def _ask(self, request: Message) -> Message | None:
        with self._lock:
            try:
                if self._lines is None:
                    self._lines = JsonLines(connect(self._path, _TIMEOUT_S))
                self._lines.send(request)
                answer = self._lines.receive()
            except (OSError, ValueError) as exc:
                _log.debug("transfer process: %s", exc)
                answer = None
            if answer is None and self._lines is not None:
                self._lines.close()
                self._lines = None
            return answer
