"""`tapectl tag`: tags of the gateway, its tapes and its pools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from tapectl.cli import completing
from tapectl.cli.options import Output, examples
from tapectl.cli.render import Column, Row, render_rows
from tapectl.cli.session import actor, change_gateway, open_gateway

if TYPE_CHECKING:
    from tapectl.gateway.resource_tags import TaggedResource

app = typer.Typer(no_args_is_help=True, help="Tags of tapes, pools and the gateway.")

COLUMNS = (Column("Key", "Key"), Column("Value", "Value"))

Resource = Annotated[
    str,
    typer.Argument(
        metavar="RESOURCE",
        show_default=False,
        autocompletion=completing.resources,
        help="A barcode, the id or name of a pool, or `gateway`; tape/NAME or tapepool/NAME where"
        " it could be both.",
    ),
]


@app.command(
    "add",
    epilog=examples(
        (
            "tapectl tag add VTL001L5 owner=finance case=2026/17",
            "to a tape, wherever it goes",
        ),
        ("tapectl tag add ledger department=audit", "to a pool"),
        ("tapectl tag add gateway site=Frankfurt", "to the gateway"),
    ),
)
def add(
    context: typer.Context,
    resource: Resource,
    tags: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUE...",
            show_default=False,
            help="At most 50 of a resource; keys of up to 128 characters, values of up to 256.",
        ),
    ],
    output: Output = None,
) -> None:
    """Add tags; one of the same key is replaced."""
    from tapectl.gateway.activation import describe_gateway
    from tapectl.gateway.resource_tags import add_tags
    from tapectl.gateway.stores import open_store
    from tapectl.gateway.tag_rules import parse_tags

    added = parse_tags(tags)
    with change_gateway(context) as (state, settings):
        tagged = add_tags(
            state,
            resource,
            added,
            open_store=lambda: open_store(describe_gateway(state), settings),
            actor=actor(),
        )
    _render(tagged, output)


@app.command("remove", epilog=examples(("tapectl tag remove VTL001L5 owner case", "by their keys")))
def remove(
    context: typer.Context,
    resource: Resource,
    keys: Annotated[
        list[str], typer.Argument(metavar="KEY...", show_default=False, help="Keys of the tags.")
    ],
    output: Output = None,
) -> None:
    """Remove tags; those that are not there are no error."""
    from tapectl.gateway.activation import describe_gateway
    from tapectl.gateway.resource_tags import remove_tags
    from tapectl.gateway.stores import open_store

    with change_gateway(context) as (state, settings):
        tagged = remove_tags(
            state,
            resource,
            keys,
            open_store=lambda: open_store(describe_gateway(state), settings),
            actor=actor(),
        )
    _render(tagged, output)


@app.command(
    "list", epilog=examples(("tapectl tag list VTL001L5 --output json", "as AWS writes them"))
)
def list_(context: typer.Context, resource: Resource, output: Output = None) -> None:
    """List the tags of a tape, a pool or the gateway."""
    from tapectl.gateway.resource_tags import list_tags

    with open_gateway(context) as (state, _):
        _render(list_tags(state, resource), output)


def tag_list(tags: Mapping[str, str]) -> list[Row]:
    """Return tags as AWS writes them."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def show_tags(value: object) -> str:
    """Return tags for people, on one line."""
    if not isinstance(value, list):
        return ""
    return ", ".join(f"{tag['Key']}={tag['Value']}" for tag in value)


def _render(tagged: TaggedResource, output: Output) -> None:
    render_rows(tag_list(tagged.tags), COLUMNS, output=output, empty=f"no tags on {tagged.id}")
