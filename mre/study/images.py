"""Blinding of pictures: what reaches an annotator is rebuilt from pixels, and every picture of an item is the same on the wire.

Nothing of a picture's file survives its import: orientation is applied, colours are 8-bit sRGB, the PNG is written anew from the pixels.
All pictures of an item have one size in pixels. They are stored compressed and sent uncompressed, so that no length, on the wire or
inside the file, tells how well a picture compresses: a smooth edit looks like a noisy one to whoever does not look at it.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from mre.files import png_bytes
from mre.imaging import MAX_BYTES, open_image, pixel_digest
from mre.study.design import Picture


def rebuild(source: Path | bytes, name: str | None = None, size: tuple[int, int] | None = None) -> Picture:
    """The picture at `source`, rebuilt from its pixels; resized to `size` (width, height) where given. Raises ImageError."""
    image = open_image(source, name=name)
    if size and image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    return Picture(digest=pixel_digest(image), width=image.width, height=image.height, png=png_bytes(image),
                   source=str(source) if isinstance(source, Path) else "", source_digest=_file_digest(source))


def uncompressed(png: bytes) -> bytes:
    """The same pixels as a PNG without compression or row filters: its length and every byte but pixels and checksums depend on its width
    and height alone."""
    image = Image.open(io.BytesIO(png))
    rows = np.zeros((image.height, 1 + 3 * image.width), np.uint8)                    # a row: filter 0, then R, G, B of each pixel
    rows[:, 1:] = np.asarray(image).reshape(image.height, 3 * image.width)
    header = struct.pack(">IIBBBBB", image.width, image.height, 8, 2, 0, 0, 0)        # 8 bits, colour type RGB
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 0)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _file_digest(source: Path | bytes) -> str:
    data = source if isinstance(source, bytes) else source.read_bytes()[:MAX_BYTES]
    return hashlib.sha256(data).hexdigest()
