"""What every command starts from: the global options, the settings and the state they name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from tapectl.gateway.settings import Settings
    from tapectl.state.database import State


@dataclass(frozen=True, slots=True)
class Session:
    """The global options of this invocation."""

    state_path: Path | None = None
    config_path: Path | None = None


def load_settings(context: typer.Context, **flags: object) -> Settings:
    """Return the settings: flag > TAPECTL_* > configuration file > default.

    A flag that was not given is None. Raises the TapectlError of a setting that cannot be used.
    """
    from tapectl.gateway.settings import Settings

    session = context.find_root().obj
    if not isinstance(session, Session):
        session = Session()
    given = {name: value for name, value in flags.items() if value is not None}
    if session.state_path is not None:
        given["state_path"] = session.state_path
    return Settings.load(os.environ, session.config_path, **given)


@contextmanager
def open_gateway(context: typer.Context) -> Iterator[tuple[State, Settings]]:
    """Yield the state of the gateway and the settings; raise NotActivatedError if there is none."""
    from tapectl.gateway.activation import describe_gateway
    from tapectl.state.database import State

    settings = load_settings(context)
    with State.open(settings.state_path) as state:
        describe_gateway(state)
        yield state, settings


@contextmanager
def change_gateway(context: typer.Context) -> Iterator[tuple[State, Settings]]:
    """As `open_gateway`, and tell a running `tapectl serve` afterwards that the state changed."""
    from tapectl.serve.client import wake

    with open_gateway(context) as (state, settings):
        yield state, settings
        wake(settings.state_path)


@contextmanager
def change_access(context: typer.Context, initiator_name: str) -> Iterator[tuple[State, list[str]]]:
    """As `open_gateway`; the devices put into the list have their sessions looked at afterwards.

    Sessions of the initiator there end, and those that may not log in any more.
    """
    from tapectl.serve.client import access_changed

    with open_gateway(context) as (state, settings):
        devices: list[str] = []
        yield state, devices
        for device in devices:
            access_changed(settings.state_path, device, initiator_name)


def actor() -> str:
    """Return who acts, for the events: cli:<user>."""
    import getpass

    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a user id without a name, in a container
        return f"cli:{os.getuid()}"
