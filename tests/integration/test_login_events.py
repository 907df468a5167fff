"""Who is refused at the portal, and who comes in, is told; a flood of it fills nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tapectl.serve.login_throttle import FAILURES_MAX
from tests.support.clients import require_program
from tests.support.gateway import HOST, Gateway, wait_until
from tests.support.initiator import InitiatorError, Session, SessionOptions

pytestmark = pytest.mark.timeout(120)

NAME, SECRET = "iqn.2000-01.com.example:backup", "horse battery 16"


def inquire(gateway: Gateway, target: str, secret: str | None = None) -> bool:
    """Run libiscsi's client; return whether it got in."""
    program = require_program("iscsi-inq", "libiscsi-bin")
    user = "" if secret is None else f"{NAME}%{secret}@"
    url = f"iscsi://{user}{HOST}:{gateway.port}/{target}/0"
    done = subprocess.run([program, "-i", NAME, url], capture_output=True, timeout=60, check=False)
    return done.returncode == 0


def of_type(gateway: Gateway, event_type: str, count: int) -> list[dict[str, Any]]:
    """Return the events of a type once there are so many."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        found[:] = gateway.ask("events", "--type", event_type)
        return len(found) >= count

    wait_until(look, f"{count} times {event_type}", 30)
    return found


def test_refused_logins_and_those_who_come_in_are_told(
    make_gateway: Callable[..., Gateway],
) -> None:
    gateway = make_gateway()
    gateway.activate("--drives", "1")
    secret_file = gateway.root / "secret"
    secret_file.write_text(SECRET)
    gateway.prepare("chap", "set", "tapedrive-01", NAME, "--secret-file", str(secret_file))
    gateway.prepare("device", "allow", "mediachanger", "iqn.2000-01.com.example:robot")
    gateway.serve()
    targets = gateway.targets()
    assert inquire(gateway, targets["tapedrive-01"], SECRET)
    assert inquire(gateway, targets["tapedrive-01"], SECRET)
    assert not inquire(gateway, targets["tapedrive-01"], "a wrong secret 16")
    assert not inquire(gateway, targets["mediachanger"])
    assert not inquire(gateway, "iqn.2000-01.com.example:nothing")
    refused = of_type(gateway, "LoginRefused", 3)
    who = {"initiator_name": NAME, "address": HOST, "left_out": 0}
    assert [one["Detail"] for one in refused] == [
        who | {"target_name": targets["tapedrive-01"], "reason": "AuthenticationFailure"},
        who | {"target_name": targets["mediachanger"], "reason": "AuthorizationFailure"},
        who | {"target_name": "iqn.2000-01.com.example:nothing", "reason": "NotFound"},
    ]
    subjects = [(one["SubjectType"], one["Subject"]) for one in refused]
    assert subjects[:2] == [("target", "tapedrive-01"), ("target", "mediachanger")]
    assert subjects[2][0] == "gateway"
    # Twice there within a minute is no news.
    (came,) = of_type(gateway, "InitiatorLoggedIn", 1)
    assert (came["Subject"], came["Actor"]) == ("tapedrive-01", f"initiator:{NAME}")
    assert came["Detail"] == {"initiator_name": NAME, "address": HOST}

    wrong = SessionOptions(initiator_name=NAME, chap=(NAME, "a guess of 16 bytes"))
    for _ in range(FAILURES_MAX + 10):
        with pytest.raises((InitiatorError, OSError)):
            Session(gateway.portal, targets["tapedrive-01"], wrong)
    (throttled,) = of_type(gateway, "LoginRefused", 4)[3:]
    assert throttled["Detail"] == {
        "initiator_name": None,
        "target_name": None,
        "address": HOST,
        "reason": "Throttled",
        "left_out": 0,
    }
    metrics = gateway.cli("metrics")
    failures = f'tapectl_refused_logins_total{{reason="AuthenticationFailure"}} {FAILURES_MAX}.0'
    assert failures in metrics
    assert 'tapectl_refused_logins_total{reason="Throttled"} 11.0' in metrics
    gateway.stop()
    last = gateway.ask("events", "--type", "LoginRefused")[4:]
    assert [(one["Detail"]["reason"], one["Detail"]["left_out"]) for one in last] == [
        ("AuthenticationFailure", FAILURES_MAX - 2),
        ("Throttled", 9),
    ]
    assert SECRET not in str(gateway.ask("events"))
