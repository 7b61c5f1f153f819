"""Pictures from outside into plain RGB, to the size a model works at, and back to the photo's own size.

`open_image` is the one door for untrusted pictures: page, programs, API and benchmark all come through it.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
import warnings
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from mre.errors import ImageError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_BYTES = 40_000_000
MAX_PIXELS = 50_000_000      # a 50-megapixel phone photo passes
MIN_SIDE = 16
MAX_ASPECT = 8

SIZE_RULES = ("released", "fit", "square", "own", "area-MULTIPLE", "one-of-WIDTHxHEIGHT,...")
WAYS_BACK = ("guided", "replace")
Size = tuple[int, int]       # width, height, as Pillow has it


# ---------------------------------------------------------------------------------------------------------------- reading

def open_image(source: str | os.PathLike | bytes | BinaryIO, *, name: str | None = None,
               max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """A picture from outside as an 8-bit RGB image that carries nothing else (no EXIF, no text, no profile).

    EXIF orientation is applied, transparency is laid over white, 16-bit values are scaled, and an animation gives its first
    frame. Bytes and pixels are checked before anything is decoded. `name` is what messages call the picture: by default the
    path as given, or "the picture". Raises ImageError for everything that is not a whole picture of 16 pixels or more a side.
    """
    return _opened(source, name, max_bytes, max_pixels, None)


def open_reduced(source: str | os.PathLike | bytes | BinaryIO, longest: int, *, name: str | None = None) -> Image.Image:
    """A view of a picture from outside, its longer side at most `longest` pixels. Checked as by `open_image`; a large JPEG is decoded at a
    fraction of its size, which takes a fraction of the time."""
    return reduced(_opened(source, name, MAX_BYTES, MAX_PIXELS, longest), longest)


def reduced(image: Image.Image, longest: int) -> Image.Image:
    """The picture with its longer side at `longest` pixels; one that is not larger comes back itself."""
    if max(image.size) <= longest:
        return image
    scale = longest / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def pixel_digest(image: Image.Image) -> str:
    """SHA-256 over size and RGB pixels: equal for equal pictures, whatever file they came in."""
    digest = hashlib.sha256(f"{image.width}x{image.height}:".encode())
    rows = max(1, STRIP_PIXELS // image.width)
    for start in range(0, image.height, rows):                   # in strips: the pixels are not copied as a whole
        digest.update(image.crop((0, start, image.width, min(start + rows, image.height))).convert("RGB").tobytes())
    return digest.hexdigest()


def _opened(source: str | os.PathLike | bytes | BinaryIO, name: str | None, max_bytes: int, max_pixels: int,
            longest: int | None) -> Image.Image:
    """The picture; with `longest`, a JPEG may come smaller, but its longer side no smaller than that."""
    name = name or (os.fspath(source) if isinstance(source, str | os.PathLike) else "the picture")
    data = _read(source, name, max_bytes)
    if not data:
        raise ImageError(f"{name}: the file is empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")          # Pillow's advice on large or odd files; our own limits decide
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise ImageError(f"{name}: too many pixels; at most {max_pixels / 1e6:.0f} million are accepted") from error
        except Exception as error:               # a hostile header can raise anything; it all means the same
            raise ImageError(f"{name}: not a picture that can be read ({', '.join(FORMATS)})") from error
        whole = image.size
        _check_size(whole, name, max_pixels)
        try:
            if longest is not None and max(whole) > longest:
                scale = longest / max(whole)
                least = max(1, round(whole[0] * scale)), max(1, round(whole[1] * scale))
                image.draft(image.mode, least)          # JPEGs only; others ignore it
            image.load()
            return _plain_rgb(_upright(image))
        except Exception as error:               # likewise: cut off, damaged or forged inside
            raise ImageError(f"{name}: the {image.format} file is damaged or cut off") from error

def _read(source: str | os.PathLike | bytes | BinaryIO, name: str, max_bytes: int) -> bytes:
    try:
        if isinstance(source, str | os.PathLike):
            with Path(source).open("rb") as file:
                data = file.read(max_bytes + 1)
        else:
            data = source[:max_bytes + 1] if isinstance(source, bytes) else source.read(max_bytes + 1)
    except FileNotFoundError as error:
        raise ImageError(f"{name}: no such file") from error
    except IsADirectoryError as error:
        raise ImageError(f"{name}: is a folder, not a picture") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or 'bad name'})") from error
    if len(data) > max_bytes:
        raise ImageError(f"{name}: the file is larger than {max_bytes / 1e6:.0f} MB")
    return data


def _check_size(size: Size, name: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageError(f"{name}: {width} x {height} is too many pixels; at most {max_pixels / 1e6:.0f} million are accepted")
    if min(size) < MIN_SIDE:
        raise ImageError(f"{name}: {width} x {height} is too small; both sides need at least {MIN_SIDE} pixels")
    if max(size) > MAX_ASPECT * min(size):
        raise ImageError(f"{name}: {width} x {height} is too long; one side may be at most {MAX_ASPECT} times the other")


def _upright(image: Image.Image) -> Image.Image:
    try:
        ImageOps.exif_transpose(image, in_place=True)
        return image
    except Exception:                            # EXIF that cannot be read says nothing about orientation; the pixels are whole
        return image


def _plain_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":          # 16 or 32 bits of grey
        values = np.asarray(image).astype(np.float64)
        clear = image.info.get("transparency")                   # the grey that is transparent, in a PNG
        if not np.isfinite(values).all():
            raise ValueError("holds values that are no numbers")
        top = 65535.0 if image.mode != "F" else 1.0
        top = top if values.max() <= top else float(values.max())
        grey = (values.clip(0) * (255.0 / top)).round()
        image = Image.fromarray(np.where(values == clear, 255, grey).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    plain = Image.new("RGB", image.size)                         # a new image: nothing of the file's metadata comes along
    plain.paste(image if image.mode == "RGB" else image.convert("RGB"))
    return plain


# ----------------------------------------------------------------------------------------------------------------- sizing

@dataclass(frozen=True)
class Fit:
    """How a photo meets a model: the part of it that is seen, and the size at which."""

    photo: Size
    seen: Size                                   # what the model works on
    box: tuple[float, float, float, float]       # left, top, right, bottom of the part seen, in the photo's pixels
    inner: tuple[int, int, int, int] | None = None       # where in `seen` the photo lies, if it does not fill it; around it, it is mirrored

    @property
    def is_cropped(self) -> bool:
        """Whether some of the photo's edge is not seen by the model."""
        return self.box != (0.0, 0.0, float(self.photo[0]), float(self.photo[1]))

    def apply(self, image: Image.Image) -> Image.Image:
        """The photo as the model sees it."""
        if self.inner is not None:
            left, top, right, bottom = self.inner
            inside = np.asarray(image.convert("RGB").resize((right - left, bottom - top), Image.Resampling.LANCZOS))
            around = (top, self.seen[1] - bottom), (left, self.seen[0] - right), (0, 0)
            return Image.fromarray(np.pad(inside, around, mode="symmetric"))
        return image if self.seen == image.size and not self.is_cropped else image.resize(self.seen, Image.Resampling.LANCZOS, box=self.box)


