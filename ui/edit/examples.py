"""Pictures and instructions to try, one or more of each edit type: drawn scenes, whose true edit is known, and photographs."""

from __future__ import annotations

import html
import io
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from fastapi import FastAPI, Response
from PIL import Image

import mre
from mre.data.scenes.concepts import canonical
from mre.data.scenes.triplets import SceneTriplet, draw_triplet
from mre.editors.settings import EditSettings
from mre.errors import MreError
from mre.files import QUICK, png_bytes
from mre.imaging import open_image, pixel_digest, reduced
from ui.chips import PICK
from ui.names import edit_type_names
from ui.site.door import keep_as_input
from ui.texts import add_texts, say

if TYPE_CHECKING:
    from mre.editors.editor import Editor
    from ui.studio import Studio

PHOTOS = Path(mre.__file__).parent / "assets" / "photos"
SCENE_SIZE, SCENE_SEED, THUMB = 512, 20, 160
add_texts({"examples": ("Try one of these: a click runs it", "试试这些例子：点一下即可运行")})


@dataclass(frozen=True)
class Example:
    """A picture with an instruction; a drawn one knows its triplet, and so the true edit."""

    edit_type: str
    photo: str | None = None         # file name in assets/photos
    scene: int | None = None         # index of a drawn triplet
    words: str = ""

    def triplet(self, size: int) -> SceneTriplet:
        """The drawn scene; the same at every size."""
        assert self.scene is not None, "asked for where there is no photo"
        return draw_triplet(SCENE_SEED, self.scene, "heldout", size, edit_type=self.edit_type, spoiled=False)

    def picture(self, size: int = SCENE_SIZE) -> Image.Image:
        """The photograph, or the scene drawn at this size."""
        return open_image(PHOTOS / self.photo) if self.photo else Image.fromarray(self.triplet(size).original)

    @cached_property
    def instruction(self) -> str:
        return self.words or canonical(self.triplet(32).edit.request)

    @property
    def file_name(self) -> str:
        return self.photo or f"scene-{self.edit_type}.png"


EXAMPLES = (
    Example("style", "cat.jpg", words="turn it into a pencil sketch"), Example("global", "rocket.jpg", words="make it look like sunset"),
    Example("style", "astronaut.jpg", words="turn it into a poster"), Example("global", "coffee.jpg", words="turn day into night"),
    Example("global", "cat.jpg", words="change the season to winter"), Example("style", "coffee.jpg", words="make it sepia"),
    Example("local", scene=4), Example("remove", scene=4), Example("add", scene=0), Example("texture", scene=2),
    Example("background", scene=1))


@lru_cache(maxsize=1)
def _drawn() -> dict[tuple[str, str], Example]:
    return {(pixel_digest(example.picture()), " ".join(example.instruction.split())): example for example in EXAMPLES if not example.photo}


def small_triplet_of(picture: Image.Image, instruction: str, size: int) -> SceneTriplet | None:
    """The drawn triplet that this picture and instruction are the question of, if they are one of the examples', at another size."""
    example = _drawn().get((pixel_digest(picture), " ".join(instruction.split())))
    return example and example.triplet(size)


def example_of(picture: str | Path | None) -> Example | None:
    """The drawn example that a picture file is, whatever its name. Only a file of an example's size is decoded."""
    if picture is None:
        return None
    try:
        with Image.open(picture, formats=("PNG",)) as file:
            if file.size != (SCENE_SIZE, SCENE_SIZE):
                return None
        digest = pixel_digest(open_image(picture))
    except (OSError, ValueError, AttributeError, SyntaxError, MreError, Image.DecompressionBombError):
        return None                              # whoever opens the photo says what is wrong with it
    return next((example for (pixels, _), example in _drawn().items() if pixels == digest), None)


def build() -> gr.HTML:
    """The strip of examples; its `pick` event carries the number of the one chosen."""
    return gr.HTML(elem_id="examples", js_on_load=PICK)


def strip_html(language: str, results: bool = False) -> str:
    """The examples as buttons with a picture; with `results`, what the model makes of it beside."""
    def pictures(number: int) -> str:
        after = f'<img data-result="/examples/{number}-after.jpg" alt="">' if results else ""
        return f'<i class="two"><img src="/examples/{number}.jpg" alt="" loading="lazy">{after}</i>'
    cards = "".join(
        f'<button type="button" class="shot" data-pick="{number}">{pictures(number)}'
        f'<span><b>{edit_type_names(language)[example.edit_type]}</b>{html.escape(example.instruction)}</span></button>'
        for number, example in enumerate(EXAMPLES))
    return f'<p class="heading-line">{say("examples", language)}</p><div class="strip low">{cards}</div>'


def on_pick(studio: Studio) -> Callable:
    """Put the example that was clicked into the form, without a mask."""
    def pick(event: gr.EventData, request: gr.Request) -> tuple[Any, Any, Any]:
        try:
            number = int(event.pick)
            example = EXAMPLES[number]
        except (ValueError, IndexError, TypeError, AttributeError):
            return gr.skip(), gr.skip(), gr.skip()
        return keep_as_input(studio, _whole(number), example.file_name, request), example.instruction, None
    return pick


def is_shown_off(editor: Editor) -> bool:
    """Whether a model is known to do well on the examples: tests run those that suggest anything."""
    return bool(editor.vocabulary and editor.vocabulary.suggestions)


class Results:
    """What the studio's first model makes of the examples, as small pictures: each made when it is first asked for."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._made: dict[tuple[str, int], bytes] = {}
        self._lock = threading.Lock()

    def of(self, number: int) -> bytes | None:
        """None where there is none: before the model is loaded, and for models that are not known to do well on these."""
        editor = self._studio.editor()
        if editor.status != "ready" or not is_shown_off(editor):
            return None
        with self._lock:                         # one at a time: visitors' own edits come in between
            key = editor.info.identity, number
            if key not in self._made:
                example = EXAMPLES[number]
                try:
                    self._made[key] = _squared(editor.edit(reduced(example.picture(), 2 * THUMB), EditSettings(example.instruction)).image)
                except MreError:
                    return None
            return self._made[key]


def add_routes(app: FastAPI, studio: Studio) -> None:
    """Small pictures for the strip, before and after."""
    results = Results(studio)

    @app.get("/examples/{number}-after.jpg", include_in_schema=False)
    def result(number: int) -> Response:
        data = results.of(number) if 0 <= number < len(EXAMPLES) else None
        if data is None:
            return Response(status_code=404)
        return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})

    @app.get("/examples/{number}.jpg", include_in_schema=False)
    def example(number: int) -> Response:
        if not 0 <= number < len(EXAMPLES):
            return Response(status_code=404)
        return Response(thumbnail(number), media_type="image/jpeg", headers={"Cache-Control": "public, max-age=86400"})


@lru_cache(maxsize=2 * len(EXAMPLES))
def _whole(number: int) -> bytes:
    example = EXAMPLES[number]
    return (PHOTOS / example.photo).read_bytes() if example.photo else png_bytes(example.picture(), QUICK)


@lru_cache(maxsize=len(EXAMPLES))
def thumbnail(number: int) -> bytes:
    return _squared(EXAMPLES[number].picture(THUMB))


def _squared(picture: Image.Image) -> bytes:
    """The middle of a picture as a small JPEG."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    file = io.BytesIO()
    picture.resize((THUMB, THUMB), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side)).save(file, "JPEG", quality=85)
    return file.getvalue()


