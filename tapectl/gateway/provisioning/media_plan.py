"""What has to change of pools and tapes, and of the tags of both, until they are as a file says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

from tapectl.gateway import pools, resource_tags, tape_creation
from tapectl.gateway.activation import describe_gateway
from tapectl.gateway.drive_types import default_generation
from tapectl.gateway.encryption import encryption_word
from tapectl.gateway.media import generation_name
from tapectl.gateway.provisioning.change import Action, Change, Hands, LibraryConflictError
from tapectl.gateway.provisioning.document import LibraryDocument, WantedTape
from tapectl.gateway.tape_creation import TapeCreation
from tapectl.gateway.tape_info import TapeInfo
from tapectl.gateway.tapes import list_tapes
from tapectl.state import tags
from tapectl.state.database import State
from tapectl.state.pools import NO_LOCK, PoolRecord
from tapectl.state.tape_status import TapeStatus
from tapectl.units import format_size


def pool_ids(state: State) -> Mapping[str, str]:
    """Return the ids of the pools by name."""
    return {info.record.name: info.record.id for info in pools.list_pools(state)}


def pool_changes(state: State, wanted: LibraryDocument, hands: Hands) -> Iterator[Change]:
    """Yield what has to change of pools; raise LibraryConflictError."""
    found = {info.record.name: info.record for info in pools.list_pools(state)}
    for one in wanted.pools:
        request = one.creation
        there = found.get(request.name)
        if there is None:
            locks = request.retention_lock_type != NO_LOCK
            lock = f"lock {request.retention_lock_type}"
            days = f", {request.retention_lock_days} days" if locks else ""
            detail = f"{request.storage_class}, {lock}{days}"
            make = partial(_create_pool, state, request, hands)
            yield Change(Action.CREATE, f"pool {request.name}", detail, make)
            continue
        _refuse_other_pool(there, request)
        yield from tag_changes(
            state, f"tapepool/{there.id}", f"pool {there.name}", there.tags, one.tags, hands
        )


def tape_changes(state: State, wanted: LibraryDocument, hands: Hands) -> Iterator[Change]:
    """Yield what has to change of tapes; raise LibraryConflictError."""
    if not wanted.tapes:
        return
    gateway = describe_gateway(state)
    found = {one.barcode: one for one in list_tapes(state, statuses=TapeStatus)}
    ids = pool_ids(state)
    for one in wanted.tapes:
        # A pool that this file makes has no id yet; its name will do when the tape is created.
        tape = replace(one.creation, pool_id=ids.get(one.creation.pool_id, one.creation.pool_id))
        assert tape.barcode is not None, "the schema says so"
        subject = f"tape {tape.barcode}"
        generation = tape.generation or default_generation(gateway)
        there = found.get(tape.barcode)
        if there is None:
            creation = tape if one.encrypted else replace(tape, encryption=hands.tape_encryption)
            make = partial(tape_creation.create_tapes, state, creation, actor=hands.actor)
            yield Change(Action.CREATE, subject, _tape_detail(tape, generation), make)
            continue
        _refuse_other_tape(there, one, tape, generation)
        has = tags.encode(there.tags)
        yield from tag_changes(state, f"tape/{there.barcode}", subject, has, one.tags, hands)


def tag_changes(
    state: State,
    resource: str,
    subject: str,
    has: str,
    wants: Mapping[str, str] | None,
    hands: Hands,
) -> Iterator[Change]:
    """Yield the change of a resource's tags, if there is one; `has` is as the state keeps them,
    `wants` all that there are to be, None: whatever there are."""
    if wants is None or tags.encode(wants) == has:
        return
    detail = ", ".join(f"{key}={value}" for key, value in sorted(wants.items())) or "no tags"
    make = partial(
        resource_tags.set_tags,
        state,
        resource,
        wants,
        open_store=hands.open_store,
        actor=hands.actor,
    )
    yield Change(Action.CHANGE, f"tags of {subject}", detail, make)


def _create_pool(state: State, request: pools.PoolCreation, hands: Hands) -> None:
    pools.create_pool(state, hands.open_store(), request, actor=hands.actor)


def _refuse_other_pool(there: PoolRecord, request: pools.PoolCreation) -> None:
    for name in ("storage_class", "retention_lock_type", "retention_lock_days"):
        has, wants = getattr(there, name), getattr(request, name)
        if has != wants:
            raise LibraryConflictError(
                f"pool {there.name} has {name} {has}, which cannot become {wants}",
                hint="make another pool, and take tapes there with `tapectl tape assign-pool`",
            )


def _tape_detail(tape: TapeCreation, generation: int) -> str:
    if tape.cleaning:
        return "cleaning cartridge"
    worm = ", WORM" if tape.worm else ""
    return f"{format_size(tape.size_bytes)}, {generation_name(generation)}, {tape.pool_id}{worm}"


def _refuse_other_tape(
    there: TapeInfo, wanted: WantedTape, tape: TapeCreation, generation: int
) -> None:
    facts: dict[str, tuple[object, object]] = {
        "size": (format_size(there.size_bytes), format_size(tape.size_bytes)),
        "pool": (there.pool_id, tape.pool_id),
        "worm": (there.worm, tape.worm),
        "generation": (there.generation, generation),
        "cleaning": (there.cleaning, tape.cleaning),
    }
    if tape.cleaning:
        del facts["generation"]
    if wanted.encrypted:
        encryption = tape.encryption
        word = encryption_word(encryption.algorithm, client_side=encryption.client_side)
        facts["encryption"] = (there.encryption, word)
        facts["kms_key"] = (there.kms_key, tape.encryption.kms_key)
    if there.status in (TapeStatus.DELETING, TapeStatus.DELETED):
        raise LibraryConflictError(
            f"tape {there.barcode} was deleted, and a barcode is never given again",
            hint="choose another barcode",
        )
    for name, (has, wants) in facts.items():
        if has != wants:
            raise LibraryConflictError(
                f"tape {there.barcode} has {name} {has}, which cannot become {wants}",
                hint="choose another barcode for the new tape",
            )
