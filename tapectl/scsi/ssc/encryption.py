"""Application-managed encryption: whose parameters apply to whom, and how long (SSC-5 4.2.25).

What a client has set with the Set Data Encryption page is a set of parameters. It is either its own
(LOCAL) or shared by every I_T nexus that has none of its own (ALL I_T NEXUS); where nobody shares
one, nothing is encrypted or decrypted. Nothing of it outlives the process.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace

from tapectl.scsi.sense import ASC, CheckCondition, Sense, SenseKey
from tapectl.scsi.ssc.block_envelope import NO_ASSOCIATED_DATA, BlockKey, KeyAssociatedData
from tapectl.scsi.unit_attention import MAX_NEXUSES, UnitAttentions

_INSTANCES = 1 << 32


class Scope(enum.IntEnum):
    """Whom a set of parameters applies to (SSC-5 table of the SCOPE field)."""

    PUBLIC = 0
    LOCAL = 1
    ALL_I_T_NEXUS = 2


class EncryptionMode(enum.IntEnum):
    """What is done to blocks that are written."""

    DISABLE = 0
    EXTERNAL = 1
    ENCRYPT = 2


class DecryptionMode(enum.IntEnum):
    """What is done to blocks that are read."""

    DISABLE = 0
    RAW = 1
    DECRYPT = 2
    MIXED = 3


class RawDecryptionControl(enum.IntEnum):
    """RDMC: whether what is written may be read in RAW mode."""

    DEFAULT = 0
    ENABLED = 2
    DISABLED = 3


class ExternalCheck(enum.IntEnum):
    """CEEM: which blocks are refused for the mode in which they were written."""

    UNSPECIFIED = 0
    NONE = 1
    REFUSE_EXTERNAL = 2
    REFUSE_ENCRYPTED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionParameters:
    """One set of parameters. `instance` is its key instance counter.

    `until_demount`, `until_preempted`, `until_reservation_lost` say when it is released (CKOD,
    CKORP, CKORL).
    """

    encryption_mode: EncryptionMode = EncryptionMode.DISABLE
    decryption_mode: DecryptionMode = DecryptionMode.DISABLE
    key: BlockKey | None = None
    associated: KeyAssociatedData = NO_ASSOCIATED_DATA
    raw_decryption: RawDecryptionControl = RawDecryptionControl.DEFAULT
    external_check: ExternalCheck = ExternalCheck.UNSPECIFIED
    until_demount: bool = False
    until_preempted: bool = False
    until_reservation_lost: bool = False
    instance: int = 0

    @property
    def raw_reads(self) -> bool:
        """Whether blocks are recorded as ones that may be read raw; not by default (RDMC_C 4)."""
        return self.raw_decryption is RawDecryptionControl.ENABLED

    @property
    def changes_blocks(self) -> bool:
        return bool(self.encryption_mode or self.decryption_mode)


class Encryption:
    """The sets of parameters of one drive.

    `active`: whether a block may have to be something else on the medium than for a client, or a
    write may have to be refused, for anybody. `changed` is called when that may have changed.
    """

    def __init__(self, attentions: UnitAttentions, changed: Callable[[], None]) -> None:
        self._attentions = attentions
        self._changed = changed
        self._instance = 0
        self._nobodys = EncryptionParameters()
        self._shared: EncryptionParameters | None = None
        self._sharer: str | None = None
        self._own: dict[str, EncryptionParameters] = {}
        self._locked: dict[str, int] = {}
        # Who has used the security protocol, and so is told of changes; the oldest is forgotten.
        self._registered: dict[str, None] = {}
        self.active = False

    def register(self, nexus: str) -> None:
        """A nexus uses the security protocol: from now on it is told of what others change."""
        self._registered[nexus] = None
        if len(self._registered) > MAX_NEXUSES:
            del self._registered[next(iter(self._registered))]

    def scope(self, nexus: str) -> Scope:
        """Return the scope that a nexus has chosen, PUBLIC if it has not."""
        if nexus in self._own:
            return Scope.LOCAL
        return Scope.ALL_I_T_NEXUS if nexus == self._sharer else Scope.PUBLIC

    def key_scope(self, nexus: str) -> Scope:
        """Return the scope of the parameters that apply to a nexus."""
        if nexus in self._own:
            return Scope.LOCAL
        return Scope.PUBLIC if self._shared is None else Scope.ALL_I_T_NEXUS

    def parameters(self, nexus: str) -> EncryptionParameters:
        """Return the parameters that apply to a nexus."""
        return self._own.get(nexus) or self._shared or self._nobodys

    def establish(
        self, nexus: str, scope: Scope, parameters: EncryptionParameters, *, lock: bool
    ) -> None:
        """A Set Data Encryption page was processed; `parameters` count unless the scope is PUBLIC.

        With `lock` the nexus writes no more once other parameters apply to it than do now.
        """
        if scope is Scope.ALL_I_T_NEXUS:
            self._own.pop(nexus, None)
            self._share(self._numbered(parameters), nexus)
        else:
            if nexus == self._sharer:
                self._share(None, nexus)
            self._own.pop(nexus, None)
            if scope is Scope.LOCAL:
                self._own[nexus] = self._numbered(parameters)
        self._locked.pop(nexus, None)
        if lock:
            self._locked[nexus] = self.parameters(nexus).instance
        self._settle()

    def check_lock(self, nexus: str) -> None:
        """Raise CheckCondition if other parameters apply to a nexus than it was locked to."""
        locked = self._locked.get(nexus)
        if locked is not None and locked != self.parameters(nexus).instance:
            code = ASC.DATA_ENCRYPTION_KEY_INSTANCE_COUNTER_HAS_CHANGED
            raise CheckCondition(Sense(SenseKey.DATA_PROTECT, code))

    def demounted(self) -> None:
        """The volume was demounted: sets that were to last until then are released."""
        if self._shared is not None and self._shared.until_demount:
            self._release_shared()
        self._own = {name: own for name, own in self._own.items() if not own.until_demount}
        self._settle()

    def reservation_lost(self, nexus: str, preempted: bool) -> None:
        """A nexus has lost its reservation; what it had set until then is released."""

        def ends(parameters: EncryptionParameters) -> bool:
            return parameters.until_reservation_lost or (preempted and parameters.until_preempted)

        if nexus == self._sharer and self._shared is not None and ends(self._shared):
            self._release_shared()
        own = self._own.get(nexus)
        if own is not None and ends(own):
            del self._own[nexus]
        self._settle()

    def nexus_lost(self, nexus: str) -> None:
        """A nexus is no more: its own parameters go, what it shares stays for the others."""
        self._own.pop(nexus, None)
        self._locked.pop(nexus, None)
        self._registered.pop(nexus, None)
        self._settle()

    def reset(self) -> None:
        """SAM-6 6.3.3 logical unit reset: nothing is left; the reset is what everyone is told."""
        self._own.clear()
        self._locked.clear()
        self._shared = self._sharer = None
        self._nobodys = self._numbered(EncryptionParameters())
        self._settle()

    def _numbered(self, parameters: EncryptionParameters) -> EncryptionParameters:
        self._instance = (self._instance + 1) % _INSTANCES
        return replace(parameters, instance=self._instance)

    def _share(self, parameters: EncryptionParameters | None, nexus: str) -> None:
        self._shared = parameters
        self._sharer = None if parameters is None else nexus
        if parameters is None:
            self._nobodys = self._numbered(EncryptionParameters())
        code = ASC.DATA_ENCRYPTION_PARAMETERS_CHANGED_BY_ANOTHER_I_T_NEXUS
        self._tell_sharers(code, but=nexus)

    def _release_shared(self) -> None:
        """The time is over that the sharer has set; it has asked for that, the others have not."""
        sharer, self._shared, self._sharer = self._sharer, None, None
        self._nobodys = self._numbered(EncryptionParameters())
        code = ASC.DATA_ENCRYPTION_PARAMETERS_CHANGED_BY_VENDOR_SPECIFIC_EVENT
        self._tell_sharers(code, but=sharer)

    def _tell_sharers(self, code: ASC, *, but: str | None) -> None:
        for nexus in self._registered:
            if nexus != but and nexus not in self._own:
                self._attentions.establish(nexus, code)

    def _settle(self) -> None:
        shared = self._shared is not None and self._shared.changes_blocks
        own = any(parameters.changes_blocks for parameters in self._own.values())
        self.active = shared or own or bool(self._locked)
        self._changed()
