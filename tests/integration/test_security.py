"""Who does not belong stays out, and secrets stay where they are."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tapectl.serve.login_throttle import FAILURES_MAX
from tests.support.gateway import Gateway
from tests.support.initiator import InitiatorError, LoginRefusedError, Session, SessionOptions

MakeGateway = Callable[..., Gateway]
NAME, SECRET = SessionOptions().initiator_name, "horse battery 16"
GROUP_AND_OTHERS = 0o077


@pytest.fixture
def served(make_gateway: MakeGateway) -> Gateway:
    """One drive that asks for CHAP, and a changer that does not."""
    gateway = make_gateway()
    gateway.activate("--drives", "1")
    secret_file = gateway.root / "secret"
    secret_file.write_text(SECRET)
    gateway.cli("chap", "set", "tapedrive-01", NAME, "--secret-file", str(secret_file))
    secret_file.unlink()
    gateway.serve()
    return gateway


def options(secret: str) -> SessionOptions:
    return SessionOptions(chap=(NAME, secret))


def test_nothing_of_the_working_directory_is_run(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    gateway.activate("--drives", "1")
    package = gateway.root / "tapectl"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('somebody else wrote this')")
    gateway.serve()  # there, and its processes do their work
    assert gateway.drive().session.ping() == b"ping"


def test_a_secret_is_in_no_file_and_no_dump(served: Gateway) -> None:
    with Session(served.portal, served.targets()["tapedrive-01"], options(SECRET)) as session:
        assert session.ping() == b"ping"
    served.stop()
    for path in served.root.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path
    with sqlite3.connect(served.state) as db:
        assert SECRET not in "\n".join(db.iterdump())


def test_files_of_the_gateway_are_its_owners_alone(served: Gateway) -> None:
    folders = (served.state.parent, served.cache / "tapes", served.buffer / "tapes")
    paths = [path for folder in folders for path in (folder, *folder.rglob("*"))]
    assert served.state in paths
    assert served.state.with_name(f"{served.state.name}.key") in paths
    # What a user made before is as that user wants it; what is in it is ours.
    mine = [path for path in paths if path != served.state.parent]
    assert [path for path in mine if path.lstat().st_mode & GROUP_AND_OTHERS] == []


def test_without_the_key_nobody_logs_in_and_it_is_told(served: Gateway) -> None:
    served.stop()
    served.state.with_name(f"{served.state.name}.key").unlink()
    served.serve()
    with pytest.raises(LoginRefusedError) as refused:
        Session(served.portal, served.targets()["tapedrive-01"], options(SECRET))
    assert (refused.value.status_class, refused.value.status_detail) == (2, 1)
    assert "set it again" in served.log()
    assert SECRET not in served.log()


def test_guessing_is_slow_and_disturbs_nobody_who_is_in(served: Gateway) -> None:
    target = served.targets()["tapedrive-01"]
    inside = Session(served.portal, target, options(SECRET))
    for number in range(FAILURES_MAX):
        with pytest.raises(LoginRefusedError):
            Session(served.portal, target, options(f"guess number {number}"))
    # Now not even the right one is listened to.
    with pytest.raises((InitiatorError, OSError)) as shut_out:
        Session(served.portal, target, options(SECRET))
    assert not isinstance(shut_out.value, LoginRefusedError)
    assert inside.ping() == b"ping"
    assert "no more logins" in served.log()


def test_a_key_that_others_may_read_is_refused(served: Gateway, tmp_path: Path) -> None:
    key = served.state.with_name(f"{served.state.name}.key")
    key.chmod(0o644)
    secret_file = tmp_path / "secret"
    secret_file.write_text(SECRET)
    done = served.run("chap", "set", "tapedrive-01", NAME, "--secret-file", str(secret_file))
    assert done.returncode == 44
    assert f"hint: chmod 600 {key}" in done.stderr
