"""Login: stages, declarations, refusals with the right status (RFC 7143 6.3, 11.13.5)."""

from __future__ import annotations

from typing import Any

import pytest

from tapectl.iscsi.connection import Phase, TargetConnection
from tapectl.iscsi.errors import ProtocolError
from tapectl.iscsi.events import LoginCompleted
from tapectl.iscsi.pdu import LoginResponsePDU, NOPOutPDU
from tapectl.iscsi.policy import ChapCredential, TargetConfig
from tapectl.iscsi.session import SessionType
from tapectl.iscsi.text import encode_text
from tests.unit.iscsi.wire import (
    DISCOVERY,
    INITIATOR,
    ISID,
    NORMAL,
    OPEN_ISCSI,
    TARGET,
    Policy,
    feed,
    login_request,
    login_step,
    split_pdus,
)

SECRET = [ChapCredential("u", "secret")]


def new(policy: Policy | None = None, config: TargetConfig | None = None) -> TargetConnection:
    return TargetConnection(policy or Policy(), config or TargetConfig())


def refused(
    connection: TargetConnection, pairs: dict[str, str] | bytes, stages: str, **fields: Any
) -> int:
    """Send a Login Request that must be refused; return the status class and detail."""
    with pytest.raises(ProtocolError):
        feed(connection, login_request(pairs, stages, **fields).encode())
    [response] = split_pdus(b"".join(connection.take_outgoing()))
    assert isinstance(response, LoginResponsePDU)
    assert not response.flags & 0x80
    assert response.initiator_task_tag == 7
    assert connection.phase is Phase.CLOSED
    return response.status_class << 8 | response.status_detail


def test_one_step_login_as_libiscsi_does_it() -> None:
    connection = new()
    response, keys = login_step(connection, {**NORMAL, **OPEN_ISCSI}, "13", exp_stat_sn=9)
    assert response.flags == 0x87
    assert (response.status_class, response.tsih, response.isid) == (0, 0x0101, ISID)
    assert (response.stat_sn, response.exp_cmd_sn, response.max_cmd_sn) == (9, 1, 32)
    assert keys["TargetPortalGroupTag"] == "1"
    assert keys["MaxRecvDataSegmentLength"] == "262144"
    assert keys["FirstBurstLength"] == "262144"
    [event] = connection.events()
    assert isinstance(event, LoginCompleted)
    session = event.session
    assert (session.initiator_name, session.target_name) == (INITIATOR, TARGET)
    assert session.nexus == f"{INITIATOR},i,0x801234560001,{TARGET},t,0x1"
    assert session.parameters.max_burst_length == 16776192
    assert not session.parameters.initial_r2t
    assert connection.phase is Phase.FULL_FEATURE


def test_security_then_operational_as_open_iscsi_does_it() -> None:
    connection = new()
    response, keys = login_step(connection, {**NORMAL, "AuthMethod": "None"}, "01")
    assert response.flags == 0x81
    assert keys == {"TargetPortalGroupTag": "1", "AuthMethod": "None"}
    response, keys = login_step(connection, OPEN_ISCSI, "13")
    assert response.flags == 0x87
    assert "TargetPortalGroupTag" not in keys
    assert keys["MaxRecvDataSegmentLength"] == "262144"


def test_operational_stage_without_transit_goes_on() -> None:
    connection = new()
    response, keys = login_step(connection, {**NORMAL, **OPEN_ISCSI}, "1")
    assert response.flags == 0x04
    assert response.tsih == 0
    assert keys["MaxRecvDataSegmentLength"] == "262144"
    response, keys = login_step(connection, {}, "13")
    assert response.flags == 0x87
    assert keys == {}


def test_straight_from_security_to_full_feature_leaves_the_default_segment_length() -> None:
    connection = new()
    response, keys = login_step(connection, {**NORMAL, "AuthMethod": "CHAP,None"}, "03")
    assert response.flags == 0x83
    assert keys["AuthMethod"] == "None"
    assert connection.session is not None
    assert connection.session.parameters.target_max_recv_data_segment_length == 8192


def test_discovery_session_needs_no_target() -> None:
    connection = new()
    response, keys = login_step(connection, DISCOVERY, "13")
    assert response.flags == 0x87
    assert "TargetPortalGroupTag" not in keys
    assert connection.session is not None
    assert connection.session.session_type is SessionType.DISCOVERY
    assert connection.session.target_name is None


def test_target_alias_is_declared() -> None:
    _, keys = login_step(new(config=TargetConfig(target_alias="drive 1")), NORMAL, "13")
    assert keys["TargetAlias"] == "drive 1"


def test_names_are_compared_in_lower_case() -> None:
    policy = Policy()
    connection = new(policy)
    login_step(connection, {"InitiatorName": "IQN.X:Host", "TargetName": TARGET.upper()}, "13")
    assert policy.asked == [(TARGET, "iqn.x:host")] * 2


def test_declarations_may_be_repeated_but_not_changed() -> None:
    connection = new()
    login_step(connection, {**NORMAL, "AuthMethod": "None"}, "01")
    response, _ = login_step(connection, {**NORMAL, **OPEN_ISCSI}, "1")
    assert response.status_class == 0
    assert refused(connection, {"TargetName": "iqn.other"}, "13") == 0x0200


def test_keys_over_several_requests_with_the_continue_bit() -> None:
    text = encode_text([*NORMAL.items(), *OPEN_ISCSI.items()])
    connection = new()
    for piece in (text[:10], text[10:50]):
        response, keys = login_step(connection, piece, "1", flags=0x44)
        assert response.flags == 0x04
        assert keys == {}
    response, keys = login_step(connection, text[50:], "13")
    assert response.flags == 0x87
    assert keys["InitialR2T"] == "No"


