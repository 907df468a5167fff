"""Tape images: files in which other programs keep the blocks and filemarks of a tape. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Protocol

from tapectl.medium.images import awstape, simh
from tapectl.medium.images.objects import ImageError, Object, Read

__all__ = ["IMAGE_FORMATS", "ImageError", "ImageFormat", "Object", "Read"]


class ImageFormat(Protocol):
    """A module that writes and reads one format."""

    def encode(self, objects: Iterable[Object]) -> Iterator[bytes]:
        """Yield the image of a tape, piece by piece."""
        ...

    def decode(self, read: Read) -> Iterator[Object]:
        """Yield the objects of an image; raise ImageError where it is none, or ends too soon."""
        ...


IMAGE_FORMATS: Mapping[str, ImageFormat] = MappingProxyType({"tap": simh, "aws": awstape})
"""By the suffixes that their files have."""
