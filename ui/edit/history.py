"""The session's edits: look at one again, compare any two, take settings or picture from one. Gone with the tab."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gradio as gr

from mre.errors import MreError
from ui.chips import PICK
from ui.edit.viewer import compare_html
from ui.edit.visit import EditVisit, Entry
from ui.notices import note
from ui.pictures import address
from ui.texts import add_texts, language_of, say, t

if TYPE_CHECKING:
    from ui.studio import Studio

TEXTS = {
    "tab_history": ("History", "历史"),
    "history_empty": ("Edits of this session appear here; they are deleted after the tab closes.",
                      "本次会话的编辑会显示在这里，关闭页面后会删除。"),
    "history_show": ("Show edit {number}: {instruction}", "显示第 {number} 次编辑：{instruction}"),
    "history_first": ("Compare", "比较"), "history_second": ("with", "与"), "history_compare": ("Compare the two", "比较这两张"),
}
add_texts(TEXTS)


class HistoryPanel:
    """The history's components."""

    def __init__(self) -> None:
        self.shots = gr.HTML(elem_id="history", js_on_load=PICK)
        with gr.Column(visible=False) as self.pair:
            with gr.Row():
                self.first = gr.Dropdown([], label=t("history_first"), elem_id="history-first", filterable=False)
                self.second = gr.Dropdown([], label=t("history_second"), elem_id="history-second", filterable=False)
            self.compare = gr.Button(t("history_compare"), size="sm", elem_id="history-compare")

    @property
    def choices(self) -> list[Any]:
        """What `redraw` changes."""
        return [self.shots, self.pair, self.first, self.second]

    def redraw(self, visit: EditVisit | None, request: gr.Request) -> dict[Any, Any]:
        """Draw the history anew; where there are two, any two can be compared, by default the last."""
        entries = list(enumerate(visit.entries, start=1)) if visit else []
        choices = [(label(number, entry), number - 1) for number, entry in entries]
        last = len(entries) - 1 if entries else None
        return {self.shots: shots_html(visit, language_of(request)), self.pair: gr.update(visible=len(entries) > 1),
                self.second: gr.update(choices=choices, value=last),
                self.first: gr.update(choices=choices, value=None if last is None else max(0, last - 1))}


def shots_html(visit: EditVisit | None, language: str) -> str:
    """The edits as thumbnails, the newest first."""
    if visit is None or not visit.entries:
        return f'<p class="muted small">{say("history_empty", language)}</p>'
    shots = []
    for number, entry in reversed(list(enumerate(visit.entries, start=1))):
        name = html.escape(say("history_show", language, number=number, instruction=entry.recipe.instruction), quote=True)
        shots.append(f'<button type="button" class="shot" data-pick="{number - 1}" aria-label="{name}" title="{name}">'
                     f'<img src="{address(entry.thumb, "thumb.jpg")}" alt="" loading="lazy"><b>#{number}{dotted(entry.scores)}</b>'
                     f'<span>{html.escape(entry.recipe.instruction)}</span></button>')
    return f'<div class="strip">{"".join(shots)}</div>'


def dotted(*parts: object) -> str:
    """The parts that say something, each after a dot."""
    return "".join(f" · {part}" for part in parts if part != "")


def label(number: int, entry: Entry) -> str:
    """An edit as the choice of a list."""
    return f"#{number} {entry.recipe.instruction[:40]}" + dotted(entry.scores, entry.recipe.seed, entry.model)


def picked(visit: EditVisit | None, event: gr.EventData) -> Entry | None:
    """The edit that was clicked."""
    try:
        return visit.entries[int(event.pick)] if visit and int(event.pick) >= 0 else None
    except (ValueError, IndexError, AttributeError):
        return None


def on_compare(studio: Studio) -> Callable:
    """Two edits in the viewer."""
    def compare(request: gr.Request, visit: EditVisit | None, first: int | None, second: int | None) -> Any:
        if visit is None or first is None or second is None or not (0 <= first < len(visit.entries) and 0 <= second < len(visit.entries)):
            return gr.skip()
        one, two = visit.entries[first], visit.entries[second]
        try:
            return compare_html(visit, one.picture, two.picture, language_of(request), labels=(f"#{first + 1}", f"#{second + 1}"))
        except MreError as error:
            return note(studio.trouble(error), "bad")
    return compare
