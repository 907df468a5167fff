"""Each negotiation key of RFC 7143 section 13: what is answered and what then holds."""

from __future__ import annotations

import pytest

from tapectl.iscsi.errors import LoginError
from tapectl.iscsi.params import KEYS, Kind, Negotiation, Use
from tapectl.iscsi.policy import TargetConfig

LARGEST = str((1 << 24) - 1)

# Key, offered, answered in a normal session, answered in a discovery session.
CASES = [
    ("HeaderDigest", "CRC32C,None", "CRC32C", "CRC32C"),
    ("HeaderDigest", "None,CRC32C", "None", "None"),
    ("HeaderDigest", "CRC32C", "CRC32C", "CRC32C"),
    ("HeaderDigest", "MD5", "Reject", "Reject"),
    ("DataDigest", "X-SUM,CRC32C", "CRC32C", "CRC32C"),
    ("DataDigest", "None", "None", "None"),
    ("MaxConnections", "8", "4", "Irrelevant"),
    ("MaxConnections", "2", "2", "Irrelevant"),
    ("MaxConnections", "0", "Reject", "Irrelevant"),
    ("MaxConnections", "65536", "Reject", "Irrelevant"),
    ("InitialR2T", "No", "No", "Irrelevant"),
    ("InitialR2T", "Yes", "Yes", "Irrelevant"),
    ("InitialR2T", "yes", "Reject", "Irrelevant"),
    ("ImmediateData", "Yes", "Yes", "Irrelevant"),
    ("ImmediateData", "No", "No", "Irrelevant"),
    ("MaxRecvDataSegmentLength", "262144", None, None),
    ("MaxRecvDataSegmentLength", "511", "Reject", "Reject"),
    ("MaxRecvDataSegmentLength", "16777216", "Reject", "Reject"),
    ("MaxBurstLength", "16776192", "16776192", "Irrelevant"),
    ("MaxBurstLength", LARGEST, "16776192", "Irrelevant"),
    ("MaxBurstLength", "0x10000", "65536", "Irrelevant"),
    ("MaxBurstLength", "511", "Reject", "Irrelevant"),
    ("MaxBurstLength", "-1", "Reject", "Irrelevant"),
    ("MaxBurstLength", "lots", "Reject", "Irrelevant"),
    ("FirstBurstLength", "65536", "65536", "Irrelevant"),
    ("FirstBurstLength", LARGEST, "262144", "Irrelevant"),
    ("FirstBurstLength", "16777216", "Reject", "Irrelevant"),
    ("DefaultTime2Wait", "0", "2", "2"),
    ("DefaultTime2Wait", "5", "5", "5"),
    ("DefaultTime2Wait", "3601", "Reject", "Reject"),
    ("DefaultTime2Retain", "20", "0", "0"),
    ("DefaultTime2Retain", "3601", "Reject", "Reject"),
    ("MaxOutstandingR2T", "16", "1", "Irrelevant"),
    ("MaxOutstandingR2T", "0", "Reject", "Irrelevant"),
    ("DataPDUInOrder", "No", "Yes", "Irrelevant"),
    ("DataSequenceInOrder", "No", "Yes", "Irrelevant"),
    ("ErrorRecoveryLevel", "2", "0", "0"),
    ("ErrorRecoveryLevel", "3", "Reject", "Reject"),
    ("TaskReporting", "FastAbort,RFC3720", "RFC3720", "Irrelevant"),
    ("TaskReporting", "FastAbort", "Reject", "Irrelevant"),
    ("iSCSIProtocolLevel", "2", "1", "1"),
    ("iSCSIProtocolLevel", "0", "0", "0"),
    ("IFMarker", "Yes", "No", "No"),
    ("OFMarker", "No", "No", "No"),
    ("IFMarkInt", "2048~8192", "Irrelevant", "Irrelevant"),
    ("OFMarkInt", "2048", "Irrelevant", "Irrelevant"),
    ("InitiatorAlias", "a host", None, None),
    ("InitiatorName", "iqn.x", None, None),
    ("TargetName", "iqn.y", None, None),
    ("SessionType", "Normal", None, None),
    ("TargetAlias", "mine", "Reject", "Reject"),
    ("TargetAddress", "10.0.0.1", "Reject", "Reject"),
    ("TargetPortalGroupTag", "2", "Reject", "Reject"),
    ("X-com.example.key", "1", "NotUnderstood", "NotUnderstood"),
    ("MaxRecvPDULength", "8192", "NotUnderstood", "NotUnderstood"),
    ("X-com.example.key", "NotUnderstood", None, None),
]


