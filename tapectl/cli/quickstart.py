"""`tapectl quickstart`: a whole library in one directory, to try it.

Every step is one that the other commands take, and each looks first whether
it was taken, so that the same command again goes on where it was cut off.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tapectl.cli.options import examples
from tapectl.cli.serving import Listen
from tapectl.cli.session import Session, actor, load_settings
from tapectl.errors import UsageError
from tapectl.units import GIB

if TYPE_CHECKING:
    from tapectl.gateway.settings import Settings
    from tapectl.serve.supervisor import ReadyInfo
    from tapectl.state.database import State

GATEWAY_NAME = "quickstart"
TAPE_SIZE_BYTES = 100 * GIB
RETRIEVAL_POLL_S = 1.0
# Barcodes as tapes of a real LTO-5 library have them.
BARCODES = tuple(f"DEMO{number:02d}L5" for number in range(1, 6))


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command(
        "quickstart",
        epilog=examples(
            ("tapectl quickstart", "in ./tapectl-demo, on 127.0.0.1:3260"),
            ("tapectl quickstart /tmp/lab --listen 127.0.0.1:13260", "elsewhere"),
            ("tapectl --state ./tapectl-demo/tapectl.db tape list", "look at it meanwhile"),
        ),
    )(quickstart)


def quickstart(
    context: typer.Context,
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where everything goes; made if missing.")
    ] = Path("tapectl-demo"),
    listen: Listen = None,
) -> None:
    """Serve a library with five tapes, from one directory.

    A directory as object store, two folders as cache and upload buffer, five 100 GiB tapes that
    take no room until they are written. Again in the same directory it serves what is there.
    Ctrl-C ends it; remove the directory to be rid of it.
    """
    from tapectl.serve import serving
    from tapectl.state.database import State

    root = directory.absolute()
    # What the user has exported for the real gateway must not lead the demonstration astray.
    context.find_root().obj = Session(root / "tapectl.db", _config_of(context))
    settings = load_settings(
        context,
        listen=tuple(listen) if listen else None,
        # Nobody who tries it wants to wait a minute to be told that a tape is back.
        retrieval_poll_s=RETRIEVAL_POLL_S,
    )
    _activate(root, settings)
    with State.open(settings.state_path) as state:
        _allocate_disks(state, root)
        _create_tapes(state)

    def on_ready(ready: ReadyInfo) -> None:
        typer.echo(_instructions(ready, settings.state_path))
        sys.stdout.flush()

    raise typer.Exit(serving.run(settings, on_ready=on_ready))


def _config_of(context: typer.Context) -> Path | None:
    session = context.find_root().obj
    return session.config_path if isinstance(session, Session) else None


def _activate(root: Path, settings: Settings) -> None:
    from tapectl.gateway.activation import ActivationRequest, activate
    from tapectl.gateway.stores import open_store

    if settings.state_path.exists():
        return
    store = root / "store"
    try:
        # What is on the tapes is nobody else's business.
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        store.mkdir(mode=0o700, exist_ok=True)
    except OSError as exc:
        raise UsageError(
            f"cannot make the directory ({exc.strerror}): {root}",
            hint="name one that you may write to: tapectl quickstart DIR",
        ) from exc
    activate(
        settings.state_path,
        ActivationRequest(name=GATEWAY_NAME, store_url=str(store)),
        open_store=lambda record: open_store(record, settings),
        actor=actor(),
    )


def _allocate_disks(state: State, root: Path) -> None:
    from tapectl.gateway.disk_allocation import DiskAddition, add_disk
    from tapectl.gateway.disk_list import list_disks
    from tapectl.state.disks import DiskRole

    allocated = {disk.allocation for disk in list_disks(state)}
    for role, name in ((DiskRole.CACHE_STORAGE, "cache"), (DiskRole.UPLOAD_BUFFER, "buffer")):
        if role.value not in allocated:
            request = DiskAddition(role=role, path=root / name, create=True, allow_small=True)
            add_disk(state, request, actor=actor())


def _create_tapes(state: State) -> None:
    """Create the tapes, unless someone has been here before: a deleted one stays deleted."""
    from tapectl.gateway.tape_creation import TapeCreation, create_tapes
    from tapectl.gateway.tapes import list_tapes
    from tapectl.state.tape_status import TapeStatus

    known = {tape.barcode for tape in list_tapes(state, statuses=TapeStatus)}
    for barcode in BARCODES:
        if barcode not in known:
            request = TapeCreation(size_bytes=TAPE_SIZE_BYTES, barcode=barcode, to_slots=True)
            create_tapes(state, request, actor=actor())


def _instructions(ready: ReadyInfo, state_path: Path) -> str:
    portal = ready.portals[0]
    command = _own_command()
    return f"""\
A tape library with {len(BARCODES)} tapes is served on {portal}. Ctrl-C ends it.

Connect an initiator, as root in another terminal (Debian: apt install open-iscsi mtx mt-st lsscsi):
  iscsiadm -m discovery -t sendtargets -p {portal}
  iscsiadm -m node -p {portal} --login
  lsscsi -g                       # which /dev/sg is the mediumx, which /dev/nst the drives
  CHANGER=$(lsscsi -g | awk '/mediumx/ {{print $NF; exit}}')
  mtx -f $CHANGER status
  mtx -f $CHANGER load 1 0
  tar -b 512 -cf /dev/nst0 /etc
  mt -f /dev/nst0 rewind
  tar -b 512 -tf /dev/nst0
  mtx -f $CHANGER unload 1 0
  iscsiadm -m node -p {portal} --logout

What to try next, in a third one:
  export TAPECTL_STATE={shlex.quote(str(state_path))}
  {command} status
  {command} tape list
  {command} tape eject {BARCODES[0]} --hold 0 --wait
  {command} archive list
  {command} tape retrieve {BARCODES[0]} --wait
  {command} events {BARCODES[0]}
"""


def _own_command() -> str:
    """Return how this program was called, so that the lines work without an installation."""
    called = Path(sys.argv[0])
    if called.name != "tapectl" or called.parent == Path():
        return "tapectl"
    return shlex.quote(str(called.absolute()))
