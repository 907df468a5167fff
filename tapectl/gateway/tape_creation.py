"""Creating virtual tapes."""

from __future__ import annotations

import secrets
import sqlite3
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tapectl.errors import ExitCode, TapectlError, UsageError
from tapectl.gateway import barcodes
from tapectl.gateway.activation import describe_gateway
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.drive_types import default_generation
from tapectl.gateway.elements import ElementError, ElementMap
from tapectl.gateway.encryption import AS_STORED, CLIENT_SIDE, TapeEncryption
from tapectl.gateway.gateway_document import GatewayStateError
from tapectl.gateway.keyring import Keyring, WrappingKey
from tapectl.gateway.media import check_worm
from tapectl.gateway.pools import find_pool
from tapectl.gateway.quota import require_room
from tapectl.gateway.tag_rules import check_tags
from tapectl.gateway.tape_info import TapeInfo
from tapectl.gateway.tape_keys import new_data_key
from tapectl.gateway.tape_sizes import check_size
from tapectl.gateway.tapes import tape_infos
from tapectl.scsi.library import ElementType
from tapectl.state import (
    client_tokens,
    disks,
    gateways,
    pools,
    tags,
    tapes,
)
from tapectl.state.database import State
from tapectl.state.disks import DiskRole
from tapectl.state.gateways import GatewayRecord
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import Stamp, TapeRecord
from tapectl.units import MIB, format_size

MAX_AT_ONCE = 1500
MIN_TOKEN_CHARACTERS, MAX_TOKEN_CHARACTERS = 5, 100

# A tape has a size in the state; nothing is ever written on a cleaning cartridge.
CLEANING_SIZE_BYTES = MIB

_CREATE_TAPES = "CreateTapes"


class TapeExistsError(TapectlError):
    """The barcode is used, or was once."""

    exit_code = ExitCode.TAPE_EXISTS
    code = "tape_exists"
    aws_code = "InvalidParameters"


class DisksNeededError(TapectlError):
    """Tapes cannot be created before both kinds of local disk are there."""

    exit_code = ExitCode.DISKS_NEEDED
    code = "disks_needed"
    aws_code = "NoDisksAvailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class TapeCreation:
    """Tapes to create: `count` of them, with barcodes from `barcode` on, or generated ones.

    With `allow_small` a size of 1 MiB and more is taken, for labs. With `to_slots` the tapes come
    into storage slots, else into import/export slots as AWS does. `if_not_exists` goes with
    `barcode`, `client_token` with both: a repeat returns the tapes there are. `generation` is that
    of the gateway's drives where it is None. With `cleaning` they are cleaning cartridges, which
    have no size. `pool_id` may be the name of a pool.
    """

    size_bytes: int
    barcode: str | None = None
    prefix: str | None = None
    count: int = 1
    pool_id: str = "GLACIER"
    worm: bool = False
    client_token: str | None = None
    allow_small: bool = False
    to_slots: bool = False
    if_not_exists: bool = False
    generation: int | None = None
    cleaning: bool = False
    encryption: TapeEncryption = AS_STORED
    tags: Mapping[str, str] = field(default_factory=dict)


def create_tapes(
    state: State,
    request: TapeCreation,
    *,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
    draw: Callable[[int], int] = secrets.randbelow,
) -> Sequence[TapeInfo]:
    """Create tapes, all of them or none; they are CREATING until the store knows them.

    Raises BarcodeError, TapeSizeError, TapeExistsError, TapeLimitError, PoolNotFoundError,
    DisksNeededError, ElementError, GatewayStateError, TapeKeyError, UsageError.
    """
    gateway = describe_gateway(state)
    _check(request, gateway)
    by = Stamp(actor, now_ms())
    wrapping = Keyring.load(state.path).current if request.encryption.client_side else None
    with state.write() as db:
        if (reason := gateways.read_standing(db).fenced_detail) is not None:
            raise GatewayStateError(reason, hint="see `tapectl gateway show`")
        request = replace(request, pool_id=find_pool(db, request.pool_id).id)
        created = _repeated(db, request)
        if created is None:
            created = _create(db, gateway, request, _Making(by, draw, wrapping))
        return tape_infos(db, gateway, [tapes.get(db, barcode) for barcode in created])


@dataclass(frozen=True, slots=True)
class _Making:
    by: Stamp
    draw: Callable[[int], int]
    # What wraps the data keys of the new tapes, if they are to be encrypted here.
    wrapping: WrappingKey | None


