"""What TAB completes from the state: barcodes, devices, pools, disks.

Silent on any failure: a shell that is completing a word has no place for an error.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import typer

from tapectl.cli.session import open_gateway

if TYPE_CHECKING:
    from tapectl.state.database import State

Candidates = list[str | tuple[str, str]]

MAX_ELEMENTS = 12
"""Of one type; a library may have thousands that are free, and one more digit finds the others."""


def barcodes(context: typer.Context, incomplete: str) -> Candidates:
    """Return the barcodes of all tapes, each with its status."""
    return _complete(context, incomplete, _tapes)


def archived_barcodes(context: typer.Context, incomplete: str) -> Candidates:
    """Return the barcodes of the tapes on the shelf."""
    return _complete(context, incomplete, _archive)


def devices(context: typer.Context, incomplete: str) -> Candidates:
    """Return the names of the devices."""
    return _complete(context, incomplete, _devices)


def devices_or_all_or_discovery(context: typer.Context, incomplete: str) -> Candidates:
    """Return the names of the devices, the word for all of them, and that for discovery
    sessions."""
    words = [("all", ""), ("discovery", "")]
    return _complete(context, incomplete, lambda state: [*_devices(state), *words])


def devices_or_all(context: typer.Context, incomplete: str) -> Candidates:
    """Return the names of the devices, and the word for all of them."""
    return _complete(context, incomplete, lambda state: [*_devices(state), ("all", "")])


def free_elements(context: typer.Context, incomplete: str) -> Candidates:
    """Return elements that a tape can go to: the first few free ones of each type."""
    return _complete(context, incomplete, lambda state: _free_elements(state, incomplete))


def initiators(context: typer.Context, incomplete: str) -> Candidates:
    """Return the names of the initiators that are on a list or have a secret."""
    return _complete(context, incomplete, _initiators)


def pools(context: typer.Context, incomplete: str) -> Candidates:
    """Return the names of the pools, and the ids of those whose name is no word."""
    return _complete(context, incomplete, _pools)


def resources(context: typer.Context, incomplete: str) -> Candidates:
    """Return what can have tags: the gateway, tapes, custom pools."""

    def candidates(state: State) -> Iterable[tuple[str, str]]:
        return [("gateway", ""), *_tapes(state), *_pools(state)]

    return _complete(context, incomplete, candidates)


def archive_classes(incomplete: str) -> list[str]:
    """Return the storage classes of archived tapes."""
    from tapectl.state.pools import BUILT_IN

    return [name for name in BUILT_IN if name.startswith(incomplete.upper())]


def lock_types(incomplete: str) -> list[str]:
    """Return the types of retention locks."""
    from tapectl.gateway.pools import LOCK_TYPES

    return [name for name in LOCK_TYPES if name.startswith(incomplete.upper())]


def encryptions(incomplete: str) -> list[str]:
    """Return the ways to encrypt in the store."""
    from tapectl.gateway.encryption import WORDS

    return [word for word in WORDS if word.startswith(incomplete.upper())]


def creation_prefixes(context: typer.Context, incomplete: str) -> Candidates:
    """Return the prefixes that have a rule of automatic tape creation."""
    return _complete(context, incomplete, _creation_rules)


def disks(context: typer.Context, incomplete: str) -> Candidates:
    """Return the ids of the allocated disks."""
    return _complete(context, incomplete, _disks)


def statuses(incomplete: str) -> list[str]:
    """Return the statuses of tapes, in the spelling that needs no quotes."""
    from tapectl.state.tape_status import TapeStatus

    words = (status.value.replace(" ", "_") for status in TapeStatus)
    return [word for word in words if word.startswith(incomplete.upper())]


def generations(incomplete: str) -> list[str]:
    """Return the generations of LTO media."""
    from tapectl.scsi.media import LTO_MEDIA

    names = (media.name for media in LTO_MEDIA.values())
    return [name for name in names if name.startswith(incomplete.upper())]


def changer_types(incomplete: str) -> list[tuple[str, str]]:
    """Return what the media changer can look like."""
    from tapectl.scsi.changer_personality import CHANGER_PERSONALITIES

    return [
        (row.name, f"{row.vendor} {row.product}")
        for row in CHANGER_PERSONALITIES.values()
        if row.name.lower().startswith(incomplete.lower())
    ]


def drive_types(incomplete: str) -> list[tuple[str, str]]:
    """Return what the drives can look like."""
    from tapectl.scsi.personality import DRIVE_PERSONALITIES

    return [
        (row.name, f"{row.vendor} {row.product}, {row.native_medium.name}")
        for row in DRIVE_PERSONALITIES.values()
        if row.name.lower().startswith(incomplete.lower())
    ]


def tiers(incomplete: str) -> list[str]:
    """Return the retrieval tiers."""
    from tapectl.store.interface import RetrievalTier

    return [tier.value for tier in RetrievalTier if tier.lower().startswith(incomplete.lower())]


def _tapes(state: State) -> Iterable[tuple[str, str]]:
    from tapectl.gateway.tapes import list_tapes

    return ((tape.barcode, tape.status) for tape in list_tapes(state))


def _archive(state: State) -> Iterable[tuple[str, str]]:
    from tapectl.gateway.shelf import list_archive

    return ((tape.barcode, tape.status) for tape in list_archive(state))


def _devices(state: State) -> Iterable[tuple[str, str]]:
    from tapectl.gateway.devices import library_device, list_devices

    devices = (*list_devices(state), library_device(state))
    return ((device.name, device.product) for device in devices)


def _free_elements(state: State, incomplete: str) -> Iterable[tuple[str, str]]:
    from tapectl.gateway.activation import describe_gateway
    from tapectl.gateway.elements import ElementMap
    from tapectl.scsi.library import ElementType
    from tapectl.state.tapes import occupied_elements

    elements = ElementMap.of(describe_gateway(state))
    with state.read() as db:
        occupied = occupied_elements(db)
    for word, kind in (
        ("drive", ElementType.DATA_TRANSFER),
        ("slot", ElementType.STORAGE),
        ("ie", ElementType.IMPORT_EXPORT),
    ):
        free = (
            f"{word}:{elements.number(address)}"
            for address in elements.addresses(kind)
            if address not in occupied
        )
        matching = (name for name in free if name.startswith(incomplete))
        yield from ((name, "") for name in itertools.islice(matching, MAX_ELEMENTS))


def _initiators(state: State) -> Iterable[tuple[str, str]]:
    from tapectl.state import chap
    from tapectl.state import initiators as lists

    with state.read() as db:
        names = {entry.initiator_name for entry in lists.entries(db)}
        names |= {entry.initiator_name for entry in chap.entries(db)}
    return [(name, "") for name in sorted(names)]


def _pools(state: State) -> Iterable[tuple[str, str]]:
    from tapectl.state.pools import all_pools

    with state.read() as db:
        return [
            (pool.id, pool.name)
            if pool.built_in or " " in pool.name
            else (pool.name, f"{pool.storage_class}, lock {pool.retention_lock_type}")
            for pool in all_pools(db)
        ]


def _creation_rules(state: State) -> Iterable[tuple[str, str]]:
    from tapectl.state.automatic_creation import all_rules

    with state.read() as db:
        return [(rule.prefix, f"keep {rule.minimum_tapes}") for rule in all_rules(db)]


def _disks(state: State) -> Iterable[tuple[str, str]]:
    from tapectl.state.disks import all_disks

    with state.read() as db:
        return [(disk.id, str(disk.path)) for disk in all_disks(db)]


def _complete(
    context: typer.Context,
    incomplete: str,
    candidates: Callable[[State], Iterable[tuple[str, str]]],
) -> Candidates:
    try:
        with open_gateway(context) as (state, _):
            return [pair for pair in candidates(state) if pair[0].startswith(incomplete)]
    except Exception:
        return []
