"""Task management functions (RFC 7143 11.5, SAM-6 7) on a unit whose commands run one by one.

The core has already ended the connection's own tasks and knows the response;
what is left is the logical unit, which every session shares.
"""

from __future__ import annotations

import logging

from tapectl.iscsi.connection import TargetConnection
from tapectl.iscsi.constants import TaskManagementFunction
from tapectl.iscsi.events import TaskManagementReceived
from tapectl.serve.unit_host import Session, UnitHost

_log = logging.getLogger(__name__)

_RESETS = frozenset(
    {
        TaskManagementFunction.LOGICAL_UNIT_RESET,
        TaskManagementFunction.TARGET_WARM_RESET,
        TaskManagementFunction.TARGET_COLD_RESET,
    }
)


def manage_tasks(
    request: TaskManagementReceived,
    connection: TargetConnection,
    host: UnitHost,
    session: Session,
) -> None:
    """Carry the function out and queue its response; `ends_sessions` is for after it was sent."""
    function = request.function
    _log.info("%s: task management function %d", session.nexus, function)
    if function in _RESETS:
        with host.lock:
            host.unit.logical_unit_reset()
    connection.task_management_response(request, request.response)


def ends_sessions(request: TaskManagementReceived) -> bool:
    """Whether the function ends all sessions of the target: RFC 7143 11.6, TARGET COLD RESET."""
    return request.function is TaskManagementFunction.TARGET_COLD_RESET
