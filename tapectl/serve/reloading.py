"""SIGHUP: the settings are read anew, and those that can be are taken over without a restart."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from tapectl.gateway.settings import Settings

TRANSFER_SETTINGS = frozenset(
    {
        "upload_workers",
        "cache_high_watermark_percent",
        "compression",
        "directory_retrieval_delay_s",
        "retrieval_poll_s",
        "retrieval_days",
        "scrub_days",
        "scrub_store",
        "verify_bytes_per_s",
    }
)
"""What only the transfer process uses: it is ended, and starts again with them."""

EVENT_SETTINGS = frozenset({"event_log", "hooks_dir", "webhook_urls"})
"""Where events are told."""


@dataclass(frozen=True, slots=True)
class Reload:
    """What a reload comes to: the settings from now on, and what is to start anew with them."""

    settings: Settings
    transfer: bool
    unchanged_until_restart: frozenset[str]


def plan_reload(now: Settings, wanted: Settings) -> Reload:
    """Return what to do when the settings are to be others.

    Addresses, sessions and drives keep theirs: initiators would notice.
    """
    names = {field.name for field in dataclasses.fields(Settings)} - {"sources"}
    changed = {name for name in names if getattr(now, name) != getattr(wanted, name)}
    live = changed & (TRANSFER_SETTINGS | EVENT_SETTINGS)
    values = {name: getattr(wanted, name) for name in live}
    settings = dataclasses.replace(now, **values) if values else now
    return Reload(settings, bool(changed & TRANSFER_SETTINGS), frozenset(changed - live))
