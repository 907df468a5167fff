"""Rules of automatic tape creation: what they lack is created, one tape after the other."""

from __future__ import annotations

import logging

from tapectl.errors import TapectlError
from tapectl.gateway.automatic_creation import RuleInfo, list_rules
from tapectl.gateway.tape_creation import TapeCreation, create_tapes
from tapectl.gateway.transfer.context import ACTOR, StepReport, TransferContext, combine

_log = logging.getLogger(__name__)


class AutomaticCreation:
    """The step. A rule that cannot be met waits for room, or for an admin."""

    def __init__(self, context: TransferContext) -> None:
        self._context = context
        # By prefix, what was logged last: a full library is no news at every pass.
        self._told: dict[str, str] = {}

    def run(self) -> StepReport:
        """Create what the rules lack."""
        return combine([self._meet(info) for info in list_rules(self._context.state)])

    def _meet(self, info: RuleInfo) -> StepReport:
        rule = info.rule
        request = TapeCreation(
            size_bytes=rule.size_bytes,
            prefix=rule.prefix,
            pool_id=rule.pool_id,
            worm=rule.worm,
            encryption=self._context.settings.tape_encryption,
            allow_small=True,  # asked when the rule was made
        )
        for created in range(info.missing_tapes):
            try:
                create_tapes(self._context.state, request, actor=ACTOR, now_ms=self._context.now_ms)
            except TapectlError as error:
                if self._told.get(rule.prefix) != error.message:
                    _log.warning("no tape is created for %s: %s", rule.prefix, error.message)
                self._told[rule.prefix] = error.message
                return StepReport(done=created, waiting=1)
        self._told.pop(rule.prefix, None)
        return StepReport(done=info.missing_tapes)