def _check(request: TapeCreation, gateway: GatewayRecord) -> None:
    """Refuse what no state of the library could make right."""
    if request.barcode is not None:
        barcodes.check_barcode(request.barcode, gateway.changer_type)
        if request.prefix is not None:
            raise UsageError(
                "a barcode names the tapes: give no prefix with it",
                hint="--prefix with --count makes barcodes by itself",
            )
    elif request.if_not_exists:
        raise UsageError(
            "--if-not-exists goes with --barcode",
            hint="for generated barcodes --client-token creates only once",
        )
    if request.prefix is not None:
        # Cleaning cartridges have fewer digits, with which a prefix fits every changer.
        barcodes.check_prefix(request.prefix, None if request.cleaning else gateway.changer_type)
    if not 1 <= request.count <= MAX_AT_ONCE:
        raise UsageError(f"not a number of tapes: {request.count}", hint=f"1 to {MAX_AT_ONCE}")
    token = request.client_token
    if token is not None and not MIN_TOKEN_CHARACTERS <= len(token) <= MAX_TOKEN_CHARACTERS:
        raise UsageError(
            f"not a client token: {token}",
            hint=f"{MIN_TOKEN_CHARACTERS} to {MAX_TOKEN_CHARACTERS} characters",
        )
    if request.cleaning:
        _check_cleaning(request)
    else:
        check_size(request.size_bytes, allow_small=request.allow_small)
        if request.worm:
            check_worm(request.generation or default_generation(gateway))
    check_tags(request.tags)
    if request.encryption.algorithm is not None and gateway.store_url.startswith("file:"):
        raise UsageError(
            "a directory store does not encrypt",
            hint="say --encryption CSE, put the directory on an encrypted file system, or say NONE",
        )


def _check_cleaning(request: TapeCreation) -> None:
    if request.worm or request.size_bytes:
        raise UsageError(
            "a cleaning cartridge holds no data: give no size, and no WORM",
            hint="leave --size and --worm away",
        )
    for text in (request.barcode, request.prefix):
        if text is not None:
            barcodes.check_cleaning_barcode(text)


def _request_facts(request: TapeCreation) -> dict[str, object]:
    """Return what a repeat with the same client token must ask for again."""
    kind: dict[str, object] = {}  # not of tapes as they were when tokens were first kept
    if request.generation is not None:
        kind["generation"] = request.generation
    if request.cleaning:
        kind["cleaning"] = True
    if request.encryption.algorithm is not None:
        kind["encryption"] = [request.encryption.algorithm, request.encryption.kms_key]
    if request.encryption.client_side:
        kind["encryption"] = CLIENT_SIDE
    if request.tags:
        kind["tags"] = dict(request.tags)
    return {
        **kind,
        "size_bytes": request.size_bytes,
        "barcode": request.barcode,
        "prefix": request.prefix,
        "count": request.count,
        "pool_id": request.pool_id,
        "worm": request.worm,
    }


def _repeated(db: sqlite3.Connection, request: TapeCreation) -> Sequence[str] | None:
    """Return the barcodes that an earlier run with the same client token made, None if there was
    none."""
    if request.client_token is None:
        return None
    earlier = client_tokens.find(db, request.client_token)
    if earlier is None:
        return None
    if earlier.request != _request_facts(request):
        raise UsageError(
            f"the client token was used for another request: {request.client_token}",
            hint="use a new token for every new request",
        )
    return [code for code in earlier.result if _is_there(db, code)]


def _is_made(
    db: sqlite3.Connection, gateway: GatewayRecord, request: TapeCreation, barcode: str
) -> bool:
    """Say whether a tape of the request is there already, as it may be; raise TapeExistsError."""
    tape = tapes.find(db, barcode)
    if tape is None:
        return False
    if tape.moved_to is not None:
        raise TapeExistsError(
            f"barcode {barcode} is that of a tape that belongs to gateway {tape.moved_to} now",
            hint="choose another barcode",
        )
    if tape.status is TapeStatus.DELETED:
        raise TapeExistsError(
            f"barcode {barcode} belonged to a deleted tape and is never given again",
            hint="choose another barcode",
        )
    wanted = _new_tape(gateway, request, tape.barcode)
    facts = ("size_bytes", "pool_id", "worm", "generation", "cleaning", "encryption", "kms_key")
    as_wanted = all(getattr(tape, fact) == getattr(wanted, fact) for fact in facts)
    sealed = tape.data_key is not None
    if request.if_not_exists and as_wanted and sealed == request.encryption.client_side:
        return True
    raise TapeExistsError(
        f"there is a tape with barcode {barcode} already",
        hint=f"it is {tape.status}, {format_size(tape.size_bytes)}, pool {tape.pool_id}",
    )


