"""A small iSCSI initiator for tests: one session, one connection, queue depth one, blocking.

It encodes and decodes its own PDUs (RFC 7143 section 11) and shares no code with the target, so
that an error of the target's reading of the standard is not made twice. It runs no SCSI recovery:
what the target answers is what a test gets.
"""

from __future__ import annotations

import hashlib
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from awscrt.checksums import crc32c

BHS_BYTES = 48
NO_TAG = 0xFFFFFFFF
# RFC 7143 12.1.4 and its IANA registry.
CHAP_HASHES = {5: "md5", 6: "sha1", 7: "sha256"}

NOP_OUT, SCSI_COMMAND, TASK_MANAGEMENT, LOGIN, TEXT, DATA_OUT, LOGOUT = range(7)
NOP_IN, SCSI_RESPONSE, TASK_MANAGEMENT_RESPONSE, LOGIN_RESPONSE = 0x20, 0x21, 0x22, 0x23
TEXT_RESPONSE, DATA_IN, LOGOUT_RESPONSE, R2T, ASYNC_MESSAGE, REJECT = (
    0x24,
    0x25,
    0x26,
    0x31,
    0x32,
    0x3F,
)
SNACK = 0x10
SECURITY_STAGE, OPERATIONAL_STAGE, FULL_FEATURE_PHASE = 0, 1, 3


class InitiatorError(Exception):
    """The target refused or broke the protocol."""


class LoginRefusedError(InitiatorError):
    """A login response with a status class other than success (RFC 7143 11.13.5)."""

    def __init__(self, status_class: int, status_detail: int) -> None:
        super().__init__(f"login refused: {status_class:02x}{status_detail:02x}")
        self.status_class = status_class
        self.status_detail = status_detail


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """What the initiator offers. `chap` is (name, secret), `chap_algorithm` the one CHAP_A.

    `isid` None: one of its own for each session, so that none reinstates another.
    """

    initiator_name: str = "iqn.2000-01.example.test:initiator"
    chap: tuple[str, str] | None = None
    chap_algorithm: int = 5
    header_digest: bool = False
    data_digest: bool = False
    initial_r2t: bool = False
    immediate_data: bool = True
    first_burst_bytes: int = 262144
    max_burst_bytes: int = 16776192
    receive_segment_bytes: int = 262144
    max_connections: int = 1
    isid: bytes | None = None
    timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Response:
    """Outcome of one SCSI command; `residual` is negative for an overflow."""

    status: int
    data: bytes
    sense: bytes
    residual: int


@dataclass(slots=True)
class _Pdu:
    bhs: bytes
    data: bytes

    @property
    def opcode(self) -> int:
        return self.bhs[0] & 0x3F

    @property
    def task_tag(self) -> int:
        return int.from_bytes(self.bhs[16:20], "big")


@dataclass(slots=True)
class _DataIn:
    """Gathers the Data-In PDUs of one command by their buffer offset."""

    expected_bytes: int
    buffer: bytearray = field(init=False)
    received_bytes: int = 0

    def __post_init__(self) -> None:
        self.buffer = bytearray(self.expected_bytes)

    def put(self, offset: int, data: bytes) -> None:
        if offset + len(data) > self.expected_bytes:
            raise InitiatorError(f"Data-In past the expected length: {offset} + {len(data)}")
        self.buffer[offset : offset + len(data)] = data
        self.received_bytes = max(self.received_bytes, offset + len(data))


@dataclass(slots=True)
class _Numbers:
    """What all connections of a session share."""

    isid: bytes
    tsih: int = 0
    task_tag: int = 0
    cmd_sn: int = 1


