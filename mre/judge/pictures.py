"""Pictures on their way to a judge: lossless PNG at a stated size, named by a digest of what they were made from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mre.errors import DataError, ImageError
from mre.files import png_bytes
from mre.imaging import open_image

if TYPE_CHECKING:
    from mre.judge.verdicts import PictureSource

LONGEST_SIDE = 2048          # a server would scale a longer side down itself


class JudgePicture:
    """A picture to be judged. Its digest costs one read of the source; it is decoded and encoded only when it must be sent."""

    def __init__(self, source: PictureSource, name: str) -> None:
        self.name = name
        if callable(source):
            source = _made(source, f"{name}: ")
        if isinstance(source, str | Path):
            try:
                source = Path(source).read_bytes()
            except OSError as error:
                raise ImageError(f"{name}: {source}: {error.strerror or error}") from error
        self._source = source
        self.digest = hashlib.sha256(source if isinstance(source, bytes) else _pixels(source)).hexdigest()

    def decoded(self) -> Image.Image:
        """The picture as RGB. Raises ImageError that names it."""
        if isinstance(self._source, Image.Image):
            return self._source.convert("RGB")
        return open_image(self._source, name=self.name)


def _pixels(image: Image.Image) -> bytes:
    return f"{image.mode} {image.size}".encode() + image.tobytes()


def judged_size(width: int, height: int, shorter_side: int) -> tuple[int, int]:
    """The size at which a picture is sent: its shorter side as stated, its own aspect, its longer side at most LONGEST_SIDE."""
    scale = min(shorter_side / min(width, height), LONGEST_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def encoded_pair(original: JudgePicture, edited: JudgePicture, shorter_side: int) -> tuple[bytes, bytes]:
    """Both pictures as PNG, at the size that the original is sent at: the two questions about change need the same grid.

    An edit of another aspect keeps its own, so that nothing is stretched. A picture already at the size is sent pixel for pixel.
    """
    first, second = original.decoded(), edited.decoded()
    size = judged_size(*first.size, shorter_side)
    same_aspect = abs(second.width * first.height - second.height * first.width) <= max(second.size) * max(first.size) * 0.02
    return _png(first, size), _png(second, size if same_aspect else judged_size(*second.size, shorter_side))


def _png(image: Image.Image, size: tuple[int, int]) -> bytes:
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    return png_bytes(image, compress_level=1)           # half the time of the default, and photos come out no larger


def as_array(picture: PictureSource | np.ndarray) -> np.ndarray:
    """Pixels as (H, W, 3) uint8."""
    if isinstance(picture, np.ndarray):
        return picture
    if callable(picture):
        return as_array(_made(picture))
    return np.asarray(picture.convert("RGB") if isinstance(picture, Image.Image) else open_image(picture))


def _made(make: Callable[[], Image.Image], name: str = "") -> Image.Image:
    try:
        return make()
    except DataError as error:              # of the name that the picture goes by
        raise ImageError(f"{name}{error}") from error
