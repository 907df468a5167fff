"""Negotiation of operational parameters: every key of RFC 7143 section 13 as a table row.

Keys of discovery (SendTargets) and of authentication (AuthMethod, CHAP_*) have tables of their
own in `send_targets` and `login`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tapectl.iscsi.constants import LoginStatus
from tapectl.iscsi.errors import LoginError
from tapectl.iscsi.policy import TargetConfig

Value = bool | int | str

REJECT: Final = "Reject"
IRRELEVANT: Final = "Irrelevant"
NOT_UNDERSTOOD: Final = "NotUnderstood"
# Answers, never offers: one that comes for a key we did not offer is not answered in turn.
_ANSWERS: Final = frozenset({REJECT, IRRELEVANT, NOT_UNDERSTOOD})

SEGMENT_RANGE: Final = (512, (1 << 24) - 1)
# Constants of RFC 7143 6.1: decimal or hexadecimal. Ten digits hold any number there is.
_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10}")
_BOOLEANS: Final = {"Yes": True, "No": False}


class Kind(enum.Enum):
    """How the value of a key comes about (RFC 7143 6.2)."""

    BOOLEAN_AND = "both must say Yes"
    BOOLEAN_OR = "one must say Yes"
    MINIMUM = "the smaller number"
    MAXIMUM = "the larger number"
    LIST = "the first offered that is supported"
    DECLARED_NUMBER = "the sender's own, not negotiated"
    DECLARED_TEXT = "the sender's own, not negotiated (text)"
    TARGET_ONLY = "declared by the target"
    OBSOLETE = "not relevant any more"


class Use(enum.Flag):
    """When a key may be sent."""

    SECURITY = enum.auto()
    OPERATIONAL = enum.auto()
    FULL_FEATURE = enum.auto()
    LOGIN = SECURITY | OPERATIONAL
    ANY = SECURITY | OPERATIONAL | FULL_FEATURE


@dataclass(frozen=True, slots=True)
class Key:
    """One text key. `low` and `high` bound what may be offered, `default` holds if it is not."""

    name: str
    kind: Kind
    default: Value = ""
    low: int = 0
    high: int = 0
    in_discovery: bool = True
    leading_only: bool = False
    use: Use = Use.OPERATIONAL


# fmt: off
# In the order in which values are settled: FirstBurstLength depends on those before it.
KEYS: Final[dict[str, Key]] = {key.name: key for key in (
    #   name                        kind                  default    low  high     in_discovery,
    #                                                                                leading_only
    Key("InitiatorName",            Kind.DECLARED_TEXT,   use=Use.LOGIN),
    Key("InitiatorAlias",           Kind.DECLARED_TEXT,   use=Use.ANY),
    Key("TargetName",               Kind.DECLARED_TEXT,   use=Use.LOGIN),
    Key("SessionType",              Kind.DECLARED_TEXT,   "Normal", use=Use.LOGIN),
    Key("TargetAlias",              Kind.TARGET_ONLY,     use=Use.ANY),
    Key("TargetAddress",            Kind.TARGET_ONLY,     use=Use.ANY),
    Key("TargetPortalGroupTag",     Kind.TARGET_ONLY,     use=Use.LOGIN),
    Key("HeaderDigest",             Kind.LIST,            "None"),
    Key("DataDigest",               Kind.LIST,            "None"),
    Key("MaxConnections",           Kind.MINIMUM,         1,         1, 65535,     False, True),
    Key("InitialR2T",               Kind.BOOLEAN_OR,      True,      0, 0,         False, True),
    Key("ImmediateData",            Kind.BOOLEAN_AND,     True,      0, 0,         False, True),
    Key("MaxRecvDataSegmentLength", Kind.DECLARED_NUMBER, 8192,      *SEGMENT_RANGE,
        use=Use.OPERATIONAL | Use.FULL_FEATURE),
    Key("MaxBurstLength",           Kind.MINIMUM,         262144,    *SEGMENT_RANGE, False, True),
    Key("FirstBurstLength",         Kind.MINIMUM,         65536,     *SEGMENT_RANGE, False, True),
    Key("DefaultTime2Wait",         Kind.MAXIMUM,         2,         0, 3600,      True,  True),
    Key("DefaultTime2Retain",       Kind.MINIMUM,         20,        0, 3600,      True,  True),
    Key("MaxOutstandingR2T",        Kind.MINIMUM,         1,         1, 65535,     False, True),
    Key("DataPDUInOrder",           Kind.BOOLEAN_OR,      True,      0, 0,         False, True),
    Key("DataSequenceInOrder",      Kind.BOOLEAN_OR,      True,      0, 0,         False, True),
    Key("ErrorRecoveryLevel",       Kind.MINIMUM,         0,         0, 2,         True,  True),
    Key("TaskReporting",            Kind.LIST,            "RFC3720", 0, 0,         False, True),
    Key("iSCSIProtocolLevel",       Kind.MINIMUM,         1,         0, 31,        True,  True),
    # Markers are obsolete (RFC 7143); the keys stay for initiators of RFC 3720's time.
    Key("IFMarker",                 Kind.BOOLEAN_AND,     False),
    Key("OFMarker",                 Kind.BOOLEAN_AND,     False),
    Key("IFMarkInt",                Kind.OBSOLETE),
    Key("OFMarkInt",                Kind.OBSOLETE),
)}
# fmt: on
_ORDER: Final = {name: index for index, name in enumerate(KEYS)}


def target_offers(config: TargetConfig) -> dict[str, Value | tuple[str, ...]]:
    """Return this target's side of each negotiated key."""
    digests = ("CRC32C", "None")
    return {
        "HeaderDigest": digests,
        "DataDigest": digests,
        "MaxConnections": config.max_connections,
        "InitialR2T": config.initial_r2t,
        "ImmediateData": config.immediate_data,
        "MaxBurstLength": config.max_burst_length,
        "FirstBurstLength": config.first_burst_length,
        "DefaultTime2Wait": 2,
        # Nothing of a session outlives its connection at error recovery level 0.
        "DefaultTime2Retain": 0,
        "MaxOutstandingR2T": config.max_outstanding_r2t,
        "DataPDUInOrder": True,
        "DataSequenceInOrder": True,
        "ErrorRecoveryLevel": 0,
        "TaskReporting": ("RFC3720",),
        "iSCSIProtocolLevel": 1,
        "IFMarker": False,
        "OFMarker": False,
    }


