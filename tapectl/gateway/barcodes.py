"""Barcodes: which ones are allowed, and how new ones are made."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence

from tapectl.errors import ExitCode, TapectlError
from tapectl.scsi.changer_personality import CHANGER_PERSONALITIES

MIN_CHARACTERS = 5
MAX_CHARACTERS = 16
MAX_PREFIX_CHARACTERS = 4
GENERATED_HEX_DIGITS = 6
CLEANING_HEX_DIGITS = 4
DEFAULT_PREFIX = "TAPE"

# By these letters libraries and backup programs tell a cleaning cartridge from a tape; U is for
# universal ones, which clean drives of every generation.
CLEANING_LETTERS = "CLN"
CLEANING_PREFIX = "CLNU"

# Of 16 million names a prefix has, a library holds 1,500: two draws in a row that are taken are
# already unlikely. So many of them mean that the prefix is used up.
MAX_DRAWS = 1000

_BARCODE = re.compile(rf"[A-Z0-9]{{{MIN_CHARACTERS},{MAX_CHARACTERS}}}")
# A name, a number, and the two characters that say what the medium is (L5, LW; none is fine).
_NUMBERED = re.compile(r"(?P<name>.*?)(?P<number>[0-9]+)(?P<medium>[A-Z][A-Z0-9])?")
_PREFIX = re.compile(rf"[A-Z]{{1,{MAX_PREFIX_CHARACTERS}}}")


class BarcodeError(TapectlError):
    """A barcode or a prefix is not one."""

    exit_code = ExitCode.TAPE_INVALID
    code = "barcode_invalid"
    aws_code = "InvalidParameters"


def check_barcode(barcode: str, changer_type: str | None = None) -> str:
    """Return the barcode; raise BarcodeError if it is none, or too long for the changer."""
    if _BARCODE.fullmatch(barcode) is None:
        upper = barcode.upper()
        raise BarcodeError(
            f"not a barcode: {barcode}",
            hint=f"capital letters: {upper}"
            if _BARCODE.fullmatch(upper)
            else f"{MIN_CHARACTERS} to {MAX_CHARACTERS} characters of A-Z and 0-9",
        )
    limit = max_characters(changer_type)
    if len(barcode) > limit:
        raise BarcodeError(
            f"tape barcode is too long for the media changer: {barcode}",
            hint=f"{changer_type} takes {limit} characters",
        )
    return barcode


def check_prefix(prefix: str, changer_type: str | None = None) -> str:
    """Return the prefix; raise BarcodeError if it is none, or leaves no room for the digits."""
    if _PREFIX.fullmatch(prefix) is None:
        raise BarcodeError(
            f"not a barcode prefix: {prefix}", hint=f"1 to {MAX_PREFIX_CHARACTERS} letters of A-Z"
        )
    limit = max_characters(changer_type) - GENERATED_HEX_DIGITS
    if len(prefix) > limit:
        raise BarcodeError(
            f"the barcode prefix is too long for the media changer: {prefix}",
            hint=f"{changer_type} takes prefixes of {limit} letters, or name whole barcodes",
        )
    return prefix


def check_cleaning_barcode(barcode: str) -> str:
    """Return the barcode, or the prefix of one; raise BarcodeError if it is no cleaning
    cartridge's."""
    if not barcode.startswith(CLEANING_LETTERS):
        raise BarcodeError(
            f"not the barcode of a cleaning cartridge: {barcode}",
            hint=f"it begins with {CLEANING_LETTERS}, as in {CLEANING_PREFIX}01L1",
        )
    return barcode


def default_prefix(changer_type: str | None = None) -> str:
    """Return the prefix of generated barcodes where none is asked for."""
    return DEFAULT_PREFIX[: max_characters(changer_type) - GENERATED_HEX_DIGITS]


def max_characters(changer_type: str | None) -> int:
    """Return how long barcodes may be in a library with this changer."""
    if changer_type is None:
        return MAX_CHARACTERS
    return CHANGER_PERSONALITIES[changer_type].volume_tag_characters


def series(first: str, count: int) -> Sequence[str]:
    """Return `count` barcodes that go on from a first one: VTL001L5, VTL002L5, ...

    Its last number is counted up, but for the one in the two characters at the end that say what
    the medium is. It keeps its digits. Raises BarcodeError if it has none, or too few of them.
    """
    if count == 1:
        return [first]
    parts = _NUMBERED.fullmatch(first)
    if parts is None:
        raise BarcodeError(
            f"no barcode to count on from: {first}", hint="a number at its end, as in VTL001L5"
        )
    name, number, medium = parts["name"], parts["number"], parts["medium"] or ""
    last = int(number) + count - 1
    if len(str(last)) > len(number):
        raise BarcodeError(
            f"too few digits for {count} barcodes from {first} on",
            hint=f"the last one would be {name}{last}{medium}",
        )
    return [f"{name}{n:0{len(number)}d}{medium}" for n in range(int(number), last + 1)]


def generate(
    prefix: str,
    count: int,
    is_used: Callable[[str], bool],
    draw: Callable[[int], int] = secrets.randbelow,
    *,
    hex_digits: int = GENERATED_HEX_DIGITS,
) -> Sequence[str]:
    """Return `count` new barcodes, the prefix and `hex_digits` hexadecimal digits each.

    `is_used` says whether a barcode was ever given; `draw(n)` returns a random number below n.
    Raises BarcodeError when the prefix is used up.
    """
    barcodes: dict[str, None] = {}
    draws_left = MAX_DRAWS + count
    while len(barcodes) < count:
        if draws_left == 0:
            raise BarcodeError(f"too many barcodes with this prefix are used up: {prefix}")
        draws_left -= 1
        barcode = f"{prefix}{draw(16**hex_digits):0{hex_digits}X}"
        if not is_used(barcode):
            barcodes[barcode] = None
    return list(barcodes)
