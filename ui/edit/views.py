"""Pictures as large as a screen, which the viewer shows. The whole of a large picture is sent when somebody zooms in; where two of them
differ is worked out when somebody looks."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from fastapi import FastAPI, Request, Response
from PIL import Image, ImageChops

from mre.errors import ImageError, MreError
from mre.files import QUICK, png_bytes
from mre.imaging import open_image, reduced
from ui.pictures import MEDIA_TYPES, PictureShelf, address
from ui.texts import add_texts, say

if TYPE_CHECKING:
    from mre.metrics.preserving import Preserving
    from ui.studio import Studio

TEXTS = {
    "measured_place": ("moved by {shift} pixels and scaled by {zoom} %", "移动 {shift} 像素，缩放 {zoom} %"),
    "measured_drift": ("colours outside the edit drifted by {drift} levels (red, green, blue)",
                       "编辑区域外颜色偏移 {drift} 级（红、绿、蓝）"),
    "measured_outside": ("{changed} % clearly changed, the rest differs by {size} levels on average",
                         "{changed} % 明显变化，其余部分平均相差 {size} 级"),
    "measured_comma": ("; ", "；"), "measured_end": (".", "。"),
    "measured_nothing": ("Too little in common to measure shift, zoom or colours.", "两张图相同之处太少，无法测量移动、缩放和颜色。"),
}
add_texts(TEXTS)

VIEW_SIDE = 1600              # pixels of the longer side; a smaller picture is shown as it is
CHANGED_LEVELS = 2            # of 255; a smaller difference is not seen and not counted
SMALLEST_SCALE = 32           # levels at the upper end of the colour scale, at least
STRIP_ROWS = 256
SCALE = ((12, 12, 20), (66, 22, 94), (156, 42, 96), (226, 92, 52), (250, 178, 58), (252, 250, 190))   # dark to light
HEADERS = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


@dataclass(frozen=True)
class Kept:
    """A picture of a visit: tokens of the file itself and of its view on the shelf, which are one where the file is its own view."""

    token: str
    view: str
    size: tuple[int, int]
    whole_address: str        # where all its pixels are, without loss

    @property
    def view_address(self) -> str:
        return address(self.view, "view.jpg" if self.is_reduced else "view.png")

    @property
    def is_reduced(self) -> bool:
        """Whether the view has fewer pixels than the picture."""
        return max(self.size) > VIEW_SIDE


@dataclass(frozen=True)
class Change:
    """How much two pictures of equal size differ."""

    share: float              # of pixels, by more than CHANGED_LEVELS
    top: int                  # levels at the upper end of the colour scale: the largest change, at least SMALLEST_SCALE


def photo_of(path: str | None) -> Image.Image:
    """The uploaded photo. Raises ImageError, which names the file but no folder."""
    if not path:
        raise ImageError("Photo: choose a picture first; upload one, paste one, or take an example")
    return open_image(path, name=Path(path).name)


def keep_photo(shelf: PictureShelf, photo: Image.Image, file: Path, owner: str) -> Kept:
    """A visitor's photo: the file as it was sent, and its view."""
    token = shelf.put(file.read_bytes(), "photo" + (file.suffix.lower() if file.suffix.lower() in MEDIA_TYPES else ".bin"), owner)
    return Kept(token, shelf.put(*view_of(photo), owner), photo.size, f"/views/{token}/whole.png")


def keep_edit(shelf: PictureShelf, picture: Image.Image, png: bytes, name: str, owner: str, about: str = "") -> Kept:
    """An edit: its PNG to take away, and its view."""
    token = shelf.put(png, name, owner, about=about)
    view = token if max(picture.size) <= VIEW_SIDE else shelf.put(*view_of(picture), owner)
    return Kept(token, view, picture.size, address(token, name))


def view_of(picture: Image.Image) -> tuple[bytes, str]:
    """The view of a picture, and a file name that says what it is: without loss where no pixel is left out."""
    if max(picture.size) <= VIEW_SIDE:
        return png_bytes(picture, QUICK), "view.png"
    file = io.BytesIO()
    reduced(picture, VIEW_SIDE).save(file, "JPEG", quality=90)
    return file.getvalue(), "view.jpg"


# ----------------------------------------------------------------------------------------------------------- where they differ

def measure(before: Image.Image, after: Image.Image) -> Change:
    """How much two pictures differ; the second is fitted to the size of the first."""
    counts = [0] * 256
    for _, strip in _changes(before, fitted(after, before.size)):
        counts = [a + b for a, b in zip(counts, strip.histogram(), strict=True)]
    largest = max(level for level, count in enumerate(counts) if count)
    return Change(sum(counts[CHANGED_LEVELS + 1:]) / sum(counts), max(SMALLEST_SCALE, largest))


def difference_map(before: Image.Image, after: Image.Image, longest: int | None = VIEW_SIDE) -> Image.Image:
    """Where they differ, in the colours of SCALE up to `measure(...).top`, as a palette picture; its longer side at `longest` pixels."""
    after = fitted(after, before.size)
    levels = Image.new("L", before.size)
    for row, strip in _changes(before, after):
        levels.paste(strip, (0, row))
    top = max(SMALLEST_SCALE, cast(tuple[int, int], levels.getextrema())[1])
    if longest and max(levels.size) > longest:
        scale = longest / max(levels.size)
        levels = levels.resize((max(1, round(levels.width * scale)), max(1, round(levels.height * scale))), Image.Resampling.BOX)
    levels.putpalette([part for level in range(256) for part in colour_of(min(level / top, 1.0))])
    return levels


