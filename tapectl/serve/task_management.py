"""Task management functions (RFC 7143 11.5, SAM-6 7) on a unit whose commands run one by one.

The core has already ended the session's own tasks and knows the response;
what is left is the logical unit, which every session shares.
"""

from __future__ import annotations

import logging

from tapectl.iscsi.constants import TaskManagementFunction, TaskManagementResponse
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
_OF_ONE_UNIT = frozenset(
    {
        TaskManagementFunction.ABORT_TASK_SET,
        TaskManagementFunction.CLEAR_TASK_SET,
        TaskManagementFunction.LOGICAL_UNIT_RESET,
    }
)


def manage_tasks(
    request: TaskManagementReceived, host: UnitHost, session: Session
) -> TaskManagementResponse:
    """Carry the function out and return the response to it."""
    function = request.function
    _log.info("%s: %s", session.nexus, function.name.replace("_", " "))
    if function in _OF_ONE_UNIT and request.lun:
        return TaskManagementResponse.LUN_DOES_NOT_EXIST
    with host.lock:
        if function in _RESETS:
            host.abort_others(session, None)
            host.unit.logical_unit_reset()
        elif function == TaskManagementFunction.CLEAR_TASK_SET:
            for loser in host.abort_others(session, request.lun):
                host.unit.commands_cleared(loser.nexus)
    return request.response
