"""CHAP: every hash, both encodings, mutual authentication, and what must be refused."""

from __future__ import annotations

import base64
import hashlib

import pytest

from tapectl.iscsi.chap import ChapAlgorithm, ChapExchange, chap_response, decode_binary
from tapectl.iscsi.connection import TargetConnection
from tapectl.iscsi.errors import LoginError, ProtocolError
from tapectl.iscsi.policy import ChapCredential, TargetConfig
from tests.unit.iscsi.wire import (
    DISCOVERY,
    NORMAL,
    Policy,
    feed,
    login_request,
    login_step,
    split_pdus,
)

CREDENTIAL = ChapCredential("backup", "a secret of 16 b", "library", "another secret!!")
HASHES = {5: hashlib.md5, 6: hashlib.sha1, 7: hashlib.sha256, 8: hashlib.sha3_256}


def hash_of(algorithm: int, identifier: str, secret: str, challenge: bytes) -> bytes:
    return HASHES[algorithm](bytes([int(identifier)]) + secret.encode() + challenge).digest()


def challenged(algorithm: str = "5") -> tuple[TargetConnection, dict[str, str]]:
    connection = TargetConnection(Policy(credentials=[CREDENTIAL]), TargetConfig())
    _, keys = login_step(connection, {**NORMAL, "AuthMethod": "CHAP,None"}, "0")
    assert keys["AuthMethod"] == "CHAP"
    response, keys = login_step(connection, {"CHAP_A": algorithm}, "0")
    assert response.flags == 0
    return connection, keys


def answer_to(keys: dict[str, str], secret: str = CREDENTIAL.secret) -> str:
    challenge = bytes.fromhex(keys["CHAP_C"][2:])
    return "0x" + hash_of(int(keys["CHAP_A"]), keys["CHAP_I"], secret, challenge).hex()


def refused(connection: TargetConnection, keys: dict[str, str]) -> None:
    with pytest.raises(ProtocolError):
        feed(connection, login_request(keys, "01").encode())
    [response] = split_pdus(b"".join(connection.take_outgoing()))
    assert (response.status_class, response.status_detail) == (2, 1)


@pytest.mark.parametrize("algorithm", [5, 6, 7, 8])
def test_one_way(algorithm: int) -> None:
    connection, keys = challenged(str(algorithm))
    assert keys["CHAP_A"] == str(algorithm)
    response, answer = login_step(connection, {"CHAP_N": "backup", "CHAP_R": answer_to(keys)}, "01")
    assert response.flags == 0x81
    assert answer == {}
    response, _ = login_step(connection, {}, "13")
    assert response.flags == 0x87


@pytest.mark.parametrize("algorithm", [5, 6, 7, 8])
def test_mutual(algorithm: int) -> None:
    connection, keys = challenged(str(algorithm))
    challenge = bytes(range(32))
    response, answer = login_step(
        connection,
        {
            "CHAP_N": "backup",
            "CHAP_R": answer_to(keys),
            "CHAP_I": "200",
            "CHAP_C": "0b" + base64.b64encode(challenge).decode(),
        },
        "01",
    )
    assert response.flags == 0x81
    assert answer["CHAP_N"] == "library"
    proof = hash_of(algorithm, "200", "another secret!!", challenge)
    assert answer["CHAP_R"] == "0x" + proof.hex()


def test_the_first_algorithm_offered_that_is_known_is_taken() -> None:
    _, keys = challenged("99,7,5")
    assert keys["CHAP_A"] == "7"
    assert len(bytes.fromhex(keys["CHAP_C"][2:])) == 32


def test_base64_response() -> None:
    connection, keys = challenged()
    raw = bytes.fromhex(answer_to(keys)[2:])
    text = "0b" + base64.b64encode(raw).decode()
    response, _ = login_step(connection, {"CHAP_N": "backup", "CHAP_R": text}, "01")
    assert response.flags == 0x81


