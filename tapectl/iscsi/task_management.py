"""Which tasks a task management function ends, and how it is answered (RFC 7143 11.5, 11.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tapectl.iscsi.constants import TaskManagementFunction, TaskManagementResponse
from tapectl.iscsi.pdu import TaskManagementRequestPDU
from tapectl.iscsi.task import ScsiTask, decode_lun

_COMPLETE: Final = TaskManagementResponse.FUNCTION_COMPLETE
REFERENCED_TASK_MISSING: Final = TaskManagementResponse.TASK_DOES_NOT_EXIST
# Refused at once, whatever the server thinks.
_REFUSALS: Final = {
    TaskManagementFunction.CLEAR_ACA: TaskManagementResponse.NOT_SUPPORTED,
    TaskManagementFunction.TASK_REASSIGN: TaskManagementResponse.REASSIGNMENT_NOT_SUPPORTED,
}
_WHOLE_TARGET: Final = frozenset(
    {TaskManagementFunction.TARGET_WARM_RESET, TaskManagementFunction.TARGET_COLD_RESET}
)


@dataclass(frozen=True, slots=True)
class Selection:
    """The outcome for one request. `function` is None when the server need not be asked."""

    function: TaskManagementFunction | None
    lun: int
    tasks: Sequence[ScsiTask]
    response: TaskManagementResponse

    def completed(self) -> Selection:
        """Return the outcome for a task that is known never to come."""
        return Selection(TaskManagementFunction.ABORT_TASK, self.lun, (), _COMPLETE)


def select_tasks(request: TaskManagementRequestPDU, tasks: Mapping[int, ScsiTask]) -> Selection:
    """Return which of the living `tasks` the request ends and what to answer."""
    lun = decode_lun(request.lun)
    try:
        function = TaskManagementFunction(request.flags & 0x7F)
    except ValueError:
        return Selection(None, lun, (), TaskManagementResponse.FUNCTION_REJECTED)
    if function in _REFUSALS:
        return Selection(None, lun, (), _REFUSALS[function])
    if function is TaskManagementFunction.ABORT_TASK:
        task = tasks.get(request.referenced_task_tag)
        if task is None or task.lun_raw != request.lun:
            # Answered already, never sent, or (RefCmdSN tells) still on its way.
            return Selection(None, lun, (), REFERENCED_TASK_MISSING)
        return Selection(function, lun, (task,), _COMPLETE)
    whole = function in _WHOLE_TARGET
    ended = [task for task in tasks.values() if whole or task.lun == lun]
    return Selection(function, lun, ended, _COMPLETE)
