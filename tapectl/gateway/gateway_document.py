"""`gateways/<gateway-id>.json`: what a gateway is, for whoever has only the store.

It is the fence of the gateway: only the machine that left it as it is is the gateway. It is changed
by conditional puts, and whoever finds it changed by another stops for good.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

from tapectl.errors import ExitCode, TapectlError
from tapectl.gateway.transfer.bucket_layout import FORMAT_VERSION, GATEWAYS_PREFIX, gateway_key
from tapectl.state import tags
from tapectl.state.gateways import GatewayRecord
from tapectl.store.interface import (
    ObjectNotFoundError,
    ObjectStore,
    PreconditionFailedError,
    StoreDataError,
)

_ID = re.compile(r"sgw-[0-9A-F]{8}")
# Reads of a document that is replaced between two of them.
_READS_MAX = 10


class GatewayNotFoundError(TapectlError):
    """The store knows no such gateway."""

    exit_code = ExitCode.GATEWAY_UNKNOWN
    code = "gateway_not_found"
    aws_code = "GatewayNotFound"


class GatewayStateError(TapectlError):
    """The gateway is disabled, or is not, and for this it would have to be otherwise."""

    exit_code = ExitCode.GATEWAY_STATE
    code = "gateway_state"
    aws_code = "InvalidGateway"


class GatewayChangedError(TapectlError):
    """The document of a gateway was changed by somebody else in this moment."""

    exit_code = ExitCode.STORE_CONFLICT
    code = "gateway_changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayDocument:
    """The identity of a gateway. `epoch` grows with each machine that becomes this gateway;
    `disabled_ms` is when it was disabled, None: it is not."""

    gateway_id: str
    gateway_name: str
    gateway_timezone: str
    changer_type: str
    drive_type: str
    drive_count: int
    slot_count: int
    import_export_count: int
    iqn_prefix: str
    device_serial_base: str
    created_at_ms: int
    epoch: int = 1
    disabled_ms: int | None = None
    disabled_by: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, record: GatewayRecord, epoch: int = 1) -> GatewayDocument:
        """Return the document of a gateway that is not disabled."""
        return cls(
            gateway_id=record.id,
            gateway_name=record.name,
            gateway_timezone=record.timezone,
            changer_type=record.changer_type,
            drive_type=record.drive_type,
            drive_count=record.drive_count,
            slot_count=record.slot_count,
            import_export_count=record.import_export_count,
            iqn_prefix=record.iqn_prefix,
            device_serial_base=record.device_serial_base,
            created_at_ms=record.created_at_ms,
            epoch=epoch,
            tags=tags.decode(record.tags),
        )

    def encode(self) -> bytes:
        return json.dumps({"format": FORMAT_VERSION, **asdict(self)}, indent=2).encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> GatewayDocument:
        """Decode a document; raise StoreDataError if it is none."""
        try:
            document = json.loads(data)
            if document["format"] != FORMAT_VERSION:
                raise StoreDataError(
                    "gateway document of another version", hint="a newer tapectl wrote this bucket"
                )
            return cls(**{name: document[name] for name in cls.__slots__ if name in document})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreDataError(f"not a gateway document: {error}") from error


class GatewayObject(NamedTuple):
    """A document as the store has it."""

    document: GatewayDocument
    etag: str


def read_gateway(store: ObjectStore, gateway_id: str) -> GatewayObject:
    """Return the document of a gateway; raise GatewayNotFoundError, StoreError."""
    key = gateway_key(gateway_id)
    for _ in range(_READS_MAX):
        try:
            if _ID.fullmatch(gateway_id) is None:
                raise ObjectNotFoundError(f"not the id of a gateway: {gateway_id}")
            etag = store.head(key).etag
            document = GatewayDocument.decode(store.get(key))
            if store.head(key).etag == etag:
                return GatewayObject(document, etag)
        except ObjectNotFoundError:
            raise GatewayNotFoundError(
                f"the store knows no gateway {gateway_id}",
                hint="run `tapectl gateway list` to see which ones it knows",
            ) from None
    raise GatewayChangedError(f"gateway {gateway_id} changes all the time", hint="try again")


def read_gateways(store: ObjectStore, pool: Executor) -> Iterator[GatewayObject]:
    """Yield the documents of all gateways of a store, by id; raise StoreError."""
    keys = [info.key for info in store.list(GATEWAYS_PREFIX)]
    ids = sorted(key.removeprefix(GATEWAYS_PREFIX).removesuffix(".json") for key in keys)
    yield from pool.map(lambda one: read_gateway(store, one), ids)


def require_active(store: ObjectStore, gateway_id: str, epoch: int) -> GatewayObject:
    """Return the document of this machine's gateway.

    Raises GatewayStateError if the gateway is disabled or another machine has become it.
    """
    found = read_gateway(store, gateway_id)
    if reason := why_fenced(found.document, epoch):
        raise GatewayStateError(reason, hint="see `tapectl gateway show`")
    return found


def why_fenced(found: GatewayDocument, epoch: int) -> str | None:
    """Return why the machine that is `epoch` of the gateway may write nothing; None: it may."""
    if found.disabled_ms is not None:
        return f"gateway {found.gateway_id} was disabled by {found.disabled_by or 'somebody'}"
    if found.epoch != epoch:
        return f"another machine has become gateway {found.gateway_id}"
    return None


def replace_gateway(
    store: ObjectStore, found: GatewayObject, new: GatewayDocument
) -> GatewayObject:
    """Put another document in the place of the one that was found.

    Raises GatewayChangedError if it is not there any more.
    """
    try:
        info = store.put_if_match(gateway_key(new.gateway_id), new.encode(), etag=found.etag)
    except PreconditionFailedError as error:
        raise GatewayChangedError(
            f"gateway {new.gateway_id} was changed in the store just now", hint="try again"
        ) from error
    return GatewayObject(new, info.etag)
