"""Byte streams that an initiator may send, well-formed and not."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from tapectl.iscsi.pdu import (
    PDU,
    PDU_CLASSES,
    LogoutRequestPDU,
    NOPOutPDU,
    SCSICommandPDU,
    SCSIDataOutPDU,
    TaskManagementRequestPDU,
    TextRequestPDU,
)
from tests.unit.iscsi.wire import DISCOVERY, NORMAL, OPEN_ISCSI, login_request

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


@dataclass(frozen=True)
class Mutation:
    """Bytes of a stream changed on its way: `at` is taken modulo its length."""

    at: int
    change: int

    def apply(self, stream: bytearray) -> None:
        if stream:
            stream[self.at % len(stream)] ^= self.change


MUTATIONS = st.lists(st.builds(Mutation, st.integers(0, 0xFFFF), st.integers(1, 0xFF)), max_size=3)


def mutated(stream: bytes, mutations: list[Mutation]) -> bytes:
    changed = bytearray(stream)
    for mutation in mutations:
        mutation.apply(changed)
    return bytes(changed)


# One request of an orderly initiator: what it is, how much data, and a byte for its details.
ORDERLY = st.lists(
    st.tuples(
        st.sampled_from(("read", "write", "write", "solicited", "nop", "abort", "reset", "text")),
        st.sampled_from((0, 1, 40, 64, 512, 700, 3000)),
        st.integers(0, 0xFF),
    ),
    max_size=10,
)


def orderly_stream(
    requests: list[tuple[str, int, int]], *, digests: bool, first_cmd_sn: int = 1
) -> bytes:
    """Return what an initiator sends that numbers all as it should; R2Ts go unanswered."""
    cmd_sn, stream = first_cmd_sn, b""
    for itt, (kind, size, detail) in enumerate(requests, 0x10):
        common = {"initiator_task_tag": itt, "cmd_sn": cmd_sn}
        cdb = bytes((detail, 0, 0, 0, size & 0xFF)).ljust(16, b"\0")
        pdu: PDU
        match kind:
            case "read":
                pdu = SCSICommandPDU(
                    flags=0xC0, expected_data_transfer_length=size, cdb=cdb, **common
                )
            case "write":
                data = bytes(min(size, 512))
                pdu = SCSICommandPDU(
                    flags=0xA0, expected_data_transfer_length=size, cdb=cdb, data=data, **common
                )
            case "solicited":
                pdu = SCSICommandPDU(
                    flags=0xA0, expected_data_transfer_length=size, cdb=cdb, **common
                )
            case "nop":
                pdu = NOPOutPDU(data=bytes(size), **common)
            case "text":
                pdu = TextRequestPDU(data=b"SendTargets=\0", **common)
            case _:
                function = 0x81 if kind == "abort" else 0x85
                referenced = 0x10 + detail % (itt - 0x10 + 1)
                pdu = TaskManagementRequestPDU(
                    immediate=False, flags=function, referenced_task_tag=referenced, **common
                )
        stream += pdu.encode(header_digest=digests, data_digest=digests)
        cmd_sn += 1
    return stream
