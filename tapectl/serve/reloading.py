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
        "archive_object_bytes",
        "directory_retrieval_delay_s",
        "retrieval_poll_s",
        "retrieval_days",
        "keep_overwritten_days",
        "scrub_days",
        "scrub_store",
        "verify_bytes_per_s",
        "encryption",
        "kms_key",
    }
)
"""What the transfer process uses: it is ended, and starts again with them."""

LIVE_SETTINGS = frozenset(
    {
        "listen",
        "allow_anonymous",
        "hold_s",
        "segment_bytes",
        "seal_idle_s",
        "busy_timeout_s",
        "ping_interval_s",
        "busy_poll_us",
        "logout_wait_s",
        "early_warning_percent",
        "alert_after_s",
        "metrics_listen",
        "event_log",
        "hooks_dir",
        "webhook_urls",
        "keep_events_days",
        "log_format",
    }
)
"""What devices, portal, alarms, metrics and events go by from then on, without anybody noticing.

What is in neither cannot change while it is served: which gateway it is, which targets initiators
are logged in to, who serves once root is given up.
"""


@dataclass(frozen=True, slots=True)
class Reload:
    """What a reload comes to: the settings from now on, and the names of those that are others."""

    settings: Settings
    changed: frozenset[str]
    unchanged_until_restart: frozenset[str]

    @property
    def transfer(self) -> bool:
        """Whether the transfer process is to start anew."""
        return bool(self.changed & TRANSFER_SETTINGS)


def plan_reload(now: Settings, wanted: Settings) -> Reload:
    """Return what to do when the settings are to be others."""
    names = {field.name for field in dataclasses.fields(Settings)} - {"sources"}
    others = frozenset(name for name in names if getattr(now, name) != getattr(wanted, name))
    changed = others & (TRANSFER_SETTINGS | LIVE_SETTINGS)
    values = {name: getattr(wanted, name) for name in changed}
    settings = dataclasses.replace(now, **values) if values else now
    return Reload(settings, changed, others - changed)
