"""What happened on a connection that the server must act on."""

from __future__ import annotations

from dataclasses import dataclass

from tapectl.iscsi.constants import LogoutReason, TaskManagementFunction, TaskManagementResponse
from tapectl.iscsi.session import SessionInfo
from tapectl.iscsi.task import ScsiTask


@dataclass(frozen=True, slots=True)
class LoginCompleted:
    """The login succeeded; its last response is queued. A normal session may be handed off."""

    session: SessionInfo


@dataclass(slots=True)
class CommandReceived:
    """A command is whole, all its data included. Answer it with `TargetConnection.reply`.

    Not frozen, only because that makes it several times cheaper to build.
    """

    task: ScsiTask


@dataclass(frozen=True, slots=True)
class TaskAborted:
    """A command that had been delivered is gone; a reply to it will be dropped."""

    itt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskManagementReceived:
    """A task management function, already carried out on this session's tasks.

    Do what it means beyond them (reset the logical unit, tasks of other sessions), then answer
    with `TargetConnection.task_management_response` and `response`, or another code if that failed.
    """

    function: TaskManagementFunction
    itt: int
    referenced_itt: int
    lun: int
    cid: int
    immediate: bool
    response: TaskManagementResponse


@dataclass(frozen=True, slots=True)
class LogoutReceived:
    """A connection, or all of the session, is logged out; the response is queued.

    Send it, then close the connection `cid`, or all of them if the reason is CLOSE_SESSION. The
    response may be due on another connection than the one that closes.
    """

    reason: LogoutReason
    cid: int


Event = LoginCompleted | CommandReceived | TaskAborted | TaskManagementReceived | LogoutReceived
