"""What one check looks at: the gateway's disks and tapes as they were when it began."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tapectl.disks.disk_health import DiskHealth, DiskState, disk_health
from tapectl.gateway.elements import ElementMap
from tapectl.gateway.settings import Settings
from tapectl.scsi.library import ElementType
from tapectl.state import disks, gateways, tapes
from tapectl.state.database import State
from tapectl.state.disks import DiskRecord, DiskRole
from tapectl.state.gateways import GatewayRecord
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import TapeFilter, TapeRecord
from tapectl.store.interface import ObjectStore


@dataclass(frozen=True, slots=True)
class Serving:
    """Who has the gateway: `served` by a supervisor that answers, `locked_by` in any case.

    `locked_by` is what the holder of the lock wrote of itself, None where nobody holds it.
    `lacking` is what this host lacks for the front end that is set, each with what to do about it.
    """

    served: bool = False
    locked_by: str | None = None
    lacking: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class CheckView:
    """`deep` reads every block on the disks; without a `store` none is looked at.

    `loaded` are the tapes that a drive may be writing: their files change under our eyes.
    """

    state: State
    settings: Settings
    gateway: GatewayRecord
    serving: Serving
    store: ObjectStore | None
    now_ms: int
    deep: bool
    disks: Mapping[str, DiskRecord]
    health: Mapping[str, DiskHealth]
    tapes: Mapping[str, TapeRecord]
    loaded: frozenset[str]

    @property
    def drives_run(self) -> bool:
        return self.serving.served or self.serving.locked_by is not None

    def is_there(self, disk_id: str | None) -> bool:
        """Whether a disk is allocated and can be read."""
        health = self.health.get(disk_id or "")
        return health is not None and health.state is not DiskState.MISSING

    def of_role(self, role: DiskRole) -> list[DiskRecord]:
        """Return the disks of a role that are there."""
        return [
            disk for disk in self.disks.values() if disk.role is role and self.is_there(disk.id)
        ]


def look(
    state: State,
    settings: Settings,
    *,
    serving: Serving,
    store: ObjectStore | None,
    now_ms: int,
    deep: bool,
) -> CheckView:
    """Read the state and look at the disks."""
    with state.read() as db:
        gateway = gateways.read_gateway(db)
        all_disks = disks.all_disks(db)
        found = tapes.select(db, TapeFilter(statuses=frozenset(TapeStatus)))
    drives = ElementMap.of(gateway).addresses(ElementType.DATA_TRANSFER)
    drives_run = serving.served or serving.locked_by is not None
    in_drives = [tape.barcode for tape in found if tape.element_address in drives]
    return CheckView(
        state=state,
        settings=settings,
        gateway=gateway,
        serving=serving,
        store=store,
        now_ms=now_ms,
        deep=deep,
        disks=MappingProxyType({disk.id: disk for disk in all_disks}),
        health=MappingProxyType({disk.id: disk_health(disk.path, disk.id) for disk in all_disks}),
        tapes=MappingProxyType({tape.barcode: tape for tape in found}),
        loaded=frozenset(in_drives if drives_run else ()),
    )
