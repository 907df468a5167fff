"""`tapectl pool`: where archived tapes go, and for how long they are locked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tapectl.cli import completing
from tapectl.cli.asking import confirm
from tapectl.cli.options import Output, PoolName, Tags, Yes, examples
from tapectl.cli.render import (
    Column,
    Row,
    iso_time,
    render_record,
    render_rows,
    show_time,
)
from tapectl.cli.session import actor, open_gateway
from tapectl.cli.tag import show_tags, tag_list

if TYPE_CHECKING:
    from tapectl.gateway.pools import PoolInfo

app = typer.Typer(
    no_args_is_help=True, help="Pools: the storage class and the lock of archived tapes."
)


def _show_days(value: object) -> str:
    return str(value) if value else ""


# fmt: off
COLUMNS = (
    Column("PoolId", "Pool"),
    Column("PoolName", "Name"),
    Column("StorageClass", "Storage class"),
    Column("RetentionLockType", "Lock"),
    Column("RetentionLockTimeInDays", "Days", _show_days, right=True),
    Column("Tapes", "Tapes", right=True),
    Column("Tags", "Tags", show_tags),
)
DETAIL_COLUMNS = (
    *COLUMNS,
    Column("PoolStatus", "Status"),
    Column("CreatedDate", "Created", show_time),
)
# fmt: on


@app.command(
    "create",
    epilog=examples(
        ("tapectl pool create monthly --storage-class DEEP_ARCHIVE", "a pool without a lock"),
        (
            "tapectl pool create ledger --storage-class DEEP_ARCHIVE"
            " --retention-lock-type COMPLIANCE --retention-days 3650",
            "what is archived in it nobody can delete for ten years",
        ),
        (
            "tapectl pool create drill --storage-class GLACIER --retention-lock-type GOVERNANCE"
            " --retention-days 30 --if-not-exists",
            "for provisioning: the same again changes nothing",
        ),
    ),
)
def create(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", show_default=False, help="1 to 100 characters, no / and no \\."
        ),
    ],
    storage_class: Annotated[
        str,
        typer.Option(
            "--storage-class",
            metavar="CLASS",
            show_default=False,
            autocompletion=completing.archive_classes,
            help="GLACIER (Flexible Retrieval) or DEEP_ARCHIVE.",
        ),
    ],
    retention_lock_type: Annotated[
        str,
        typer.Option(
            "--retention-lock-type",
            metavar="TYPE",
            autocompletion=completing.lock_types,
            help="NONE; GOVERNANCE, which can be bypassed; COMPLIANCE, which nobody can lift.",
        ),
    ] = "NONE",
    retention_days: Annotated[
        int,
        typer.Option(
            "--retention-days",
            metavar="DAYS",
            show_default=False,
            help="For how long from the day a tape is archived: 1 to 36500.",
        ),
    ] = 0,
    tag: Tags = None,
    if_not_exists: Annotated[
        bool,
        typer.Option("--if-not-exists", help="Succeed if there is such a pool already."),
    ] = False,
    output: Output = None,
) -> None:
    """Make a pool. It never changes afterwards; only its tags can.

    One with a lock needs a bucket that was made with S3 Object Lock.
    """
    from tapectl.gateway.activation import describe_gateway
    from tapectl.gateway.pools import PoolCreation, create_pool
    from tapectl.gateway.stores import open_store
    from tapectl.gateway.tag_rules import parse_tags

    request = PoolCreation(
        name=name,
        storage_class=storage_class.upper(),
        retention_lock_type=retention_lock_type.upper(),
        retention_lock_days=retention_days,
        tags=parse_tags(tag or ()),
        if_not_exists=if_not_exists,
    )
    with open_gateway(context) as (state, settings):
        store = open_store(describe_gateway(state), settings)
        created = create_pool(state, store, request, actor=actor())
    render_record(pool_row(created), DETAIL_COLUMNS, output=output)


@app.command("list", epilog=examples(("tapectl pool list", "the built-in ones, too")))
def list_(context: typer.Context, output: Output = None) -> None:
    """List the pools."""
    from tapectl.gateway.pools import list_pools

    with open_gateway(context) as (state, _):
        rows = [pool_row(pool) for pool in list_pools(state)]
    render_rows(rows, COLUMNS, output=output, empty="no pools")


@app.command(
    "show", epilog=examples(("tapectl pool show ledger", "by name, or by id: pool-1A2B3C4D"))
)
def show(context: typer.Context, pool: PoolName, output: Output = None) -> None:
    """Show one pool."""
    from tapectl.gateway.pools import describe_pool

    with open_gateway(context) as (state, _):
        render_record(pool_row(describe_pool(state, pool)), DETAIL_COLUMNS, output=output)


@app.command(
    "delete",
    epilog=examples(
        ("tapectl pool delete monthly", "asks first; refused while tapes are in it"),
        ("tapectl pool delete monthly --yes", "for a script"),
    ),
)
def delete(context: typer.Context, pool: PoolName, yes: Yes = False, output: Output = None) -> None:
    """Delete a pool that no tape is in."""
    from tapectl.gateway.activation import describe_gateway
    from tapectl.gateway.pools import delete_pool, describe_pool
    from tapectl.gateway.stores import open_store

    with open_gateway(context) as (state, settings):
        record = describe_pool(state, pool).record
        confirm(f"Delete pool {record.id} ({record.name})?", yes=yes)
        store = open_store(describe_gateway(state), settings)
        deleted = delete_pool(state, store, record.id, actor=actor())
    render_record({**pool_row(deleted), "PoolStatus": "DELETED"}, DETAIL_COLUMNS, output=output)


def pool_row(pool: PoolInfo) -> Row:
    """Return the JSON object of a pool; docs/json-output.md says what each key means."""
    from tapectl.state.tags import decode

    record = pool.record
    return {
        "PoolId": record.id,
        "PoolName": record.name,
        "StorageClass": record.storage_class,
        "RetentionLockType": record.retention_lock_type,
        "RetentionLockTimeInDays": record.retention_lock_days,
        "PoolStatus": "ACTIVE",
        "Tapes": pool.tapes,
        "CreatedDate": None if record.built_in else iso_time(record.created_at_ms),
        "Tags": tag_list(decode(record.tags)),
    }
