"""The bucket that a command is about: one that is named, or that of the gateway here."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from tapectl.cli.session import load_settings, open_gateway
from tapectl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tapectl.state.database import State
    from tapectl.store.interface import ObjectStore

StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        show_default="that of the gateway here",
        help="The bucket: s3://bucket/prefix, or a directory, file:///path.",
    ),
]
Region = Annotated[
    str | None, typer.Option("--region", metavar="REGION", help="Region of the bucket.")
]
EndpointUrl = Annotated[
    str | None,
    typer.Option("--endpoint-url", metavar="URL", help="S3-compatible server; else Amazon."),
]
Profile = Annotated[
    str | None,
    typer.Option("--profile", metavar="NAME", help="Profile of the AWS credentials to use."),
]


@contextmanager
def open_named_store(
    context: typer.Context,
    store_url: str | None,
    region: str | None,
    endpoint_url: str | None,
    profile: str | None,
) -> Iterator[tuple[ObjectStore, State | None]]:
    """Yield the store that is named, or that of the gateway here with its state.

    Raises UsageError where only a part of an address is given.
    """
    from tapectl.gateway.activation import describe_gateway, normalise_store_url
    from tapectl.gateway.adoption import StoreAddress
    from tapectl.gateway.stores import open_store

    if store_url is not None:
        address = StoreAddress(
            store_url=normalise_store_url(store_url),
            region=region,
            endpoint_url=endpoint_url,
            profile=profile,
        )
        yield open_store(address, load_settings(context)), None
        return
    if (region, endpoint_url, profile) != (None, None, None):
        raise UsageError("--region, --endpoint-url and --profile go with --store")
    with open_gateway(context) as (state, settings):
        yield open_store(describe_gateway(state), settings), state
