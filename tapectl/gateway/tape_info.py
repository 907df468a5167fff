"""A tape as users see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tapectl.gateway.devices import device_id
from tapectl.gateway.elements import ElementMap
from tapectl.gateway.encryption import encryption_word
from tapectl.gateway.tape_keys import key_id
from tapectl.scsi.library import ElementType
from tapectl.state import tags
from tapectl.state.gateways import GatewayRecord
from tapectl.state.overwritten import OverwrittenTotals
from tapectl.state.pools import PoolRecord
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import TapeRecord
from tapectl.state.verifications import VerificationRecord

_RETRIEVED_STATUSES = frozenset({TapeStatus.RETRIEVING, TapeStatus.RETRIEVED})


@dataclass(frozen=True, slots=True, kw_only=True)
class TapeInfo:
    """A tape as users see it.

    `size_bytes` is 0 for a cleaning cartridge, and `cleanings_left` None for all others.
    `location` is `drive 1`, `slot 20`, `import/export 3` or `shelf`, None when it is on its way.
    `vtl_device` is the id of the drive it is loaded in. `waiting_bytes` is what is not in the
    store yet, `overwritten` what that still has of what was overwritten. `retrieved_to` is the id
    of the gateway it is retrieved to. `archive_pending`: what is archived of it is on its way into
    another pool. Times of the retention are those of its lock, of which `retention_mode` None says
    that there is none.
    """

    barcode: str
    status: TapeStatus
    size_bytes: int
    used_bytes: int
    pool_id: str
    worm: bool
    write_protected: bool
    location: str | None
    element_address: int | None
    vtl_device: str | None
    progress: float | None
    waiting_bytes: int
    overwritten: OverwrittenTotals
    hold_until_ms: int | None
    created_at_ms: int
    archive_completed_at_ms: int | None
    retrieval_tier: str | None
    retrieved_at_ms: int | None
    restore_until_ms: int | None
    retrieved_to: str | None
    status_detail: str | None
    tape_uuid: str
    generation: int
    cleaning: bool
    cleanings_left: int | None
    verification: VerificationRecord | None
    pool_name: str
    pool_entered_at_ms: int | None
    archive_pending: bool
    retention_start_at_ms: int | None
    retention_mode: str | None
    retained_until_ms: int | None
    encryption: str
    kms_key: str | None
    key_id: str | None
    tags: Mapping[str, str]


def tape_info(
    gateway: GatewayRecord,
    elements: ElementMap,
    tape: TapeRecord,
    *,
    waiting_bytes: int,
    overwritten: OverwrittenTotals,
    cleanings_left: int | None,
    verification: VerificationRecord | None,
    pool: PoolRecord,
) -> TapeInfo:
    """Return what users see of a tape."""
    address = tape.element_address
    location = elements.name(address) if address is not None else None
    if tape.status is TapeStatus.ARCHIVED:
        location = "shelf"
    in_drive = address is not None and elements.type_of(address) is ElementType.DATA_TRANSFER
    return TapeInfo(
        barcode=tape.barcode,
        status=tape.status,
        size_bytes=0 if tape.cleaning else tape.size_bytes,
        used_bytes=tape.used_bytes,
        pool_id=tape.pool_id,
        worm=tape.worm,
        write_protected=tape.write_protected,
        location=location,
        element_address=address,
        vtl_device=device_id(gateway, elements.number(address)) if in_drive and address else None,
        progress=tape.progress,
        waiting_bytes=waiting_bytes,
        overwritten=overwritten,
        hold_until_ms=tape.hold_until_ms,
        created_at_ms=tape.created_at_ms,
        archive_completed_at_ms=tape.archive_completed_at_ms,
        retrieval_tier=tape.retrieval_tier,
        retrieved_at_ms=tape.retrieved_at_ms,
        restore_until_ms=tape.restore_until_ms,
        retrieved_to=gateway.id if tape.status in _RETRIEVED_STATUSES else None,
        status_detail=tape.status_detail,
        tape_uuid=tape.tape_uuid,
        generation=tape.generation,
        cleaning=tape.cleaning,
        cleanings_left=cleanings_left,
        verification=verification,
        pool_name=pool.name,
        pool_entered_at_ms=tape.pool_entered_at_ms,
        archive_pending=tape.archive_pending,
        retention_start_at_ms=tape.retention_start_at_ms,
        retention_mode=tape.retention_mode,
        retained_until_ms=tape.retained_until_ms,
        encryption=encryption_word(tape.encryption, client_side=tape.data_key is not None),
        kms_key=tape.kms_key,
        key_id=None if tape.data_key is None else key_id(tape.data_key),
        tags=tags.decode(tape.tags),
    )
