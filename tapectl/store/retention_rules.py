"""What S3 Object Lock allows, for stores that are not S3. Pure: the time is an argument."""

from __future__ import annotations

from datetime import UTC, datetime

from tapectl.store.interface import ObjectLockedError, Retention, RetentionMode


def require_deletable(
    key: str, held: Retention | None, now_ms: int, *, bypass_governance: bool = False
) -> None:
    """Raise ObjectLockedError if a retention forbids that the object goes away now."""
    if _holds(held, now_ms, bypass_governance):
        raise locked_error(key, held)


def require_lockable(
    key: str,
    held: Retention | None,
    wanted: Retention | None,
    now_ms: int,
    *,
    bypass_governance: bool = False,
) -> None:
    """Raise ObjectLockedError if `wanted` is shorter or weaker than what holds now."""
    if not _holds(held, now_ms, bypass_governance):
        return
    assert held is not None
    weaker = wanted is None or (
        held.mode is RetentionMode.COMPLIANCE and wanted.mode is not RetentionMode.COMPLIANCE
    )
    if weaker or (wanted is not None and wanted.until_ms < held.until_ms):
        raise locked_error(key, held)


def locked_error(where: str, held: Retention | None) -> ObjectLockedError:
    """Return the error of an object that a retention holds, or a legal hold if it is None."""
    if held is None:
        return ObjectLockedError(f"object is under a legal hold: {where}")
    until = datetime.fromtimestamp(held.until_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return ObjectLockedError(f"object is locked until {until} ({held.mode}): {where}")


def _holds(held: Retention | None, now_ms: int, bypass_governance: bool) -> bool:
    if held is None or now_ms >= held.until_ms:
        return False
    return not (bypass_governance and held.mode is RetentionMode.GOVERNANCE)
