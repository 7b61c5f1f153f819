"""The examples as a strip of buttons with pictures, before and after: a click puts one into the form and runs it."""

from __future__ import annotations

import html
import io
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import gradio as gr
from fastapi import FastAPI, Response
from PIL import Image

from mre.editors.settings import EditSettings
from mre.errors import MreError
from mre.files import QUICK, png_bytes
from mre.imaging import reduced
from ui.chips import PICK
from ui.edit.examples import EXAMPLES, PHOTOS
from ui.edit.suggestions import read_language
from ui.names import edit_type_names
from ui.site.door import keep_as_input
from ui.texts import add_texts, language_of, say

if TYPE_CHECKING:
    from mre.editors.editor import Editor
    from ui.studio import Studio

THUMB = 160             # pixels
add_texts({"examples": ("Try one of these: a click runs it", "试试这些例子：点一下即可运行")})


def build() -> gr.HTML:
    """The strip of examples; its `pick` event carries the number of the one chosen."""
    return gr.HTML(elem_id="examples", js_on_load=PICK)


def strip_html(language: str, editor: Editor) -> str:
    """The examples as buttons with a picture and, where the model is known to do well on them, what it makes of it beside; their words in
    the page's language where the model reads it."""
    results, said_in = is_shown_off(editor), read_language(editor.vocabulary, language)

    def pictures(number: int) -> str:
        after = f'<img data-result="/examples/{number}-after.jpg" alt="">' if results else ""
        return f'<i class="two"><img src="/examples/{number}.jpg" alt="" loading="lazy">{after}</i>'
    cards = "".join(
        f'<button type="button" class="shot" data-pick="{number}">{pictures(number)}'
        f'<span><b>{edit_type_names(language)[example.edit_type]}</b>{html.escape(example.said(said_in))}</span></button>'
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
        said = example.said(read_language(studio.editor().vocabulary, language_of(request)))
        return keep_as_input(studio, _whole(number), example.file_name, request), said, None
    return pick


def is_shown_off(editor: Editor) -> bool:
    """Whether a model is known to do well on the examples: tests run those that suggest anything."""
    return bool(editor.vocabulary and editor.vocabulary.suggestions())


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
            key = editor.identity, number
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