def fit_size(photo: Size, rule: str, native: int, multiple: int = 8) -> Fit:
    """How a photo of the given size meets a model whose native size is `native`.

    "released": the size rule of the paper's released evaluation (see `released_size`), then a centre crop to that aspect.
    "fit": the whole photo, its longer side at `native`, both sides at the nearest multiple of `multiple`; no crop, so the
    aspect may give way by a few percent, which the way back undoes.
    "square": the whole photo, squeezed into a square of side `native`.
    "own": the photo's own size, whatever it is.
    "area-16": the whole photo, its area near `native` squared, both sides at the nearest multiple of 16 (or another number).
    "one-of-1024x1024,640x1408": the whole photo in the middle of that of these sizes whose aspect is nearest; what it leaves free is
    filled with its mirror image, which the way back cuts off.
    """
    width, height = photo
    if rule == "released":
        seen = released_size(width, height, native)
        scale = min(width / seen[0], height / seen[1])
        left, top = (width - seen[0] * scale) / 2, (height - seen[1] * scale) / 2
        return Fit(photo, seen, (left, top, width - left, height - top))
    if rule == "fit":
        scale = native / max(photo)
        wide, high = (max(2 * multiple, round(side * scale / multiple) * multiple) for side in photo)
        return Fit(photo, (wide, high), (0.0, 0.0, float(width), float(height)))
    if (kind := re.fullmatch(r"area-(\d+)", rule)) is not None:
        multiple = int(kind[1])
        scale = native / math.sqrt(width * height)
        wide, high = (max(multiple, round(side * scale / multiple) * multiple) for side in photo)
        return Fit(photo, (wide, high), (0.0, 0.0, float(width), float(height)))
    if rule.startswith("one-of-"):
        sizes = [(int(wide), int(high)) for wide, high in (size.split("x") for size in rule.removeprefix("one-of-").split(","))]
        seen = min(sizes, key=lambda size: abs(math.log(size[0] / size[1] * height / width)))
        scale = min(seen[0] / width, seen[1] / height)
        wide, high = (max(1, round(side * scale)) for side in photo)
        left, top = (seen[0] - wide) // 2, (seen[1] - high) // 2
        inner = None if (wide, high) == seen else (left, top, left + wide, top + high)
        return Fit(photo, seen, (0.0, 0.0, float(width), float(height)), inner)
    if rule == "square":
        return Fit(photo, (native, native), (0.0, 0.0, float(width), float(height)))
    if rule == "own":
        return Fit(photo, photo, (0.0, 0.0, float(width), float(height)))
    raise ValueError(f"size rule must be one of {', '.join(SIZE_RULES)}, got {rule!r}")


