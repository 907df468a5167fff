"""Tapes that commands read: as they are here, or at a recovery point as a bucket has it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from tapectl.cli.named_point import which_point
from tapectl.cli.named_store import open_named_store
from tapectl.cli.session import actor, load_settings, open_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tapectl.medium.images import Object

FromStore = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        show_default="the tape as it is here; with --at or --point that of the gateway here",
        help="Read it from this bucket, whoever has it: s3://bucket/prefix, or a directory.",
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        metavar="FILE",
        show_default="the keys that are here",
        help="Keys of encrypted tapes, a copy that `tapectl key export` has made.",
    ),
]


class ReadTape(Protocol):
    """A tape at its beginning."""

    @property
    def used_bytes(self) -> int:
        """Bytes of user data on it."""
        ...

    def go_to_file(self, number: int) -> None:
        """Stand at the beginning of a file, counted from 0."""
        ...

    def read(self) -> Iterator[Object]:
        """Return the objects from here on."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTape:
    """A tape as the options of a command name it."""

    barcode: str
    store: str | None
    region: str | None
    endpoint_url: str | None
    profile: str | None
    at: str | None
    point: int | None
    key_file: Path | None

    @property
    def is_here(self) -> bool:
        """Whether it is the tape as it is now, of the gateway here."""
        return (self.store, self.at, self.point, self.key_file) == (None, None, None, None)


@contextmanager
def open_to_read(
    context: typer.Context, named: NamedTape, *, command: str, to: Path
) -> Iterator[ReadTape]:
    """Yield the tape, whose data `command` is about to read and write to a file; where a gateway is
    here, it is told of that. Raises what `open_tape` does, or `open_stored_tape`."""
    from tapectl.gateway.data_reads import note_data_read

    if named.is_here:
        from tapectl.serve.tape_access import open_tape

        with (
            open_gateway(context) as (state, settings),
            open_tape(state, settings, named.barcode) as tape,
        ):
            note_data_read(state, named.barcode, command=command, to=to, actor=actor())
            yield tape
        return
    from tapectl.gateway.activation import describe_gateway
    from tapectl.gateway.keyring import Keyring
    from tapectl.gateway.points_in_time import zone_of
    from tapectl.gateway.stored_tape import open_stored_tape

    keys = load_settings(context).state_path
    keyring = None if named.key_file is None else Keyring.load_copy(named.key_file)
    address = (named.store, named.region, named.endpoint_url, named.profile)
    with open_named_store(context, *address) as (store, here):
        zone = UTC if here is None else zone_of(describe_gateway(here).timezone)
        which = which_point(named.at, named.point, zone)
        with open_stored_tape(
            store, named.barcode, which, zone=zone, keys=keyring or keys
        ) as stored:
            if here is not None:
                note_data_read(here, named.barcode, command=command, to=to, actor=actor())
            yield stored
