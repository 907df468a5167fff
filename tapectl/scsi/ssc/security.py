"""SECURITY PROTOCOL IN and OUT: what protects data, and with what (SPC-5 6.39, SSC-5 8.5)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from tapectl.scsi.cartridge import CartridgeReadError, EncryptedBlock, Mark
from tapectl.scsi.command_table import GOOD, Task, reply_truncated
from tapectl.scsi.logical_unit import Reply
from tapectl.scsi.sense import (
    ASC,
    illegal_request,
    invalid_field_in_cdb,
    invalid_field_in_parameter_list,
)
from tapectl.scsi.ssc import security_pages as pages
from tapectl.scsi.ssc.block_envelope import Envelope, IntegrityError
from tapectl.scsi.ssc.encryption import DecryptionMode, EncryptionMode, EncryptionParameters
from tapectl.scsi.ssc.security_pages import (
    Authenticated,
    BlockStatus,
    InPage,
    NextBlock,
    OutPage,
    SetDataEncryption,
)

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive

_INFORMATION, _TAPE_DATA_ENCRYPTION = 0x00, 0x20
_SUPPORTED_PROTOCOLS, _CERTIFICATE_DATA = 0x0000, 0x0001
_PROTOCOL_AT, _SPECIFIC_AT, _INC_512_AT = 1, 2, 4
_RANDOM_NUMBER_BYTES = 32


def security_protocol_in(drive: TapeDrive, task: Task) -> Reply:
    """SECURITY PROTOCOL IN."""
    protocol, specific, length = _asked(task)
    if protocol == _INFORMATION:
        data = _information(specific)
    elif protocol == _TAPE_DATA_ENCRYPTION:
        drive.encryption.register(task.nexus)
        if specific not in _in_pages(drive):
            raise invalid_field_in_cdb(_SPECIFIC_AT)
        data = _IN_PAGES[InPage(specific)](drive, task.nexus)
    else:
        raise invalid_field_in_cdb(_PROTOCOL_AT)
    return reply_truncated(data, length)


def security_protocol_out(drive: TapeDrive, task: Task) -> Reply:
    """SECURITY PROTOCOL OUT: Set Data Encryption."""
    protocol, specific, length = _asked(task)
    if protocol != _TAPE_DATA_ENCRYPTION:
        raise invalid_field_in_cdb(_PROTOCOL_AT)
    if specific != OutPage.SET_DATA_ENCRYPTION:
        raise invalid_field_in_cdb(_SPECIFIC_AT)
    drive.encryption.register(task.nexus)
    if not length:
        return GOOD
    if len(task.data_out) < length:
        raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
    asked = pages.decode_set_data_encryption(task.data_out[:length])
    _check_possible(drive, task.nexus, asked)
    drive.encryption.establish(task.nexus, asked.scope, asked.parameters, lock=asked.lock)
    return GOOD


def _asked(task: Task) -> tuple[int, int, int]:
    """Return security protocol, what is specific to it, and the length of the data."""
    protocol, specific, flags, length = struct.unpack_from(">BHBxI", task.cdb, _PROTOCOL_AT)
    if flags & 0x80:  # INC_512
        raise invalid_field_in_cdb(_INC_512_AT, 7)
    return protocol, specific, length


def _information(specific: int) -> bytes:
    if specific == _SUPPORTED_PROTOCOLS:
        protocols = bytes((_INFORMATION, _TAPE_DATA_ENCRYPTION))
        return struct.pack(">6xH", len(protocols)) + protocols
    if specific == _CERTIFICATE_DATA:  # "a length of zero": there is none
        return bytes(4)
    raise invalid_field_in_cdb(_SPECIFIC_AT)


def _check_possible(drive: TapeDrive, nexus: str, asked: SetDataEncryption) -> None:
    """Raise CheckCondition for what this drive cannot do, or not now.

    "If the CKOD bit is set to one and there is no volume mounted ..."; likewise CKORP without a
    persistent reservation and CKORL without any.
    """
    parameters, reservations = asked.parameters, drive.server.reservations
    if parameters.encryption_mode is EncryptionMode.ENCRYPT and drive.random is None:
        raise invalid_field_in_parameter_list(6)
    if parameters.until_demount and drive.medium is None:
        raise invalid_field_in_parameter_list(5, 2)
    persistent = reservations.persistent.holds(nexus)
    if parameters.until_preempted and not persistent:
        raise invalid_field_in_parameter_list(5, 1)
    reserved = persistent or reservations.legacy_holder == nexus
    if parameters.until_reservation_lost and not reserved:
        raise invalid_field_in_parameter_list(5, 0)


def _next_block(drive: TapeDrive, nexus: str) -> bytes:
    """Next Block Encryption Status: look at the next object and go back before it."""
    medium = drive.medium
    if medium is None:
        return pages.encode_next_block(None)
    position = medium.position
    try:
        outcome = medium.read_block(drive.data_buffer.view(1))
    except CartridgeReadError:
        return pages.encode_next_block(NextBlock(position, BlockStatus.NOT_KNOWN_YET))
    medium.locate(position)
    if isinstance(outcome, EncryptedBlock):
        parameters = drive.encryption.parameters(nexus)
        return pages.encode_next_block(_encrypted_block(position, outcome, parameters))
    status = BlockStatus.NO_BLOCK if isinstance(outcome, Mark) else BlockStatus.NOT_ENCRYPTED
    return pages.encode_next_block(NextBlock(position, status))


def _encrypted_block(
    position: int, block: EncryptedBlock, parameters: EncryptionParameters
) -> NextBlock:
    envelope = Envelope.decode(block.data)
    if envelope is None:
        return NextBlock(position, BlockStatus.UNSUPPORTED_ALGORITHM)
    decrypts = parameters.decryption_mode in (DecryptionMode.DECRYPT, DecryptionMode.MIXED)
    status, authenticated = BlockStatus.NOT_DECRYPTABLE, Authenticated.NOT_ATTEMPTED
    if decrypts and parameters.key is not None and envelope.is_of(parameters.key):
        status = BlockStatus.DECRYPTABLE
        try:
            envelope.open(parameters.key)
            authenticated = Authenticated.CONFIRMED
        except IntegrityError:
            authenticated = Authenticated.FAILED
    return NextBlock(
        position,
        status,
        envelope.associated,
        authenticated,
        envelope.written_externally,
        envelope.raw_reads,
    )


def _status(drive: TapeDrive, nexus: str) -> bytes:
    encryption = drive.encryption
    return pages.encode_status(
        encryption.scope(nexus),
        encryption.key_scope(nexus),
        encryption.parameters(nexus),
        encrypted_volume=drive.encrypted_blocks.any,
    )


def _capabilities(drive: TapeDrive, _: str) -> bytes:
    return pages.encode_capabilities(
        valid=drive.medium is not None and drive.media.encrypts, encrypts=drive.random is not None
    )


def _in_pages(drive: TapeDrive) -> Sequence[InPage]:
    """Return the pages that can be read of a drive."""
    return [code for code in InPage if drive.random or code is not InPage.RANDOM_NUMBER]


def _random_number(drive: TapeDrive, _: str) -> bytes:
    assert drive.random is not None  # the page is not there without
    return pages.encode_page(InPage.RANDOM_NUMBER, drive.random(_RANDOM_NUMBER_BYTES))


_IN_PAGES: Mapping[InPage, Callable[[TapeDrive, str], bytes]] = MappingProxyType(
    {
        InPage.IN_SUPPORT: lambda drive, _: pages.encode_support(
            InPage.IN_SUPPORT, _in_pages(drive)
        ),
        InPage.OUT_SUPPORT: lambda _, __: pages.encode_support(InPage.OUT_SUPPORT, list(OutPage)),
        InPage.CAPABILITIES: _capabilities,
        InPage.KEY_FORMATS: lambda _, __: pages.encode_key_formats(),
        InPage.MANAGEMENT_CAPABILITIES: lambda _, __: pages.encode_management_capabilities(),
        InPage.STATUS: _status,
        InPage.NEXT_BLOCK_STATUS: _next_block,
        InPage.RANDOM_NUMBER: _random_number,
    }
)
