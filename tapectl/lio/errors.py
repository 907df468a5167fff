"""Errors of the kernel's target that the admin who chose it can act on."""

from __future__ import annotations

from tapectl.errors import ExitCode, TapectlError


class FrontEndUnavailableError(TapectlError):
    """This host, or who we are on it, cannot have the front end that was asked for."""

    exit_code = ExitCode.FRONT_END_UNAVAILABLE
    code = "front_end_unavailable"


class KernelTargetError(TapectlError):
    """The kernel's target did not take its configuration."""

    exit_code = ExitCode.FRONT_END_UNAVAILABLE
    code = "kernel_target"
