"""`tapectl tape cat|export|import`: what is on a tape, without any initiator."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from tapectl.cli.files import is_stream, whole_file
from tapectl.cli.named_point import At, PointNumber
from tapectl.cli.named_store import EndpointUrl, Profile, Region
from tapectl.cli.options import Barcode, Output, examples
from tapectl.cli.read_tapes import FromStore, KeyFile, NamedTape, open_to_read
from tapectl.cli.session import change_gateway
from tapectl.cli.tape_rows import render_tape
from tapectl.cli.waiting import Progress, bytes_progress, progress_bar
from tapectl.errors import ExitCode, TapectlError, UsageError
from tapectl.units import parse_size

if TYPE_CHECKING:
    from tapectl.medium.images import ImageFormat, Object

RAW = "raw"
FORMATS = (RAW, "tap", "aws")

Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        show_default="by the suffix of PATH",
        autocompletion=lambda incomplete: [one for one in FORMATS if one.startswith(incomplete)],
        help="tap (SIMH), aws (AWSTAPE), or raw: the blocks of one tape file, as dd reads them.",
    ),
]


class TapeImageError(TapectlError):
    """A file is no image of a tape, or only a part of one."""

    exit_code = ExitCode.TAPE_INVALID
    code = "tape_image"
    aws_code = "InvalidParameters"


def register(tape: typer.Typer) -> None:
    """Add the commands to the noun."""
    tape.command(
        "cat",
        epilog=examples(
            ("tapectl tape cat VTL001L5 | tar tv", "the first file of a tape, listed by tar"),
            ("tapectl tape cat VTL001L5 2 > third.tar", "the file after the second filemark"),
            (
                'tapectl tape cat VTL001L5 --at "2d ago" | tar tv',
                "as it was, and leave it as it is",
            ),
            (
                "tapectl tape cat VTL001L5 --store s3://my-bucket/tapes | tar x",
                "on a machine without a gateway",
            ),
        ),
    )(cat)
    tape.command(
        "export",
        epilog=examples(
            ("tapectl tape export VTL001L5 vtl001.tap", "the whole tape, for SIMH and others"),
            ("tapectl tape export VTL001L5 vtl001.aws", "for Hercules"),
            ("tapectl tape export VTL001L5 - --format aws | zstd > vtl001.aws.zst", "to a pipe"),
            (
                "tapectl tape export VTL001L5 vtl001.tap --store s3://my-bucket/tapes",
                "on a machine without a gateway",
            ),
            (
                "tapectl tape export VTL001L5 /dev/null --format tap --store /mnt/bucket",
                "read all of it, to see whether it can be",
            ),
        ),
    )(export)
    tape.command(
        "import",
        epilog=examples(
            ("tapectl tape import VTL002L5 vtl001.tap", "onto a blank tape"),
            ("tapectl tape import VTL002L5 backup.tar --format raw", "one file, in 64 KiB blocks"),
        ),
    )(import_)


def cat(
    context: typer.Context,
    barcode: Barcode,
    file: Annotated[
        int,
        typer.Argument(metavar="FILE", min=0, help="Which file; 0 is the first one."),
    ] = 0,
    at: At = None,
    point: PointNumber = None,
    store: FromStore = None,
    region: Region = None,
    endpoint_url: EndpointUrl = None,
    profile: Profile = None,
    key_file: KeyFile = None,
) -> None:
    """Write one file of a tape to standard output.

    A file ends at the next filemark. The tape must be in no drive; the gateway may be serving
    others. What is not in the cache comes from the store.

    With --store, --at or --point it is read from the store alone, at a recovery point: the latest
    unless one is named (with --store times are in UTC unless they have an offset). No gateway is
    needed, nothing is written, and whoever has the tape goes on with it, in a drive too. What is
    archived has to be restored first.
    """
    named = NamedTape(
        barcode=barcode,
        store=store,
        region=region,
        endpoint_url=endpoint_url,
        profile=profile,
        at=at,
        point=point,
        key_file=key_file,
    )
    with open_to_read(context, named, command="tape cat", to=Path("-")) as tape:
        tape.go_to_file(file)
        for piece in _first_file(tape.read()):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def export(
    context: typer.Context,
    barcode: Barcode,
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            show_default=False,
            help="File to make, or a pipe; - for standard output.",
        ),
    ],
    format_: Format = None,
    file: Annotated[
        int | None,
        typer.Option(
            "--file",
            metavar="N",
            min=0,
            show_default="the only one",
            help="With --format raw: which file of the tape, 0 is the first one.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace PATH if it is there.")
    ] = False,
    at: At = None,
    point: PointNumber = None,
    store: FromStore = None,
    region: Region = None,
    endpoint_url: EndpointUrl = None,
    profile: Profile = None,
    key_file: KeyFile = None,
) -> None:
    """Write a tape to a file.

    All blocks and filemarks of its first partition. The file appears when it is whole. The tape
    must be in no drive. What the drive keeps beside the blocks (partitions, attributes) is in none
    of the formats. --store, --at and --point read it from the store alone, as `tape cat` does.
    """
    name = _format_name(path, format_)
    if file is not None and name != RAW:
        raise UsageError(
            "--file goes with --format raw", hint="an image has all files of a tape: leave it away"
        )
    if path.exists() and not overwrite and not is_stream(path):
        raise UsageError(f"there is such a file already: {path}", hint="--overwrite replaces it")
    named = NamedTape(
        barcode=barcode,
        store=store,
        region=region,
        endpoint_url=endpoint_url,
        profile=profile,
        at=at,
        point=point,
        key_file=key_file,
    )
    with (
        open_to_read(context, named, command="tape export", to=path) as tape,
        progress_bar(f"exporting {barcode}") as show,
        whole_file(path) as target,
    ):
        if file is not None:
            tape.go_to_file(file)
        counted = _counted(tape.read(), tape.used_bytes, show)
        for piece in _pieces(counted, name, one_file=file is not None):
            target.write(piece)


def import_(
    context: typer.Context,
    barcode: Barcode,
    path: Annotated[
        Path,
        typer.Argument(metavar="PATH", show_default=False, help="The file; - for standard input."),
    ],
    format_: Format = None,
    block_size: Annotated[
        str,
        typer.Option(
            "--block-size", metavar="SIZE", help="With --format raw: the length of the blocks."
        ),
    ] = "64KiB",
    output: Output = None,
) -> None:
    """Write a file onto a blank tape.

    All blocks and filemarks of an image. All or nothing: if the file turns out to be only a part of
    an image, or does not fit, the tape is blank again. The tape must be in no drive. Data goes to
    the object store as any other.
    """
    from tapectl.gateway.tapes import describe_tape
    from tapectl.medium.images import ImageError
    from tapectl.serve.tape_access import open_tape
    from tapectl.state.errors import TapeStatusError

    name = _format_name(path, format_)
    block_bytes = _block_bytes(block_size)
    with change_gateway(context) as (state, settings):
        with (
            _source(path) as (source, size_bytes),
            open_tape(state, settings, barcode, writing=True) as tape,
            progress_bar(f"importing {barcode}") as show,
        ):
            if not tape.blank:
                raise TapeStatusError(
                    f"tape {barcode} is not blank",
                    status="AVAILABLE",
                    hint="an image needs a new tape: run `tapectl tape create`",
                )
            objects = _objects(source, name, block_bytes)
            try:
                tape.write_all(_not_nothing(_counted(objects, size_bytes, show)))
            except ImageError as exc:
                raise TapeImageError(f"{path} is no whole {name} image: {exc}") from exc
        render_tape(describe_tape(state, barcode), output)


def _format_name(path: Path, wanted: str | None) -> str:
    name = (path.suffix[1:] if wanted is None else wanted).lower()
    if name not in FORMATS:
        if wanted is None:
            raise UsageError(
                f"no format is known by this name of a file: {path}",
                hint=f"say --format, one of {', '.join(FORMATS)}",
            )
        raise UsageError(
            f"not a format of tape images: {name}", hint=f"--format {', '.join(FORMATS)}"
        )
    return name


def _block_bytes(text: str) -> int:
    from tapectl.medium.frame import BLOCK_BYTES_MAX

    block_bytes = parse_size(text)
    if not 1 <= block_bytes <= BLOCK_BYTES_MAX:
        raise UsageError(f"not the length of a block: {text}", hint="1 byte to 16 MiB - 1")
    return block_bytes


def _image_format(name: str) -> ImageFormat:
    from tapectl.medium.images import IMAGE_FORMATS

    return IMAGE_FORMATS[name]


def _pieces(objects: Iterator[Object], name: str, *, one_file: bool) -> Iterator[bytes]:
    if name != RAW:
        return _image_format(name).encode(objects)
    return _first_file(objects) if one_file else _only_file(objects)


def _first_file(objects: Iterator[Object]) -> Iterator[bytes]:
    """Yield the blocks before the first filemark."""
    for one in objects:
        if not isinstance(one, bytes):
            return
        yield one


def _only_file(objects: Iterator[Object]) -> Iterator[bytes]:
    yield from _first_file(objects)
    if any(isinstance(one, bytes) for one in objects):
        raise UsageError(
            "the tape has several files, and raw is one", hint="choose one with --file, or use tap"
        )


def _objects(source: BinaryIO, name: str, block_bytes: int) -> Iterator[Object]:
    """Yield what is to be written; a raw file is one tape file, closed by a filemark."""
    from tapectl.scsi.cartridge import Mark

    if name != RAW:
        yield from _image_format(name).decode(source.read)
        return
    while block := source.read(block_bytes):
        yield block
        if len(block) < block_bytes:
            break
    yield Mark.FILEMARK


def _not_nothing(objects: Iterator[Object]) -> Iterator[Object]:
    """Yield the objects; raise ImageError if there is no block among them."""
    from tapectl.medium.images import ImageError

    blocks = 0
    for one in objects:
        blocks += isinstance(one, bytes)
        yield one
    if not blocks:
        raise ImageError("it holds nothing")


def _counted(
    objects: Iterable[Object], total_bytes: int | None, show: Callable[[Progress], None]
) -> Iterator[Object]:
    """Yield the objects and show how many bytes of data have passed."""
    done_bytes = shown_bytes = 0
    for one in objects:
        yield one
        done_bytes += len(one) if isinstance(one, bytes) else 0
        if done_bytes - shown_bytes > _SHOW_EVERY_BYTES:
            shown_bytes = done_bytes
            show(bytes_progress(done_bytes, total_bytes))


_SHOW_EVERY_BYTES = 8 << 20


@contextlib.contextmanager
def _source(path: Path) -> Iterator[tuple[BinaryIO, int | None]]:
    if str(path) == "-":
        yield sys.stdin.buffer, None
        return
    try:
        file = path.open("rb")
    except OSError as exc:
        raise UsageError(
            f"cannot read the image ({exc.strerror}): {path}", hint="- is standard input"
        ) from exc
    with file:
        yield file, os.fstat(file.fileno()).st_size
