"""A gateway is disabled, or becomes this machine: both from its bucket alone.

Disabling ends a gateway: its tapes can be recovered by others. Adopting makes a machine without a
gateway the one that the bucket knows: same id, targets, serial numbers, tapes and slots. Either
way the machine that was the gateway is fenced by its document in the store and by the ownership of
every tape, before anything of the tapes is read for good.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from tapectl.errors import ExitCode, TapectlError
from tapectl.gateway import gateway_document
from tapectl.gateway.activation import AlreadyActivatedError, describe_gateway
from tapectl.gateway.adopted_tapes import adopted_tape, irrecoverable, settle, tape_of_row
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.elements import ElementMap
from tapectl.gateway.gateway_document import GatewayDocument, GatewayObject, GatewayStateError
from tapectl.gateway.keyring import Keyring
from tapectl.gateway.owned_tapes import read_owned
from tapectl.gateway.pool_document import enter_pools
from tapectl.gateway.recovery_points import read_point, read_rows
from tapectl.gateway.takeover import NewOwner, TakenTape, enter_contents, take_over
from tapectl.gateway.tape_keys import key_id, missing_keys
from tapectl.gateway.transfer.bucket_layout import TOMBSTONES_PREFIX
from tapectl.gateway.transfer.bucket_marker import require_known
from tapectl.gateway.transfer.inventory import (
    Inventory,
    InventoryObject,
    read_inventory,
)
from tapectl.gateway.transfer.ownership import FencedError, OwnershipObject
from tapectl.state import events, gateways, pools, tags, tapes
from tapectl.state import inventory as inventory_rows
from tapectl.state.database import State
from tapectl.state.errors import NotActivatedError
from tapectl.state.gateways import GatewayRecord
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import Stamp, TapeRecord
from tapectl.store.interface import ObjectNotFoundError, ObjectStore, StoreDataError

_log = logging.getLogger(__name__)

GATEWAY_ADOPTED = "GatewayAdopted"
GATEWAY_DISABLED = "GatewayDisabled"

_REQUESTS = 16


class GatewayAmbiguousError(TapectlError):
    """The store has several gateways, or none, and one has to be named."""

    exit_code = ExitCode.USAGE
    code = "gateway_ambiguous"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAddress:
    """How a bucket is reached; nothing of it is in the bucket."""

    store_url: str
    region: str | None = None
    endpoint_url: str | None = None
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class Unuploaded:
    """What of a tape had not reached the store when the old machine last said so."""

    barcode: str
    segments: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Adoption:
    """What a machine has become, and what it could not know.

    `inventory_ms` is when the old machine last said what it had besides the manifests, None: never.
    `chap` are targets and initiators whose secrets have to be set again, `missing_keys` the ids of
    keys without which encrypted tapes cannot be read.
    """

    gateway: GatewayRecord
    epoch: int
    tapes: int
    inventory_ms: int | None
    unuploaded: Sequence[Unuploaded]
    chap: Sequence[tuple[str, str]]
    missing_keys: Sequence[str]


def list_gateways(store: ObjectStore) -> Sequence[GatewayDocument]:
    """Return the gateways that a store knows, by id; raise StoreError."""
    require_known(store)
    with ThreadPoolExecutor(_REQUESTS) as pool:
        return [found.document for found in gateway_document.read_gateways(store, pool)]


def disable_gateway(
    store: ObjectStore,
    gateway_id: str,
    *,
    by: str,
    state: State | None = None,
    now_ms: Callable[[], int] = clock_now_ms,
) -> GatewayDocument:
    """End a gateway for good: its tapes become recoverable elsewhere, and it writes nothing any
    more as soon as it looks. `by` says who, as the gateway will tell. Disabling again changes
    nothing. With the `state` of the gateway that does it the event is recorded there.

    Raises GatewayNotFoundError, GatewayChangedError, StoreError.
    """
    require_known(store)
    found = gateway_document.read_gateway(store, gateway_id)
    if found.document.disabled_ms is not None:
        return found.document
    document = replace(found.document, disabled_ms=now_ms(), disabled_by=by)
    gateway_document.replace_gateway(store, found, document)
    if state is not None:
        with state.write() as db:
            events.append(
                db,
                events.NewEvent(
                    at_ms=now_ms(),
                    actor=by,
                    subject_kind="gateway",
                    subject_id=gateway_id,
                    type=GATEWAY_DISABLED,
                ),
            )
    return document


def choose_gateway(store: ObjectStore, gateway_id: str | None) -> GatewayObject:
    """Return the gateway that is to be adopted: the one that is named, or the only one that is not
    disabled. Raises GatewayNotFoundError, GatewayAmbiguousError, GatewayStateError."""
    require_known(store)
    if gateway_id is None:
        gateways_there = list_gateways(store)
        if not gateways_there:
            raise gateway_document.GatewayNotFoundError(
                "the store knows no gateway",
                hint="check the bucket and the prefix; `tapectl activate` makes a new gateway",
            )
        active = [one for one in gateways_there if one.disabled_ms is None]
        if len(active) != 1:
            names = ", ".join(one.gateway_id for one in active) or "none"
            raise GatewayAmbiguousError(
                f"which gateway is not clear, the store has {names}",
                hint="name one with --gateway",
            )
        gateway_id = active[0].gateway_id
    found = gateway_document.read_gateway(store, gateway_id)
    if found.document.disabled_ms is not None:
        raise GatewayStateError(
            f"gateway {gateway_id} is disabled, for good",
            hint="activate another one, and restore its tapes with `tapectl recovery restore`",
        )
    return found


def adopt(
    state_path: Path,
    address: StoreAddress,
    store: ObjectStore,
    *,
    gateway_id: str | None = None,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
    progress: Callable[[int, int], None] | None = None,
) -> Adoption:
    """Become a gateway that the store knows: fence its machine, rebuild its state.

    `progress` is told how many of how many tapes are ours. Cut off anywhere, it can be begun again.
    Raises AlreadyActivatedError, GatewayNotFoundError, GatewayAmbiguousError, GatewayStateError,
    GatewayChangedError, TakeoverError, TapeKeyError, StoreError.
    """
    refuse_activated(state_path)
    Keyring.load(state_path)  # one that cannot be used is told before anything is done
    found = choose_gateway(store, gateway_id)
    document = replace(found.document, epoch=found.document.epoch + 1)
    left = gateway_document.replace_gateway(store, found, document)
    kept = _inventory(store, document.gateway_id)
    rows = {str(row["barcode"]): row for row in kept.inventory.tables["tape"]} if kept else {}
    owner = NewOwner(gateway_id=document.gateway_id, gateway_epoch=document.epoch, now_ms=now_ms())
    with ThreadPoolExecutor(_REQUESTS) as pool:
        owned = read_owned(store, document.gateway_id, pool)

        def take(one: OwnershipObject) -> TakenTape:
            known = int(str(rows.get(one.ownership.barcode, {}).get("manifest_number", 0)))
            try:
                return take_over(store, one, owner, known_number=known)
            except FencedError as error:
                raise gateway_document.GatewayChangedError(
                    f"gateway {document.gateway_id} is being adopted elsewhere, too: {error}",
                    hint="only one machine can be the gateway; try again if it is to be this one",
                ) from error

        taken: list[TakenTape] = []
        for tape in pool.map(take, owned):
            # Without the rows: the logs of all tapes together may be larger than memory.
            taken.append(replace(tape, point=replace(tape.point, rows=())))
            if progress is not None:
                progress(len(taken), len(owned))
        tombstones = _tombstones(store, pool, document.gateway_id)
    by = Stamp(actor, now_ms())
    record = _record(document, address)
    inventory = kept.inventory if kept else None

    def populate(db: sqlite3.Connection) -> None:
        gateways.insert(db, record)
        gateways.set_standing(
            db,
            store_epoch=document.epoch,
            store_etag=left.etag,
            inventory_etag=kept.etag if kept else None,
        )
        _enter(db, store, taken, inventory.tables if inventory else {}, tombstones, by)
        events.append(
            db,
            events.NewEvent(
                at_ms=by.at_ms,
                actor=by.actor,
                subject_kind="gateway",
                subject_id=record.id,
                type=GATEWAY_ADOPTED,
                detail={"epoch": document.epoch, "tapes": len(taken)},
            ),
        )

    try:
        with State.create(state_path, populate) as state:
            lacking = sorted(missing_keys(state))
    except FileExistsError as error:
        raise AlreadyActivatedError(
            f"there is a state file now that was not there before: {state_path}"
        ) from error
    told = _told(record, document.epoch, inventory, len(taken))
    return replace(told, missing_keys=lacking)


def foresee(
    state_path: Path, address: StoreAddress, store: ObjectStore, *, gateway_id: str | None = None
) -> Adoption:
    """Return what adopting a gateway would come to by what the store has now. Nothing is changed,
    and the gateway goes on.

    Raises AlreadyActivatedError, GatewayNotFoundError, GatewayAmbiguousError, GatewayStateError,
    TapeKeyError, StoreError.
    """
    refuse_activated(state_path)
    keyring = Keyring.load(state_path)
    document = choose_gateway(store, gateway_id).document
    kept = _inventory(store, document.gateway_id)
    with ThreadPoolExecutor(_REQUESTS) as pool:
        owned = [one.ownership for one in read_owned(store, document.gateway_id, pool)]
    needed = {key_id(one.data_key) for one in owned if one.data_key is not None}
    inventory = kept.inventory if kept else None
    told = _told(_record(document, address), document.epoch + 1, inventory, len(owned))
    lacking = sorted(one for one in needed if keyring.find(one) is None)
    return replace(told, missing_keys=lacking)


def refuse_activated(state_path: Path) -> None:
    """Raise AlreadyActivatedError if there is a gateway in the state file."""
    with contextlib.suppress(NotActivatedError), State.open(state_path) as state:
        gateway = describe_gateway(state)
        raise AlreadyActivatedError(
            f"a gateway is activated here already: {gateway.id} ({gateway.name})",
            hint="name another state file with --state",
        )


def _inventory(store: ObjectStore, gateway_id: str) -> InventoryObject | None:
    """Return the inventory, None if there is none or it is damaged: the manifests are enough."""
    try:
        return read_inventory(store, gateway_id)
    except StoreDataError as error:
        _log.error("%s", error.message)
        return None


def _told(record: GatewayRecord, epoch: int, inventory: Inventory | None, count: int) -> Adoption:
    if inventory is None:
        return Adoption(record, epoch, count, None, (), (), ())
    unuploaded = [
        Unuploaded(barcode, segments, size_bytes)
        for barcode, (segments, size_bytes) in sorted(inventory.waiting.items())
    ]
    chap = [
        (str(row["target"]), str(row["initiator_name"])) for row in inventory.tables.get("chap", ())
    ]
    return Adoption(record, epoch, count, inventory.written_ms, unuploaded, chap, ())


def _record(document: GatewayDocument, address: StoreAddress) -> GatewayRecord:
    return GatewayRecord(
        id=document.gateway_id,
        name=document.gateway_name,
        timezone=document.gateway_timezone,
        region=address.region,
        store_url=address.store_url,
        endpoint_url=address.endpoint_url,
        profile=address.profile,
        changer_type=document.changer_type,
        drive_type=document.drive_type,
        drive_count=document.drive_count,
        slot_count=document.slot_count,
        import_export_count=document.import_export_count,
        iqn_prefix=document.iqn_prefix,
        device_serial_base=document.device_serial_base,
        created_at_ms=document.created_at_ms,
        tags=tags.encode(document.tags),
    )


def _enter(
    db: sqlite3.Connection,
    store: ObjectStore,
    taken: Sequence[TakenTape],
    tables: inventory_rows.Tables,
    tombstones: Sequence[TapeRecord],
    by: Stamp,
) -> None:
    """Fill a new state with what the store knows."""
    gateway = gateways.read_gateway(db)
    rules = tables.get("automatic_tape_creation_rule", ())
    named = {tape.head.pool for tape in taken} | {str(rule["pool_id"]) for rule in rules}
    enter_pools(db, store, gateway.id, named)
    inventory_rows.restore_tables(db, inventory_rows.BEFORE_TAPES, tables)
    rows = {str(row["barcode"]): row for row in tables.get("tape", ())}
    records = [adopted_tape(tape, rows.get(tape.head.barcode), by) for tape in taken]
    # Never claimed in the store, which has nothing of them.
    ours = {record.barcode for record in records}
    unclaimed = [
        tape_of_row(row)
        for barcode, row in rows.items()
        if barcode not in ours and row["status"] == TapeStatus.CREATING
    ]
    elements = ElementMap.of(gateway)
    pool_ids = {pool.id for pool in pools.all_pools(db)}
    contents = {tape.head.barcode: tape for tape in taken}
    for record in settle([*records, *unclaimed], elements, pool_ids):
        tape = contents.get(record.barcode)
        if tape is None:
            tapes.insert(db, record, by)
            continue
        # One after the other, for the same reason.
        try:
            log = read_rows(store, read_point(store, record.barcode, tape.head.number))
        except (StoreDataError, ObjectNotFoundError) as error:
            tapes.insert(db, irrecoverable(record, error.message), by)
            continue
        tapes.insert(db, record, by)
        enter_contents(db, record, tape, log)
    for record in tombstones:
        if tapes.find(db, record.barcode) is None:
            tapes.insert(db, record, by)
    inventory_rows.restore_tables(db, inventory_rows.AFTER_TAPES, tables)
    inventory_rows.restore_chap(db, tables)


def _tombstones(
    store: ObjectStore, pool: ThreadPoolExecutor, gateway_id: str
) -> Sequence[TapeRecord]:
    """Return the tapes that the gateway has deleted, whose barcodes are never given again."""
    keys = [info.key for info in store.list(TOMBSTONES_PREFIX)]
    documents = (json.loads(data) for data in pool.map(store.get, keys))
    return [
        TapeRecord(
            barcode=one["barcode"],
            tape_uuid=one["tape_uuid"],
            size_bytes=1,  # the store does not say any more
            status=TapeStatus.DELETED,
            pool_id=pools.BUILT_IN[0],
            created_at_ms=one["deleted_ms"],
            status_at_ms=one["deleted_ms"],
        )
        for one in documents
        if one["gateway_id"] == gateway_id
    ]
