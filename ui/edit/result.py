"""Where an edit is shown: the viewer, its downloads, and the way to go on from it."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from ui.edit.viewer import compare_html
from ui.edit.visit import EditVisit, Entry
from ui.pictures import FORMS, address
from ui.site.door import keep_as_input
from ui.texts import add_texts, language_of, say, t

if TYPE_CHECKING:
    from ui.studio import Studio

add_texts({
    "caption_cell": ("Cell of the sweep", "扫描中的一格"), "caption_seed": ("seed {seed}", "种子 {seed}"),
    "input_here": ("Edit this result", "编辑此结果"),
    "download": ("Download PNG (recipe inside)", "下载 PNG（含配方）"),
    "download_plain": ("Without recipe and metadata:", "不含配方和元数据："),
    "privacy": ("Your pictures stay on this server only while this tab is open, for a reload, and at most 15 minutes after it closes.",
                "图片只在本页面打开期间保存在服务器上；为了刷新后还能继续，关闭页面后最多再保留 15 分钟，然后删除。"),
})
FORM_NAMES = {"jpeg": "JPEG", "webp": "WebP"}


@dataclass(frozen=True)
class ResultPanel:
    """The components that show an edit."""

    look: gr.HTML
    downloads: gr.HTML
    as_input: gr.Button

    @classmethod
    def build(cls, look: gr.HTML) -> ResultPanel:
        """What stands below the viewer and all that is beside it."""
        downloads = gr.HTML(elem_id="downloads")
        as_input = gr.Button(t("input_here"), size="sm", elem_id="as-input", interactive=False)
        gr.Markdown(t("privacy"), elem_classes="muted small", elem_id="privacy")
        return cls(look, downloads, as_input)

    @property
    def shown(self) -> list[Any]:
        """What `show` may change."""
        return [self.look, self.downloads, self.as_input]

    def show(self, visit: EditVisit, entry: Entry, language: str) -> dict[Any, Any]:
        """Updates that show an edit against its photo."""
        visit.shown = entry
        visit.steps.show(entry)
        return {self.look: compare_html(visit, entry.photo, entry.picture, language, entry.change, caption=caption(visit, entry, language)),
                self.downloads: downloads_html(entry, language), self.as_input: gr.update(interactive=True)}


def caption(visit: EditVisit, entry: Entry, language: str) -> str:
    """What an edit is: its number in the history, what was asked, scores, model and seed."""
    number = f"#{visit.entries.index(entry) + 1}" if entry in visit.entries else say("caption_cell", language)
    seed = say("caption_seed", language, seed=entry.recipe.seed) if entry.seeded else ""
    return " · ".join(filter(None, (number, entry.recipe.instruction, entry.scores, entry.model, seed)))


def on_show(panel: ResultPanel, picked: Callable[[EditVisit | None, gr.EventData], Entry | None]) -> Callable:
    """Show the edit that was clicked somewhere."""
    def pick(request: gr.Request, visit: EditVisit | None, event: gr.EventData) -> dict[Any, Any]:
        entry = picked(visit, event)
        if visit is None or entry is None or None in (visit.shelf.get(entry.picture.token), visit.shelf.get(entry.photo.token)):
            return {panel.look: gr.skip()}
        return panel.show(visit, entry, language_of(request))
    return pick


def downloads_html(entry: Entry, language: str) -> str:
    """Links to take the picture away: with what it says of itself, the recipe in a PNG, and without."""
    def link(text: str, element: str, form: str = "", plain: bool = False) -> str:
        name = entry.file_name if not form else entry.file_name.removesuffix("png") + form
        place = html.escape(address(entry.picture.token, name, plain=plain, form=form), quote=True)
        return f'<a href="{place}" download="{html.escape(name, quote=True)}" id="download{element}">{text}</a>'
    forms = [form for form, longest in FORMS.items() if max(entry.picture.size) <= longest]
    kept = [link(say("download", language), ""), *(link(FORM_NAMES[form], f"-{form}", form) for form in forms)]
    plain = [link("PNG", "-plain", plain=True), *(link(FORM_NAMES[form], f"-{form}-plain", form, plain=True) for form in forms)]
    return f'<p class="small">{" · ".join(kept)}<br>{say("download_plain", language)} {" · ".join(plain)}</p>'


def on_use_as_input(studio: Studio) -> Callable:
    """The picture shown becomes the photo; Undo brings back the photo before it."""
    def use(request: gr.Request, visit: EditVisit | None) -> Any:
        found = visit.shelf.get(visit.shown.picture.token) if visit and visit.shown else None
        return gr.skip() if found is None else keep_as_input(studio, found.file.read_bytes(), found.name, request)
    return use
