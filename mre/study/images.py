"""Blinding of pictures: what reaches an annotator is rebuilt from pixels, and every picture of an item is the same on the wire.

Nothing of a picture's file survives its import: orientation is applied, colours are 8-bit sRGB, the PNG is written anew from the pixels.
All pictures of an item have one size in pixels, and are sent padded to one size in bytes, so that not even a length tells edits apart.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from pathlib import Path

from PIL import Image

from mre.imaging import MAX_BYTES, open_image, pixel_digest
from mre.study.design import Picture

WIRE_STEP = 1024                # padded lengths are multiples of this
_CHUNK_OVERHEAD = 12            # length, type, checksum
_PAD_TYPE = b"paDd"             # ancillary and private: every decoder passes over it


def rebuild(source: Path | bytes, name: str | None = None, size: tuple[int, int] | None = None) -> Picture:
    """The picture at `source`, rebuilt from its pixels; resized to `size` (width, height) where given. Raises ImageError."""
    image = open_image(source, name=name)
    if size and image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    plain = Image.frombytes("RGB", image.size, image.convert("RGB").tobytes())
    buffer = io.BytesIO()
    plain.save(buffer, "PNG", compress_level=6)
    return Picture(digest=pixel_digest(plain), width=plain.width, height=plain.height, png=buffer.getvalue(),
                   source=str(source) if isinstance(source, Path) else "", source_digest=_file_digest(source))


def wire_bytes(pngs: list[int]) -> int:
    """The common length that pictures of these lengths are padded to."""
    return -(-(max(pngs) + _CHUNK_OVERHEAD) // WIRE_STEP) * WIRE_STEP


def padded(png: bytes, length: int) -> bytes:
    """The same PNG with an empty chunk before its end, `length` bytes long."""
    fill = bytes(length - len(png) - _CHUNK_OVERHEAD)
    chunk = struct.pack(">I", len(fill)) + _PAD_TYPE + fill + struct.pack(">I", zlib.crc32(_PAD_TYPE + fill))
    return png[:-_CHUNK_OVERHEAD] + chunk + png[-_CHUNK_OVERHEAD:]


def _file_digest(source: Path | bytes) -> str:
    data = source if isinstance(source, bytes) else source.read_bytes()[:MAX_BYTES]
    return hashlib.sha256(data).hexdigest()
