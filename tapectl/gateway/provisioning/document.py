"""The file that `tapectl apply` reads: YAML or JSON, of the form of `library.schema.json`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from tapectl.errors import UsageError
from tapectl.gateway.activation import ActivationRequest
from tapectl.gateway.bandwidth_schedule import parse_interval
from tapectl.gateway.barcodes import series
from tapectl.gateway.disk_allocation import DiskAddition
from tapectl.gateway.encryption import AS_STORED, AS_THE_STORE_DOES, choose_encryption
from tapectl.gateway.media import parse_generation
from tapectl.gateway.pools import PoolCreation
from tapectl.gateway.provisioning.yaml_text import FORM_HINT, read_yaml
from tapectl.gateway.tag_rules import check_tags
from tapectl.gateway.tape_creation import TapeCreation
from tapectl.state.automatic_creation import CreationRule
from tapectl.state.bandwidth import BandwidthInterval
from tapectl.state.disks import DiskRole
from tapectl.state.pools import NO_LOCK
from tapectl.units import parse_size

SCHEMA_NAME = "library.schema.json"

_ROLES = {"cache": DiskRole.CACHE_STORAGE, "buffer": DiskRole.UPLOAD_BUFFER}
# Keys of the file -> fields of ActivationRequest.
GATEWAY_FIELDS = {
    "name": "name",
    "store": "store_url",
    "region": "region",
    "endpoint_url": "endpoint_url",
    "profile": "profile",
    "timezone": "timezone",
    "changer": "changer_type",
    "drive_type": "drive_type",
    "drives": "drive_count",
    "slots": "slot_count",
    "import_export": "import_export_count",
    "iqn_prefix": "iqn_prefix",
    "tags": "tags",
}

# Sections that are lists -> the key that tells one thing from another.
_IDENTITIES = {"disks": "path", "pools": "name", "tapes": "barcode", "autocreate": "prefix"}

Tags = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class WantedQuota:
    """How many tapes, and how much together; None: as it is."""

    tapes: int | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class WantedRule:
    """A rule of automatic tape creation, and whether its size may be one of labs."""

    rule: CreationRule
    allow_small: bool


@dataclass(frozen=True, slots=True)
class WantedPool:
    """A pool, and all tags it is to have; None: the file says nothing of them."""

    creation: PoolCreation
    tags: Tags | None


@dataclass(frozen=True, slots=True)
class WantedTape:
    """A tape, all tags it is to have (None: the file says nothing of them), and whether the file
    says how it is encrypted."""

    creation: TapeCreation
    tags: Tags | None
    encrypted: bool


@dataclass(frozen=True, slots=True)
class WantedCredential:
    """Who may log in, with which secret, and ours for mutual CHAP."""

    initiator_name: str
    secret: str = field(repr=False)
    target_secret: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryDocument:
    """What a file asks for; None: the section is not there. `given` are the fields of the gateway
    that the file names, so that the others stay as they are."""

    gateway: ActivationRequest | None = None
    quota: WantedQuota = field(default_factory=WantedQuota)
    given: frozenset[str] = frozenset()
    disks: Sequence[DiskAddition] = ()
    pools: Sequence[WantedPool] = ()
    tapes: Sequence[WantedTape] = ()
    autocreate: Sequence[WantedRule] | None = None
    bandwidth: Sequence[BandwidthInterval] | None = None
    initiators: Mapping[str, Sequence[str]] | None = None
    chap: Mapping[str, Sequence[WantedCredential]] | None = None


def read_document(text: str, name: str, *, read_secret: Callable[[Path], str]) -> LibraryDocument:
    """Return what a file says; `name` is for errors. Raises UsageError.

    Secrets are in files that it names, which are read by `read_secret`.
    """
    content = read_yaml(text, name)
    _require_schema(content, name)
    _require_unique(content, name)
    try:
        return _document(content, read_secret)
    except UsageError as exc:
        raise UsageError(f"{name}: {exc.message}", hint=exc.hint) from exc


def _require_unique(content: Mapping[str, Any], name: str) -> None:
    """Raise UsageError for a thing that is listed twice, before the first of the two is made."""
    for section, key in _IDENTITIES.items():
        values = [one[key] for one in content.get(section, ())]
        for place, value in enumerate(values):
            if value in values[:place]:
                raise UsageError(
                    f"{name}, {section}[{place}]: {value} is there twice", hint=FORM_HINT
                )


def _require_schema(content: object, name: str) -> None:
    """Raise UsageError, naming the place, for the first thing the schema forbids."""
    import jsonschema

    schema = json.loads(resources.files(__package__).joinpath(SCHEMA_NAME).read_text())
    errors = sorted(
        jsonschema.Draft202012Validator(schema).iter_errors(content),
        key=lambda error: [str(step) for step in error.absolute_path],
    )
    if errors:
        first = errors[0]
        place = first.json_path.removeprefix("$").removeprefix(".")
        where = f"{name}, {place}" if place else name
        raise UsageError(f"{where}: {first.message}", hint=FORM_HINT)


def _document(content: Mapping[str, Any], read_secret: Callable[[Path], str]) -> LibraryDocument:
    gateway, chap = content.get("gateway"), content.get("chap")
    quota = content.get("quota", {})
    fields = {GATEWAY_FIELDS[key]: value for key, value in (gateway or {}).items()}
    rules, limits = content.get("autocreate"), content.get("bandwidth")
    return LibraryDocument(
        gateway=ActivationRequest(**fields) if gateway is not None else None,
        quota=WantedQuota(
            quota.get("tapes"), parse_size(str(quota["size"])) if "size" in quota else None
        ),
        given=frozenset(fields),
        disks=[_disk(one) for one in content.get("disks", ())],
        pools=[_pool(one) for one in content.get("pools", ())],
        tapes=[tape for one in content.get("tapes", ()) for tape in _tapes(one)],
        autocreate=None if rules is None else [_rule(one) for one in rules],
        bandwidth=None if limits is None else [parse_interval(one) for one in limits],
        initiators=content.get("initiators"),
        chap=None
        if chap is None
        else {
            device: [_credential(one, read_secret) for one in listed]
            for device, listed in chap.items()
        },
    )


def _disk(one: Mapping[str, Any]) -> DiskAddition:
    return DiskAddition(
        role=_ROLES[one["role"]],
        path=Path(one["path"]),
        size_bytes=parse_size(str(one["size"])) if "size" in one else None,
        create=one.get("create", False),
        allow_small=one.get("allow_small", False),
    )


def _pool(one: Mapping[str, Any]) -> WantedPool:
    creation = PoolCreation(
        name=one["name"],
        storage_class=one["storage_class"],
        retention_lock_type=one.get("retention_lock_type", NO_LOCK),
        retention_lock_days=one.get("retention_days", 0),
        tags=one.get("tags", {}),
        if_not_exists=True,
    )
    check_tags(creation.tags)
    return WantedPool(creation, one.get("tags"))


def _tapes(one: Mapping[str, Any]) -> Sequence[WantedTape]:
    """Return the tapes of an entry, by their barcodes."""
    encrypted = "encryption" in one or "kms_key" in one
    creation = TapeCreation(
        size_bytes=parse_size(str(one["size"])) if "size" in one else 0,
        pool_id=one.get("pool", "GLACIER"),
        worm=one.get("worm", False),
        generation=parse_generation(one["generation"]) if "generation" in one else None,
        cleaning=one.get("cleaning", False),
        encryption=choose_encryption(
            one.get("encryption"),
            one.get("kms_key"),
            default_word=AS_THE_STORE_DOES,
            default_key="",
        )
        if encrypted
        else AS_STORED,
        tags=one.get("tags", {}),
        to_slots=one.get("to_slots", False),
        allow_small=one.get("allow_small", False),
        if_not_exists=True,
    )
    check_tags(creation.tags)
    return [
        WantedTape(replace(creation, barcode=barcode), one.get("tags"), encrypted)
        for barcode in series(one["barcode"], one.get("count", 1))
    ]


def _credential(one: Mapping[str, Any], read_secret: Callable[[Path], str]) -> WantedCredential:
    target = one.get("target_secret_file")
    return WantedCredential(
        one["initiator"],
        read_secret(Path(one["secret_file"]).expanduser()),
        None if target is None else read_secret(Path(target).expanduser()),
    )


def _rule(one: Mapping[str, Any]) -> WantedRule:
    rule = CreationRule(
        prefix=one["prefix"],
        minimum_tapes=one["minimum"],
        size_bytes=parse_size(str(one["size"])),
        pool_id=one.get("pool", "GLACIER"),
        worm=one.get("worm", False),
    )
    return WantedRule(rule, one.get("allow_small", False))