def released_size(width: int, height: int, resolution: int = 512, multiple: int = 64) -> Size:
    """Size of an edit by the released evaluation's rule, both sides multiples of 64, the longer one about `resolution`.

    The short side is scaled to `resolution * short / long` and rounded up to a multiple of 64, the long side follows and is
    rounded down. Departs from the released code in its rounding fault: there a float error before the last floor makes the short
    side 64 pixels too small for 7.7 % of sizes (134 x 94 gives 512 x 320 instead of 512 x 384). Whole numbers are used here.
    """
    short, long = sorted((width, height))
    new_short = -(-short * resolution // (long * multiple)) * multiple        # rounded up
    new_long = long * new_short // (short * multiple) * multiple              # rounded down
    return (new_long, new_short) if width >= height else (new_short, new_long)


# --------------------------------------------------------------------------------------------------------------- way back

def map_back(photo: Image.Image, output: Image.Image, fit: Fit, way: str = "guided",
             on_share: Callable[[float], None] = lambda share: None) -> Image.Image:
    """A model's output as an edit of the photo at the photo's own size. `on_share` is told how much of the guided way is done, 0 to 1;
    what it raises ends the work.

    "replace": the output itself, scaled up.
    "guided": for models that work far below the photo's size. With I the photo as the model saw it, O the output, and `up` the
    enlargement, the photo is `up(I)` plus fine detail D that the model never saw. The result is `up(O) + up(A) D`: the model's
    picture, with the photo's detail carried along by A, a 3 x 3 colour map fitted in each neighbourhood between the finest
    detail that the model did see and what it made of it. Where the output equals its input A is the identity, and the photo's own
    pixels stay as they are; where it is darker, tinted or negated so is the detail; where something else stands there (an added
    object, a removed one, a sketch, pixel art) the details are unrelated, A vanishes, and nothing of the old texture shines through.

    What was added around a photo is cut off first. Outside a crop the model saw nothing: there the colour change at the crop's edge is
    continued over the photo's own pixels.
    """
    if way not in WAYS_BACK:
        raise ValueError(f"way back must be one of {', '.join(WAYS_BACK)}, got {way!r}")
    if fit.inner is not None:
        output = (output if output.size == fit.seen else output.resize(fit.seen, Image.Resampling.LANCZOS)).crop(fit.inner)
        fit = Fit(fit.photo, output.size, fit.box)
    left, top, right, bottom = (round(side) for side in fit.box)
    part = photo.crop((left, top, right, bottom)) if (left, top, right, bottom) != (0, 0, *photo.size) else photo
    seen = np.asarray(fit.apply(photo), np.float32)                          # (h, w, 3)
    made = np.asarray(output.convert("RGB").resize(fit.seen, Image.Resampling.LANCZOS) if output.size != fit.seen else output, np.float32)
    inside = _carry_detail(part, seen, made, on_share) if way == "guided" else output.resize(part.size, Image.Resampling.LANCZOS)
    if part.size == photo.size:
        return inside
    whole = _continue_change(photo, made - seen, (left, top, right, bottom))
    whole.paste(inside, (left, top))
    return whole


def _carry_detail(photo: Image.Image, seen: np.ndarray, made: np.ndarray, on_share: Callable[[float], None]) -> Image.Image:
    """`up(O) + up(A) D` of `map_back`, written as a change of the photo: P + up(O - I) + up(A - 1) (P - up(I)).

    In strips, so that memory stays flat for large photos, several at a time; where nothing changed the photo's rows are left as they are.
    """
    change = made - seen
    change[np.abs(change).max(axis=2) <= UNCHANGED] = 0
    carried = _detail_map(seen, seen + change) - np.eye(3, dtype=np.float32)   # (h, w, 3, 3)
    touched = np.asarray(change.any(axis=(1, 2)) | carried.any(axis=(1, 2, 3)))     # (h,): rows of the small picture
    step, rows = len(seen) / photo.height, max(1, STRIP_PIXELS // photo.width)

    def strip(start: int, stop: int) -> Image.Image | None:
        if not touched[max(0, int(start * step) - REACH):int(stop * step) + REACH + 1].any():
            return None
        enlarge = _Enlarger(seen.shape[1::-1], photo.size, start, stop)
        planes = [np.asarray(band, np.float32) for band in photo.crop((0, start, photo.width, stop)).split()]     # 3 of (H, W)
        detail = [plane - enlarge(seen[..., channel]) for channel, plane in enumerate(planes)] if carried.any() else []
        bands = []
        for channel, plane in enumerate(planes):
            plane = plane + enlarge(change[..., channel])
            if detail:
                moved = enlarge(carried[..., channel, 0]) * detail[0]
                for other in (1, 2):
                    moved += enlarge(carried[..., channel, other]) * detail[other]
                plane += moved
            bands.append(Image.fromarray(plane.round(out=plane).clip(0, 255, out=plane).astype(np.uint8)))
        return Image.merge("RGB", bands)

    result = photo.copy()
    starts = range(0, photo.height, rows)
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        strips = deque(pool.submit(strip, start, min(start + rows, photo.height)) for start in starts)
        try:
            for number, start in enumerate(starts):
                if (done := strips.popleft().result()) is not None:     # a strip's pixels go once they are in the result
                    result.paste(done, (0, start))
                on_share((number + 1) / len(starts))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return result


UNCHANGED = 2.0              # levels of 255: what a model's rounding alone may move a pixel it means to keep
STRIP_PIXELS = 1_000_000
MOST_THREADS = 4             # a strip's arrays take some 50 MB
REACH = 3                    # rows of the small picture that an enlarged row is made of, to either side
NOISE_FLOOR = 4.0            # variance of fine detail, in squared levels, below which it says nothing


def _detail_map(seen: np.ndarray, made: np.ndarray) -> np.ndarray:
    """(h, w, 3, 3): the linear map that takes the input's fine detail to the output's, around each pixel.

    Least squares in a window, drawn to the identity where the two pictures agree and to nothing where they do not, and shrunk by the
    part of the output's detail that it explains.
    """
    before, after = seen - _blur(seen, 1), made - _blur(made, 1)
    moment = _blur(_outer(before, before), 3)
    cross = _blur(_outer(after, before), 3)
    power = _blur(after * after, 3).sum(axis=2)
    alike = np.exp(-_blur((made - seen) ** 2, 3).sum(axis=2) / (3 * 8.0 ** 2))[..., None, None]
    unit = NOISE_FLOOR * np.eye(3, dtype=np.float32)
    fitted = np.linalg.solve((moment + unit).swapaxes(2, 3), (cross + alike * unit).swapaxes(2, 3)).swapaxes(2, 3)
    explained = np.einsum("hwij,hwij->hw", fitted, cross)
    share = ((explained + NOISE_FLOOR * alike[..., 0, 0]) / (power + NOISE_FLOOR)).clip(0, 1)[..., None, None]
    same = _blur(np.abs(made - seen).max(axis=2, keepdims=True), 3)[..., None] == 0
    return np.where(same, np.eye(3, dtype=np.float32), (fitted * share).clip(-2, 2)).astype(np.float32)


def _outer(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., :, None] * b[..., None, :]


def _blur(values: np.ndarray, radius: int) -> np.ndarray:
    """Mean over a window of (2 radius + 1)^2 pixels, edges repeated; over the first two axes."""
    for axis in (0, 1):
        padded = np.pad(values, [(radius, radius) if a == axis else (0, 0) for a in range(values.ndim)], mode="edge")
        views = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1, axis=axis)
        values = views.mean(axis=-1, dtype=np.float32)
    return values


class _Enlarger:
    """Bicubic enlargement of small (h, w) arrays to rows `start` to `stop` of a picture of `size`."""

    def __init__(self, small: Size, size: Size, start: int, stop: int) -> None:
        step = small[1] / size[1]
        self.size = (size[0], stop - start)
        self.box = (0.0, start * step, float(small[0]), stop * step)

    def __call__(self, plane: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize(self.size, Image.Resampling.BICUBIC, box=self.box))


def _continue_change(photo: Image.Image, change: np.ndarray, box: tuple[int, int, int, int]) -> Image.Image:
    """The whole photo with the model's colour change at the edge of `box`, smoothed, carried on outwards."""
    left, top, right, bottom = box
    step = change.shape[1] / (right - left)
    pad = [(round(top * step), round((photo.height - bottom) * step)), (round(left * step), round((photo.width - right) * step)), (0, 0)]
    smooth = _blur(np.pad(_blur(change, 4), pad, mode="edge"), 4)
    enlarge = _Enlarger(smooth.shape[1::-1], photo.size, 0, photo.height)
    planes = (np.asarray(band, np.float32) + enlarge(smooth[..., channel]) for channel, band in enumerate(photo.split()))
    return Image.merge("RGB", [Image.fromarray(plane.round(out=plane).clip(0, 255, out=plane).astype(np.uint8)) for plane in planes])
