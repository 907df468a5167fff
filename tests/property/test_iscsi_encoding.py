"""What is encoded is decoded alike: PDUs and text keys."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tapectl.iscsi.pdu import PDU_CLASSES, decode_pdu
from tapectl.iscsi.text import decode_text, encode_text
from tests.fuzz.streams import STREAMS


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
