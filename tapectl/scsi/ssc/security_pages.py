"""The pages of the tape data encryption security protocol, to bytes and from bytes (SSC-5 8.5)."""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from tapectl.scsi.sense import (
    ASC,
    illegal_request,
    invalid_field_in_parameter_list,
)
from tapectl.scsi.ssc.block_envelope import (
    AUTHENTICATED_BYTES_MAX,
    KEY_BYTES,
    NO_ASSOCIATED_DATA,
    UNAUTHENTICATED_BYTES_MAX,
    BlockKey,
    KeyAssociatedData,
)
from tapectl.scsi.ssc.encryption import (
    DecryptionMode,
    EncryptionMode,
    EncryptionParameters,
    ExternalCheck,
    RawDecryptionControl,
    Scope,
)

ALGORITHM_INDEX = 0x01
# Clients that do not look for an index send 0, and mean the one algorithm there is.
_ALGORITHM_INDEXES = (0x00, ALGORITHM_INDEX)
_ALGORITHM_AES_256_GCM = 0x00010014
_PLAIN_TEXT_KEY = 0x00
_PAGE_HEADER = struct.Struct(">HH")
_KAD_HEADER = struct.Struct(">BBH")
_KAD_UNAUTHENTICATED, _KAD_AUTHENTICATED = 0x00, 0x01
_KAD_LENGTHS_MAX = {
    _KAD_UNAUTHENTICATED: UNAUTHENTICATED_BYTES_MAX,
    _KAD_AUTHENTICATED: AUTHENTICATED_BYTES_MAX,
}


class InPage(enum.IntEnum):
    """Pages of SECURITY PROTOCOL IN (SSC-5 table of the SECURITY PROTOCOL SPECIFIC field)."""

    IN_SUPPORT = 0x0000
    OUT_SUPPORT = 0x0001
    CAPABILITIES = 0x0010
    KEY_FORMATS = 0x0011
    MANAGEMENT_CAPABILITIES = 0x0012
    STATUS = 0x0020
    NEXT_BLOCK_STATUS = 0x0021
    RANDOM_NUMBER = 0x0030


class OutPage(enum.IntEnum):
    """Pages of SECURITY PROTOCOL OUT."""

    SET_DATA_ENCRYPTION = 0x0010


class Authenticated(enum.IntEnum):
    """What is known of the truth of key-associated data (AUTHENTICATED)."""

    NOT_COVERED = 1
    NOT_ATTEMPTED = 2
    CONFIRMED = 3
    FAILED = 4


class BlockStatus(enum.IntEnum):
    """What the next object is (ENCRYPTION STATUS)."""

    NOT_KNOWN_YET = 1
    NO_BLOCK = 2
    NOT_ENCRYPTED = 3
    UNSUPPORTED_ALGORITHM = 4
    DECRYPTABLE = 5
    NOT_DECRYPTABLE = 6


def encode_page(code: int, body: bytes) -> bytes:
    """Return a page with its header."""
    return _PAGE_HEADER.pack(code, len(body)) + body


def encode_support(code: InPage, codes: Sequence[int]) -> bytes:
    """Return a support page: the list of page codes, ascending."""
    return encode_page(code, b"".join(struct.pack(">H", listed) for listed in sorted(codes)))


def encode_capabilities(*, valid: bool, encrypts: bool) -> bytes:
    """Return the Data Encryption Capabilities page: one algorithm, AES-256-GCM.

    `valid`: it can be used with the volume that is mounted. `encrypts`: the drive itself encrypts.
    """
    descriptor = struct.pack(
        ">BxHBBHHHBxHH2xI",
        ALGORITHM_INDEX,
        20,
        # AVFMV; MAC_C; DED_C; DECRYPT_C and ENCRYPT_C by hardware, as clients call what is no
        # work of theirs
        valid << 7 | 0x20 | 0x10 | 0x02 << 2 | (0x02 if encrypts else 0),
        # AVFCLP: valid at the position, or not applicable; NONCE_C 1: the drive makes it; KADF_C;
        # VCELB_C
        (0x80 if valid else 0) | 0x10 | 0x08 | 0x04,
        UNAUTHENTICATED_BYTES_MAX,
        AUTHENTICATED_BYTES_MAX,
        KEY_BYTES,
        # DKAD_C 3: key-associated data is taken; EEMC_C 2: and EXTERNAL mode; RDMC_C 4: raw reads
        # of a block are refused unless RDMC allows them; EAREM: the mode is recorded
        0x03 << 6 | 0x02 << 4 | 0x04 << 1 | 0x01,
        0,  # no supplemental decryption keys
        0,
        _ALGORITHM_AES_256_GCM,
    )
    # EXTDECC 1: nothing outside controls encryption; CFG_P 1: parameters can be set
    return encode_page(
        InPage.CAPABILITIES, bytes((0x01 << 2 | 0x01,)).ljust(16, b"\0") + descriptor
    )


