"""A connection of the target: bytes in, events and bytes out (RFC 7143). It owns no socket.

The server's loop, in full:

    while True:
        size = socket.recv_into(connection.receive_view())
        connection.received(size)
        send(connection.take_outgoing())
        for event in connection.events():
            ...  # connection.reply(event.task, ...), then send(connection.take_outgoing())

An R2T is queued as soon as the command's header is parsed, so what is outgoing should be sent
after every `received`. Nothing beyond the PDU under way is ever asked for, so that a
connection can be handed to another process between two PDUs.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Sequence
from typing import Any, Final

from tapectl.iscsi.constants import (
    AHS_BYTES_MAX,
    BHS_BYTES,
    DIGEST_BYTES,
    OPCODE_MASK,
    AsyncEvent,
    Opcode,
    RejectReason,
)
from tapectl.iscsi.digest import DIGEST, digest
from tapectl.iscsi.errors import PDUFormatError, ProtocolError
from tapectl.iscsi.events import Event, LoginCompleted, TaskManagementReceived
from tapectl.iscsi.full_feature import FullFeature
from tapectl.iscsi.login import Login
from tapectl.iscsi.pdu import DATA_SEGMENT_LENGTH_MASK, LENGTHS, LoginRequestPDU
from tapectl.iscsi.policy import LoginPolicy, TargetConfig
from tapectl.iscsi.session import SessionInfo
from tapectl.iscsi.session_state import SessionState
from tapectl.iscsi.task import ScsiTask

# RFC 7143 13.12: MaxRecvDataSegmentLength's default holds throughout the login.
_LOGIN_SEGMENT_BYTES_MAX: Final = 8192
# The version of what `hand_off` writes.
_STATE_VERSION: Final = 2


class Phase(enum.Enum):
    """Where a connection stands."""

    LOGIN = "login"
    FULL_FEATURE = "full feature"
    CLOSED = "closed"


class TargetConnection:
    """One connection, from its first byte.

    `phase` and `session` (None before the login is complete) may be read at any time.
    """

    def __init__(self, policy: LoginPolicy, config: TargetConfig) -> None:
        self.phase = Phase.LOGIN
        self.session: SessionInfo | None = None
        self._policy = policy
        self._config = config
        self._login = Login(policy, config)
        self._full_feature: FullFeature | None = None
        self._login_outgoing: list[bytes | memoryview] = []
        self._begin: Callable[[memoryview, int], memoryview | None] = self._begin_login
        self._begin_extended = self._begin_login
        self._end: Callable[[], None] = self._end_login
        self._segment_bytes_max = _LOGIN_SEGMENT_BYTES_MAX
        self._header_digest = False
        self._data_digest = False
        self._data = memoryview(b"")
        self._data_size = 0
        # One header at a time, with its additional header segments and its digest.
        self._header = memoryview(bytearray(BHS_BYTES + AHS_BYTES_MAX + DIGEST_BYTES))
        self._header_want = self._header[:BHS_BYTES]
        self._want = self._header_want
        self._step: Callable[[], None] = self._on_header

    # Bytes in

    def receive_view(self) -> memoryview:
        """Return where the next bytes go: exactly as many as are wanted next, never none.

        It never reaches beyond the part of the PDU under way: its header, or its data with
        their padding and digest. Ask again after each `received`.
        """
        return self._want

    @property
    def claims(self) -> tuple[str | None, str | None]:
        """Names of initiator and target that the login declares; None: not yet, or none. They are
        proven once the login is complete."""
        return self._login.claims

    @property
    def between_pdus(self) -> bool:
        """Whether nothing of the next PDU has come yet."""
        return self._want is self._header_want

    def received(self, size: int) -> None:
        """Take note that `size` bytes were put at the start of `receive_view()`.

        May queue events and outgoing PDUs. Raises ProtocolError: send `take_outgoing()`, then
        close the connection.
        """
        want = self._want
        if size < len(want):
            self._want = want[size:]
            return
        try:
            self._step()
        except ProtocolError:
            self.phase = Phase.CLOSED
            self._step = self._on_closed
            raise

    def _on_header(self) -> None:
        lengths: int = LENGTHS.unpack_from(self._header)[0]
        ahs_bytes = lengths >> 24 << 2
        if ahs_bytes:
            # With digests the first four bytes have come in place of a digest.
            end = BHS_BYTES + ahs_bytes + (DIGEST_BYTES if self._header_digest else 0)
            self._want = self._header[len(self._header_want) : end]
            self._step = self._on_additional_header
            return
        self._on_whole_header(lengths, BHS_BYTES, self._begin)

    def _on_additional_header(self) -> None:
        lengths: int = LENGTHS.unpack_from(self._header)[0]
        self._on_whole_header(lengths, BHS_BYTES + (lengths >> 24 << 2), self._begin_extended)

    def _on_whole_header(
        self,
        lengths: int,
        header_bytes: int,
        begin: Callable[[memoryview, int], memoryview | None],
    ) -> None:
        header = self._header
        if self._header_digest:
            (want,) = DIGEST.unpack_from(header, header_bytes)
            if digest(header[:header_bytes]) != want:
                # Nothing of the header can be believed, so there is no Reject (RFC 7143 7.8).
                raise ProtocolError("header digest error")
        size = lengths & DATA_SEGMENT_LENGTH_MASK
        if size > self._segment_bytes_max:
            raise ProtocolError(f"data segment of {size} bytes")
        if not size:
            begin(header, 0)
            self._next_pdu()
            return
        data = begin(header, size)
        if data is None:
            raise AssertionError("data without a place to put them")
        self._data = data
        self._data_size = size
        self._want = data[: (size + 3 & ~3) + (DIGEST_BYTES if self._data_digest else 0)]
        self._step = self._on_data

    def _on_data(self) -> None:
        if self._data_digest:
            data, size = self._data, self._data_size + 3 & ~3
            (want,) = DIGEST.unpack_from(data, size)
            if digest(data[:size]) != want:
                self._full().reject(RejectReason.DATA_DIGEST_ERROR)
                raise ProtocolError("data digest error")
        self._end()
        self._next_pdu()

    def _next_pdu(self) -> None:
        self._want = self._header_want
        self._step = self._on_header

    def _on_closed(self) -> None:
        raise ProtocolError("the connection is closed")

    # Login

    def _begin_login(self, header: memoryview, size: int) -> memoryview | None:
        opcode = header[0] & OPCODE_MASK
        if opcode != Opcode.LOGIN_REQUEST or header[4]:
            raise PDUFormatError(f"not a Login Request: opcode {opcode:#x}")
        if not size:
            self._answer_login(b"")
            return None
        return memoryview(bytearray(size + DIGEST_BYTES))

    def _end_login(self) -> None:
        self._answer_login(bytes(self._data[: self._data_size]))

    def _answer_login(self, data: bytes) -> None:
        login = self._login
        response = login.answer(LoginRequestPDU.from_bhs(self._header[:BHS_BYTES], data))
        self._login_outgoing.append(response.encode())
        if login.failure is not None:
            raise login.failure
        if login.session is not None:
            state = SessionState(login.exp_cmd_sn, login.max_cmd_sn)
            self._enter_full_feature(login.session, state, login.stat_sn)
            self._full().events.append(LoginCompleted(login.session))

    def _enter_full_feature(self, session: SessionInfo, state: SessionState, stat_sn: int) -> None:
        self.phase = Phase.FULL_FEATURE
        self.session = session
        full_feature = FullFeature(self._policy, self._config, session, (state, stat_sn))
        full_feature.writer.outgoing.extend(self._login_outgoing)
        self._login_outgoing = []
        self._full_feature = full_feature
        self._begin = full_feature.begin
        self._begin_extended = full_feature.begin_extended
        self._end = full_feature.end
        parameters = session.parameters
        self._segment_bytes_max = parameters.target_max_recv_data_segment_length
        self._header_digest = parameters.header_digest
        self._data_digest = parameters.data_digest
        if self._header_digest:
            self._header_want = self._header[: BHS_BYTES + DIGEST_BYTES]
        self._next_pdu()

    def hand_off(self) -> dict[str, Any]:
        """Return what another process needs to go on with the connection, as JSON values.

        Allowed between two PDUs, with no event undelivered and no command unanswered, as it is
        once LoginCompleted has been taken. Raises RuntimeError otherwise. What is outgoing goes
        with it: the last login response may be left to whoever knows the session from then on.
        This object must not be used any more.
        """
        full_feature = self._full()
        if self.session is None or not self.between_pdus or full_feature.busy:
            raise RuntimeError("the connection is in the middle of something")
        self.phase = Phase.CLOSED
        self._step = self._on_closed
        # A text request may have changed what the login had agreed.
        segment_bytes_max = full_feature.writer.segment_bytes_max
        parameters = dataclasses.replace(
            self.session.parameters, initiator_max_recv_data_segment_length=segment_bytes_max
        )
        session = dataclasses.replace(self.session, parameters=parameters)
        return {
            "version": _STATE_VERSION,
            "session": session.to_json(),
            "outgoing": b"".join(self.take_outgoing()).hex(),
            **full_feature.numbers(),
        }

    @classmethod
    def resume(
        cls,
        policy: LoginPolicy,
        config: TargetConfig,
        state: dict[str, Any],
        session: SessionState | None = None,
    ) -> TargetConnection:
        """Go on with a connection whose `hand_off` gave `state`.

        `config` should be the same; limits that were negotiated are taken from `state`. `session`
        is the living session that it joins, None for one of its own. Raises ValueError if the
        state is of another version.
        """
        if state.get("version") != _STATE_VERSION:
            raise ValueError(f"not a connection's state: version {state.get('version')}")
        connection = cls(policy, config)
        if session is None:
            session = SessionState(state["exp_cmd_sn"], state["max_cmd_sn"])
        info = SessionInfo.from_json(state["session"])
        if outgoing := bytes.fromhex(state["outgoing"]):
            connection._login_outgoing.append(outgoing)
        connection._enter_full_feature(info, session, state["stat_sn"])
        return connection

    def close(self) -> None:
        """Take note that the connection is over; its tasks die, its session's others go on.

        What may still be outgoing can be taken. Nothing happens before the login is complete.
        """
        self.phase = Phase.CLOSED
        self._step = self._on_closed
        if self._full_feature is not None:
            self._full_feature.leave_session()

    @property
    def session_state(self) -> SessionState:
        """What the connection shares with others of its session."""
        return self._full().state

    # Events and bytes out

    def events(self) -> list[Event]:
        """Return what has happened on the session since the last call, in order."""
        full_feature = self._full_feature
        if full_feature is None or not full_feature.events:
            return []
        events = full_feature.events.copy()
        full_feature.events.clear()
        return events

    def take_outgoing(self) -> list[bytes | memoryview]:
        """Return what is to be sent, in order, and forget it.

        Views in it are those given to `reply`: send them before their owner changes them.
        """
        full_feature = self._full_feature
        if full_feature is None:
            outgoing, self._login_outgoing = self._login_outgoing, []
            return outgoing
        outgoing = full_feature.writer.outgoing
        taken = outgoing.copy()
        outgoing.clear()
        return taken

    @property
    def queues(self) -> tuple[Sequence[bytes | memoryview], Sequence[Event]]:
        """What is outgoing and what has happened, to see whether anything is; the login is over.

        These sequences stay those of the connection: a loop asks for them once.
        """
        full_feature = self._full()
        return full_feature.writer.outgoing, full_feature.events

    def reply(
        self,
        task: ScsiTask,
        status: int,
        *,
        data_in: bytes | memoryview = b"",
        sense: bytes = b"",
        data_out_bytes: int | None = None,
    ) -> None:
        """Queue the outcome of a command.

        At most the expected length of `data_in` (a view of bytes) is sent, with the residual
        count that follows from its length, or from `data_out_bytes`: the data of a write that its
        CDB asks for, None where they are what was declared. The view is queued, not copied.
        Nothing happens if the task has been aborted. The task's `data_out` may be overwritten by
        the next `received`.
        """
        self._full().reply(task, status, data_in, sense, data_out_bytes)

    def task_management_response(self, request: TaskManagementReceived, response_code: int) -> None:
        """Queue the answer to a task management function."""
        self._full().control.task_management_response(request, response_code)

    @staticmethod
    def is_aborted(task: ScsiTask) -> bool:
        """Whether a command that has not been replied to is gone: do not run it any more."""
        return task.done

    def abort_tasks(self, lun: int | None = None) -> None:
        """End all tasks (of one logical unit) of this connection without a reply."""
        self._full().abort_tasks(lun)

    def abort_task(self, task: ScsiTask) -> None:
        """End one task without a reply, if it is still there."""
        full_feature = self._full()
        if full_feature.tasks.get(task.itt) is task:
            full_feature.abort(task)

    def living_tasks(self) -> list[ScsiTask]:
        """Return the tasks that have not been answered; any thread may ask."""
        return list(self._full().tasks.values()) if self._full_feature is not None else []

    def owns(self, task: ScsiTask) -> bool:
        """Whether the task came on this connection and has not been answered."""
        return self._full().tasks.get(task.itt) is task

    @property
    def stat_sn(self) -> int:
        """The number of the next response: it moves with whatever is answered."""
        return self._full().writer.stat_sn

    def send_nop_in(self) -> None:
        """Ask the initiator for a sign of life; see `ping_outstanding`."""
        self._full().control.ping()

    @property
    def ping_outstanding(self) -> bool:
        """Whether a NOP-In of `send_nop_in` has not been answered yet."""
        return self._full().control.ping_outstanding

    @property
    def tasks(self) -> int:
        """The number of commands that have not been answered."""
        return len(self._full().tasks) if self._full_feature is not None else 0

    def async_message(
        self, event: AsyncEvent, *, parameters: tuple[int, int, int] = (0, 0, 0), sense: bytes = b""
    ) -> None:
        """Queue an Asynchronous Message (RFC 7143 11.9)."""
        self._full().writer.async_message(event, parameters, sense)

    def request_logout(self, within_s: int) -> None:
        """Ask the initiator to log out; it should within `within_s` seconds."""
        self.async_message(AsyncEvent.LOGOUT_REQUESTED, parameters=(0, 0, within_s))

    def _full(self) -> FullFeature:
        if self._full_feature is None:
            raise RuntimeError("the login is not complete")
        return self._full_feature