@pytest.mark.parametrize(
    ("pairs", "stages", "fields", "status"),
    [
        ({}, "13", {}, 0x0207),
        ({"TargetName": TARGET}, "13", {}, 0x0207),
        ({"InitiatorName": INITIATOR}, "13", {}, 0x0207),
        ({**NORMAL, "SessionType": "Odd"}, "13", {}, 0x0209),
        ({**NORMAL, "TargetName": "iqn.2000-01.harness:no-such-target"}, "13", {}, 0x0203),
        ({**NORMAL, "InitiatorName": "x" * 224}, "13", {}, 0x0200),
        ({**NORMAL, "InitiatorName": "two words"}, "13", {}, 0x0200),
        ({**NORMAL, "InitiatorName": "a,i,0x0"}, "13", {}, 0x0200),
        (NORMAL, "13", {"version_min": 1, "version_max": 2}, 0x0205),
        (NORMAL, "13", {"tsih": 5}, 0x020A),
        (NORMAL, "13", {"flags": 0x8F}, 0x020B),  # current stage 3
        (NORMAL, "13", {"flags": 0x88 | 3}, 0x020B),  # current stage 2
        (NORMAL, "13", {"flags": 0x86}, 0x020B),  # next stage 2
        (NORMAL, "11", {}, 0x020B),  # next stage is this stage
        (NORMAL, "10", {}, 0x020B),  # backwards
        (NORMAL, "13", {"flags": 0xC7}, 0x020B),  # T and C
        (b"InitiatorName", "13", {}, 0x0200),
        (b"InitiatorName=a\0InitiatorName=a\0", "13", {}, 0x0200),
        (b"\xff\xfe=a\0", "13", {}, 0x0200),
        (b"K=" + b"v" * 256, "13", {}, 0x0200),
        (b"".join(b"X-%d=1\0" % i for i in range(65)), "13", {}, 0x0200),
        ({**NORMAL, "CHAP_A": "5"}, "0", {}, 0x0200),
        ({**NORMAL, "AuthMethod": "CHAP"}, "01", {}, 0x0201),
        ({**NORMAL, "AuthMethod": "KRB5"}, "01", {}, 0x0201),
    ],
)
def test_refusals(
    pairs: dict[str, str] | bytes, stages: str, fields: dict[str, Any], status: int
) -> None:
    assert refused(new(), pairs, stages, **fields) == status


def test_an_initiator_that_is_not_allowed_is_told_so() -> None:
    assert refused(new(Policy(allowed=False)), NORMAL, "13") == 0x0202


@pytest.mark.parametrize(
    ("keys", "stages"),
    [({}, "13"), ({}, "01"), ({"AuthMethod": "None"}, "01"), ({}, "03")],
)
def test_authentication_cannot_be_skipped(keys: dict[str, str], stages: str) -> None:
    assert refused(new(Policy(credentials=SECRET)), {**NORMAL, **keys}, stages) == 0x0201


def test_discovery_has_credentials_of_its_own() -> None:
    policy = Policy(credentials=SECRET)
    response, _ = login_step(new(policy), DISCOVERY, "13")
    assert response.flags == 0x87
    policy = Policy(discovery_credentials=SECRET)
    assert refused(new(policy), DISCOVERY, "13") == 0x0201


@pytest.mark.parametrize(
    "fields", [{"isid": bytes(6)}, {"cid": 1}, {"tsih": 1}, {"initiator_task_tag": 8}]
)
def test_identifiers_may_not_change_within_a_login(fields: dict[str, Any]) -> None:
    connection = new()
    login_step(connection, NORMAL, "1")
    with pytest.raises(ProtocolError):
        feed(connection, login_request({}, "13", **fields).encode())


def test_the_stage_may_not_change_by_itself() -> None:
    connection = new()
    login_step(connection, NORMAL, "0")
    assert refused(connection, {}, "13") == 0x020B


def test_a_login_that_never_ends_is_ended() -> None:
    connection = new(config=TargetConfig(login_requests_max=3))
    for _ in range(3):
        login_step(connection, NORMAL, "1")
    assert refused(connection, {}, "1") == 0x0200


def test_endless_text_is_refused() -> None:
    connection = new(config=TargetConfig(login_text_bytes_max=10000))
    login_step(connection, b"x" * 8192, "1", flags=0x44)
    assert refused(connection, b"x" * 8192, "1", flags=0x44) == 0x0200


def test_anything_but_a_login_ends_the_connection() -> None:
    connection = new()
    with pytest.raises(ProtocolError):
        feed(connection, NOPOutPDU(initiator_task_tag=1, cmd_sn=1).encode())
    with pytest.raises(ProtocolError):
        feed(connection, bytes(48))


def test_a_login_pdu_has_at_most_8192_bytes_of_data() -> None:
    with pytest.raises(ProtocolError):
        feed(new(), login_request(b"x" * 8193, "13").encode())


def test_the_longest_answer_fits_one_login_response() -> None:
    # So the target never needs the C bit in a login.
    unknown = {f"X-{i:02}-{'k' * 58}": "v" for i in range(58)}
    response, keys = login_step(
        new(config=TargetConfig(target_alias="a" * 255)),
        {"InitiatorName": INITIATOR, "TargetName": TARGET, **unknown},
        "13",
    )
    assert response.flags == 0x87
    assert len(response.data) <= 8192
    assert list(keys.values()).count("NotUnderstood") == 58


def test_an_error_recovery_level_is_negotiated_to_zero() -> None:
    for offered in ("0", "1", "2"):
        _, keys = login_step(new(), {**NORMAL, "ErrorRecoveryLevel": offered}, "13")
        assert keys["ErrorRecoveryLevel"] == "0"