def encode_key_formats() -> bytes:
    """Return the Supported Key Formats page."""
    return encode_page(InPage.KEY_FORMATS, bytes((_PLAIN_TEXT_KEY,)))


def encode_management_capabilities() -> bytes:
    """Return the Data Encryption Management Capabilities page: all of them."""
    # LOCK_C; CKOD_C, CKORP_C, CKORL_C; AITN_C, LOCAL_C, PUBLIC_C
    return encode_page(InPage.MANAGEMENT_CAPABILITIES, bytes((0x01, 0x07, 0, 0x07)) + bytes(8))


def encode_status(
    scope: Scope, key_scope: Scope, parameters: EncryptionParameters, *, encrypted_volume: bool
) -> bytes:
    """Return the Data Encryption Status page; `encrypted_volume`: it has an encrypted block."""
    disabled = not parameters.changes_blocks
    encrypts = parameters.encryption_mode is EncryptionMode.ENCRYPT
    body = struct.pack(
        ">BBBBIBB10x",
        scope << 5 | key_scope,
        parameters.encryption_mode,
        parameters.decryption_mode,
        0 if disabled else ALGORITHM_INDEX,
        parameters.instance,
        # PARAMETERS CONTROL 1: nothing else controls them; VCELB; CEEMS; RDMD
        0x01 << 4
        | encrypted_volume << 3
        | parameters.external_check << 1
        | (encrypts and not parameters.raw_reads),
        parameters.associated.format,
    )
    return encode_page(
        InPage.STATUS, body + _encode_kads(parameters.associated, Authenticated.NOT_ATTEMPTED)
    )


class NextBlock(NamedTuple):
    """What the Next Block Encryption Status page tells; `position` is an object number."""

    position: int
    status: BlockStatus
    associated: KeyAssociatedData = NO_ASSOCIATED_DATA
    authenticated: Authenticated = Authenticated.NOT_ATTEMPTED
    written_externally: bool = False
    raw_reads: bool = True


def encode_next_block(block: NextBlock | None) -> bytes:
    """Return the Next Block Encryption Status page; None: no volume is mounted."""
    if block is None:
        return encode_page(InPage.NEXT_BLOCK_STATUS, bytes(12))
    encrypted = block.status in (BlockStatus.DECRYPTABLE, BlockStatus.NOT_DECRYPTABLE)
    body = struct.pack(
        ">QBBBB",
        block.position,
        block.status,  # COMPRESSION STATUS 0: as LTO drives, we do not tell
        ALGORITHM_INDEX if encrypted else 0,
        block.written_externally << 1 | (not block.raw_reads),
        block.associated.format,
    )
    return encode_page(
        InPage.NEXT_BLOCK_STATUS, body + _encode_kads(block.associated, block.authenticated)
    )


def _encode_kads(associated: KeyAssociatedData, authenticated: Authenticated) -> bytes:
    kads = b""
    for kind, state, value in (
        (_KAD_UNAUTHENTICATED, Authenticated.NOT_COVERED, associated.unauthenticated),
        (_KAD_AUTHENTICATED, authenticated, associated.authenticated),
    ):
        if value:
            kads += _KAD_HEADER.pack(kind, state, len(value)) + value
    return kads


class SetDataEncryption(NamedTuple):
    """A Set Data Encryption page, taken apart."""

    scope: Scope
    lock: bool
    parameters: EncryptionParameters


_SET = struct.Struct(">HHBBBBBBB7xH")
_SCOPE_AT, _FLAGS_AT, _ENCRYPTION_AT, _DECRYPTION_AT, _ALGORITHM_AT = range(4, 9)
_KEY_FORMAT_AT, _KAD_FORMAT_AT = 9, 10
_KEY_LENGTH_AT = 18
_KAD_FORMATS = 3
_SDK, _CKOD, _CKORP, _CKORL = 0x08, 0x04, 0x02, 0x01
_Choice = TypeVar("_Choice", bound=enum.IntEnum)


