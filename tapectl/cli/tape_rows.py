"""A tape as commands show it: its JSON row and the columns people see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapectl.cli.render import (
    Column,
    OutputFormat,
    Row,
    iso_time,
    render_record,
    render_rows,
    show_percent,
    show_size,
    show_time,
    show_yes,
)
from tapectl.cli.tag import show_tags, tag_list

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tapectl.gateway.tape_info import TapeInfo


def show_encryption(value: object) -> str:
    """Return how a tape is encrypted for people; nothing where that is the store's own affair."""
    return "" if value == "NONE" else str(value)


def show_size_if_any(value: object) -> str:
    """Return a size for people, nothing where it is none."""
    return show_size(value) if value else ""


# fmt: off
LIST_COLUMNS = (
    Column("TapeBarcode", "Barcode"),
    Column("TapeStatus", "Status"),
    Column("TapeSizeInBytes", "Size", show_size, right=True),
    Column("TapeUsedInBytes", "Used", show_size, right=True),
    Column("WaitingBytes", "To upload", show_size, right=True),
    Column("Location", "Location"),
    Column("Generation", "Media"),
    Column("PoolId", "Pool"),
)
ARCHIVE_COLUMNS = (
    Column("TapeBarcode", "Barcode"),
    Column("TapeStatus", "Status"),
    Column("TapeSizeInBytes", "Size", show_size, right=True),
    Column("TapeUsedInBytes", "Used", show_size, right=True),
    Column("PoolId", "Pool"),
    Column("CompletionTime", "Archived", show_time),
    Column("RetainUntilDate", "Locked until", show_time),
    Column("RetrievedTo", "Retrieved to"),
)
DETAIL_COLUMNS = (
    Column("TapeBarcode", "Barcode"),
    Column("TapeStatus", "Status"),
    Column("StatusDetail", "Because"),
    Column("Progress", "Progress", show_percent),
    Column("TapeSizeInBytes", "Size", show_size),
    Column("TapeUsedInBytes", "Used", show_size),
    Column("WaitingBytes", "To upload", show_size),
    Column("OverwrittenBytes", "Overwritten, still kept", show_size_if_any),
    Column("OverwrittenDate", "Overwritten", show_time),
    Column("Location", "Location"),
    Column("VTLDevice", "Device"),
    Column("HoldUntil", "Cancellable by a move until", show_time),
    Column("PoolId", "Pool"),
    Column("PoolName", "Pool's name"),
    Column("PoolEntryDate", "In its pool since", show_time),
    Column("RetentionLockType", "Lock"),
    Column("RetentionStartDate", "Locked since", show_time),
    Column("RetainUntilDate", "Locked until", show_time),
    Column("PoolChangePending", "On its way into its pool", show_yes),
    Column("Generation", "Media"),
    Column("Worm", "WORM", show_yes),
    Column("Cleaning", "Cleaning cartridge", show_yes),
    Column("CleaningsLeft", "Cleanings left"),
    Column("WriteProtected", "Write-protected", show_yes),
    Column("TapeCreatedDate", "Created", show_time),
    Column("CompletionTime", "Archived", show_time),
    Column("RetrievalTier", "Retrieval tier"),
    Column("RetrievedDate", "Retrieved", show_time),
    Column("RetrievedTo", "Retrieved to"),
    Column("RestoreExpiryDate", "Readable until", show_time),
    Column("VerifyStatus", "Last verification"),
    Column("VerifiedDate", "Verified", show_time),
    Column("Encryption", "Encryption", show_encryption),
    Column("KMSKey", "KMS key"),
    Column("EncryptionKeyId", "Key"),
    Column("Tags", "Tags", show_tags),
)
# fmt: on


def tape_row(tape: TapeInfo) -> Row:
    """Return the JSON object of a tape; docs/json-output.md says what each key means."""
    from tapectl.gateway.media import generation_name

    return {
        "TapeBarcode": tape.barcode,
        "TapeStatus": tape.status.value,
        "TapeSizeInBytes": tape.size_bytes,
        "TapeUsedInBytes": tape.used_bytes,
        "PoolId": tape.pool_id,
        "PoolName": tape.pool_name,
        "PoolEntryDate": iso_time(tape.pool_entered_at_ms),
        "PoolChangePending": tape.archive_pending,
        "RetentionLockType": tape.retention_mode,
        "RetentionStartDate": iso_time(tape.retention_start_at_ms),
        "RetainUntilDate": iso_time(tape.retained_until_ms),
        "Generation": generation_name(tape.generation),
        "Worm": tape.worm,
        "Cleaning": tape.cleaning,
        "CleaningsLeft": tape.cleanings_left,
        "WriteProtected": tape.write_protected,
        "Location": tape.location,
        "ElementAddress": tape.element_address,
        "VTLDevice": tape.vtl_device,
        "Progress": tape.progress,
        "WaitingBytes": tape.waiting_bytes,
        "OverwrittenBytes": tape.overwritten.object_bytes,
        "OverwrittenDate": iso_time(tape.overwritten.since_ms),
        "HoldUntil": iso_time(tape.hold_until_ms),
        "TapeCreatedDate": iso_time(tape.created_at_ms),
        "CompletionTime": iso_time(tape.archive_completed_at_ms),
        "RetrievalTier": tape.retrieval_tier,
        "RetrievedDate": iso_time(tape.retrieved_at_ms),
        "RetrievedTo": tape.retrieved_to,
        "RestoreExpiryDate": iso_time(tape.restore_until_ms),
        "VerifyStatus": None if tape.verification is None else tape.verification.status,
        "VerifiedDate": None
        if tape.verification is None
        else iso_time(tape.verification.finished_at_ms),
        "StatusDetail": tape.status_detail,
        "TapeUuid": tape.tape_uuid,
        "Encryption": tape.encryption,
        "KMSEncrypted": tape.encryption == "SSE-KMS",
        "KMSKey": tape.kms_key,
        "EncryptionKeyId": tape.key_id,
        "Tags": tag_list(tape.tags),
    }


def render_tapes(
    tapes: Sequence[TapeInfo], output: OutputFormat | None, *, empty: str = "no tapes"
) -> None:
    """Write a list of tapes."""
    render_rows([tape_row(tape) for tape in tapes], LIST_COLUMNS, output=output, empty=empty)


def render_tape(tape: TapeInfo, output: OutputFormat | None) -> None:
    """Write all about one tape."""
    render_record(tape_row(tape), DETAIL_COLUMNS, output=output)
