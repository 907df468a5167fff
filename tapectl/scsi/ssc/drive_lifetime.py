"""What a drive went through in its life; kept in its nonvolatile memory.

Written when the drive is made, loads and unloads; what a process that dies had counted since is
lost, and nothing else.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field

from tapectl.scsi.nonvolatile import NonvolatileMemory, NonvolatileMemoryError
from tapectl.scsi.ssc.counters import Transfers

_NAME = "lifetime"


@dataclass(slots=True)
class DriveLifetime:
    """`powered_s` are seconds with power, up to when it was kept last; `moved` likewise.

    `diagnostics` are those of `Failures`. `cleaned_bytes` had been moved when it was cleaned last.
    """

    power_ons: int = 0
    powered_s: int = 0
    loads: int = 0
    cleanings: int = 0
    cleaned_bytes: int = 0
    moved: Transfers = field(default_factory=Transfers)
    diagnostics: list[bytes] = field(default_factory=list)

    @classmethod
    def read(cls, memory: NonvolatileMemory) -> DriveLifetime | None:
        """Return what was kept, None where that is lost."""
        try:
            kept = memory.get(_NAME)
            return cls() if kept is None else cls._decode(kept)
        except (NonvolatileMemoryError, ValueError, KeyError, TypeError):
            return None

    @classmethod
    def _decode(cls, kept: bytes) -> DriveLifetime:
        document = json.loads(kept)
        moved = Transfers(**{name: int(value) for name, value in document.pop("moved").items()})
        diagnostics = [bytes.fromhex(entry) for entry in document.pop("diagnostics")]
        numbers = {name: int(value) for name, value in document.items()}
        return cls(**numbers, moved=moved, diagnostics=diagnostics)

    def keep(self, memory: NonvolatileMemory) -> bool:
        """Keep it, durably; return whether that could be done."""
        document = dataclasses.asdict(self)
        document["diagnostics"] = [entry.hex() for entry in self.diagnostics]
        try:
            memory.put(_NAME, json.dumps(document, sort_keys=True).encode())
        except NonvolatileMemoryError:
            return False
        return True
