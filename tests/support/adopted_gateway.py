"""A machine that has become the gateway of another one, with disks of its own."""

from __future__ import annotations

from pathlib import Path

from tapectl.disks.disk_directory import DiskMarker, prepare
from tapectl.gateway.adoption import Adoption, StoreAddress, adopt
from tapectl.state import disks
from tapectl.state.database import State
from tapectl.state.disks import DiskRecord, DiskRole
from tapectl.store.interface import ObjectStore
from tests.support.closing import closed_at_end
from tests.support.transfer_gateway import BUFFER, CACHE, TransferGateway

ADDRESS = StoreAddress(store_url="file:///elsewhere", region="mars")


def adopt_on(
    gateway: TransferGateway, store: ObjectStore, root: Path
) -> tuple[Adoption, TransferGateway]:
    """Return what was told, and the machine that has become `gateway`."""
    root.mkdir()
    path = root / "tapectl.db"
    told = adopt(path, ADDRESS, store, now_ms=lambda: gateway.ms)
    machine = object.__new__(TransferGateway)
    machine.root, machine.gateway, machine.ms = root, told.gateway, gateway.ms
    machine.cache_bytes, machine.state = gateway.cache_bytes, closed_at_end(State.open(path))
    with machine.state.write() as db:
        for disk_id, role, folder in (
            (CACHE, DiskRole.CACHE_STORAGE, machine.cache),
            (BUFFER, DiskRole.UPLOAD_BUFFER, machine.buffer),
        ):
            folder.mkdir()
            prepare(folder, DiskMarker(disk_id, told.gateway.id, role.value))
            disks.insert(
                db,
                DiskRecord(
                    id=disk_id,
                    role=role,
                    path=folder,
                    device_node=None,
                    size_bytes=machine.cache_bytes,
                    created_at_ms=machine.ms,
                ),
            )
    return told, machine
