"""Which replies a device server may give, whatever it was sent."""

from __future__ import annotations

from tapectl.scsi.logical_unit import Reply, Status
from tapectl.scsi.sense import ASC, SenseKey

# Where the allocation length of a command is: first byte and bytes.
ALLOCATION_LENGTH = {
    0x03: (4, 1),  # REQUEST SENSE
    0x12: (3, 2),  # INQUIRY
    0x1A: (4, 1),  # MODE SENSE(6)
    0x1C: (3, 2),  # RECEIVE DIAGNOSTIC RESULTS
    0x3C: (6, 3),  # READ BUFFER
    0x44: (7, 2),  # REPORT DENSITY SUPPORT
    0x4D: (7, 2),  # LOG SENSE
    0x5A: (7, 2),  # MODE SENSE(10)
    0x5E: (7, 2),  # PERSISTENT RESERVE IN
    0x8C: (10, 4),  # READ ATTRIBUTE
    0xA0: (6, 4),  # REPORT LUNS
    0xA2: (6, 4),  # SECURITY PROTOCOL IN
    0xA3: (6, 4),  # MAINTENANCE IN
    0xA4: (6, 4),  # MAINTENANCE OUT
    0xAB: (6, 4),  # READ MEDIA SERIAL NUMBER
    0xB5: (7, 3),  # REQUEST VOLUME ELEMENT ADDRESS
    0xB8: (7, 3),  # READ ELEMENT STATUS
}
# Of commands that have none: the most that they return.
_FIXED_BYTES = {0x05: 20, 0x34: 32}
_READ_6, _READ_POSITION = 0x08, 0x34
_READ_POSITION_EXTENDED = 0x08

_K = SenseKey
# Which sense keys an additional sense code goes with (SPC-5 annex; SSC-5 and SMC-3 for theirs).
_KEYS_BY_ASC: dict[int, set[SenseKey]] = {
    0x00: {_K.NO_SENSE, _K.BLANK_CHECK, _K.VOLUME_OVERFLOW, _K.MEDIUM_ERROR},
    0x04: {_K.NOT_READY},
    0x08: {_K.HARDWARE_ERROR},
    0x0C: {_K.MEDIUM_ERROR},
    0x10: {_K.ABORTED_COMMAND, _K.HARDWARE_ERROR, _K.MEDIUM_ERROR, _K.ILLEGAL_REQUEST},
    0x11: {_K.MEDIUM_ERROR},
    0x14: {_K.MEDIUM_ERROR, _K.BLANK_CHECK},
    0x1A: {_K.ILLEGAL_REQUEST},
    0x20: {_K.ILLEGAL_REQUEST},
    0x21: {_K.ILLEGAL_REQUEST},
    0x24: {_K.ILLEGAL_REQUEST},
    0x25: {_K.ILLEGAL_REQUEST},
    0x26: {_K.ILLEGAL_REQUEST},
    0x27: {_K.DATA_PROTECT},
    0x28: {_K.UNIT_ATTENTION},
    0x29: {_K.UNIT_ATTENTION},
    0x2A: {_K.UNIT_ATTENTION},
    0x2C: {_K.ILLEGAL_REQUEST},
    0x2F: {_K.UNIT_ATTENTION},
    0x30: {_K.NOT_READY, _K.MEDIUM_ERROR, _K.DATA_PROTECT, _K.ILLEGAL_REQUEST},
    0x31: {_K.MEDIUM_ERROR},
    0x39: {_K.ILLEGAL_REQUEST},
    0x3A: {_K.NOT_READY, _K.ILLEGAL_REQUEST},
    0x3B: {_K.ILLEGAL_REQUEST, _K.MEDIUM_ERROR},
    0x3F: {_K.UNIT_ATTENTION},
    0x44: {_K.HARDWARE_ERROR},
    0x51: {_K.MEDIUM_ERROR},
    0x53: {_K.ILLEGAL_REQUEST, _K.HARDWARE_ERROR, _K.NOT_READY, _K.MEDIUM_ERROR},
    0x55: {_K.ILLEGAL_REQUEST},
    0x5D: {_K.UNIT_ATTENTION, _K.NO_SENSE},
    0x74: {_K.DATA_PROTECT, _K.ILLEGAL_REQUEST},
}
# A miscompare has a key of its own, which a device without VERIFY does not need.
_MISCOMPARE_ASC, _MISCOMPARE_KEY = 0x1D, 0xE
_NO_ADDITIONAL_SENSE = (0x00, 0x00)
_KNOWN_CODES = {code.value for code in ASC}

_ANSWERS = {Status.GOOD, Status.CHECK_CONDITION, Status.RESERVATION_CONFLICT, Status.BUSY}


def decode_sense(sense: bytes) -> tuple[int, int, int]:
    """Return key, code and qualifier of current sense in either format; fail if it is neither."""
    response_code = sense[0] & 0x7F
    if response_code == 0x70:
        assert len(sense) == 8 + sense[7] == 18
        assert sense[0] & 0x80 or not any(sense[3:7]), "INFORMATION without VALID"
        return sense[2] & 0x0F, sense[12], sense[13]
    assert response_code == 0x72
    assert len(sense) == 8 + sense[7]
    at = 8
    while at < len(sense):
        at += 2 + sense[at + 1]
    assert at == len(sense), "descriptors of other lengths than said"
    return sense[1] & 0x0F, sense[2], sense[3]


def check_sense(sense: bytes) -> int:
    """Fail unless it decodes to a code of ours with a key that it goes with; return the key."""
    key, asc, ascq = decode_sense(sense)
    assert (asc, ascq) in _KNOWN_CODES, f"unnamed code {asc:02x}/{ascq:02x}"
    if asc == _MISCOMPARE_ASC:
        assert key == _MISCOMPARE_KEY
    else:
        assert key in _KEYS_BY_ASC.get(asc, ()), f"{asc:02x}/{ascq:02x} with key {key:x}"
    return key


def allowed_bytes(cdb: bytes, block_bytes: int) -> int:
    """Return how much data a CDB allows in; `block_bytes` is the length of fixed blocks."""
    opcode = cdb[0]
    if opcode == _READ_6:
        length = int.from_bytes(cdb[2:5], "big")
        return length * block_bytes if cdb[1] & 0x01 else length
    if opcode == _READ_POSITION and cdb[1] & 0x1F == _READ_POSITION_EXTENDED:
        # "Allocation length" of the extended form, which other forms have reserved.
        return int.from_bytes(cdb[7:9], "big")
    if opcode in _FIXED_BYTES:
        return _FIXED_BYTES[opcode]
    at, size = ALLOCATION_LENGTH.get(opcode, (0, 0))
    return int.from_bytes(cdb[at : at + size], "big")


def check_reply(cdb: bytes, reply: Reply, *, block_bytes: int = 0) -> int | None:
    """Fail unless the reply is a legal one; return its sense key, None without sense."""
    assert reply.status in _ANSWERS
    assert bool(reply.sense) == (reply.status is Status.CHECK_CONDITION)
    size = len(reply.data_in)
    allowed = allowed_bytes(cdb, block_bytes)
    assert size <= allowed, f"{size} bytes where {allowed} are allowed"
    if cdb[0] == 0x03 and size >= 18 and reply.status is Status.GOOD:
        check_sense(bytes(reply.data_in))
    return check_sense(reply.sense) if reply.sense else None
