"""An initiator in memory: drives a TargetConnection PDU by PDU and decodes what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tapectl.iscsi.connection import TargetConnection
from tapectl.iscsi.digest import DIGEST, digest
from tapectl.iscsi.pdu import PDU, LoginRequestPDU, LoginResponsePDU, decode_pdu
from tapectl.iscsi.policy import ChapCredential, TargetConfig, TargetPortalInfo
from tapectl.iscsi.session import LivingSession
from tapectl.iscsi.text import decode_text, encode_text

TARGET = "iqn.2000-01.com.example:drive"
INITIATOR = "iqn.2000-01.com.example:host"
ISID = bytes.fromhex("80 123456 0001")


@dataclass
class Policy:
    """A LoginPolicy with everything settable; its random bytes count upwards."""

    names: Sequence[str] = (TARGET,)
    addresses: Sequence[str] = ("192.0.2.1:3260",)
    allowed: bool = True
    credentials: Sequence[ChapCredential] = ()
    discovery_credentials: Sequence[ChapCredential] = ()
    living: LivingSession | None = None
    random_calls: int = 0
    asked: list[tuple[str | None, str]] = field(default_factory=list)

    def targets(self, initiator_name: str) -> Sequence[TargetPortalInfo]:
        del initiator_name
        return [TargetPortalInfo(name, self.addresses) for name in self.names]

    def target_exists(self, name: str) -> bool:
        return name in self.names

    def initiator_allowed(self, target: str, initiator: str) -> bool:
        self.asked.append((target, initiator))
        return self.allowed

    def chap_credentials(self, target: str | None, initiator: str) -> Sequence[ChapCredential]:
        self.asked.append((target, initiator))
        return self.credentials if target else self.discovery_credentials

    def find_session(self, target: str, nexus: str, tsih: int) -> LivingSession | None:
        del target
        session = self.living
        if session is None or (session.info.nexus, session.info.tsih) != (nexus, tsih):
            return None
        return session

    def new_tsih(self) -> int:
        return 0x0101

    def random_bytes(self, size_bytes: int) -> bytes:
        self.random_calls += 1
        return bytes((self.random_calls + i) & 0xFF for i in range(size_bytes))


def feed(connection: TargetConnection, data: bytes, chunk: int | None = None) -> None:
    """Put bytes where the connection wants them, at most `chunk` at a time."""
    rest = memoryview(data)
    while rest:
        view = connection.receive_view()
        size = min(len(view), len(rest), chunk or len(rest))
        view[:size] = rest[:size]
        connection.received(size)
        rest = rest[size:]


def split_pdus(
    stream: bytes, *, header_digest: bool = False, data_digest: bool = False
) -> list[Any]:
    """Decode a target's byte stream, checking every digest and padding byte."""
    pdus: list[PDU] = []
    while stream:
        bhs, stream = stream[:48], stream[48:]
        assert bhs[4] == 0, "the target sends no additional header segments"
        if header_digest:
            assert stream[:4] == DIGEST.pack(digest(bhs))
            stream = stream[4:]
        size = int.from_bytes(bhs[5:8], "big")
        padded = size + (-size % 4)
        data, stream = stream[:padded], stream[padded:]
        assert data[size:] == bytes(padded - size)
        if data_digest and size:
            assert stream[:4] == DIGEST.pack(digest(data))
            stream = stream[4:]
        pdus.append(decode_pdu(bhs, data[:size]))
    return pdus


def outgoing(connection: TargetConnection) -> list[Any]:
    """Take and decode what the connection wants to send."""
    parameters = connection.session.parameters if connection.session else None
    return split_pdus(
        b"".join(connection.take_outgoing()),
        header_digest=parameters is not None and parameters.header_digest,
        data_digest=parameters is not None and parameters.data_digest,
    )


def login_request(
    pairs: dict[str, str] | list[tuple[str, str]] | bytes, stages: str, **fields: Any
) -> LoginRequestPDU:
    """Make a Login Request; `stages` is "0", "1", or with transit "01", "03", "13"."""
    flags = int(stages[0]) << 2
    if len(stages) == 2:
        flags |= 0x80 | int(stages[1])
    if not isinstance(pairs, bytes):
        pairs = encode_text(pairs.items() if isinstance(pairs, dict) else pairs)
    values = {"isid": ISID, "initiator_task_tag": 7, "cmd_sn": 1, "flags": flags, "data": pairs}
    return LoginRequestPDU(**{**values, **fields})


def login_step(
    connection: TargetConnection,
    pairs: dict[str, str] | list[tuple[str, str]] | bytes,
    stages: str,
    **fields: Any,
) -> tuple[LoginResponsePDU, dict[str, str]]:
    """Send one Login Request; return the response and its keys."""
    feed(connection, login_request(pairs, stages, **fields).encode())
    stream = b"".join(connection.take_outgoing())
    [response] = split_pdus(stream)
    assert isinstance(response, LoginResponsePDU)
    return response, dict(decode_text(response.data))


NORMAL = {"InitiatorName": INITIATOR, "TargetName": TARGET, "SessionType": "Normal"}
DISCOVERY = {"InitiatorName": INITIATOR, "SessionType": "Discovery"}


def logged_in(
    keys: dict[str, str] | None = None,
    *,
    policy: Policy | None = None,
    config: TargetConfig | None = None,
    identity: dict[str, str] = NORMAL,
) -> TargetConnection:
    """Return a connection in the full-feature phase, its login event and response taken."""
    connection = TargetConnection(policy or Policy(), config or TargetConfig())
    response, _ = login_step(connection, {**identity, **(keys or {})}, "13")
    assert response.flags == 0x87
    connection.events()
    return connection


# As open-iscsi offers by default.
OPEN_ISCSI = {
    "InitialR2T": "No",
    "ImmediateData": "Yes",
    "MaxBurstLength": "16776192",
    "FirstBurstLength": "262144",
    "MaxOutstandingR2T": "1",
    "MaxRecvDataSegmentLength": "262144",
}
