"""What the drives of a gateway look like: all alike or dealt out in turn, and a profile on top."""

from __future__ import annotations

import json
import sqlite3
import tomllib
from collections.abc import Sequence
from pathlib import Path

from tapectl.errors import UsageError
from tapectl.scsi.drive_profile import customise
from tapectl.scsi.personality import DRIVE_PERSONALITIES, DrivePersonality
from tapectl.state import gateways
from tapectl.state.database import State
from tapectl.state.gateways import GatewayRecord

_PROFILE = "drive_profile"
_SEPARATOR = ","


def check_drive_type(text: str) -> Sequence[DrivePersonality]:
    """Return the identities that a drive type names, one or several separated by commas.

    Raises UsageError if it names another one.
    """
    names = text.split(_SEPARATOR)
    for name in names:
        if name not in DRIVE_PERSONALITIES:
            raise UsageError(
                f"no such tape drive: {name}", hint=f"known are {', '.join(DRIVE_PERSONALITIES)}"
            )
    return [DRIVE_PERSONALITIES[name] for name in names]


def read_profile(path: Path) -> str:
    """Return a profile, a TOML file, as the state keeps it; raise UsageError if it is none."""
    try:
        profile = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise UsageError(f"cannot read the drive profile {path}: {exc}") from exc
    try:
        for personality in DRIVE_PERSONALITIES.values():
            customise(personality, profile)
    except ValueError as exc:
        raise UsageError(f"drive profile {path}: {exc}", hint="see tapectl(1), activate") from exc
    return json.dumps(profile)


def keep_profile(db: sqlite3.Connection, profile: str) -> None:
    """Give all drives what `read_profile` returned."""
    gateways.set_setting(db, _PROFILE, profile)


def default_generation(gateway: GatewayRecord) -> int:
    """Return the generation of new cartridges: that of the gateway's first drive."""
    return check_drive_type(gateway.drive_type)[0].generation.number


def drive_personalities(state: State) -> Sequence[DrivePersonality]:
    """Return what each drive looks like, the first drive first."""
    with state.read() as db:
        gateway = gateways.read_gateway(db)
        profile = gateways.get_setting(db, _PROFILE)
    kinds = check_drive_type(gateway.drive_type)
    if profile is not None:
        changes = json.loads(profile)
        kinds = [customise(kind, changes) for kind in kinds]
    return [kinds[number % len(kinds)] for number in range(gateway.drive_count)]
