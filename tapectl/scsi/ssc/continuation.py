"""What a drive's process hands on to the next: clients that did not notice its death go on.

For transports whose clients outlive the process of the device server. Whoever cannot be given all
that it relies on is told instead, by a power on attention: keys are never handed on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tapectl.scsi.sense import ASC
from tapectl.scsi.ssc.loading import HELD

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tape stands: partition, object number, and end of data of the partition."""

    partition: int
    position: int
    end_of_data: int


def place_of(drive: TapeDrive) -> Place | None:
    """Return where the cartridge stands, None where there is none."""
    cartridge = drive.cartridge
    if cartridge is None:
        return None
    return Place(cartridge.partition, cartridge.position, cartridge.end_of_data)


def encode_continuation(drive: TapeDrive, nexus: str) -> bytes:
    """Return everything but the place, as the only nexus has it; empty where that is impossible."""
    if drive.encryption.active:
        return b""
    server = drive.server
    cartridge = drive.cartridge
    document = {
        "barcode": None if cartridge is None else cartridge.barcode,
        "threaded": drive.threaded,
        "held": drive.not_ready == HELD,
        "block_bytes": drive.parameters.block_bytes,
        "buffered": drive.parameters.buffered,
        "mode_pages": [
            [*key, body.hex()] for key, body in server.mode_pages.changed_values(nexus).items()
        ],
        "attentions": [code.name for code in server.attentions.pending.get(nexus, ())],
        "removal_prevented": nexus in server.removal_preventers,
        "overwrite_allowed_at": drive.overwriting.allowed_at,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def go_on(drive: TapeDrive, nexus: str, continuation: bytes, place: Place | None) -> bool:
    """Take over from a drive that is no more; False, and nothing done, where that is impossible.

    The cartridge that the other had is loaded, at its beginning. Raises CartridgeBusyError and
    CartridgeReadError.
    """
    from tapectl.scsi.ssc.drive import Parameters

    if not continuation:
        return False
    document = json.loads(continuation)
    cartridge = drive.cartridge
    if document["barcode"] != (None if cartridge is None else cartridge.barcode):
        return False
    if cartridge is not None:
        if place is None or place.partition >= len(cartridge.partitions):
            return False
        cartridge.select_partition(place.partition)
        # What was acknowledged and is not there any more is for nobody to write after.
        if cartridge.end_of_data < place.end_of_data:
            cartridge.select_partition(0)
            return False
        cartridge.locate(place.position)
    if cartridge is not None and not document["threaded"] and drive.threaded:
        drive.unthread()
        if document["held"]:
            drive.not_ready = HELD
    drive.parameters = Parameters(document["block_bytes"], document["buffered"])
    server = drive.server
    server.mode_pages.apply(
        [((code, subpage), bytes.fromhex(body)) for code, subpage, body in document["mode_pages"]],
        nexus,
    )
    server.attentions.forget(nexus)
    server.attentions.know(nexus)
    for name in document["attentions"]:
        server.attentions.establish(nexus, ASC[name])
    if document["removal_prevented"]:
        server.removal_preventers.add(nexus)
    allowed_at = document["overwrite_allowed_at"]
    drive.overwriting.allowed_at = None if allowed_at is None else tuple(allowed_at)
    drive.early_warning.moved()
    return True
