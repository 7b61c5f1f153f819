"""What the model will really see of the photo, said and shown before the run."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gradio as gr

from mre.errors import MreError
from mre.imaging import fit_size
from ui.edit.views import photo_of
from ui.notices import note
from ui.pictures import data_address
from ui.texts import add_texts, language_of, say

if TYPE_CHECKING:
    from ui.studio import Studio

TEXTS = {
    "seen_whole": ("{photo} pixels. The model sees all of it at {seen}; the result is {photo} again.",
                   "{photo} 像素。模型在 {seen} 下处理整张图，结果恢复为 {photo}。"),
    "seen_cropped": ("{photo} pixels. The model sees the middle at {seen}, without {left} % of the picture at its edges; "
                     "the result is {photo} again.",
                     "{photo} 像素。模型在 {seen} 下处理中间部分，看不到边缘 {left} % 的画面；结果恢复为 {photo}。"),
    "seen_alt": ("The photo as the model sees it", "模型看到的照片"),
}
add_texts(TEXTS)


def on_photo(studio: Studio) -> Callable:
    """Check a new photo at once, and tell what the model sees of it."""
    def seen(request: gr.Request, path: str | None, model: str) -> Any:
        if not path:                # what a run has just said of a missing photo stays, whichever answer comes first
            return gr.skip()
        try:
            return seen_html(studio, path, model, language_of(request))
        except MreError as error:
            return note(studio.trouble(error), "bad")
    return seen


def clear() -> str:
    """The photo was taken away."""
    return ""


def seen_html(studio: Studio, path: str, model: str, language: str) -> str:
    """Sizes in numbers, and the small picture itself."""
    photo = photo_of(path)
    try:
        info = studio.editor(model).info
    except MreError:
        return ""                                # the status line says what is wrong with the model
    fit = fit_size(photo.size, info.size_rule, info.native_size)
    left, top, right, bottom = fit.box
    share = 1 - (right - left) * (bottom - top) / (photo.width * photo.height)
    words = say("seen_cropped" if fit.is_cropped else "seen_whole", language, photo=_size(photo.size), seen=_size(fit.seen),
                left=f"{100 * share:.0f}")
    alt = html.escape(say("seen_alt", language), quote=True)
    picture = f'<img src="{data_address(fit.apply(photo), 128)}" alt="{alt}">'
    return f'<div class="seen">{picture}<p class="small muted">{html.escape(words)}</p></div>'


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} × {size[1]}"