def _is_there(db: sqlite3.Connection, barcode: str) -> bool:
    tape = tapes.find(db, barcode)
    return tape is not None and tape.status is not TapeStatus.DELETED


def _create(
    db: sqlite3.Connection, gateway: GatewayRecord, request: TapeCreation, making: _Making
) -> Sequence[str]:
    """Create what of a request is not there yet; return the barcodes of all of it."""
    if request.barcode is not None:
        codes = barcodes.series(request.barcode, request.count)
        new_codes: Sequence[str] = [
            code for code in codes if not _is_made(db, gateway, request, code)
        ]
        if not new_codes:
            return codes
    else:
        codes = new_codes = _generate(db, gateway, request, making)
    _check_against_library(db, request, len(new_codes))
    elements = ElementMap.of(gateway)
    element_type = ElementType.STORAGE if request.to_slots else ElementType.IMPORT_EXPORT
    free = elements.first_free(element_type, tapes.occupied_elements(db), len(new_codes))
    if len(free) < len(new_codes):
        kind = "storage" if request.to_slots else "import/export"
        other = "without --to-slots" if request.to_slots else "with --to-slots"
        raise ElementError(
            f"no room for {len(new_codes)} tapes, {len(free)} {kind} slots are free",
            hint=f"create them {other}, or move tapes out of the {kind} slots",
        )
    for code, address in zip(new_codes, free, strict=True):
        new = _new_tape(gateway, request, code)
        if making.wrapping is not None:
            new = replace(new, data_key=new_data_key(making.wrapping, new.tape_uuid))
        tape = replace(
            new,
            element_address=address,
            placed_by_operator=not request.to_slots,
            created_at_ms=making.by.at_ms,
            status_at_ms=making.by.at_ms,
            pool_entered_at_ms=None if request.pool_id in pools.BUILT_IN else making.by.at_ms,
        )
        tapes.insert(db, tape, making.by)
    if request.client_token is not None:
        client_tokens.insert(
            db,
            client_tokens.ClientToken(
                token=request.client_token,
                operation=_CREATE_TAPES,
                request=_request_facts(request),
                result=codes,
                created_at_ms=making.by.at_ms,
            ),
        )
    return codes


def _new_tape(gateway: GatewayRecord, request: TapeCreation, barcode: str) -> TapeRecord:
    """Return a tape as it is asked for, of no time and in no place yet."""
    return TapeRecord(
        barcode=barcode,
        tape_uuid=uuid.uuid4().hex,
        size_bytes=CLEANING_SIZE_BYTES if request.cleaning else request.size_bytes,
        pool_id=request.pool_id,
        worm=request.worm,
        generation=request.generation or default_generation(gateway),
        cleaning=request.cleaning,
        created_at_ms=0,
        status_at_ms=0,
        encryption=request.encryption.algorithm,
        kms_key=request.encryption.kms_key,
        tags=tags.encode(request.tags),
        manifest_stale=bool(request.tags),
    )


def _generate(
    db: sqlite3.Connection, gateway: GatewayRecord, request: TapeCreation, making: _Making
) -> Sequence[str]:
    if request.cleaning:
        prefix = request.prefix or barcodes.CLEANING_PREFIX
        hex_digits = barcodes.CLEANING_HEX_DIGITS
    else:
        prefix = request.prefix or barcodes.default_prefix(gateway.changer_type)
        hex_digits = barcodes.GENERATED_HEX_DIGITS
    return barcodes.generate(
        prefix,
        request.count,
        lambda code: tapes.find(db, code) is not None,
        making.draw,
        hex_digits=hex_digits,
    )


def _check_against_library(db: sqlite3.Connection, request: TapeCreation, count: int) -> None:
    roles = {disk.role for disk in disks.all_disks(db)}
    if missing := set(DiskRole) - roles:
        names = {
            DiskRole.CACHE_STORAGE: ("a cache disk", "tapectl disk add-cache"),
            DiskRole.UPLOAD_BUFFER: ("an upload buffer disk", "tapectl disk add-buffer"),
        }
        wanted = [names[role] for role in sorted(missing)]
        raise DisksNeededError(
            f"allocate {' and '.join(what for what, _ in wanted)} before creating tapes",
            hint="run " + " and ".join(f"`{command} DIRECTORY`" for _, command in wanted),
        )
    require_room(db, count, count * request.size_bytes)
