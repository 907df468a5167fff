"""One check from beginning to end."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tapectl.gateway.check.bucket import store_findings
from tapectl.gateway.check.copies import faults_of_tape, findings_of_faults
from tapectl.gateway.check.files import findings_of_files, stray_files
from tapectl.gateway.check.findings import Code, Finding, Severity, worst
from tapectl.gateway.check.host import host_findings
from tapectl.gateway.check.library import tape_findings
from tapectl.gateway.check.local_disks import disk_findings
from tapectl.gateway.check.view import CheckView, Serving, look
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.settings import Settings
from tapectl.gateway.stores import open_store
from tapectl.state.database import State
from tapectl.state.gateways import read_gateway
from tapectl.state.tape_status import TapeStatus
from tapectl.store.interface import ObjectStore


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRequest:
    """`store`: look at the names in the store too. `deep`: read every block on the disks."""

    store: bool = True
    deep: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What was done about a finding: `what` in words. Where it is not `done`, `reason` says why,
    or it was only to be told."""

    code: Code
    subject_type: str
    subject: str
    what: str
    done: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What was found, the worst first. After `repairs`: what is left."""

    findings: Sequence[Finding]
    repairs: Sequence[Repair] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing was found that needs anybody."""
        return worst(self.findings) in (None, Severity.INFO)

    @property
    def tapes(self) -> Sequence[str]:
        """The tapes that errors and warnings concern, by barcode."""
        concerning = (found for found in self.findings if found.severity is not Severity.INFO)
        return sorted({barcode for found in concerning for barcode in found.tapes})


def check_gateway(
    state: State,
    settings: Settings,
    request: CheckRequest,
    *,
    serving: Serving,
    now_ms: Callable[[], int] = clock_now_ms,
    store: ObjectStore | None = None,
) -> CheckReport:
    """Examine the gateway and change nothing. `store` stands for the one of the gateway's record.

    Raises the errors of a state that cannot be read at all.
    """
    if request.store and store is None:
        with state.read() as db:
            store = open_store(read_gateway(db), settings)
    view = look(
        state,
        settings,
        serving=serving,
        store=store if request.store else None,
        now_ms=now_ms(),
        deep=request.deep,
    )
    return CheckReport(findings=_sorted(findings(view)))


def findings(view: CheckView) -> Sequence[Finding]:
    """Return everything that is found, in the order of looking."""
    faults = itertools.chain.from_iterable(
        faults_of_tape(view, tape.barcode)
        for tape in view.tapes.values()
        if tape.status not in (TapeStatus.DELETED, TapeStatus.DELETING)
    )
    found = [
        *host_findings(view),
        *disk_findings(view),
        *findings_of_faults(faults),
        *findings_of_files(stray_files(view)),
        *tape_findings(view),
    ]
    if view.store is not None:
        found += store_findings(view, view.store)
    return found


def _sorted(found: Sequence[Finding]) -> Sequence[Finding]:
    order = list(Severity)
    return sorted(found, key=lambda finding: order.index(finding.severity))
