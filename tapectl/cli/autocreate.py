"""`tapectl autocreate`: new tapes without anybody asking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tapectl.cli import completing
from tapectl.cli.asking import confirm
from tapectl.cli.options import Output, Pool, Yes, examples
from tapectl.cli.render import Column, Row, render_record, render_rows, show_size, show_yes
from tapectl.cli.session import actor, change_gateway, open_gateway
from tapectl.errors import UsageError
from tapectl.units import parse_size

if TYPE_CHECKING:
    from tapectl.gateway.automatic_creation import RuleInfo

app = typer.Typer(
    no_args_is_help=True,
    help="Automatic tape creation: new tapes that wait.",
)

# fmt: off
COLUMNS = (
    Column("TapeBarcodePrefix", "Prefix"),
    Column("MinimumNumTapes", "Keep", right=True),
    Column("AvailableTapes", "There are", right=True),
    Column("TapeSizeInBytes", "Size", show_size, right=True),
    Column("PoolId", "Pool"),
    Column("Worm", "WORM", show_yes),
)
# fmt: on


@app.command(
    "set",
    epilog=examples(
        ("tapectl autocreate set BKP --minimum 5 --size 1TiB", "five tapes BKP... always wait"),
        (
            "tapectl autocreate set LAW --minimum 1 --size 5TiB --pool DEEP_ARCHIVE --worm",
            "write-once ones, for Deep Archive",
        ),
    ),
)
def set_(
    context: typer.Context,
    prefix: Annotated[
        str,
        typer.Argument(
            metavar="PREFIX",
            show_default=False,
            autocompletion=completing.creation_prefixes,
            help="How the barcodes begin: 1 to 4 letters; 6 hexadecimal digits follow.",
        ),
    ],
    minimum: Annotated[
        int,
        typer.Option(
            "--minimum", metavar="N", show_default=False, help="How many tapes to keep, 1 to 10."
        ),
    ],
    size: Annotated[
        str,
        typer.Option(
            "--size",
            metavar="SIZE",
            show_default=False,
            help="Capacity of each tape, 100GiB to 15TiB in whole GiB.",
        ),
    ],
    pool: Pool = "GLACIER",
    worm: Annotated[
        bool, typer.Option("--worm", help="Write once: what is written can never be overwritten.")
    ] = False,
    allow_small: Annotated[
        bool, typer.Option("--allow-small", help="Take sizes from 1 MiB on, for labs.")
    ] = False,
    output: Output = None,
) -> None:
    """Set the rule of a prefix, in place of the one there was.

    Tapes of this prefix that are in import/export slots count. When backup software imports one, a
    new one is created within seconds by `tapectl serve`, or by the next `tapectl sync`.
    """
    from tapectl.gateway.automatic_creation import set_rule
    from tapectl.state.automatic_creation import CreationRule

    rule = CreationRule(
        prefix=prefix,
        minimum_tapes=minimum,
        size_bytes=parse_size(size),
        pool_id=pool,
        worm=worm,
    )
    with change_gateway(context) as (state, _):
        info = set_rule(state, rule, allow_small=allow_small, actor=actor())
    render_record(_rule_row(info), COLUMNS, output=output)


@app.command(
    "show", epilog=examples(("tapectl autocreate show", "the rules, and the tapes there are"))
)
def show(context: typer.Context, output: Output = None) -> None:
    """Show the rules, and how many tapes each one finds."""
    from tapectl.gateway.automatic_creation import list_rules

    with open_gateway(context) as (state, _):
        rows = [_rule_row(info) for info in list_rules(state)]
    render_rows(rows, COLUMNS, output=output, empty="no rules: tapes are created by hand")


@app.command(
    "delete",
    epilog=examples(
        ("tapectl autocreate delete BKP", "asks first"),
        ("tapectl autocreate delete --all --yes", "for a script"),
    ),
)
def delete(
    context: typer.Context,
    prefix: Annotated[
        str | None,
        typer.Argument(
            metavar="PREFIX",
            show_default=False,
            autocompletion=completing.creation_prefixes,
            help="Prefix of the rule.",
        ),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every rule.")] = False,
    yes: Yes = False,
) -> None:
    """Delete a rule, or all. The tapes that it made stay."""
    from tapectl.gateway.automatic_creation import delete_rules, list_rules, require_rule

    if (prefix is None) is not all_:
        raise UsageError("name one prefix, or say --all", hint="run `tapectl autocreate show`")
    what = "every rule" if prefix is None else f"the rule of {prefix}"
    with open_gateway(context) as (state, _):
        if prefix is not None:
            require_rule(state, prefix)
    confirm(f"Delete {what} of automatic tape creation?", yes=yes)
    with change_gateway(context) as (state, _):
        named = [info.rule.prefix for info in list_rules(state)] if prefix is None else [prefix]
        delete_rules(state, named, actor=actor())


def _rule_row(info: RuleInfo) -> Row:
    """Return the JSON object of a rule; docs/json-output.md says what each key means."""
    return {
        "TapeBarcodePrefix": info.rule.prefix,
        "MinimumNumTapes": info.rule.minimum_tapes,
        "AvailableTapes": info.available_tapes,
        "TapeSizeInBytes": info.rule.size_bytes,
        "PoolId": info.rule.pool_id,
        "Worm": info.rule.worm,
    }
