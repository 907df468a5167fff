"""What has to change until a library is as a file says: changes, each of which can be made.

Nothing is ever destroyed: disks, pools and tapes that the file does not name stay, and what differs
in what cannot be changed is refused, before anything is done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tapectl.gateway import automatic_creation, bandwidth, disk_allocation, quota
from tapectl.gateway.activation import (
    ActivationRequest,
    describe_gateway,
    normalise_store_url,
)
from tapectl.gateway.bandwidth_schedule import format_interval
from tapectl.gateway.identity_change import change_identity
from tapectl.gateway.library_change import LibraryChange
from tapectl.gateway.provisioning.access_plan import chap_changes, initiator_changes
from tapectl.gateway.provisioning.change import (
    Action,
    Change,
    Hands,
    LibraryConflictError,
    in_words,
)
from tapectl.gateway.provisioning.document import (
    GATEWAY_FIELDS,
    LibraryDocument,
    WantedQuota,
    WantedRule,
)
from tapectl.gateway.provisioning.media_plan import (
    pool_changes,
    pool_ids,
    tag_changes,
    tape_changes,
)
from tapectl.gateway.resource_tags import GATEWAY
from tapectl.state import disks
from tapectl.state.database import State
from tapectl.state.gateways import GatewayRecord
from tapectl.units import format_size

# Fields of a gateway that are what they were when it was activated.
_FOR_GOOD = ("store_url", "region", "endpoint_url", "profile", "drive_type", "iqn_prefix")


def plan_library(state: State, wanted: LibraryDocument, hands: Hands) -> Sequence[Change]:
    """Return what has to change of gateway, disks, pools and tapes, in the order in which it can be
    done.

    Raises LibraryConflictError.
    """
    return [
        *_gateway_changes(state, wanted, hands),
        *_quota_changes(state, wanted, hands),
        *_disk_changes(state, wanted, hands),
        *pool_changes(state, wanted, hands),
        *tape_changes(state, wanted, hands),
    ]


def plan_policies(state: State, wanted: LibraryDocument, hands: Hands) -> Sequence[Change]:
    """Return what has to change of rules, limits and lists; the library is as wanted already.

    Raises DeviceNotFoundError.
    """
    return [
        *_rule_changes(state, wanted, hands),
        *_bandwidth_changes(state, wanted, hands),
        *initiator_changes(state, wanted, hands),
        *chap_changes(state, wanted, hands),
    ]


def plan_anew(wanted: LibraryDocument) -> Sequence[str]:
    """Return what a file would create where there is no gateway yet, in words."""
    return [
        *(["quota"] if wanted.quota != WantedQuota() else ()),
        *(f"disk {disk.path}" for disk in wanted.disks),
        *(f"pool {one.creation.name}" for one in wanted.pools),
        *(f"tape {one.creation.barcode}" for one in wanted.tapes),
        *(f"autocreate {one.rule.prefix}" for one in wanted.autocreate or ()),
        *(f"bandwidth {format_interval(one)}" for one in wanted.bandwidth or ()),
        *(f"initiators of {device}" for device in wanted.initiators or ()),
        *(f"chap of {device}" for device in wanted.chap or ()),
    ]


def _gateway_changes(state: State, wanted: LibraryDocument, hands: Hands) -> Iterator[Change]:
    request = wanted.gateway
    if request is None:
        return
    here = describe_gateway(state)
    _refuse_other_gateway(here, request, wanted.given)
    identity: dict[str, Any] = {
        name: getattr(request, name)
        for name in ("name", "timezone")
        if name in wanted.given and getattr(request, name) != getattr(here, name)
    }
    if identity:
        make = partial(change_identity, state, **identity, actor=hands.actor)
        yield Change(Action.CHANGE, "gateway", in_words(identity), make)
    shape: dict[str, Any] = {
        name: getattr(request, name)
        for name in ("changer_type", "drive_count", "slot_count", "import_export_count")
        if name in wanted.given and getattr(request, name) != getattr(here, name)
    }
    if shape:
        change = LibraryChange(**shape)
        make_shape = partial(hands.change_library, change)
        yield Change(Action.CHANGE, "library", in_words(shape), make_shape)
    wants = request.tags if "tags" in wanted.given else None
    yield from tag_changes(state, GATEWAY, GATEWAY, here.tags, wants, hands)


def _refuse_other_gateway(
    here: GatewayRecord, request: ActivationRequest, given: frozenset[str]
) -> None:
    wanted = replace(request, store_url=normalise_store_url(request.store_url))
    for name in _FOR_GOOD:
        value = getattr(wanted, name)
        if name in given and getattr(here, name) != value:
            (key,) = (key for key, named in GATEWAY_FIELDS.items() if named == name)
            raise LibraryConflictError(
                f"the gateway here has {key} {getattr(here, name)}, which cannot become {value}",
                hint="name another state file with --state for another gateway",
            )


def _quota_changes(state: State, wanted: LibraryDocument, hands: Hands) -> Iterator[Change]:
    with state.read() as db:
        there = quota.read_quota(db)
    wants = quota.Quota(
        wanted.quota.tapes or there.tapes, wanted.quota.size_bytes or there.size_bytes
    )
    if wants != there:
        make = partial(
            quota.set_quota,
            state,
            tapes=wants.tapes,
            size_bytes=wants.size_bytes,
            actor=hands.actor,
        )
        detail = f"{wants.tapes} tapes, {format_size(wants.size_bytes)}"
        yield Change(Action.CHANGE, "quota", detail, make)


def _disk_changes(state: State, wanted: LibraryDocument, hands: Hands) -> Iterator[Change]:
    with state.read() as db:
        there = {disk.path: disk.role for disk in disks.all_disks(db)}
    for disk in wanted.disks:
        path = disk.path.expanduser().resolve()
        found = there.get(path)
        if found is disk.role:
            continue
        if found is not None:
            raise LibraryConflictError(
                f"disk {path} is allocated as {found}, not {disk.role}",
                hint="name another directory, or drain and remove this one first",
            )
        make = partial(disk_allocation.add_disk, state, disk, actor=hands.actor)
        yield Change(Action.CREATE, f"disk {path}", disk.role.value, make)


def _rule_changes(state: State, wanted: LibraryDocument, hands: Hands) -> Iterator[Change]:
    if wanted.autocreate is None:
        return
    there = {info.rule.prefix: info.rule for info in automatic_creation.list_rules(state)}
    prefixes = {one.rule.prefix for one in wanted.autocreate}
    for prefix in sorted(there.keys() - prefixes):
        make = partial(automatic_creation.delete_rules, state, [prefix], actor=hands.actor)
        yield Change(Action.REMOVE, f"autocreate {prefix}", "", make)
    ids = pool_ids(state)
    for one in wanted.autocreate:
        pool_id = ids.get(one.rule.pool_id, one.rule.pool_id)
        if there.get(one.rule.prefix) != replace(one.rule, pool_id=pool_id):
            action = Action.CHANGE if one.rule.prefix in there else Action.CREATE
            yield Change(action, *_rule_text(one), partial(_set_rule, state, one, hands.actor))


def _rule_text(one: WantedRule) -> tuple[str, str]:
    rule = one.rule
    detail = f"keep {rule.minimum_tapes} of {format_size(rule.size_bytes)}, {rule.pool_id}"
    return f"autocreate {rule.prefix}", f"{detail}{', WORM' if rule.worm else ''}"


def _set_rule(state: State, one: WantedRule, actor: str) -> None:
    automatic_creation.set_rule(state, one.rule, allow_small=one.allow_small, actor=actor)


def _bandwidth_changes(state: State, wanted: LibraryDocument, hands: Hands) -> Iterator[Change]:
    if wanted.bandwidth is None:
        return
    there = [info.interval for info in bandwidth.show_bandwidth(state)]
    if there != list(wanted.bandwidth):
        detail = ", ".join(format_interval(one) for one in wanted.bandwidth) or "no limits"
        make = partial(bandwidth.set_schedule, state, wanted.bandwidth, actor=hands.actor)
        yield Change(Action.CHANGE, "bandwidth", detail, make)
