"""Any bytes, in any pieces: the target's answer depends on what came, never on how."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tapectl.iscsi.connection import TargetConnection
from tapectl.iscsi.errors import ProtocolError
from tapectl.iscsi.events import CommandReceived, Event, TaskManagementReceived
from tapectl.iscsi.pdu import (
    PDU_CLASSES,
    LogoutRequestPDU,
    NOPOutPDU,
    SCSICommandPDU,
    SCSIDataOutPDU,
    TaskManagementRequestPDU,
    TextRequestPDU,
    decode_pdu,
)
from tapectl.iscsi.policy import ChapCredential, TargetConfig
from tapectl.iscsi.text import decode_text, encode_text
from tests.unit.iscsi.wire import (
    DISCOVERY,
    NORMAL,
    OPEN_ISCSI,
    Policy,
    feed,
    logged_in,
    login_request,
    split_pdus,
)

TAGS = st.sampled_from([1, 2, 3, 0xFFFFFFFF])
NUMBERS = st.integers(0, 6) | st.sampled_from([0x7FFFFFFF, 0xFFFFFFFF])
DATA = st.binary(max_size=80)
FLAGS = st.sampled_from([0x80, 0xA0, 0xC0, 0x20, 0x40, 0xE0, 0, 0x81, 0x85, 0x87, 0xFF])
LENGTHS = st.sampled_from([0, 1, 40, 64, 600, 3000, 0xFFFFFFFF])

# Biased to what an initiator might send, so that the deep paths are reached.
REQUESTS = st.one_of(
    st.builds(
        SCSICommandPDU,
        immediate=st.booleans(),
        flags=FLAGS,
        lun=st.sampled_from([bytes(8), b"\0\1" + bytes(6), b"\xff" * 8]),
        initiator_task_tag=TAGS,
        expected_data_transfer_length=LENGTHS,
        cmd_sn=NUMBERS,
        cdb=st.binary(min_size=16, max_size=16),
        data=DATA,
    ),
    st.builds(
        SCSIDataOutPDU,
        flags=st.sampled_from([0, 0x80]),
        initiator_task_tag=TAGS,
        target_transfer_tag=TAGS,
        data_sn=st.integers(0, 2),
        buffer_offset=st.sampled_from([0, 40, 64, 512]),
        data=DATA,
    ),
    st.builds(
        TaskManagementRequestPDU,
        immediate=st.booleans(),
        flags=st.integers(0x80, 0x89),
        initiator_task_tag=TAGS,
        referenced_task_tag=TAGS,
        cmd_sn=NUMBERS,
    ),
    st.builds(
        NOPOutPDU,
        immediate=st.booleans(),
        initiator_task_tag=TAGS,
        target_transfer_tag=TAGS,
        cmd_sn=NUMBERS,
        data=DATA,
    ),
    st.builds(
        TextRequestPDU,
        immediate=st.booleans(),
        flags=st.sampled_from([0x80, 0x40, 0]),
        initiator_task_tag=TAGS,
        target_transfer_tag=TAGS,
        cmd_sn=NUMBERS,
        data=st.sampled_from([b"", b"SendTargets=\0", b"SendTargets=All\0", b"x", b"a=b\0"]),
    ),
    st.builds(
        LogoutRequestPDU,
        immediate=st.booleans(),
        flags=st.integers(0x80, 0x83),
        initiator_task_tag=TAGS,
        cmd_sn=NUMBERS,
    ),
).map(lambda pdu: pdu.encode())
RAW = st.tuples(st.sampled_from(sorted(PDU_CLASSES)), st.binary(min_size=47, max_size=47)).map(
    lambda item: bytes([item[0]]) + item[1]
)
STREAMS = st.lists(REQUESTS | RAW | st.binary(max_size=60), max_size=12).map(b"".join)
OFFERS = {**OPEN_ISCSI, "FirstBurstLength": "512", "MaxBurstLength": "1024"}

LOGIN_KEYS = st.dictionaries(
    st.sampled_from([*NORMAL, *OFFERS, "AuthMethod", "CHAP_A", "CHAP_R", "CHAP_N", "X-a"]),
    st.sampled_from(
        ["Normal", "Discovery", *NORMAL.values(), "CHAP", "None", "5", "0x", "0b", "0x00", "Yes"]
    ),
)
LOGINS = st.lists(
    st.builds(
        login_request,
        LOGIN_KEYS | st.just(NORMAL) | st.just(DISCOVERY) | st.binary(max_size=40),
        st.sampled_from(["0", "1", "01", "03", "13"]),
        exp_stat_sn=NUMBERS,
        version_min=st.sampled_from([0, 0, 0, 1]),
    ).map(lambda pdu: pdu.encode()),
    max_size=6,
).map(b"".join)


def run(connection: TargetConnection, stream: bytes, chunk: int | None) -> tuple[Any, ...]:
    """Feed a stream, answering every command; return all that came out and whether it failed."""
    log: list[Any] = []
    sent = b""
    failed = False

    def act(event: Event) -> None:
        if isinstance(event, CommandReceived):
            task = event.task
            log.append((task.itt, task.lun, task.cdb, bytes(task.data_out)))
            connection.reply(task, task.itt & 2, data_in=bytes(700))
        elif isinstance(event, TaskManagementReceived):
            log.append(event)
            connection.task_management_response(event, event.response)
        else:
            log.append(event)

    try:
        feed(connection, stream, chunk)
    except ProtocolError:
        failed = True
    for event in connection.events():
        act(event)
    sent += b"".join(bytes(part) for part in connection.take_outgoing())
    return log, sent, failed


@settings(deadline=None, max_examples=150)
@given(STREAMS, st.sampled_from(["None", "CRC32C"]), st.integers(1, 50))
def test_full_feature_phase(stream: bytes, digests: str, chunk: int) -> None:
    offers = {**OFFERS, "DataDigest": digests}
    whole = run(logged_in(offers), stream, None)
    pieces = run(logged_in(offers), stream, chunk)
    assert pieces == whole
    single = run(logged_in(offers), stream, 1)
    assert single == whole
    if digests == "None":
        split_pdus(whole[1])


@settings(deadline=None, max_examples=150)
@given(LOGINS, st.booleans(), st.integers(1, 50))
def test_login_phase(stream: bytes, authenticated: bool, chunk: int) -> None:
    def new() -> TargetConnection:
        credentials = [ChapCredential("user", "secret")] if authenticated else []
        policy = Policy(credentials=credentials, discovery_credentials=credentials)
        return TargetConnection(policy, TargetConfig())

    whole = run(new(), stream, None)
    assert run(new(), stream, chunk) == whole
    if authenticated:
        connection = new()
        run(connection, stream, None)
        assert connection.session is None


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=300))
def test_any_first_bytes(stream: bytes) -> None:
    run(TargetConnection(Policy(), TargetConfig()), stream, None)


@given(STREAMS)
def test_what_is_decoded_is_encoded_alike(stream: bytes) -> None:
    for start in range(0, len(stream) - 47, 48):
        bhs = bytearray(stream[start : start + 48])
        bhs[4:8] = bytes(4)
        if bhs[0] & 0x3F not in PDU_CLASSES:
            continue
        pdu = decode_pdu(bhs)
        assert decode_pdu(pdu.encode()) == pdu


@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z0-9.\-]{1,63}", fullmatch=True),
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60),
        max_size=10,
    )
)
def test_text_round_trip(keys: dict[str, str]) -> None:
    assert decode_text(encode_text(keys.items())) == list(keys.items())
