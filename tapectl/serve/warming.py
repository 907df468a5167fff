"""Brings a whole tape into the cache, segment by segment, before somebody waits for it."""

from __future__ import annotations

import functools
from collections.abc import Callable

from tapectl.gateway.keyring import IMPORT_HINT, TapeKeyError
from tapectl.gateway.settings import Settings
from tapectl.gateway.unreadable_tape import TapeUnreadableError
from tapectl.gateway.warming import (
    ColdSegment,
    Warmth,
    is_cached,
    keep_cached,
    refuse_too_large,
    warmth,
)
from tapectl.scsi.cartridge import CartridgeBusyError, CartridgeError, CartridgeKeyError
from tapectl.serve.cold_data import cold_data, patiently
from tapectl.state.database import State


def warm(
    state: State, settings: Settings, barcode: str, *, on_progress: Callable[[int, int], None]
) -> Warmth:
    """Return when all of the tape is in the cache, with what had to be fetched for that.

    `on_progress` is told how many bytes of how many are there. Raises TapeNotFoundError,
    TapeStatusError, CacheTooSmallError, TapeUnreadableError, TapeKeyError.
    """
    found = warmth(state, barcode)
    refuse_too_large(state, settings, found)
    keep_cached(state, barcode)
    if not found.cold:
        return found
    done_bytes, total_bytes = found.cached_bytes, found.cached_bytes + found.cold_bytes
    with cold_data(settings, "warm") as data:

        def fetch(one: ColdSegment) -> None:
            if is_cached(state, barcode, one.sequence):
                return
            data.ensure(barcode, one.sequence, 0, one.file_bytes)
            # The range is there; the file gets its name in a moment.
            raise CartridgeBusyError(f"segment {one.sequence} is being sealed")

        for one in found.cold:
            on_progress(done_bytes, total_bytes)
            try:
                patiently(functools.partial(fetch, one), data.make_room)
            except CartridgeKeyError as exc:
                raise TapeKeyError(str(exc), hint=IMPORT_HINT) from exc
            except CartridgeError as exc:
                raise TapeUnreadableError(f"tape {barcode} cannot be read: {exc}") from exc
            done_bytes += one.file_bytes
    return found