@dataclass(frozen=True, slots=True)
class SessionParameters:
    """The outcome of a negotiation. All lengths are in bytes.

    `initiator_` and `target_max_recv_data_segment_length` are what each declared it can take.
    """

    header_digest: bool = False
    data_digest: bool = False
    max_connections: int = 1
    initial_r2t: bool = True
    immediate_data: bool = True
    max_burst_length: int = 262144
    first_burst_length: int = 65536
    max_outstanding_r2t: int = 1
    initiator_max_recv_data_segment_length: int = 8192
    target_max_recv_data_segment_length: int = 8192


def parse_number(text: str, low: int, high: int) -> int | None:
    """Return a numeric constant in decimal or hex, None if it is none or out of its range."""
    if _NUMBER.fullmatch(text) is None:
        return None
    number = int(text, 16) if text[1:2] in ("x", "X") else int(text)
    return number if low <= number <= high else None


class Negotiation:
    """Answers the initiator's operational keys and keeps what was agreed.

    `joining`: of a connection that joins a session, whose own values hold for what only the
    leading connection negotiates.
    """

    def __init__(self, config: TargetConfig, *, discovery: bool, joining: bool = False) -> None:
        self._offers = target_offers(config)
        self._config = config
        self._discovery = discovery
        self._joining = joining
        self._values: dict[str, Value] = {key.name: key.default for key in KEYS.values()}
        self._settled: set[str] = set()
        self._declared = False

    def answer(self, pairs: Sequence[tuple[str, str]], use: Use) -> list[tuple[str, str]]:
        """Return the answers to the keys of one step, in their order.

        Raises LoginError for a key negotiated twice (RFC 7143 6.2: a key "MUST NOT be
        negotiated more than once" in a login).
        """
        answers: dict[str, str | None] = {}
        for name, value in sorted(pairs, key=lambda pair: _ORDER.get(pair[0], len(_ORDER))):
            answers[name] = self._answer(name, value, use)
        return [(name, answers[name] or "") for name, _ in pairs if answers[name] is not None]

    def declarations(self) -> list[tuple[str, str]]:
        """Return what the target declares by itself in the operational stage, once."""
        if self._declared:
            return []
        self._declared = True
        return [("MaxRecvDataSegmentLength", str(self._config.max_recv_data_segment_length))]

    def parameters(self) -> SessionParameters:
        """Return the values agreed so far, defaults for the rest."""
        number, agreed = self._number, self._values
        return SessionParameters(
            header_digest=agreed["HeaderDigest"] == "CRC32C",
            data_digest=agreed["DataDigest"] == "CRC32C",
            max_connections=number("MaxConnections"),
            initial_r2t=bool(agreed["InitialR2T"]),
            immediate_data=bool(agreed["ImmediateData"]),
            max_burst_length=number("MaxBurstLength"),
            first_burst_length=min(number("FirstBurstLength"), number("MaxBurstLength")),
            max_outstanding_r2t=number("MaxOutstandingR2T"),
            initiator_max_recv_data_segment_length=number("MaxRecvDataSegmentLength"),
            # What was never declared is the default (RFC 7143 13.12).
            target_max_recv_data_segment_length=(
                self._config.max_recv_data_segment_length if self._declared else 8192
            ),
        )

    def _number(self, name: str) -> int:
        return int(self._values[name])

    def _answer(self, name: str, value: str, use: Use) -> str | None:
        key = KEYS.get(name)
        if key is None:
            return None if value in _ANSWERS else NOT_UNDERSTOOD
        if value in _ANSWERS:
            return None
        if not key.use & use or key.kind is Kind.TARGET_ONLY:
            return REJECT
        if key.kind is Kind.DECLARED_TEXT:
            return None
        if name in self._settled and key.kind is not Kind.DECLARED_NUMBER:
            raise LoginError(LoginStatus.INITIATOR_ERROR, f"key negotiated twice: {name}")
        self._settled.add(name)
        if self._irrelevant(key):
            return IRRELEVANT
        agreed = self._agree(key, value)
        if agreed is None:
            return REJECT
        self._values[name] = agreed
        if key.kind is Kind.DECLARED_NUMBER:
            return None
        return ("Yes" if agreed else "No") if isinstance(agreed, bool) else str(agreed)

    def _irrelevant(self, key: Key) -> bool:
        # FirstBurstLength "may" be answered so too where no data come unsolicited (RFC 7143
        # 13.14), but initiators that read a number there are not rare.
        return (
            key.kind is Kind.OBSOLETE
            or (self._discovery and not key.in_discovery)
            or (self._joining and key.leading_only)
        )

    def _agree(self, key: Key, value: str) -> Value | None:
        """Return the outcome of one offer, None if it cannot be accepted."""
        ours = self._offers.get(key.name, key.default)
        if key.kind in (Kind.BOOLEAN_AND, Kind.BOOLEAN_OR):
            theirs = _BOOLEANS.get(value)
            if theirs is None:
                return None
            return (theirs and bool(ours)) if key.kind is Kind.BOOLEAN_AND else theirs or bool(ours)
        if key.kind is Kind.LIST:
            supported = ours if isinstance(ours, tuple) else ()
            return next((item for item in value.split(",") if item in supported), None)
        number = parse_number(value, key.low, key.high)
        if number is None or isinstance(ours, tuple):
            return None
        if key.kind is Kind.DECLARED_NUMBER:
            return number
        agreed = (min if key.kind is Kind.MINIMUM else max)(number, int(ours))
        if key.name == "FirstBurstLength":
            # "FirstBurstLength MUST NOT exceed MaxBurstLength" (RFC 7143 13.14).
            agreed = min(agreed, self._number("MaxBurstLength"))
        return agreed
