"""The statuses of a virtual tape and the steps between them, as a table.

Spelling and meaning are those of AWS Storage Gateway ("Understanding tape
status"); the steps are those its user guide and API reference describe.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType


@enum.unique
class TapeStatus(enum.StrEnum):
    """Status of a tape; the value is what users and the state file see."""

    CREATING = "CREATING"
    AVAILABLE = "AVAILABLE"
    IN_TRANSIT_TO_VTS = "IN TRANSIT TO VTS"
    ARCHIVING = "ARCHIVING"
    ARCHIVED = "ARCHIVED"
    RETRIEVING = "RETRIEVING"
    RETRIEVED = "RETRIEVED"
    RECOVERED = "RECOVERED"
    IRRECOVERABLE = "IRRECOVERABLE"
    DELETING = "DELETING"
    DELETED = "DELETED"


_S = TapeStatus

# fmt: off
TRANSITIONS: Mapping[TapeStatus, frozenset[TapeStatus]] = MappingProxyType({
    # The barcode is claimed in the store; a claim that can never succeed makes it irrecoverable.
    _S.CREATING:          frozenset({_S.AVAILABLE, _S.DELETING, _S.IRRECOVERABLE}),
    _S.AVAILABLE:         frozenset({_S.IN_TRANSIT_TO_VTS, _S.DELETING, _S.RECOVERED,
                                     _S.IRRECOVERABLE}),
    # Cancelled, a tape is again what it was before the eject.
    _S.IN_TRANSIT_TO_VTS: frozenset({_S.ARCHIVING, _S.AVAILABLE, _S.RETRIEVED, _S.RECOVERED,
                                     _S.IRRECOVERABLE}),
    _S.ARCHIVING:         frozenset({_S.ARCHIVED, _S.IRRECOVERABLE}),
    # DELETED at once: another gateway has retrieved it, and nothing of it is deleted in the store.
    _S.ARCHIVED:          frozenset({_S.RETRIEVING, _S.DELETING, _S.DELETED}),
    _S.RETRIEVING:        frozenset({_S.RETRIEVED, _S.ARCHIVED, _S.IRRECOVERABLE, _S.DELETED}),
    # A retrieved tape must be ejected before it can be deleted.
    _S.RETRIEVED:         frozenset({_S.IN_TRANSIT_TO_VTS, _S.IRRECOVERABLE}),
    _S.RECOVERED:         frozenset({_S.IN_TRANSIT_TO_VTS, _S.DELETING, _S.IRRECOVERABLE}),
    _S.IRRECOVERABLE:     frozenset({_S.DELETING, _S.RECOVERED}),
    _S.DELETING:          frozenset({_S.DELETED}),
    _S.DELETED:           frozenset(),
})
# fmt: on

LOADABLE = frozenset({_S.AVAILABLE, _S.RETRIEVED, _S.RECOVERED})
"""Statuses in which a drive takes the tape; only these can be ejected, too."""

WRITE_PROTECTED = frozenset({_S.RETRIEVED, _S.RECOVERED})
"""Statuses that write-protect the whole tape."""

ON_SHELF = frozenset({_S.ARCHIVED, _S.RETRIEVING, _S.RETRIEVED})
"""Statuses in which the archive (VTS) lists the tape."""

VERIFIABLE = LOADABLE | {_S.IN_TRANSIT_TO_VTS, _S.ARCHIVED}
"""Statuses in which a tape is verified: in any other it is on its way, or cannot be read."""

IN_LIBRARY = frozenset(TapeStatus) - {_S.ARCHIVED, _S.DELETED}
"""Statuses that count against the quota of the gateway."""
