"""What a block is on the medium and what it is for a client: encryption and block protection.

Only commands of a drive whose `coded` is set come here, and those that met an encrypted block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tapectl.scsi.cartridge import EncryptedBlock, Mark
from tapectl.scsi.sense import ASC, CheckCondition, Sense, SenseKey
from tapectl.scsi.ssc import block_envelope
from tapectl.scsi.ssc.block_envelope import Envelope, IntegrityError, WrongKeyError
from tapectl.scsi.ssc.block_protection import Protection, protection
from tapectl.scsi.ssc.encryption import (
    DecryptionMode,
    EncryptionMode,
    EncryptionParameters,
    ExternalCheck,
)
from tapectl.scsi.ssc.protection_information import (
    PROTECTION_INFORMATION_BYTES,
    protection_information,
)

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive


class RecordedBlocks(NamedTuple):
    """Blocks as they are recorded, all `block_bytes` long."""

    data: memoryview
    block_bytes: int
    encrypted: bool


def to_be_recorded(
    drive: TapeDrive, nexus: str, data: memoryview, block_bytes: int, *, residue: int
) -> RecordedBlocks:
    """Return what is to be recorded of blocks that a nexus has sent, `block_bytes` long each.

    All are looked at before one is written. Raises CheckCondition with `residue` as INFORMATION.
    """
    drive.encryption.check_lock(nexus)
    protected = protection(drive.server.mode_pages, nexus)
    parameters = drive.encryption.parameters(nexus)
    if parameters.encryption_mode is not EncryptionMode.DISABLE and not drive.media.encrypts:
        code = ASC.CANNOT_WRITE_MEDIUM_INCOMPATIBLE_FORMAT
        raise CheckCondition(Sense(SenseKey.DATA_PROTECT, code, information=residue))
    blocks = [data[at : at + block_bytes] for at in range(0, len(data), block_bytes)]
    if protected.of_writes:
        blocks = [_without_protection(block, protected, residue) for block in blocks]
    if parameters.encryption_mode is EncryptionMode.DISABLE:
        if not protected.of_writes:
            return RecordedBlocks(data, block_bytes, encrypted=False)
        recorded: list[bytes | bytearray | memoryview] = list(blocks)
    elif parameters.encryption_mode is EncryptionMode.ENCRYPT:
        recorded = [_encrypted(drive, parameters, block) for block in blocks]
    else:
        recorded = [_made_by_client(block, residue) for block in blocks]
    joined = recorded[0] if len(recorded) == 1 else b"".join(recorded)
    encrypted = parameters.encryption_mode is not EncryptionMode.DISABLE
    return RecordedBlocks(memoryview(joined), len(recorded[0]), encrypted)


def _without_protection(block: memoryview, protected: Protection, residue: int) -> memoryview:
    data = block[:-PROTECTION_INFORMATION_BYTES]
    if not data or protection_information(protected.method, data) != block[len(data) :]:
        code = ASC.LOGICAL_BLOCK_GUARD_CHECK_FAILED
        raise CheckCondition(Sense(SenseKey.HARDWARE_ERROR, code, information=residue))
    return data


def _encrypted(drive: TapeDrive, parameters: EncryptionParameters, block: memoryview) -> bytes:
    key, random = parameters.key, drive.random
    assert key is not None  # this mode is not set without one,
    assert random is not None  # nor in a drive that has none
    return block_envelope.seal(
        key,
        random(block_envelope.NONCE_BYTES),
        block,
        parameters.associated,
        raw_reads=parameters.raw_reads,
    )


def _made_by_client(block: memoryview, residue: int) -> bytearray:
    """EXTERNAL mode: the client sends what RAW mode would read."""
    if Envelope.decode(block) is None:
        raise _refused(ASC.INCORRECT_ENCRYPTION_PARAMETERS, residue)
    recorded = bytearray(block)
    block_envelope.mark_written_externally(recorded)
    return recorded


def read_plain_block(
    drive: TapeDrive, nexus: str, buffer: memoryview, *, residue: int
) -> int | Mark:
    """Read the next object as a nexus gets it: `received` of what Cartridge.read_block returns.

    Raises what both raise.
    """
    outcome = drive.threaded_medium().read_block(buffer)
    if drive.coded or isinstance(outcome, EncryptedBlock):
        return received(drive, nexus, outcome, buffer, residue=residue)
    return outcome


def received(
    drive: TapeDrive,
    nexus: str,
    outcome: int | Mark | EncryptedBlock,
    buffer: memoryview,
    *,
    residue: int,
) -> int | Mark:
    """Return what a nexus gets of the object that Cartridge.read_block has just read into `buffer`.

    A block: `buffer` holds its beginning as the client is to have it, protection information and
    all, and its whole length is returned. A mark is returned as it is. Raises CheckCondition with
    `residue` as INFORMATION where the block cannot be had; the position is then before it again,
    where Next Block Encryption Status tells of it.
    """
    if isinstance(outcome, Mark):
        return outcome
    parameters = drive.encryption.parameters(nexus)
    try:
        if isinstance(outcome, EncryptedBlock):
            data = memoryview(_decrypted(parameters, outcome, residue))
            length = len(data)
            taken = min(length, len(buffer))
            buffer[:taken] = data[:taken]
        else:
            if parameters.decryption_mode is DecryptionMode.DECRYPT:
                raise _refused(ASC.UNENCRYPTED_DATA_ENCOUNTERED_WHILE_DECRYPTING, residue)
            length = outcome
    except CheckCondition:
        medium = drive.threaded_medium()
        medium.locate(medium.position - 1)
        raise
    protected = protection(drive.server.mode_pages, nexus)
    if not protected.of_reads:
        return length
    if len(buffer) > length:
        room = buffer[length : length + PROTECTION_INFORMATION_BYTES]
        room[:] = protection_information(protected.method, buffer[:length])[: len(room)]
    return length + PROTECTION_INFORMATION_BYTES


def _decrypted(
    parameters: EncryptionParameters, block: EncryptedBlock, residue: int
) -> bytes | memoryview:
    """Return the block as the parameters want it; raise CheckCondition."""
    mode, envelope = parameters.decryption_mode, Envelope.decode(block.data)
    if mode is DecryptionMode.DISABLE or envelope is None:
        raise _refused(ASC.UNABLE_TO_DECRYPT_DATA, residue)
    if mode is DecryptionMode.RAW:
        if not envelope.raw_reads:
            raise _refused(ASC.ENCRYPTED_BLOCK_NOT_RAW_READ_ENABLED, residue)
        return block.data
    unwanted = (
        ExternalCheck.REFUSE_EXTERNAL
        if envelope.written_externally
        else ExternalCheck.REFUSE_ENCRYPTED
    )
    if parameters.external_check is unwanted:
        raise _refused(ASC.ENCRYPTION_MODE_MISMATCH_ON_READ, residue)
    assert parameters.key is not None  # these modes are not set without one
    try:
        return envelope.open(parameters.key)
    except WrongKeyError:
        raise _refused(ASC.INCORRECT_DATA_ENCRYPTION_KEY, residue) from None
    except IntegrityError:
        raise _refused(ASC.CRYPTOGRAPHIC_INTEGRITY_VALIDATION_FAILED, residue) from None


def _refused(code: ASC, residue: int) -> CheckCondition:
    return CheckCondition(Sense(SenseKey.DATA_PROTECT, code, information=residue))
