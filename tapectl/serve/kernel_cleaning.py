"""What a `serve --frontend lio` that was killed has left in the kernel's target, removed."""

from __future__ import annotations

from collections.abc import Sequence

from tapectl.gateway.activation import describe_gateway
from tapectl.gateway.settings import Settings
from tapectl.lio.configuration import KernelTarget
from tapectl.lio.requirements import require
from tapectl.serve.lock import LEAVING_WAIT_S, serve_lock
from tapectl.state.database import State


def clean_kernel_target(state: State, settings: Settings) -> Sequence[str]:
    """Remove the gateway's objects; return the names of those that were there.

    What initiators have sent and nobody has answered fails. Raises AlreadyServingError,
    FrontEndUnavailableError, KernelTargetError.
    """
    require(settings.fabric)
    with serve_lock(settings.state_path, "device lio-clean", wait_s=LEAVING_WAIT_S):
        return KernelTarget(describe_gateway(state).id, settings.fabric).remove(cut_off=True)
