"""Automatic tape creation: so many tapes of each prefix wait in the import/export slots.

As AWS counts: what was imported into a slot or a drive, or ejected, is not there any more, and a
new tape takes its place. The transfer engine does it (`transfer/automatic_creation.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from tapectl.errors import ExitCode, TapectlError, UsageError
from tapectl.gateway import barcodes
from tapectl.gateway.activation import describe_gateway
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.drive_types import default_generation
from tapectl.gateway.elements import ElementMap
from tapectl.gateway.media import check_worm
from tapectl.gateway.pools import find_pool
from tapectl.gateway.tape_sizes import check_size
from tapectl.scsi.library import ElementType
from tapectl.state import automatic_creation, events, tapes
from tapectl.state.automatic_creation import CreationRule
from tapectl.state.database import State
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import TapeFilter

MAX_RULES = 10
MAX_MINIMUM_TAPES = 10

_COUNTED = frozenset({TapeStatus.CREATING, TapeStatus.AVAILABLE})


class CreationRuleNotFoundError(TapectlError):
    """No rule has this prefix."""

    exit_code = ExitCode.TAPE_NOT_FOUND
    code = "creation_rule_not_found"
    aws_code = "InvalidParameters"


@dataclass(frozen=True, slots=True)
class RuleInfo:
    """A rule, and how many tapes there are that it counts."""

    rule: CreationRule
    available_tapes: int

    @property
    def missing_tapes(self) -> int:
        return max(0, self.rule.minimum_tapes - self.available_tapes)


def list_rules(state: State) -> Sequence[RuleInfo]:
    """Return the rules by prefix, each with the tapes there are."""
    elements = ElementMap.of(describe_gateway(state))
    with state.read() as db:
        rules = automatic_creation.all_rules(db)
        if not rules:  # as it is at nearly every pass of the transfer engine
            return []
        found = tapes.select(db, TapeFilter(statuses=_COUNTED))
    waiting = [
        tape.barcode
        for tape in found
        if tape.element_address is not None
        and elements.type_of(tape.element_address) is ElementType.IMPORT_EXPORT
    ]
    counts = _count_by_prefix([rule.prefix for rule in rules], waiting)
    return [RuleInfo(rule, counts[rule.prefix]) for rule in rules]


def set_rule(
    state: State,
    rule: CreationRule,
    *,
    allow_small: bool = False,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> RuleInfo:
    """Set the rule of a prefix; one that is so already changes nothing.

    Raises BarcodeError, TapeSizeError, PoolNotFoundError, UsageError.
    """
    gateway = describe_gateway(state)
    barcodes.check_prefix(rule.prefix, gateway.changer_type)
    if not 1 <= rule.minimum_tapes <= MAX_MINIMUM_TAPES:
        raise UsageError(
            f"not a number of tapes to keep: {rule.minimum_tapes}", hint=f"1 to {MAX_MINIMUM_TAPES}"
        )
    check_size(rule.size_bytes, allow_small=allow_small)
    if rule.worm:
        check_worm(default_generation(gateway))
    with state.write() as db:
        rule = replace(rule, pool_id=find_pool(db, rule.pool_id).id)
        there = {one.prefix: one for one in automatic_creation.all_rules(db)}
        if rule.prefix not in there and len(there) >= MAX_RULES:
            raise UsageError(
                f"a gateway has at most {MAX_RULES} rules of automatic tape creation",
                hint="delete one with `tapectl autocreate delete`",
            )
        if there.get(rule.prefix) != rule:
            automatic_creation.put(db, rule)
            events.append(db, _event(gateway.id, actor, now_ms(), asdict(rule)))
    return next(info for info in list_rules(state) if info.rule.prefix == rule.prefix)


def delete_rules(
    state: State,
    prefixes: Sequence[str],
    *,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> None:
    """Delete rules, all of them or none; the tapes they made stay.

    Raises CreationRuleNotFoundError.
    """
    gateway = describe_gateway(state)
    with state.write() as db:
        for prefix in prefixes:
            if not automatic_creation.delete(db, prefix):
                raise _no_rule(prefix)
            detail = {"prefix": prefix, "deleted": True}
            events.append(db, _event(gateway.id, actor, now_ms(), detail))


def require_rule(state: State, prefix: str) -> None:
    """Raise CreationRuleNotFoundError unless there is a rule of this prefix."""
    if prefix not in {info.rule.prefix for info in list_rules(state)}:
        raise _no_rule(prefix)


def _no_rule(prefix: str) -> CreationRuleNotFoundError:
    return CreationRuleNotFoundError(
        f"no rule of automatic tape creation has this prefix: {prefix}",
        hint="run `tapectl autocreate show`",
    )


def _count_by_prefix(prefixes: Sequence[str], found: Sequence[str]) -> Mapping[str, int]:
    """Count each barcode for the longest of the prefixes that it begins with."""
    counts = dict.fromkeys(prefixes, 0)
    for barcode in found:
        mine = max((one for one in prefixes if barcode.startswith(one)), key=len, default=None)
        if mine is not None:
            counts[mine] += 1
    return counts


def _event(
    gateway_id: str, actor: str, at_ms: int, detail: Mapping[str, object]
) -> events.NewEvent:
    return events.NewEvent(
        at_ms=at_ms,
        actor=actor,
        subject_kind="gateway",
        subject_id=gateway_id,
        type="AutomaticTapeCreationChanged",
        detail=detail,
    )