def test_transit_waits_for_the_proof() -> None:
    connection = TargetConnection(Policy(credentials=[CREDENTIAL]), TargetConfig())
    response, _ = login_step(connection, {**NORMAL, "AuthMethod": "CHAP"}, "01")
    assert response.flags == 0
    response, _ = login_step(connection, {"CHAP_A": "5"}, "01")
    assert response.flags == 0


def test_discovery_session() -> None:
    policy = Policy(discovery_credentials=[CREDENTIAL])
    connection = TargetConnection(policy, TargetConfig())
    login_step(connection, {**DISCOVERY, "AuthMethod": "CHAP"}, "0")
    _, keys = login_step(connection, {"CHAP_A": "5"}, "0")
    response, _ = login_step(connection, {"CHAP_N": "backup", "CHAP_R": answer_to(keys)}, "03")
    assert response.flags == 0x83


def test_wrong_answers_are_refused() -> None:
    for name, secret in (("backup", "wrong"), ("nobody", CREDENTIAL.secret)):
        connection, keys = challenged()
        refused(connection, {"CHAP_N": name, "CHAP_R": answer_to(keys, secret)})


@pytest.mark.parametrize(
    "keys",
    [
        {"CHAP_N": "backup"},
        {"CHAP_R": "0x00"},
        {"CHAP_N": "backup", "CHAP_R": "0xzz"},
        {"CHAP_N": "backup", "CHAP_R": "12"},
        {"CHAP_N": "backup", "CHAP_R": ""},
        {"CHAP_A": "5"},
    ],
)
def test_malformed_answers_are_refused(keys: dict[str, str]) -> None:
    connection, _ = challenged()
    refused(connection, keys)


@pytest.mark.parametrize("offer", ["1", "", "five", "256", "0"])
def test_no_common_algorithm_is_refused(offer: str) -> None:
    connection = TargetConnection(Policy(credentials=[CREDENTIAL]), TargetConfig())
    login_step(connection, {**NORMAL, "AuthMethod": "CHAP"}, "0")
    refused(connection, {"CHAP_A": offer})


def test_a_challenge_is_answered_once() -> None:
    connection, keys = challenged()
    proof = {"CHAP_N": "backup", "CHAP_R": answer_to(keys)}
    login_step(connection, proof, "0")
    refused(connection, proof)


def test_our_own_challenge_sent_back_is_refused() -> None:
    connection, keys = challenged()
    refused(
        connection,
        {
            "CHAP_N": "backup",
            "CHAP_R": answer_to(keys),
            "CHAP_I": keys["CHAP_I"],
            "CHAP_C": keys["CHAP_C"],
        },
    )


@pytest.mark.parametrize(
    "credential",
    [ChapCredential("u", "same secret"), ChapCredential("u", "same", "library", "same")],
)
def test_mutual_without_a_secret_of_its_own_is_refused(credential: ChapCredential) -> None:
    exchange = ChapExchange([credential], lambda size: bytes(size))
    exchange.answer({"CHAP_A": "5"})
    proof = chap_response(ChapAlgorithm.MD5, 0, credential.secret, bytes(16))
    with pytest.raises(LoginError):
        exchange.answer(
            {"CHAP_N": "u", "CHAP_R": "0x" + proof.hex(), "CHAP_I": "1", "CHAP_C": "0x1234"}
        )


def test_mutual_half_asked_is_refused() -> None:
    for extra in ({"CHAP_I": "1"}, {"CHAP_C": "0x11"}, {"CHAP_I": "256", "CHAP_C": "0x11"}):
        connection, keys = challenged()
        refused(connection, {"CHAP_N": "backup", "CHAP_R": answer_to(keys), **extra})


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("0x0aFF", b"\x0a\xff"),
        ("0Xaff", b"\x0a\xff"),
        ("0bAP8=", b"\x00\xff"),
        ("0x", None),
        ("0b", None),
        ("0b!!!!", None),
        ("0x 11", None),
        ("1234", None),
        ("0x" + "00" * 1025, None),
    ],
)
def test_binary_values(text: str, data: bytes | None) -> None:
    assert decode_binary(text) == data


def test_secrets_are_not_in_a_repr() -> None:
    assert "secret" not in repr(ChapCredential("u", "a secret", "m", "another secret"))