def colour_of(share: float) -> tuple[int, int, int]:
    """The colour at a place of the scale, 0 to 1."""
    place = share * (len(SCALE) - 1)
    low = min(int(place), len(SCALE) - 2)
    red, green, blue = (round(a + (place - low) * (b - a)) for a, b in zip(SCALE[low], SCALE[low + 1], strict=True))
    return red, green, blue


def fitted(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return picture if picture.size == size else picture.resize(size)


def _changes(before: Image.Image, after: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """The largest change of a channel in each pixel, 0 to 255, a strip of rows after the other."""
    for row in range(0, before.height, STRIP_ROWS):
        box = (0, row, before.width, min(row + STRIP_ROWS, before.height))
        red, green, blue = ImageChops.difference(before.crop(box), after.crop(box)).split()
        yield row, ImageChops.lighter(ImageChops.lighter(red, green), blue)


def preserving_address(before: Kept, after: Kept, language: str) -> str:
    return f"/views/{before.token}/{after.token}/preserving.txt?language={language}"


def difference_address(before: Kept, after: Kept) -> str:
    return f"/views/{before.token}/{after.token}/difference.png"


# -------------------------------------------------------------------------------------------------------------------- serving

def add_routes(app: FastAPI, studio: Studio) -> None:
    """What is made when it is asked for, by whoever may see its pictures. An answer is kept as long as these; one at a time is made."""
    shelf = studio.shelf
    made: dict[str, str] = {}
    measured: dict[tuple[str, ...], Preserving] = {}
    one_at_a_time = threading.Lock()

    def readable(request: Request, tokens: tuple[str, ...]) -> list:
        """The pictures, where this caller may see all of them."""
        pictures = [shelf.get(token) for token in tokens]
        return pictures if all(picture and shelf.may_read(picture, studio.caller(request)) for picture in pictures) else []

    def answer(request: Request, key: str, tokens: tuple[str, ...], make) -> Response:
        if not (pictures := readable(request, tokens)):
            return gone("This picture is gone: pictures are deleted when their tab closes.")
        with one_at_a_time:
            if (kept := shelf.get(made.get(key, ""))) is None:
                try:
                    data = make(*(open_image(picture.file) for picture in pictures))
                except (MreError, OSError):
                    return gone()
                for old in [old for old, token in made.items() if shelf.get(token) is None]:
                    del made[old]
                made[key] = shelf.put(data, "made.png", pictures[0].owner)
                if shelf.get(tokens[0]) is None:                     # the tab closed meanwhile: nothing of it stays
                    shelf.drop(made.pop(key))
                return Response(data, media_type="image/png", headers=HEADERS)
        try:
            return Response(kept.file.read_bytes(), media_type="image/png", headers=HEADERS)
        except OSError:
            return gone()

    @app.get("/views/{before}/{after}/difference.png", include_in_schema=False)
    def difference(request: Request, before: str, after: str, whole: int = 0) -> Response:
        longest = None if whole else VIEW_SIDE
        return answer(request, f"{before} {after} {longest}", (before, after), lambda one, two: _png(difference_map(one, two, longest)))

    @app.get("/views/{before}/{after}/preserving.txt", include_in_schema=False)
    def preserving(request: Request, before: str, after: str, language: str = "en") -> Response:
        from mre.metrics.preserving import measure_preserving

        tokens = before, after
        if not (pictures := readable(request, tokens)):
            return gone()
        with one_at_a_time:
            if tokens not in measured:
                try:
                    original, edited = (open_image(picture.file) for picture in pictures)
                    found = measure_preserving(original, edited)
                except (MreError, OSError):
                    return gone()
                for old in [old for old in measured if not all(map(shelf.get, old))]:
                    del measured[old]
                measured[tokens] = found
        sentence = in_words(measured[tokens], "zh" if language == "zh" else "en")
        return Response(sentence, media_type="text/plain; charset=utf-8", headers=HEADERS)

    @app.get("/views/{token}/whole.png", include_in_schema=False)
    def whole_picture(request: Request, token: str) -> Response:
        return answer(request, token, (token,), lambda picture: png_bytes(picture, QUICK))


def gone(why: str = "This picture is gone.") -> Response:
    return Response(why, status_code=404, media_type="text/plain")


def in_words(found: Preserving, language: str) -> str:
    """Shift, zoom, colour drift and change outside the edit, a sentence; what could not be measured is said to be so."""
    parts = []
    if found.shift is not None and found.zoom is not None:
        parts.append(say("measured_place", language, shift=f"{found.shift:.1f}", zoom=f"{round(100 * (found.zoom - 1), 1) + 0.0:+.1f}"))
    if found.drift is not None:
        parts.append(say("measured_drift", language, drift=", ".join(f"{round(level):+d}" for level in found.drift)))
    if found.outside_size is not None:
        parts.append(say("measured_outside", language, changed=f"{100 * found.changed:.0f}", size=f"{found.outside_size:.1f}"))
    return say("measured_comma", language).join(parts) + say("measured_end", language) if parts else say("measured_nothing", language)


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()
