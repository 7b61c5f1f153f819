"""Pictures on their way to a browser: each under a random address that only its visitor is told, gone with the visit.

Gradio's own cache is common to all visitors and keeps what it is given; a visitor's photos do not go there.
"""

from __future__ import annotations

import base64
import io
import math
import secrets
import shutil
import tempfile
import threading
import time
import weakref
from collections import Counter, OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from PIL import Image

from mre.errors import ImageError
from mre.files import QUICK, png_bytes
from mre.imaging import open_image, reduced
from mre.version import __version__
from ui.site.uploads import Caller, own_folder

if TYPE_CHECKING:
    from ui.studio import Studio

MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".csv": "text/csv; charset=utf-8"}
FORMS = {"jpeg": 65_500, "webp": 16_383}         # what a picture may be taken away as -> the longest side it may have, pixels
DESCRIPTION, SOFTWARE = 0x010E, 0x0131           # tags of EXIF
MAX_BYTES = 1_000_000_000


@dataclass(frozen=True)
class Picture:
    """A file on the shelf. `owner` is the visit that it goes with."""

    file: Path
    name: str
    owner: str
    size: int
    until: float = math.inf      # by time.monotonic
    about: str = ""              # what it says of itself when it is taken away as a JPEG or WebP


class PictureShelf:
    """Files of visitors in a folder of their own, at most `max_bytes` in all: the oldest of whoever has most give way first."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self.folder = Path(tempfile.mkdtemp(prefix="pictures-", dir=own_folder()))
        self._pictures: OrderedDict[str, Picture] = OrderedDict()
        self._readers: dict[str, Caller] = {}
        self._bytes = 0
        self._lock = threading.Lock()
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def put(self, data: bytes, name: str, owner: str, seconds: float = math.inf, about: str = "") -> str:
        """Keep a file for its owner, at most so many seconds. Returns the token of its address."""
        token = secrets.token_urlsafe(24)
        file = self.folder / (token + Path(name).suffix)
        file.write_bytes(data)
        with self._lock:
            now = time.monotonic()
            for old in [token for token, picture in self._pictures.items() if picture.until < now]:
                self._remove(old)
            self._pictures[token] = Picture(file, name, owner, len(data), now + seconds, about)
            self._bytes += len(data)
            while self._bytes > self.max_bytes and len(self._pictures) > 1:
                self._remove(self._first_to_go(token))
        return token

    def _first_to_go(self, new: str) -> str:
        """The oldest file, but not the new one, of the owner with most bytes of those who have another: nobody pushes out others' work."""
        held: Counter[str] = Counter()
        oldest: dict[str, str] = {}
        for token, picture in self._pictures.items():
            held[picture.owner] += picture.size
            if token != new:
                oldest.setdefault(picture.owner, token)
        return oldest[max(oldest, key=lambda owner: held[owner])]

    def get(self, token: str) -> Picture | None:
        """The file of a token, or None when it is gone."""
        with self._lock:
            found = self._pictures.get(token)
        return found if found and found.until >= time.monotonic() else None

    def reserve(self, owner: str, reader: Caller) -> None:
        """Show the files of an owner to one browser alone. Those of owners without a reader go to whoever was told their token."""
        with self._lock:
            self._readers[owner] = reader

    def may_read(self, picture: Picture, caller: Caller) -> bool:
        reader = self._readers.get(picture.owner)
        return reader is None or (reader.identity, reader.visit) == (caller.identity, caller.visit)

    def path(self, token: str) -> Path:
        """The file of a token. Raises ImageError when it is gone."""
        if (found := self.get(token)) is None:
            raise ImageError("this picture is not kept any more")
        return found.file

    def drop(self, *tokens: str) -> None:
        """Remove files that are not needed any more."""
        with self._lock:
            for token in tokens:
                self._remove(token)

    def drop_owner(self, owner: str) -> None:
        """Remove all files of a visit."""
        with self._lock:
            self._readers.pop(owner, None)
            for token in [token for token, picture in self._pictures.items() if picture.owner == owner]:
                self._remove(token)

    @property
    def bytes_used(self) -> int:
        return self._bytes

    def _remove(self, token: str) -> None:
        if picture := self._pictures.pop(token, None):
            self._bytes -= picture.size
            picture.file.unlink(missing_ok=True)


def address(token: str, name: str = "picture.png", *, plain: bool = False, form: str = "") -> str:
    """Where a browser finds a file of the shelf; `plain`: without the recipe inside; `form`: encoded anew, one of FORMS."""
    asked = "&".join([*(["plain=1"] if plain else []), *([f"form={form}"] if form else [])])
    return f"/pictures/{token}/{quote(name)}" + (f"?{asked}" if asked else "")


def encoded(picture: Image.Image, form: str, about: str = "") -> bytes:
    """The picture as a JPEG or WebP to pass on: smaller than a PNG, and not without loss. `about` goes into its EXIF."""
    exif, file = Image.Exif(), io.BytesIO()
    if about:
        exif[DESCRIPTION], exif[SOFTWARE] = about.encode(), f"MRE Studio {__version__}"
    options = {"jpeg": {"quality": 92, "subsampling": 0}, "webp": {"quality": 90}}[form]
    picture.save(file, form.upper(), exif=exif, **options)
    return file.getvalue()


def data_address(image: Image.Image, longest: int = 256, quality: int = 80) -> str:
    """A small JPEG of the picture inside an address, for what is shown for a moment only."""
    file = io.BytesIO()
    reduced(image, longest).save(file, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def add_routes(app: FastAPI, studio: Studio) -> None:
    """Serve the shelf: a visitor's pictures to their own browser, a program's to whoever has the address."""
    shelf = studio.shelf

    @app.get("/pictures/{token}/{name}", include_in_schema=False)
    def picture(request: Request, token: str, name: str, plain: int = 0, form: str = "") -> Response:
        headers = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
        if (found := shelf.get(token)) is None or not shelf.may_read(found, studio.caller(request)):
            return Response("This picture is gone: pictures are deleted when their tab closes.", status_code=404, media_type="text/plain")
        media = MEDIA_TYPES.get(Path(found.name).suffix, "application/octet-stream")
        try:
            if form in FORMS and media == "image/png":
                data = encoded(open_image(found.file), form, "" if plain else found.about)
                return Response(data, media_type=f"image/{form}", headers=headers)
            if plain and media == "image/png":
                return Response(png_bytes(open_image(found.file), QUICK), media_type=media, headers=headers)
            return Response(found.file.read_bytes(), media_type=media, headers=headers)     # read here: the next edit may remove it
        except (OSError, ImageError):
            return Response("This picture is gone.", status_code=404, media_type="text/plain")
