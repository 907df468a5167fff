"""Errors have the names that AWS Storage Gateway has for them: those of its own model."""

from __future__ import annotations

import importlib
import pkgutil

import botocore.session

import tapectl
from tapectl.errors import ExitCode, TapectlError


def every_error(base: type[TapectlError] = TapectlError) -> set[type[TapectlError]]:
    found = {base}
    for child in base.__subclasses__():
        found |= every_error(child)
    return found


def test_every_name_is_one_of_aws() -> None:
    for module in pkgutil.walk_packages(tapectl.__path__, "tapectl."):
        importlib.import_module(module.name)
    model = botocore.session.get_session().get_service_model("storagegateway")
    codes = set(model.shape_for("ErrorCode").enum)  # type: ignore[attr-defined]
    raised = {shape.name for shape in model.error_shapes}
    assert raised >= {"InvalidGatewayRequestException", "InternalServerError"}
    for error in every_error():
        assert error.aws_code is None or error.aws_code in codes, error


def test_what_the_request_is_to_blame_for_is_told_from_the_rest() -> None:
    for code in (ExitCode.USAGE, ExitCode.TAPE_STATUS, ExitCode.GATEWAY_UNKNOWN):
        error = TapectlError("x")
        error.exit_code = code
        assert error.aws_exception == "InvalidGatewayRequestException"
    assert TapectlError("x").aws_exception == "InternalServerError"
