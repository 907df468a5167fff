"""Is this machine still the gateway? Asked of the store before each pass, and answered for good.

A gateway that was disabled, or that another machine has become, writes nothing any more: its tapes
are read-only from then on, and it says so.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from tapectl.gateway.gateway_document import GatewayDocument, why_fenced
from tapectl.gateway.transfer.bucket_layout import gateway_key
from tapectl.gateway.transfer.bucket_marker import mark_bucket
from tapectl.gateway.transfer.context import TransferContext
from tapectl.state import events, gateways
from tapectl.state.gateways import StandingRecord
from tapectl.store.interface import ObjectNotFoundError, PreconditionFailedError

_log = logging.getLogger(__name__)

GATEWAY_FENCED = "GatewayFenced"


class Standing:
    """Keeps the gateway's document in the store as the state has it."""

    def __init__(self, context: TransferContext) -> None:
        self._context = context
        # What this process has seen in the store, with its etag.
        self._seen: tuple[GatewayDocument, str] | None = None
        self._marked = False

    def holds(self) -> bool:
        """Return whether this machine is the gateway; once it is not, it never is again.

        Raises StoreError.
        """
        context = self._context
        with context.state.read() as db:
            standing = gateways.read_standing(db)
            wanted = GatewayDocument.of(gateways.read_gateway(db), standing.store_epoch)
        if standing.fenced_at_ms is not None:
            return False
        if not self._marked:
            mark_bucket(context.store)
            self._marked = True
        key = gateway_key(wanted.gateway_id)
        try:
            try:
                etag = context.store.head(key).etag
                if self._seen is None or self._seen[1] != etag:
                    self._seen = GatewayDocument.decode(context.store.get(key)), etag
            except ObjectNotFoundError:
                info = context.store.put_if_absent(key, wanted.encode())
                self._seen = wanted, info.etag
            found, etag = self._seen
            if reason := why_fenced(found, wanted.epoch):
                self._fence(reason)
                return False
            if found != wanted:
                etag = context.store.put_if_match(key, wanted.encode(), etag=etag).etag
                self._seen = wanted, etag
        except PreconditionFailedError:
            # Changed between two calls: what it says now decides.
            self._seen = None
            return self.holds()
        if etag != standing.store_etag:
            self._note(standing, etag)
        return True

    def _note(self, standing: StandingRecord, etag: str) -> None:
        noted = replace(standing, store_etag=etag)
        with self._context.state.write() as db:
            gateways.set_standing(
                db,
                store_epoch=noted.store_epoch,
                store_etag=noted.store_etag,
                inventory_etag=noted.inventory_etag,
            )

    def _fence(self, reason: str) -> None:
        context = self._context
        _log.error("%s", reason)
        with context.state.write() as db:
            if gateways.fence(db, context.now_ms(), reason):
                events.append(
                    db,
                    events.NewEvent(
                        at_ms=context.now_ms(),
                        actor=context.stamp().actor,
                        subject_kind="gateway",
                        subject_id=context.gateway.id,
                        type=GATEWAY_FENCED,
                        detail={"reason": reason},
                    ),
                )
