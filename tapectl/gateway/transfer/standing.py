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
from tapectl.store.interface import ObjectNotFoundError, PreconditionFailedError, StoreError

_log = logging.getLogger(__name__)

GATEWAY_FENCED = "GatewayFenced"

# Each further look stands for a change between two calls. A store that does not show what it has
# would have us look for ever.
_LOOKS_MAX = 4


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
        for _ in range(_LOOKS_MAX):
            try:
                found, etag = self._look(wanted)
                if reason := why_fenced(found, wanted.epoch):
                    self._fence(reason)
                    return False
                if found != wanted:
                    key = gateway_key(wanted.gateway_id)
                    etag = context.store.put_if_match(key, wanted.encode(), etag=etag).etag
                    self._seen = wanted, etag
                break
            except PreconditionFailedError:
                # Changed between two calls: what it says now decides.
                self._seen = None
        else:
            raise StoreError(f"store does not show what it has: {gateway_key(wanted.gateway_id)}")
        if etag != standing.store_etag:
            self._note(standing, etag)
        return True

    def _look(self, wanted: GatewayDocument) -> tuple[GatewayDocument, str]:
        """Return the document in the store and its etag; put it if there is none."""
        store, key = self._context.store, gateway_key(wanted.gateway_id)
        try:
            etag = store.head(key).etag
            if self._seen is None or self._seen[1] != etag:
                self._seen = GatewayDocument.decode(store.get(key)), etag
        except ObjectNotFoundError:
            self._seen = wanted, store.put_if_absent(key, wanted.encode()).etag
        return self._seen

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
