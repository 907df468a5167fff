"""Activation: a new gateway, its mark in the store and its state file."""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tapectl.errors import ExitCode, TapectlError, UsageError
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.drive_types import check_drive_type, keep_profile
from tapectl.gateway.gateway_document import GatewayDocument
from tapectl.gateway.tag_rules import check_tags
from tapectl.gateway.transfer.bucket_layout import gateway_key
from tapectl.gateway.transfer.bucket_marker import require_known
from tapectl.scsi.changer_personality import CHANGER_PERSONALITIES
from tapectl.state import events, gateways, tags
from tapectl.state.database import State
from tapectl.state.errors import NotActivatedError
from tapectl.state.gateways import GatewayRecord
from tapectl.store.interface import ObjectStore

DEFAULT_IQN_PREFIX = "iqn.2026-11.io.tapectl"

MAX_DRIVES = 64
MAX_SLOTS = 10_000

# AWS's GatewayName: printable ASCII without `/` and `\\`, and not blank altogether.
PRINTABLE_NAME = re.compile(r"[ -.0-\[\]-~]*[!-.0-\[\]-~][ -.0-\[\]-~]*")
_TIMEZONE = re.compile(r"GMT(?:[+-](\d{1,2}):([0-5]\d))?")
_MAX_TIMEZONE_HOURS = 14
_IQN_PREFIX = re.compile(r"iqn\.\d{4}-(?:0[1-9]|1[0-2])\.[a-z0-9][a-z0-9.:-]*")
# A whole iSCSI name has at most 223 bytes (RFC 7143 4.2.7.1); ids and devices take 30.
_MAX_IQN_PREFIX_CHARACTERS = 190
_S3_URL = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/.*)?")


class AlreadyActivatedError(TapectlError):
    """There is a gateway here already."""

    exit_code = ExitCode.ALREADY_ACTIVATED
    code = "already_activated"


