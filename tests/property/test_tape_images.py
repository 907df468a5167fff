"""Images of tapes: what goes into one comes out of it, and any bytes are an image or refused."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapectl.medium.images import IMAGE_FORMATS, ImageError, ImageFormat, Object
from tapectl.scsi.cartridge import Mark

FORMATS = pytest.mark.parametrize("image", IMAGE_FORMATS.values(), ids=IMAGE_FORMATS)
# Around the length of a chunk, too.
blocks = st.one_of(
    st.binary(min_size=1, max_size=100),
    st.integers(65_533, 65_538).map(lambda size: b"x" * size),
    st.just(b"long" * 50_001),
)
tapes = st.lists(st.one_of(blocks, st.just(Mark.FILEMARK)), max_size=12)


def encoded(image: ImageFormat, objects: Sequence[Object]) -> bytes:
    return b"".join(image.encode(objects))


def decoded(image: ImageFormat, data: bytes) -> list[Object]:
    return list(image.decode(io.BytesIO(data).read))


@FORMATS
@given(objects=tapes)
@settings(max_examples=60, deadline=None)
def test_what_goes_in_comes_out(image: ImageFormat, objects: list[Object]) -> None:
    assert decoded(image, encoded(image, objects)) == objects


@FORMATS
@given(objects=tapes.filter(bool), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_part_of_an_image_is_refused_or_is_whole_objects(
    image: ImageFormat, objects: list[Object], data: st.DataObject
) -> None:
    whole = encoded(image, objects)
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        found = decoded(image, part)
    except ImageError:
        return
    # Cut between two objects, where the formats cannot tell.
    assert found == objects[: len(found)]


@FORMATS
@given(data=st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_an_image_or_refused(image: ImageFormat, data: bytes) -> None:
    try:
        decoded(image, data)
    except ImageError:
        return


def test_simh_by_the_book() -> None:
    image = bytes.fromhex("03000000 61626300 03000000  00000000  02000000 6465 02000000 ffffffff")
    objects = [b"abc", Mark.FILEMARK, b"de"]
    assert encoded(IMAGE_FORMATS["tap"], objects) == image
    assert decoded(IMAGE_FORMATS["tap"], image[:-4]) == objects  # as many programs leave it
    gap = bytes.fromhex("feffffff")
    assert decoded(IMAGE_FORMATS["tap"], gap + image) == objects


def test_awstape_by_the_book() -> None:
    image = bytes.fromhex("0300 0000 a0 00 616263  0000 0300 40 00  0200 0000 a0 00 6465")
    objects = [b"abc", Mark.FILEMARK, b"de"]
    assert encoded(IMAGE_FORMATS["aws"], objects) == image
    assert decoded(IMAGE_FORMATS["aws"], image) == objects
    spanned = encoded(IMAGE_FORMATS["aws"], [b"y" * 65_536])
    assert struct.unpack_from("<HHBB", spanned) == (65_535, 0, 0x80, 0)
    assert struct.unpack_from("<HHBB", spanned, 65_535 + 6) == (1, 65_535, 0x20, 0)


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("tap", "03000000 616263"),
        ("tap", "03000000 61626300 04000000"),
        ("tap", "03000080 61626300 03000080"),
        ("tap", "00000001"),
        ("aws", "0300 0000 a0 00 6162"),
        ("aws", "0300 0000 80 00 616263"),
        ("aws", "0300 0000 20 00 616263"),
        ("aws", "0300 0100 a0 00 616263"),
        ("aws", "0000 0000 a0 00"),
    ],
)
def test_what_is_no_image_is_refused(name: str, image: str) -> None:
    with pytest.raises(ImageError):
        decoded(IMAGE_FORMATS[name], bytes.fromhex(image))