def decode_set_data_encryption(data: memoryview) -> SetDataEncryption:
    """Take a Set Data Encryption page apart; raise CheckCondition for what no drive of ours has."""
    if len(data) < _SET.size:
        raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
    (
        code, length, control, flags, encryption, decryption, algorithm, key_format, kad_format,
        key_bytes,
    ) = _SET.unpack_from(data)  # fmt: skip
    if code != OutPage.SET_DATA_ENCRYPTION:
        raise invalid_field_in_parameter_list(0)
    end = _PAGE_HEADER.size + length
    if end > len(data):
        raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
    if end < _SET.size:
        raise invalid_field_in_parameter_list(2)
    scope = _chosen(Scope, control >> 5, _SCOPE_AT, 7)
    lock = bool(control & 0x01)
    if scope is Scope.PUBLIC:  # "all fields other than SCOPE and LOCK shall be ignored"
        return SetDataEncryption(scope, lock, EncryptionParameters())
    if flags & _SDK:
        raise invalid_field_in_parameter_list(_FLAGS_AT, 3)
    encryption_mode = _chosen(EncryptionMode, encryption, _ENCRYPTION_AT, None)
    decryption_mode = _chosen(DecryptionMode, decryption, _DECRYPTION_AT, None)
    if (encryption_mode or decryption_mode) and algorithm not in _ALGORITHM_INDEXES:
        raise invalid_field_in_parameter_list(_ALGORITHM_AT)
    if key_format != _PLAIN_TEXT_KEY:
        raise invalid_field_in_parameter_list(_KEY_FORMAT_AT)
    if kad_format >= _KAD_FORMATS:
        raise invalid_field_in_parameter_list(_KAD_FORMAT_AT)
    kads_at = _SET.size + key_bytes
    if kads_at > end:
        raise invalid_field_in_parameter_list(_KEY_LENGTH_AT)
    encrypts = encryption_mode is EncryptionMode.ENCRYPT
    needs_key = encrypts or decryption_mode in (DecryptionMode.DECRYPT, DecryptionMode.MIXED)
    if key_bytes != KEY_BYTES and (needs_key or key_bytes):
        raise invalid_field_in_parameter_list(_KEY_LENGTH_AT)
    associated = _decode_kads(data[:end], kads_at, kad_format)
    parameters = EncryptionParameters(
        encryption_mode=encryption_mode,
        decryption_mode=decryption_mode,
        key=BlockKey(bytes(data[_SET.size : kads_at])) if needs_key else None,
        # What comes with a key that nothing is written with is of no use to anybody.
        associated=associated if encrypts else NO_ASSOCIATED_DATA,
        raw_decryption=_chosen(RawDecryptionControl, flags >> 4 & 0x03, _FLAGS_AT, 5),
        external_check=_chosen(ExternalCheck, flags >> 6, _FLAGS_AT, 7),
        until_demount=bool(flags & _CKOD),
        until_preempted=bool(flags & _CKORP),
        until_reservation_lost=bool(flags & _CKORL),
    )
    return SetDataEncryption(scope, lock, parameters)


def _chosen(choices: type[_Choice], value: int, byte: int, bit: int | None) -> _Choice:
    try:
        return choices(value)
    except ValueError:
        raise invalid_field_in_parameter_list(byte, bit) from None


def _decode_kads(data: memoryview, at: int, kad_format: int) -> KeyAssociatedData:
    """Return the key-associated data in the list of descriptors that is the rest of `data`."""
    found: dict[int, bytes] = {}
    while at < len(data):
        if at + _KAD_HEADER.size > len(data):
            raise invalid_field_in_parameter_list(at)
        kind, _, length = _KAD_HEADER.unpack_from(data, at)
        end = at + _KAD_HEADER.size + length
        # A nonce or metadata: the drive makes its nonces, and an EXTERNAL block brings its own.
        if kind not in _KAD_LENGTHS_MAX or kind in found:
            raise invalid_field_in_parameter_list(at)
        if length > _KAD_LENGTHS_MAX[kind] or end > len(data):
            raise invalid_field_in_parameter_list(at + 2)
        found[kind] = bytes(data[at + _KAD_HEADER.size : end])
        at = end
    return KeyAssociatedData(
        found.get(_KAD_UNAUTHENTICATED, b""), found.get(_KAD_AUTHENTICATED, b""), kad_format
    )