class Session:
    """A logged-in session with one target; a context manager that closes its socket.

    `portal` is (host, port). `target` None makes a discovery session. `joins` makes it another
    connection of that session, with the connection id `cid`; each has its own socket and runs its
    own commands, and both number them in one sequence.
    """

    def __init__(
        self,
        portal: tuple[str, int],
        target: str | None,
        options: SessionOptions | None = None,
        *,
        joins: Session | None = None,
        cid: int = 0,
    ) -> None:
        self.options = options or SessionOptions()
        self.target = target
        self.cid = cid
        self._numbers = (
            joins._numbers
            if joins is not None
            else _Numbers(self.options.isid or b"\x80" + os.urandom(3) + b"\0\0")
        )
        self.async_events: list[tuple[int, int]] = []  # event and Parameter3
        self.negotiated: dict[str, str] = {}
        self._header_digest = self._data_digest = False
        self._send_segment_bytes = 8192
        self._exp_stat_sn = 0
        self._socket = socket.create_connection(portal, timeout=self.options.timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._login()
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connection without a logout, as a client that dies does."""
        self._socket.close()

    @property
    def tsih(self) -> int:
        return self._numbers.tsih

    @property
    def isid(self) -> bytes:
        return self._numbers.isid

    @property
    def _cmd_sn(self) -> int:
        return self._numbers.cmd_sn

    @_cmd_sn.setter
    def _cmd_sn(self, cmd_sn: int) -> None:
        self._numbers.cmd_sn = cmd_sn

    @property
    def _task_tag(self) -> int:
        return self._numbers.task_tag

    @_task_tag.setter
    def _task_tag(self, task_tag: int) -> None:
        self._numbers.task_tag = task_tag

    @property
    def local_port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    # -- PDUs ------------------------------------------------------------------------------
    def _send(self, bhs: bytearray, data: bytes | memoryview = b"") -> None:
        bhs[5:8] = len(data).to_bytes(3, "big")
        parts: list[bytes | memoryview] = [bytes(bhs)]
        if self._header_digest:
            parts.append(struct.pack("<I", crc32c(bytes(bhs))))
        if data:
            parts.append(data)
            padding = bytes(-len(data) % 4)
            parts.append(padding)
            if self._data_digest:
                parts.append(struct.pack("<I", crc32c(padding, crc32c(data))))
        view = [memoryview(part) for part in parts if len(part)]
        while view:
            sent = self._socket.sendmsg(view)
            while view and sent >= len(view[0]):
                sent -= len(view.pop(0))
            if sent:
                view[0] = view[0][sent:]

    def _receive_exactly(self, size_bytes: int) -> bytearray:
        buffer = bytearray(size_bytes)
        view = memoryview(buffer)
        while len(view):
            got = self._socket.recv_into(view)
            if got == 0:
                raise ConnectionResetError("the target closed the connection")
            view = view[got:]
        return buffer

    def _receive(self) -> _Pdu:
        bhs = bytes(self._receive_exactly(BHS_BYTES))
        additional = bytes(self._receive_exactly(bhs[4] * 4))
        if self._header_digest:
            self._check_digest("header", bhs + additional)
        size_bytes = int.from_bytes(bhs[5:8], "big")
        data = b""
        if size_bytes:
            padded = self._receive_exactly(size_bytes + -size_bytes % 4)
            if self._data_digest:
                self._check_digest("data", padded)
            data = bytes(memoryview(padded)[:size_bytes])
        pdu = _Pdu(bhs, data)
        self._note_stat_sn(pdu)
        return pdu

    def _check_digest(self, what: str, covered: bytes | bytearray) -> None:
        (digest,) = struct.unpack("<I", self._receive_exactly(4))
        if digest != crc32c(bytes(covered)):
            raise InitiatorError(f"{what} digest is wrong")

    def _note_stat_sn(self, pdu: _Pdu) -> None:
        # A Data-In without status and an R2T carry no StatSN that counts.
        if pdu.opcode == R2T or (pdu.opcode == DATA_IN and not pdu.bhs[1] & 0x01):
            return
        if pdu.opcode == NOP_IN and pdu.task_tag == NO_TAG:
            return
        self._exp_stat_sn = (int.from_bytes(pdu.bhs[24:28], "big") + 1) & 0xFFFFFFFF

    def _request(self, opcode: int, flags: int, *, immediate: bool = False) -> bytearray:
        """Make the header of a new task, with its tag and sequence numbers."""
        self._task_tag = (self._task_tag + 1) & 0x7FFFFFFF
        bhs = bytearray(BHS_BYTES)
        bhs[0] = opcode | (0x40 if immediate else 0)
        bhs[1] = flags
        struct.pack_into(">I", bhs, 16, self._task_tag)
        struct.pack_into(">II", bhs, 24, self._cmd_sn, self._exp_stat_sn)
        if not immediate:
            self._cmd_sn = (self._cmd_sn + 1) & 0xFFFFFFFF
        return bhs

    def _next_for(self, task_tag: int) -> _Pdu:
        """Return the next PDU of a task, answering the target's pings on the way."""
        while True:
            pdu = self._receive()
            if pdu.opcode == REJECT:
                raise InitiatorError(f"rejected, reason {pdu.bhs[2]:#04x}")
            if pdu.opcode == NOP_IN and pdu.task_tag == NO_TAG:
                self._answer_ping(pdu)
            elif pdu.opcode == ASYNC_MESSAGE:
                self.async_events.append((pdu.bhs[36], int.from_bytes(pdu.bhs[42:44], "big")))
            else:
                if pdu.task_tag != task_tag:
                    raise InitiatorError(f"answer to an unknown task {pdu.task_tag:#x}")
                return pdu

    def _answer_ping(self, pdu: _Pdu) -> None:
        target_tag = pdu.bhs[20:24]
        if target_tag == b"\xff\xff\xff\xff":
            return
        bhs = bytearray(BHS_BYTES)
        bhs[0], bhs[1] = NOP_OUT | 0x40, 0x80
        bhs[8:16] = pdu.bhs[8:16]
        struct.pack_into(">I", bhs, 16, NO_TAG)
        bhs[20:24] = target_tag
        struct.pack_into(">II", bhs, 24, self._cmd_sn, self._exp_stat_sn)
        self._send(bhs, pdu.data)

    # -- login -----------------------------------------------------------------------------
    def _login(self) -> None:
        identity = {"InitiatorName": self.options.initiator_name}
        if self.target is None:
            identity["SessionType"] = "Discovery"
        else:
            identity |= {"TargetName": self.target, "SessionType": "Normal"}
        if self.options.chap:
            self._log_in_with_chap(identity, *self.options.chap)
            identity = {}
        self._negotiate(identity | self._operational_keys())
        self._header_digest = self.negotiated.get("HeaderDigest") == "CRC32C"
        self._data_digest = self.negotiated.get("DataDigest") == "CRC32C"
        self._send_segment_bytes = int(self.negotiated.get("MaxRecvDataSegmentLength", "8192"))

    def _log_in_with_chap(self, identity: dict[str, str], name: str, secret: str) -> None:
        # RFC 7143 section 12.1.3: AuthMethod, then CHAP_A, then CHAP_A/I/C, then CHAP_N/R.
        self._login_exchange(identity | {"AuthMethod": "CHAP"}, SECURITY_STAGE)
        algorithm = self.options.chap_algorithm
        challenge = self._login_exchange({"CHAP_A": str(algorithm)}, SECURITY_STAGE)
        text = challenge["CHAP_C"]
        value = bytes.fromhex(text[2:]) if text[:2].lower() == "0x" else b""
        digest = hashlib.new(
            CHAP_HASHES[algorithm], bytes([int(challenge["CHAP_I"], 0)]) + secret.encode() + value
        )
        self._login_exchange(
            {"CHAP_N": name, "CHAP_R": "0x" + digest.hexdigest()},
            SECURITY_STAGE,
            next_stage=OPERATIONAL_STAGE,
        )

    def _operational_keys(self) -> dict[str, str]:
        options = self.options
        keys = {
            "HeaderDigest": "CRC32C" if options.header_digest else "None",
            "DataDigest": "CRC32C" if options.data_digest else "None",
            "MaxRecvDataSegmentLength": str(options.receive_segment_bytes),
        }
        if self.target is None:
            return keys
        if self._numbers.tsih:
            return keys  # the rest is the leading connection's to negotiate
        return keys | {
            "MaxConnections": str(options.max_connections),
            "InitialR2T": "Yes" if options.initial_r2t else "No",
            "ImmediateData": "Yes" if options.immediate_data else "No",
            "FirstBurstLength": str(options.first_burst_bytes),
            "MaxBurstLength": str(options.max_burst_bytes),
            "MaxOutstandingR2T": "1",
            "ErrorRecoveryLevel": "0",
        }

    def _negotiate(self, keys: dict[str, str]) -> None:
        """Offer the operational keys until the target moves to the full feature phase."""
        for _ in range(8):
            answer, done = self._login_step(keys, OPERATIONAL_STAGE, FULL_FEATURE_PHASE)
            self.negotiated |= answer
            if done:
                return
            keys = {}
        raise InitiatorError("login did not end")

    def _login_exchange(
        self, keys: dict[str, str], stage: int, next_stage: int | None = None
    ) -> dict[str, str]:
        return self._login_step(keys, stage, next_stage)[0]

    def _login_step(
        self, keys: dict[str, str], stage: int, next_stage: int | None
    ) -> tuple[dict[str, str], bool]:
        bhs = bytearray(BHS_BYTES)
        bhs[0] = LOGIN | 0x40
        bhs[1] = stage << 2 if next_stage is None else 0x80 | stage << 2 | next_stage
        bhs[8:14] = self.isid
        struct.pack_into(">HIH", bhs, 14, self._numbers.tsih, 0, self.cid)
        struct.pack_into(">II", bhs, 24, self._cmd_sn, self._exp_stat_sn)
        self._send(bhs, _encode_text(keys))
        answer = self._receive()
        if answer.opcode != LOGIN_RESPONSE:
            raise InitiatorError(f"answer to a login with opcode {answer.opcode:#x}")
        if answer.bhs[36]:
            raise LoginRefusedError(answer.bhs[36], answer.bhs[37])
        if answer.bhs[1] & 0x83 == 0x83:
            self._numbers.tsih = int.from_bytes(answer.bhs[14:16], "big")
        return _decode_text(answer.data), bool(answer.bhs[1] & 0x80)

    # -- full feature phase ----------------------------------------------------------------
    def execute(
        self, cdb: bytes, *, data_out: bytes = b"", data_in_bytes: int = 0, lun: int = 0
    ) -> Response:
        """Run one SCSI command to its end.

        Raises OSError (ConnectionError, TimeoutError) if the connection is lost before an answer.
        """
        flags = (0x20 if data_out else 0) | (0x40 if data_in_bytes else 0) | 0x01
        bhs = self._request(SCSI_COMMAND, flags)
        bhs[8:16] = bytes([0, lun]) + bytes(6)
        struct.pack_into(">I", bhs, 20, len(data_out) or data_in_bytes)
        bhs[32:48] = cdb.ljust(16, b"\0")
        task_tag = self._task_tag
        out = memoryview(data_out)
        self._send_unsolicited(bhs, out)
        data_in = _DataIn(data_in_bytes)
        while True:
            pdu = self._next_for(task_tag)
            if pdu.opcode == R2T:
                self._answer_r2t(pdu, out)
            elif pdu.opcode == DATA_IN:
                data_in.put(int.from_bytes(pdu.bhs[40:44], "big"), pdu.data)
                if pdu.bhs[1] & 0x01:
                    return self._finish(pdu, data_in, b"")
            elif pdu.opcode == SCSI_RESPONSE:
                if pdu.bhs[2]:
                    raise InitiatorError(f"iSCSI response {pdu.bhs[2]:#04x}")
                sense_bytes = int.from_bytes(pdu.data[:2], "big") if pdu.data else 0
                return self._finish(pdu, data_in, pdu.data[2 : 2 + sense_bytes])
            else:
                raise InitiatorError(f"opcode {pdu.opcode:#x} in answer to a command")

    def _finish(self, pdu: _Pdu, data_in: _DataIn, sense: bytes) -> Response:
        residual = int.from_bytes(pdu.bhs[44:48], "big")
        if pdu.bhs[1] & 0x04:
            residual = -residual
        elif not pdu.bhs[1] & 0x02:
            residual = 0
        return Response(
            pdu.bhs[3], bytes(data_in.buffer[: data_in.received_bytes]), sense, residual
        )

    def _send_unsolicited(self, bhs: bytearray, out: memoryview) -> None:
        """Send the command with its immediate data, then the unsolicited Data-Out PDUs."""
        first_burst = min(len(out), int(self.negotiated.get("FirstBurstLength", "65536")))
        immediate = self.negotiated.get("ImmediateData", "Yes") == "Yes"
        more = self.negotiated.get("InitialR2T", "Yes") == "No"
        immediate_bytes = min(first_burst, self._send_segment_bytes) if immediate else 0
        if not more or immediate_bytes == first_burst:
            bhs[1] |= 0x80
            self._send(bhs, out[:immediate_bytes])
            return
        self._send(bhs, out[:immediate_bytes])
        tag = int.from_bytes(bhs[16:20], "big")
        self._send_burst(tag, NO_TAG, out[:first_burst], immediate_bytes)

    def _answer_r2t(self, pdu: _Pdu, out: memoryview) -> None:
        target_tag = int.from_bytes(pdu.bhs[20:24], "big")
        offset, length = struct.unpack_from(">II", pdu.bhs, 40)
        if offset + length > len(out):
            raise InitiatorError(f"R2T past the data: {offset} + {length} > {len(out)}")
        self._send_burst(pdu.task_tag, target_tag, out[: offset + length], offset)

    def _send_burst(self, task_tag: int, target_tag: int, out: memoryview, offset: int) -> None:
        """Send out[offset:] as Data-Out PDUs of one sequence."""
        data_sn = 0
        while offset < len(out):
            chunk = out[offset : offset + self._send_segment_bytes]
            bhs = bytearray(BHS_BYTES)
            bhs[0] = DATA_OUT
            bhs[1] = 0x80 if offset + len(chunk) == len(out) else 0
            struct.pack_into(">II", bhs, 16, task_tag, target_tag)
            struct.pack_into(">I", bhs, 28, self._exp_stat_sn)
            struct.pack_into(">I", bhs, 36, data_sn)
            struct.pack_into(">I", bhs, 40, offset)
            self._send(bhs, chunk)
            offset += len(chunk)
            data_sn += 1

    def ping(self, data: bytes = b"ping") -> bytes:
        """Send a NOP-Out that wants an answer; return the data that came back."""
        bhs = self._request(NOP_OUT, 0x80, immediate=True)
        struct.pack_into(">I", bhs, 20, NO_TAG)
        tag = self._task_tag
        self._send(bhs, data)
        return self._next_for(tag).data

    def send_targets(self) -> dict[str, list[str]]:
        """Return target name to portal addresses (SendTargets=All, RFC 7143 appendix C)."""
        bhs = self._request(TEXT, 0x80)
        struct.pack_into(">I", bhs, 20, NO_TAG)
        tag = self._task_tag
        self._send(bhs, _encode_text({"SendTargets": "All"}))
        text = b""
        while True:
            pdu = self._next_for(tag)
            text += pdu.data
            if pdu.bhs[1] & 0x80:
                return _targets(text)
            more = self._request(TEXT, 0x80)
            more[16:24] = pdu.bhs[16:24]
            self._send(more)

    def task_management(self, function: int, lun: int = 0, *, referenced_tag: int = NO_TAG) -> int:
        """Run a task management function (RFC 7143 11.5.1); return its response code."""
        bhs = self._request(TASK_MANAGEMENT, 0x80 | function, immediate=True)
        bhs[8:16] = bytes([0, lun]) + bytes(6)
        struct.pack_into(">I", bhs, 20, referenced_tag)
        tag = self._task_tag
        self._send(bhs)
        return self._next_for(tag).bhs[2]

    def logout(self) -> None:
        """Close the session as RFC 7143 11.14 says, then the connection."""
        response = self.request_logout(0)
        if response:
            raise InitiatorError(f"logout answered {response}")
        self.close()

    def request_logout(self, reason: int, cid: int = 0) -> int:
        """Send a Logout for a reason (0 session, 1 connection, 2 recovery); return its response."""
        bhs = self._request(LOGOUT, 0x80 | reason)
        struct.pack_into(">H", bhs, 20, cid)
        tag = self._task_tag
        self._send(bhs)
        answer = self._next_for(tag)
        if answer.opcode != LOGOUT_RESPONSE:
            raise InitiatorError(f"logout answered with opcode {answer.opcode:#x}")
        return answer.bhs[2]

    # -- single steps, to stop halfway ---------------------------------------------------------
    def start(
        self, cdb: bytes, *, data_out_bytes: int = 0, immediate_data: bytes = b"", lun: int = 0
    ) -> int:
        """Send a command with some of its data and return its task tag, without waiting."""
        bhs = self._request(SCSI_COMMAND, 0x81 | (0x20 if data_out_bytes else 0))
        bhs[8:16] = bytes([0, lun]) + bytes(6)
        struct.pack_into(">I", bhs, 20, data_out_bytes)
        bhs[32:48] = cdb.ljust(16, b"\0")
        tag = self._task_tag
        self._send(bhs, immediate_data)
        return tag

    def wait_for_r2t(self, tag: int) -> Callable[[bytes], None]:
        """Wait until the target asks for the data of a started write; return what sends them."""
        r2t = self._next_for(tag)
        if r2t.opcode != R2T:
            raise InitiatorError(f"opcode {r2t.opcode:#x} in place of an R2T")
        return lambda data: self._answer_r2t(r2t, memoryview(data))

    def finish_write(self, tag: int, data: bytes) -> Response:
        """Answer the R2Ts of a started write, and return its outcome."""
        while (pdu := self._next_for(tag)).opcode == R2T:
            self._answer_r2t(pdu, memoryview(data))
        return self._finish(pdu, _DataIn(0), pdu.data[2:])

    def send_snack(self) -> None:
        """Ask for a retransmission (RFC 7143 11.16), and wait for the answer."""
        bhs = self._request(SNACK, 0x80, immediate=True)
        tag = self._task_tag
        self._send(bhs)
        self._next_for(tag)

    def next_task_tag(self) -> int:
        """Receive one PDU and return the task that it answers."""
        return self._receive().task_tag

    def wait_for_async_event(self) -> tuple[int, int]:
        """Return the next Asynchronous Message's event and Parameter3, answering pings."""
        while not self.async_events:
            pdu = self._receive()
            if pdu.opcode == ASYNC_MESSAGE:
                self.async_events.append((pdu.bhs[36], int.from_bytes(pdu.bhs[42:44], "big")))
            elif pdu.opcode == NOP_IN and pdu.task_tag == NO_TAG:
                self._answer_ping(pdu)
        return self.async_events.pop(0)

    def receive_end(self) -> bool:
        """Wait for the target to close the connection, reading and answering nothing."""
        try:
            while self._socket.recv(65536):
                pass
        except ConnectionError:
            return True
        return True

    def is_open(self) -> bool:
        """Whether the target still has the connection open, as far as it has told us."""
        self._socket.setblocking(False)
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            self._socket.settimeout(self.options.timeout_s)


def discover(
    portal: tuple[str, int], options: SessionOptions | None = None
) -> dict[str, list[str]]:
    """Return the targets of a portal with their addresses."""
    with Session(portal, None, options) as session:
        return session.send_targets()


def _encode_text(keys: dict[str, str]) -> bytes:
    return b"".join(f"{key}={value}\0".encode() for key, value in keys.items())


def _decode_text(data: bytes) -> dict[str, str]:
    pairs = (item.partition("=") for item in data.decode().split("\0") if item)
    return {key: value for key, _, value in pairs}


def _targets(text: bytes) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    name = ""
    for item in text.decode().split("\0"):
        key, _, value = item.partition("=")
        if key == "TargetName":
            name = value
            found[name] = []
        elif key == "TargetAddress":
            found[name].append(value)
    return found