GatewayInfo = GatewayRecord
"""What describes a gateway to its user is its row in the state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationRequest:
    """A gateway to make. `store_url` is `s3://bucket/prefix`, `file:///path` or a path.

    `drive_type` names one kind of drive, or several with commas between them, which are dealt out
    to the drives in turn; `drive_profile` is what `drive_types.read_profile` returned.
    """

    name: str
    store_url: str
    timezone: str = "GMT"
    region: str | None = None
    endpoint_url: str | None = None
    profile: str | None = None
    changer_type: str = "AWS-Gateway-VTL"
    drive_type: str = "IBM-ULT3580-TD5"
    drive_profile: str | None = None
    drive_count: int = 10
    slot_count: int = 1600
    import_export_count: int = 1600
    iqn_prefix: str = DEFAULT_IQN_PREFIX
    tags: Mapping[str, str] = field(default_factory=dict)
    if_not_exists: bool = False


def activate(
    state_path: Path,
    request: ActivationRequest,
    *,
    open_store: Callable[[GatewayRecord], ObjectStore],
    now_ms: Callable[[], int] = clock_now_ms,
    actor: str = "cli",
) -> GatewayInfo:
    """Make a gateway: check the store, leave `gateways/<id>.json` in it, write the state file.

    Nothing is left behind when a step fails. With `if_not_exists` the gateway that is here
    already is returned if it has the same name and store. Waits for the store.
    Raises UsageError, AlreadyActivatedError, StateError, and the store's own errors.
    """
    record = _record(request, now_ms())
    try:
        with State.open(state_path) as state:
            return _existing(state, request, record)
    except NotActivatedError:
        pass  # as it should be
    store = open_store(record)
    store.check()
    key = gateway_key(record.id)
    document = GatewayDocument.of(record)
    require_known(store)
    etag = store.put_if_absent(key, document.encode()).etag

    def populate(db: sqlite3.Connection) -> None:
        gateways.insert(db, record)
        gateways.set_standing(db, store_epoch=document.epoch, store_etag=etag, inventory_etag=None)
        if request.drive_profile is not None:
            keep_profile(db, request.drive_profile)
        events.append(
            db,
            events.NewEvent(
                at_ms=record.created_at_ms,
                actor=actor,
                subject_kind="gateway",
                subject_id=record.id,
                type="GatewayActivated",
                detail={"name": record.name, "store_url": record.store_url},
            ),
        )

    try:
        State.create(state_path, populate).close()
    except BaseException as exc:
        store.delete(key)
        if isinstance(exc, FileExistsError):
            raise AlreadyActivatedError(
                f"another activation was faster, there is a state file now: {state_path}",
                hint="run `tapectl gateway show` for what it has made",
            ) from exc
        raise
    return record


def describe_gateway(state: State) -> GatewayInfo:
    """Return the gateway of a state file; raise NotActivatedError if it has none."""
    with state.read() as db:
        return gateways.read_gateway(db)


def normalise_store_url(url: str) -> str:
    """Return the one form of a store's address; raise UsageError if it is none.

    `s3://bucket/prefix` loses a slash at its end; a path becomes absolute and a `file://` URL.
    """
    if url.startswith("s3:"):
        if _S3_URL.fullmatch(url) is None:
            raise UsageError(
                f"not a bucket: {url}",
                hint="write it as s3://bucket/prefix; a bucket has 3 to 63 of a-z, 0-9, . and -",
            )
        return url.rstrip("/")
    path = url.removeprefix("file://")
    if not path or "://" in path or (url != path and not path.startswith("/")):
        raise UsageError(
            f"not an object store: {url}", hint="s3://bucket/prefix, file:///path or a path"
        )
    absolute = Path(path).expanduser().absolute()
    if ".." in absolute.parts:  # two names of one store would be two stores for all that compares
        absolute = Path(os.path.realpath(absolute))
    return f"file://{absolute}"


def _existing(state: State, request: ActivationRequest, record: GatewayRecord) -> GatewayInfo:
    gateway = describe_gateway(state)
    same = (gateway.name, gateway.store_url) == (record.name, record.store_url)
    if request.if_not_exists and same:
        return gateway
    raise AlreadyActivatedError(
        f"a gateway is activated here already: {gateway.id} ({gateway.name})",
        hint=f"its state file is {state.path}; name another one for a second gateway",
    )


def _record(request: ActivationRequest, created_at_ms: int) -> GatewayRecord:
    _check(request)
    digits = secrets.token_hex(4).upper()
    return GatewayRecord(
        id=f"sgw-{digits}",
        name=request.name,
        timezone=request.timezone,
        region=request.region,
        store_url=normalise_store_url(request.store_url),
        endpoint_url=request.endpoint_url,
        profile=request.profile,
        changer_type=request.changer_type,
        drive_type=request.drive_type,
        drive_count=request.drive_count,
        slot_count=request.slot_count,
        import_export_count=request.import_export_count,
        iqn_prefix=request.iqn_prefix,
        device_serial_base=digits,
        created_at_ms=created_at_ms,
        tags=tags.encode(request.tags),
    )


def check_name(name: str) -> None:
    """Raise UsageError for what AWS takes for no gateway name."""
    if not 2 <= len(name) <= 255 or PRINTABLE_NAME.fullmatch(name) is None:
        raise UsageError(
            f"not a gateway name: {name}",
            hint="2 to 255 printable ASCII characters without / and \\",
        )


def check_timezone(timezone: str) -> None:
    """Raise UsageError for what is no time zone of a gateway."""
    zone = _TIMEZONE.fullmatch(timezone)
    if zone is None or int(zone[1] or 0) > _MAX_TIMEZONE_HOURS:
        raise UsageError(f"not a time zone: {timezone}", hint="write GMT, GMT-5:00 or GMT+10:30")


def check_endpoint(endpoint_url: str, store_url: str) -> None:
    """Raise UsageError for what is no URL of an S3 server, or where the store has none."""
    if not store_url.startswith("s3:"):
        raise UsageError(
            f"a directory has no endpoint: {store_url}", hint="leave --endpoint-url away"
        )
    try:
        parts = urlsplit(endpoint_url)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        whole = False
    if not whole:
        raise UsageError(
            f"not the URL of an S3 server: {endpoint_url}",
            hint="write it as https://s3.example.com:9000",
        )
    if "@" in parts.netloc:
        raise UsageError(
            "credentials do not go into the URL of an endpoint",
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile of ~/.aws",
        )


def _check(request: ActivationRequest) -> None:
    check_name(request.name)
    if request.endpoint_url is not None:
        check_endpoint(request.endpoint_url, request.store_url)
    check_timezone(request.timezone)
    check_drive_type(request.drive_type)
    check_library(
        request.changer_type,
        request.drive_count,
        request.slot_count,
        request.import_export_count,
    )
    prefix = request.iqn_prefix
    if len(prefix) > _MAX_IQN_PREFIX_CHARACTERS or _IQN_PREFIX.fullmatch(prefix) is None:
        raise UsageError(
            f"not a prefix of iSCSI names: {prefix}", hint=f"as in {DEFAULT_IQN_PREFIX}"
        )
    check_tags(request.tags)


def check_library(changer_type: str, drives: int, slots: int, import_export: int) -> None:
    """Raise UsageError for a changer that is not known, or a number of elements that no library
    has or that the changer has no addresses for."""
    if changer_type not in CHANGER_PERSONALITIES:
        raise UsageError(
            f"no such medium changer: {changer_type}",
            hint=f"known are {', '.join(CHANGER_PERSONALITIES)}",
        )
    for count, maximum, what in (
        (drives, MAX_DRIVES, "drives"),
        (slots, MAX_SLOTS, "slots"),
        (import_export, MAX_SLOTS, "import/export slots"),
    ):
        if not 1 <= count <= maximum:
            raise UsageError(f"not a number of {what}: {count}", hint=f"1 to {maximum}")
    try:
        CHANGER_PERSONALITIES[changer_type].ranges(drives, slots, import_export)
    except ValueError as exc:
        raise UsageError(str(exc), hint="ask for fewer, or for another medium changer") from exc
