"""What a connection is asked beside SCSI commands: NOP, text, logout and task management.

All of it is rare, so that requests are decoded into PDU objects and acted on one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from tapectl.iscsi.constants import (
    BHS_BYTES,
    FINAL,
    OPCODE_MASK,
    RESERVED_TAG,
    LogoutReason,
    LogoutResponse,
    Opcode,
    RejectReason,
    TaskManagementFunction,
)
from tapectl.iscsi.errors import ProtocolError
from tapectl.iscsi.events import LogoutReceived, TaskManagementReceived
from tapectl.iscsi.pdu import (
    LogoutRequestPDU,
    NOPOutPDU,
    TaskManagementRequestPDU,
    TextRequestPDU,
)
from tapectl.iscsi.send_targets import TextExchange
from tapectl.iscsi.task_management import REFERENCED_TASK_MISSING, Selection, select_tasks

if TYPE_CHECKING:
    from tapectl.iscsi.full_feature import FullFeature

_Request = NOPOutPDU | TextRequestPDU | LogoutRequestPDU | TaskManagementRequestPDU
_PDU_CLASSES: Final[dict[int, type[_Request]]] = {
    Opcode.NOP_OUT: NOPOutPDU,
    Opcode.TEXT_REQUEST: TextRequestPDU,
    Opcode.LOGOUT_REQUEST: LogoutRequestPDU,
    Opcode.TASK_MANAGEMENT_REQUEST: TaskManagementRequestPDU,
}


class ControlRequests:
    """Answers the control requests of one connection, in the order of the session's commands."""

    def __init__(self, connection: FullFeature, text: TextExchange, waiting_max: int) -> None:
        """At most `waiting_max` task management functions wait for commands at one time."""
        self._connection = connection
        self._state = connection.state
        self._window = connection.state.window
        self._writer = connection.writer
        self._text = text
        self._waiting_max = waiting_max
        self._ping_tag: int | None = None

    @property
    def ping_outstanding(self) -> bool:
        """Whether a NOP-In of `ping` has not been answered yet."""
        return self._ping_tag is not None

    def ping(self) -> None:
        """Send a NOP-In that the initiator must answer, unless one is under way."""
        if self._ping_tag is None:
            self._ping_tag = self._connection.take_tag()
            self._writer.ping(self._ping_tag)

    def received(self, header: bytes, data: bytes) -> None:
        """Take a request: its 48-byte header and its data segment."""
        request = _PDU_CLASSES[header[0] & OPCODE_MASK].from_bhs(header, data)
        if isinstance(request, NOPOutPDU) and request.target_transfer_tag == self._ping_tag:
            self._ping_tag = None
        act = self._action(request)
        if not request.immediate:
            self._act_in_order(request.cmd_sn, act)
        elif (
            not isinstance(request, TaskManagementRequestPDU)
            or request.flags & 0x7F == TaskManagementFunction.ABORT_TASK
        ):
            act()
        elif self._state.waiting >= self._waiting_max:
            self._connection.reject(RejectReason.TOO_MANY_IMMEDIATE_COMMANDS)
        else:
            self._state.when_received(request.cmd_sn, act)

    def _action(self, request: _Request) -> Callable[[], None]:
        if isinstance(request, NOPOutPDU):
            return partial(self._answer_nop_out, request)
        if isinstance(request, TextRequestPDU):
            return partial(self._answer_text, request)
        if isinstance(request, LogoutRequestPDU):
            return partial(self._answer_logout, request)
        return partial(self._manage_tasks, request)

    def _act_in_order(self, cmd_sn: int, act: Callable[[], None]) -> None:
        if not self._window.accept(cmd_sn):
            return
        if self._window.in_order(cmd_sn):
            act()
        else:
            self._window.deliver(cmd_sn, partial(self._act_held_back, act))
        if self._state.several:
            self._state.commands_came()

    def _act_held_back(self, act: Callable[[], None]) -> None:
        """Act on what another request has let through, perhaps one of another connection.

        An error of it is this connection's, and not of the one that is being received on: it ends
        this one with its next PDU.
        """
        try:
            act()
        except ProtocolError as error:
            self._connection.fail_next(error)

    def _complete(self, *, immediate: bool) -> None:
        if not immediate:
            self._window.complete()

    # NOP, text and logout

    def _answer_nop_out(self, request: NOPOutPDU) -> None:
        self._complete(immediate=request.immediate)
        if request.initiator_task_tag != RESERVED_TAG:
            self._writer.nop_in(request.initiator_task_tag, request.data)

    def _answer_text(self, request: TextRequestPDU) -> None:
        try:
            answer = self._text.answer(request)
        except ProtocolError:
            # Not the PDU under way, where the request was held back.
            self._writer.reject(RejectReason.PROTOCOL_ERROR, request.encode()[:BHS_BYTES])
            raise
        self._complete(immediate=request.immediate)
        self._writer.text(request.initiator_task_tag, answer)
        self._writer.segment_bytes_max = self._text.segment_bytes_max

    def _answer_logout(self, request: LogoutRequestPDU) -> None:
        self._complete(immediate=request.immediate)
        tag, reason = request.initiator_task_tag, request.flags & ~FINAL & 0xFF
        members = self._state.members
        if reason not in (LogoutReason.CLOSE_SESSION, LogoutReason.CLOSE_CONNECTION):
            self._writer.logout(tag, LogoutResponse.RECOVERY_NOT_SUPPORTED)
            return
        whole = reason == LogoutReason.CLOSE_SESSION
        cid = self._connection.cid if whole else request.cid
        if not whole and cid not in members:
            self._writer.logout(tag, LogoutResponse.CID_NOT_FOUND)
            return
        for member in members.values() if whole else [members[cid]]:
            member.abort_tasks(None)
        self._writer.logout(tag, LogoutResponse.CLOSED)
        self._state.events.append(LogoutReceived(LogoutReason(reason), cid))

    # Task management

    def _manage_tasks(self, request: TaskManagementRequestPDU) -> None:
        if self._state.members.get(self._connection.cid) is not self._connection:
            # The connection has gone while the request was held back.
            self._complete(immediate=request.immediate)
            return
        selection: Selection = select_tasks(request, self._state.tasks())
        for task in selection.tasks:
            owner = self._state.owner(task)
            if owner is not None:
                owner.abort(task)
        if selection.response is REFERENCED_TASK_MISSING and self._window.skip(
            request.ref_cmd_sn, before=request.cmd_sn
        ):
            # RFC 7143 11.6.1: within the window "targets must consider the CmdSN received".
            selection = selection.completed()
        if selection.function is None:
            self._complete(immediate=request.immediate)
            self._writer.task_management(request.initiator_task_tag, selection.response)
            return
        self._state.events.append(
            TaskManagementReceived(
                function=selection.function,
                itt=request.initiator_task_tag,
                referenced_itt=request.referenced_task_tag,
                lun=selection.lun,
                cid=self._connection.cid,
                immediate=request.immediate,
                response=selection.response,
            )
        )

    def task_management_response(self, request: TaskManagementReceived, response_code: int) -> None:
        """Queue the answer to a function on the connection that it came on, if that is there."""
        self._complete(immediate=request.immediate)
        asked = self._state.members.get(request.cid)
        if asked is not None:
            asked.writer.task_management(request.itt, response_code)