@pytest.mark.parametrize(("key", "offered", "normal", "discovery"), CASES)
def test_answer(key: str, offered: str, normal: str | None, discovery: str | None) -> None:
    for answer, is_discovery in ((normal, False), (discovery, True)):
        negotiation = Negotiation(TargetConfig(), discovery=is_discovery)
        wanted = [] if answer is None else [(key, answer)]
        assert negotiation.answer([(key, offered)], Use.OPERATIONAL) == wanted


def test_every_key_of_the_table_has_a_case() -> None:
    assert {case[0] for case in CASES} >= set(KEYS)


def test_nothing_offered_leaves_the_defaults_of_the_standard() -> None:
    agreed = Negotiation(TargetConfig(), discovery=False).parameters()
    assert agreed.initial_r2t
    assert agreed.immediate_data
    assert (agreed.max_burst_length, agreed.first_burst_length) == (262144, 65536)
    assert agreed.initiator_max_recv_data_segment_length == 8192
    assert agreed.target_max_recv_data_segment_length == 8192
    assert not agreed.header_digest
    assert not agreed.data_digest


def test_first_burst_never_exceeds_max_burst_whatever_the_order_of_keys() -> None:
    negotiation = Negotiation(TargetConfig(), discovery=False)
    offers = [("FirstBurstLength", "262144"), ("MaxBurstLength", "16384")]
    answers = negotiation.answer(offers, Use.OPERATIONAL)
    assert answers == [("FirstBurstLength", "16384"), ("MaxBurstLength", "16384")]
    assert negotiation.parameters().first_burst_length == 16384


def test_default_first_burst_is_bounded_by_a_small_max_burst() -> None:
    negotiation = Negotiation(TargetConfig(), discovery=False)
    negotiation.answer([("MaxBurstLength", "8192")], Use.OPERATIONAL)
    assert negotiation.parameters().first_burst_length == 8192


def test_target_declares_its_segment_length_once() -> None:
    negotiation = Negotiation(TargetConfig(), discovery=False)
    assert negotiation.declarations() == [("MaxRecvDataSegmentLength", "262144")]
    assert negotiation.declarations() == []
    assert negotiation.parameters().target_max_recv_data_segment_length == 262144


def test_operational_keys_are_refused_in_the_security_stage() -> None:
    negotiation = Negotiation(TargetConfig(), discovery=False)
    assert negotiation.answer([("ImmediateData", "No")], Use.SECURITY) == [
        ("ImmediateData", "Reject")
    ]
    assert negotiation.parameters().immediate_data


@pytest.mark.parametrize(
    "key",
    [
        key.name
        for key in KEYS.values()
        if key.kind in (Kind.BOOLEAN_AND, Kind.BOOLEAN_OR, Kind.MINIMUM, Kind.MAXIMUM, Kind.LIST)
    ],
)
def test_a_key_is_negotiated_once(key: str) -> None:
    negotiation = Negotiation(TargetConfig(), discovery=False)
    negotiation.answer([(key, "1")], Use.OPERATIONAL)
    with pytest.raises(LoginError):
        negotiation.answer([(key, "1")], Use.OPERATIONAL)


def test_the_configuration_is_what_is_offered() -> None:
    config = TargetConfig(initial_r2t=True, immediate_data=False, max_outstanding_r2t=4)
    negotiation = Negotiation(config, discovery=False)
    offers = [("InitialR2T", "No"), ("ImmediateData", "Yes"), ("MaxOutstandingR2T", "8")]
    assert negotiation.answer(offers, Use.OPERATIONAL) == [
        ("InitialR2T", "Yes"),
        ("ImmediateData", "No"),
        ("MaxOutstandingR2T", "4"),
    ]
