"""Masks: what may change in a photo, one bit a pixel. White may change."""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import io
import os
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from mre.errors import ImageError
from mre.imaging import Size, open_image

MOST_BYTES = 256_000         # of the PNG: a recipe carries it


@dataclass(frozen=True)
class Mask:
    """A mask as a PNG of one bit a pixel. Equal masks are equal bytes. Raises ImageError, one line with its name, for one that marks
    nothing or everything, or is too detailed."""

    png: bytes
    name: str = field(default="the mask", compare=False)         # for messages

    def __post_init__(self) -> None:
        if len(self.png) > MOST_BYTES:
            raise ImageError(f"{self.name}: is too detailed ({len(self.png) // 1000} kB as a PNG; at most {MOST_BYTES // 1000})")
        if not self.inside.any():
            raise ImageError(f"{self.name}: marks nothing; paint white what may change")
        if self.inside.all():
            raise ImageError(f"{self.name}: marks the whole picture, so there is nothing to put back; leave it out")

    @classmethod
    def of(cls, inside: np.ndarray, name: str = "the mask") -> Mask:
        """A mask of (H, W) bool."""
        file = io.BytesIO()
        Image.fromarray(np.asarray(inside, bool)).save(file, "PNG", optimize=True)
        return cls(file.getvalue(), name)

    @classmethod
    def read(cls, source: str | os.PathLike | bytes, name: str | None = None) -> Mask:
        """A mask from a picture file: what is brighter than half is marked.

        Raises ImageError, one line with the mask's name, for a file that is no picture, has transparency, or marks nothing or everything.
        """
        name = name or (os.fspath(source) if not isinstance(source, bytes) else "the mask")
        picture = open_image(source, name=name)
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as raw:         # its size was checked just now
            if raw.has_transparency_data and np.asarray(raw.convert("RGBA").getchannel("A")).min() < 255:
                raise ImageError(f"{name}: has transparency, which may mean either; save the mask in black and white (white: may change)")
        return cls.of(np.asarray(picture.convert("L")) > 127, name)

    @classmethod
    def from_text(cls, text: str, name: str = "the mask") -> Mask:
        """A mask from `text`. Raises ImageError."""
        try:
            return cls(base64.b64decode(text, validate=True), name)
        except (binascii.Error, ValueError) as error:
            raise ImageError(f"{name}: is not base64") from error

    @property
    def text(self) -> str:
        """Its bytes in base64, for JSON."""
        return base64.b64encode(self.png).decode()

    @functools.cached_property
    def inside(self) -> np.ndarray:
        """(H, W) bool, read only."""
        pixels = np.asarray(open_image(self.png, name=self.name, max_bytes=MOST_BYTES).convert("L")) > 127
        pixels.flags.writeable = False
        return pixels

    @property
    def size(self) -> Size:
        return self.inside.shape[1], self.inside.shape[0]

    def fitting(self, size: Size) -> np.ndarray:
        """`inside`, for a photo of this size. Raises ImageError for a photo of another."""
        if self.size != size:
            own, photo = (f"{width} x {height}" for width, height in (self.size, size))
            raise ImageError(f"{self.name}: has {own} pixels, the photo {photo}; both need one size")
        return self.inside

    def scaled(self, size: Size) -> Mask:
        """The same mask for a photo of this size, of which it was painted on a view: fewer pixels, the same shape.
        Raises ImageError for a photo of another shape."""
        width, height = self.size
        if self.size == size:
            return self
        if abs(height * size[0] / width - size[1]) > max(1.0, size[0] / width):          # a pixel of the coarser one is left to rounding
            self.fitting(size)
        larger = Image.fromarray(self.inside.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR)
        return Mask.of(np.asarray(larger) > 127, self.name)

    def __str__(self) -> str:
        return f"{self.size[0]}x{self.size[1]}, {self.inside.mean():.1%} of it, {hashlib.sha256(self.png).hexdigest()[:12]}"
