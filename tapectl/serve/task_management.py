"""Task management functions (RFC 7143 11.5, SAM-6 7) on units whose commands run one by one.

The core has already ended the session's own tasks and knows the response;
what is left are the logical units, which every session shares.
"""

from __future__ import annotations

import logging

from tapectl.iscsi.constants import TaskManagementFunction, TaskManagementResponse
from tapectl.iscsi.events import TaskManagementReceived
from tapectl.serve.unit_host import Session, SessionHost

_log = logging.getLogger(__name__)

_OF_WHOLE_TARGET = frozenset(
    {TaskManagementFunction.TARGET_WARM_RESET, TaskManagementFunction.TARGET_COLD_RESET}
)
_OF_ONE_UNIT = frozenset(
    {
        TaskManagementFunction.ABORT_TASK_SET,
        TaskManagementFunction.CLEAR_TASK_SET,
        TaskManagementFunction.LOGICAL_UNIT_RESET,
    }
)


def manage_tasks(
    request: TaskManagementReceived, host: SessionHost, session: Session
) -> TaskManagementResponse:
    """Carry the function out and return the response to it."""
    function, lun = request.function, request.lun
    _log.info("%s: %s", session.nexus, function.name.replace("_", " "))
    if function in _OF_ONE_UNIT and lun >= host.luns:
        return TaskManagementResponse.LUN_DOES_NOT_EXIST
    if function == TaskManagementFunction.LOGICAL_UNIT_RESET:
        host.reset(session, lun)
    elif function in _OF_WHOLE_TARGET:
        for each in range(host.luns):
            host.reset(session, each)
    elif function == TaskManagementFunction.CLEAR_TASK_SET:
        host.clear_task_set(session, lun)
    return request.response
