"""Who may discover, see and use which device; and whose sessions end when that changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tapectl.errors import ExitCode
from tests.support.gateway import Gateway, free_port
from tests.support.initiator import LoginRefusedError, Session, SessionOptions, discover
from tests.support.tape_client import TapeDrive

MakeGateway = Callable[..., Gateway]
NAME, SECRET = SessionOptions().initiator_name, "horse battery 16"
OTHER = SessionOptions(initiator_name="iqn.2000-01.example.test:other")
AUTHENTICATION_FAILURE, AUTHORIZATION_FAILURE = (2, 1), (2, 2)


@pytest.fixture
def served(make_gateway: MakeGateway) -> Gateway:
    """Two drives without tapes."""
    gateway = make_gateway()
    gateway.activate("--drives", "2")
    gateway.serve()
    return gateway


def set_chap(gateway: Gateway, device: str, initiator: str = NAME, secret: str = SECRET) -> None:
    secret_file = gateway.root / "secret"
    secret_file.write_text(secret)
    gateway.cli("chap", "set", device, initiator, "--secret-file", str(secret_file))


def refusal(gateway: Gateway, device: str | None, options: SessionOptions) -> tuple[int, int]:
    target = gateway.targets()[device] if device else None
    with pytest.raises(LoginRefusedError) as refused:
        Session(gateway.portal, target, options)
    return refused.value.status_class, refused.value.status_detail


def seen_by(gateway: Gateway, options: SessionOptions) -> set[str]:
    names = {target: device for device, target in gateway.targets().items()}
    return {names[target] for target in discover(gateway.portal, options)}


def test_a_list_hides_a_device_from_all_others_and_keeps_them_out(served: Gateway) -> None:
    mine, theirs = served.connect("tapedrive-01"), served.connect("tapedrive-01", OTHER)
    elsewhere = served.connect("tapedrive-02", OTHER)
    served.cli("device", "allow", "tapedrive-01", OTHER.initiator_name)
    # The first entry makes the list exclusive; its own sessions begin anew.
    assert mine.receive_end()
    assert theirs.receive_end()
    assert elsewhere.ping() == b"ping"
    assert refusal(served, "tapedrive-01", SessionOptions()) == AUTHORIZATION_FAILURE
    assert seen_by(served, SessionOptions()) == {"mediachanger", "tapedrive-02"}
    assert seen_by(served, OTHER) == {"mediachanger", "tapedrive-01", "tapedrive-02"}
    assert b"ULT3580" in TapeDrive(served.connect("tapedrive-01", OTHER)).inquiry()


def test_an_initiator_that_is_taken_off_is_gone_at_once(served: Gateway) -> None:
    for options in (SessionOptions(), OTHER):
        served.cli("device", "allow", "all", options.initiator_name)
    several = SessionOptions(max_connections=2)
    session = served.connect("tapedrive-01", several)
    second = Session(served.portal, session.target, several, joins=session, cid=1)
    changer, other = served.connect("mediachanger"), served.connect("tapedrive-01", OTHER)
    served.cli("device", "disallow", "all", NAME)
    for dropped in (session, second, changer):
        assert dropped.receive_end()
    assert other.ping() == b"ping"
    assert refusal(served, "mediachanger", SessionOptions()) == AUTHORIZATION_FAILURE
    assert seen_by(served, SessionOptions()) == set()


def test_new_credentials_end_the_sessions_they_concern(served: Gateway) -> None:
    mine, other = served.connect("tapedrive-01"), served.connect("tapedrive-01", OTHER)
    set_chap(served, "tapedrive-01")
    assert mine.receive_end()
    assert other.receive_end()  # has no secret there
    assert seen_by(served, OTHER) == {"mediachanger", "tapedrive-02"}
    with_secret = SessionOptions(chap=(NAME, SECRET))
    session = served.connect("tapedrive-01", with_secret)
    set_chap(served, "tapedrive-01", OTHER.initiator_name)
    assert session.ping() == b"ping"
    set_chap(served, "tapedrive-01", secret="another secret")
    assert session.receive_end()
    assert refusal(served, "tapedrive-01", with_secret) == AUTHENTICATION_FAILURE
    session = served.connect("tapedrive-01", SessionOptions(chap=(NAME, "another secret")))
    served.cli("chap", "delete", "tapedrive-01", NAME, "--yes")
    assert session.receive_end()
    assert "secret" not in served.log()


def test_discovery_asks_for_its_own_secret(served: Gateway) -> None:
    open_session = Session(served.portal, None)
    set_chap(served, "discovery")
    assert open_session.receive_end()
    assert refusal(served, None, SessionOptions()) == AUTHENTICATION_FAILURE
    assert refusal(served, None, OTHER) == AUTHENTICATION_FAILURE
    wrong = SessionOptions(chap=(NAME, "wrong wrong wrong"))
    assert refusal(served, None, wrong) == AUTHENTICATION_FAILURE
    found = discover(served.portal, SessionOptions(chap=(NAME, SECRET)))
    assert set(found) == set(served.targets().values())
    # The devices themselves are as open as before.
    assert served.connect("tapedrive-01").ping() == b"ping"
    (shown,) = served.json("chap", "list")
    assert shown["Device"] == "discovery"


def test_a_joining_connection_must_prove_itself_too(served: Gateway) -> None:
    set_chap(served, "tapedrive-01")
    options = SessionOptions(chap=(NAME, SECRET), max_connections=2)
    first = served.connect("tapedrive-01", options)
    with pytest.raises(LoginRefusedError):
        Session(served.portal, first.target, SessionOptions(max_connections=2), joins=first, cid=1)
    second = Session(served.portal, first.target, options, joins=first, cid=1)
    assert second.ping() == b"ping"
    assert first.ping() == b"ping"


def test_lists_are_enough_to_listen_for_everybody(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    gateway.activate("--drives", "1")
    everywhere = ("--listen", f"0.0.0.0:{free_port()}")
    assert gateway.run("serve", *everywhere).returncode == ExitCode.UNSAFE_LISTEN
    gateway.cli("device", "allow", "all", NAME)
    gateway.serve(*everywhere)
    assert gateway.connect("tapedrive-01").ping() == b"ping"
    assert gateway.json("device", "show", "tapedrive-01")["AllowedInitiators"] == [NAME]


def test_a_long_list_of_targets_takes_several_pdus(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    gateway.activate("--drives", "8")
    gateway.serve()
    narrow = SessionOptions(receive_segment_bytes=512)
    found = discover(gateway.portal, narrow)
    assert set(found) == set(gateway.targets().values())
    assert all(f"127.0.0.1:{gateway.port},1" in addresses for addresses in found.values())
