"""A nexus of the library target at a drive: a socket pair between the supervisor and the worker.

One request, one answer, headers of fixed size, data as they are. The end of the stream ends
the nexus; the worker closes its side once the drive has been told.
"""

from __future__ import annotations

import contextlib
import enum
import socket
import struct

from tapectl.scsi.cartridge import CartridgeBusyError, CommandUnfinishedError
from tapectl.scsi.logical_unit import IMPLICIT_HEAD_OF_QUEUE, Reply, Status
from tapectl.serve.connection_loop import send_all
from tapectl.serve.unit_host import CommandAbortedError, UnitHost, shut_down
from tapectl.serve.unit_nexus import UnitNexus

# What, CDB, how many bytes of data follow.
_REQUEST = struct.Struct(">B16sI")
# Outcome, status, bytes of sense (or of a reason in words), bytes of data, what the CDB asks for
# (-1: what came), milliseconds after which to ask again.
_ANSWER = struct.Struct(">BBHIiI")
_NO_DATA = memoryview(b"")
_NO_CDB = bytes(16)
# A drive that is in the middle of a command learns of the end of a nexus after it.
CLOSE_WAIT_S = 10.0


class _What(enum.IntEnum):
    COMMAND = 0
    AGAIN = 1  # the command that had to wait, whose data are there
    RESET = 2
    CLEAR_TASK_SET = 3
    MEANWHILE = 4  # a command that the one that had to wait goes on after


class _Outcome(enum.IntEnum):
    DONE = 0
    BUSY = 1
    UNFINISHED = 2
    ABORTED = 3


class LinkClosedError(Exception):
    """The other side is gone; what became of the request is not known."""


class NexusLink:
    """The supervisor's side. One thread at a time; owns the socket."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._waiting: bytes | None = None

    def execute(self, cdb: bytes, data_out: memoryview) -> Reply:
        """Run a command as `UnitNexus.execute`; the reply's data hold until the next one.

        Raises CartridgeBusyError, CommandAbortedError, and LinkClosedError.
        """
        waiting = self._waiting
        if waiting is not None and cdb is not waiting and cdb[0] in IMPLICIT_HEAD_OF_QUEUE:
            return self._ask(_What.MEANWHILE, cdb, data_out)
        again, self._waiting = cdb is waiting, None
        what, data = (_What.AGAIN, _NO_DATA) if again else (_What.COMMAND, data_out)
        try:
            return self._ask(what, cdb, data)
        except CartridgeBusyError:
            self._waiting = cdb
            raise

    def reset(self) -> None:
        """Logical unit reset."""
        self._waiting = None
        self._ask(_What.RESET, _NO_CDB, _NO_DATA)

    def clear_task_set(self) -> None:
        """CLEAR TASK SET."""
        self._waiting = None
        self._ask(_What.CLEAR_TASK_SET, _NO_CDB, _NO_DATA)

    def leave(self) -> None:
        """Begin to end the nexus; `close` waits until the drive knows."""
        with contextlib.suppress(OSError):
            self._stream.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End the nexus, and wait until the drive knows, within bounds."""
        self.leave()
        with contextlib.suppress(OSError):  # it may be closed already
            self._stream.settimeout(CLOSE_WAIT_S)
            while self._stream.recv(65536):
                pass
        self._stream.close()

    def _ask(self, what: _What, cdb: bytes, data: memoryview) -> Reply:
        header = _REQUEST.pack(what, cdb, len(data))
        try:
            send_all(self._stream, (header, data) if len(data) else (header,))
            return self._receive_answer()
        except OSError as exc:
            raise LinkClosedError(str(exc)) from exc

    def _receive_answer(self) -> Reply:
        answer = bytearray(_ANSWER.size)
        _receive(self._stream, memoryview(answer))
        outcome, status, sense_bytes, data_bytes, asked, retry_ms = _ANSWER.unpack(answer)
        size = sense_bytes + data_bytes
        if size > len(self._buffer):
            self._buffer = bytearray(size)
        body = memoryview(self._buffer)[:size]
        _receive(self._stream, body)
        words = bytes(body[:sense_bytes])
        if outcome == _Outcome.DONE:
            return Reply(Status(status), body[sense_bytes:], words, None if asked < 0 else asked)
        if outcome == _Outcome.BUSY:
            raise CartridgeBusyError(words.decode(), retry_ms / 1000)
        if outcome == _Outcome.UNFINISHED:
            raise CommandUnfinishedError(words.decode())
        raise CommandAbortedError


def serve_nexus(stream: socket.socket, host: UnitHost, nexus: str, initiator_name: str) -> None:
    """Run the commands of a nexus until its other side leaves; the worker's side, owns `stream`."""
    # The order of the end: the drive knows, then the other side.
    with stream:
        unit_nexus = UnitNexus(host, nexus, initiator_name, on_end=lambda: shut_down(stream))
        try:
            unit_nexus.open()
            _serve(stream, unit_nexus)
        except OSError:
            return
        finally:
            unit_nexus.close()


def _serve(stream: socket.socket, nexus: UnitNexus) -> None:
    header = memoryview(bytearray(_REQUEST.size))
    buffer = bytearray()
    data, cdb = _NO_DATA, _NO_CDB
    while True:
        _receive(stream, header)
        what, new_cdb, size = _REQUEST.unpack(header)
        if what == _What.MEANWHILE:
            new_data = memoryview(bytearray(size))
            _receive(stream, new_data)
        elif what != _What.AGAIN:
            # A device server knows a command that goes on by the object that its CDB is.
            cdb = new_cdb
            if size > len(buffer):
                buffer = bytearray(size)
            data = memoryview(buffer)[:size]
            _receive(stream, data)
        try:
            if what == _What.MEANWHILE:
                reply = nexus.execute(new_cdb, new_data)
            else:
                reply = _run(nexus, what, cdb, data)
        except CommandUnfinishedError as exc:
            _answer(stream, _Outcome.UNFINISHED, _in_words(exc))
        except CartridgeBusyError as exc:
            _answer(stream, _Outcome.BUSY, _in_words(exc), int(exc.retry_after_s * 1000))
        except CommandAbortedError:
            _answer(stream, _Outcome.ABORTED, Reply(Status.GOOD))
        else:
            _answer(stream, _Outcome.DONE, reply)


def _run(nexus: UnitNexus, what: int, cdb: bytes, data: memoryview) -> Reply:
    if what == _What.RESET:
        nexus.reset()
    elif what == _What.CLEAR_TASK_SET:
        nexus.clear_task_set()
    else:
        return nexus.execute(cdb, data)
    return Reply(Status.GOOD)


def _in_words(error: CartridgeBusyError) -> Reply:
    return Reply(Status.BUSY, sense=str(error).encode()[:1024])


def _answer(stream: socket.socket, outcome: _Outcome, reply: Reply, retry_ms: int = 0) -> None:
    asked = -1 if reply.data_out_bytes is None else reply.data_out_bytes
    data = reply.data_in
    header = _ANSWER.pack(outcome, reply.status, len(reply.sense), len(data), asked, retry_ms)
    send_all(stream, (header + reply.sense, data) if len(data) else (header + reply.sense,))


def _receive(stream: socket.socket, view: memoryview) -> None:
    """Fill `view`; raise OSError at the end of the stream."""
    while len(view):
        size = stream.recv_into(view, 0, socket.MSG_WAITALL)
        if size == 0:
            raise ConnectionResetError("end of the stream")
        view = view[size:]
