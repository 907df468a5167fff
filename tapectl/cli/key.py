"""`tapectl key`: the keys that tapes are encrypted with before they leave the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tapectl.cli.options import Output, examples
from tapectl.cli.render import (
    Column,
    Row,
    iso_time,
    render_record,
    render_rows,
    show_time,
    show_yes,
)
from tapectl.cli.session import actor, load_settings, open_gateway

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tapectl.gateway.keyring import WrappingKey
    from tapectl.gateway.keys import KeyInfo

app = typer.Typer(
    no_args_is_help=True, help="Keys that tapes are encrypted with here, not in the store."
)

# fmt: off
COLUMNS = (
    Column("KeyId", "Key"),
    Column("CreatedDate", "Created", show_time),
    Column("Current", "For new tapes", show_yes),
    Column("Present", "Here", show_yes),
    Column("Tapes", "Tapes", right=True),
)
FILE_COLUMNS = COLUMNS[:2]
# fmt: on

KeyFile = Annotated[
    Path,
    typer.Argument(metavar="FILE", show_default=False, help="File of keys; keep it secret."),
]


def _info_row(info: KeyInfo) -> Row:
    return {
        "KeyId": info.id,
        "CreatedDate": iso_time(info.created_ms),
        "Current": info.current,
        "Present": info.created_ms is not None,
        "Tapes": info.tapes,
    }


def _rows(keys: Sequence[WrappingKey]) -> list[Row]:
    return [{"KeyId": one.id, "CreatedDate": iso_time(one.created_ms)} for one in keys]


@app.command(
    "create",
    epilog=examples(
        ("tapectl key create", "the first key, or the next one"),
        ("tapectl tape create --size 1TiB --encryption CSE", "then a tape that it encrypts"),
    ),
)
def create(context: typer.Context, output: Output = None) -> None:
    """Make a key for the encrypted tapes that come from now on.

    Tapes that are there keep theirs. A key stays in a file beside the state and never goes to the
    store. Whoever loses it loses the tapes: keep a copy elsewhere (`tapectl key export`).
    """
    from tapectl.gateway.keys import make_key

    with open_gateway(context) as (state, _):
        info = make_key(state, actor=actor())
    render_record(_info_row(info), COLUMNS, output=output)


@app.command("list", epilog=examples(("tapectl key list", "which keys there are, and which lack")))
def list_(context: typer.Context, output: Output = None) -> None:
    """List the keys, and those that tapes need and are not here.

    Nothing that is secret of them is shown.
    """
    from tapectl.gateway.keys import list_keys

    with open_gateway(context) as (state, _):
        rows = [_info_row(info) for info in list_keys(state)]
    render_rows(rows, COLUMNS, output=output, empty="no keys: no tape is encrypted here")


@app.command(
    "export",
    epilog=examples(
        ("tapectl key export /media/stick/tapes.keys", "a copy for the day the machine is gone"),
    ),
)
def export(context: typer.Context, file: KeyFile, output: Output = None) -> None:
    """Write all keys to a new file, for safe keeping elsewhere.

    Only its owner may read it (0600); `tapectl key import` takes the keys up again. With it and the
    bucket any machine can read the tapes. Keep it where the bucket is not.
    """
    from tapectl.gateway.keys import give_keys

    with open_gateway(context) as (state, _):
        keys = give_keys(state, file, actor=actor())
    render_rows(_rows(keys), FILE_COLUMNS, output=output, empty="no keys")


@app.command(
    "import",
    epilog=examples(
        ("tapectl key import /media/stick/tapes.keys", "before or after `tapectl gateway adopt`"),
    ),
)
def import_(context: typer.Context, file: KeyFile, output: Output = None) -> None:
    """Take up the keys of a file that was exported.

    A running gateway reads tapes with them at once. New tapes go on taking the key they took.
    """
    from tapectl.gateway.keys import take_keys
    from tapectl.serve.client import wake

    settings = load_settings(context)
    keys = take_keys(settings.state_path, file, actor=actor())
    wake(settings.state_path)
    render_rows(_rows(keys), FILE_COLUMNS, output=output, empty="all of them are here already")
