"""What a visitor has done comes back: the form, the edit that is shown, the history, and the run that goes on, after a reload; and step by
step with Undo and Redo."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from ui.edit.steps import Step
from ui.edit.visit import EditVisit, Entry
from ui.notices import note
from ui.site.door import keep_as_input
from ui.texts import add_texts, language_of, t

if TYPE_CHECKING:
    from ui.edit.form import Form
    from ui.studio import Studio

FILES = ("photo", "mask")
CHOSEN = (*FILES, "instruction")                 # what nobody but the visitor fills in
add_texts({"undo": ("Undo", "撤销"), "redo": ("Redo", "重做")})


@dataclass(frozen=True)
class StepButtons:
    """Undo and Redo."""

    undo: gr.Button
    redo: gr.Button

    @classmethod
    def build(cls) -> StepButtons:
        return cls(gr.Button(t("undo"), size="sm", elem_id="undo", interactive=False, min_width=80),
                   gr.Button(t("redo"), size="sm", elem_id="redo", interactive=False, min_width=80))

    @property
    def both(self) -> list[Any]:
        return [self.undo, self.redo]

    def follow(self, visit: EditVisit | None) -> dict[Any, Any]:
        """Whether there is anything to undo or redo."""
        return {self.undo: gr.update(interactive=bool(visit and visit.steps.can_undo)),
                self.redo: gr.update(interactive=bool(visit and visit.steps.can_redo))}


def on_change(buttons: StepButtons) -> Callable:
    """The form was changed, by whomever: a step to go back from."""
    def change(visit: EditVisit | None, **values: Any) -> dict[Any, Any]:
        if visit is None or visit.loaded is not None:                # a page that does not show yet what it showed
            return dict.fromkeys(buttons.both, gr.skip())
        visit.steps.record(values, visit.shown)
        return buttons.follow(visit)
    return change


def on_step(studio: Studio, tab: Any, by: int) -> Callable:
    """Back (-1) or forth (1): the form as it was then, and the edit that was shown, where it is still kept."""
    def step(request: gr.Request, visit: EditVisit | None, **axes: str) -> dict[Any, Any]:
        there = visit.steps.move(by) if visit else None
        if visit is None or there is None:
            return tab.steps.follow(visit)
        return {**_form(studio, tab, visit, there, request, axes), **_shown(tab, visit, there.shown, language_of(request)),
                **tab.steps.follow(visit)}
    return step


def on_back(studio: Studio, tab: Any) -> Callable:
    """A page was loaded anew: all that it showed before, but what its visitor has chosen since."""
    def back(request: gr.Request, visit: EditVisit | None, **known: Any) -> dict[Any, Any]:
        off = {tab.again: gr.Timer(active=False)}
        if visit is None or (now := visit.steps.now) is None:
            return off
        axes = {name: known.pop(name) for name in tab.sweep.axes}
        chosen = [name for name in CHOSEN if visit.loaded and known[name] != visit.loaded[name]]
        visit.loaded = None
        visit.steps.settle()
        language = language_of(request)
        return {**off, **_form(studio, tab, visit, now, request, axes, chosen), **_shown(tab, visit, visit.shown, language),
                **tab.history.redraw(visit, request), **tab.sweep.redraw(visit, language), **tab.steps.follow(visit)}
    return back


def on_again(studio: Studio, tab: Any) -> Callable:
    """The run that went on while the page was loaded anew: its news, and its picture."""
    def follow(request: gr.Request, visit: EditVisit | None) -> Iterator[dict[Any, Any]]:
        if visit is None or visit.job is None or visit.job.done:
            yield {tab.progress: gr.skip()}
            return
        try:
            for progress, entry in visit.job.follow():
                yield {tab.progress: progress, **({} if entry is None else tab.result.show(visit, entry, language_of(request)))}
        except Exception as error:               # shown in one line; the log has the rest
            yield {tab.progress: note(studio.trouble(error), "bad")}
    return follow


def _shown(tab: Any, visit: EditVisit, entry: Entry | None, language: str) -> dict[Any, Any]:
    """The edit in the viewer, where its files are still there."""
    gone = entry is None or None in (visit.shelf.get(entry.picture.token), visit.shelf.get(entry.photo.token))
    return {} if entry is None or gone else tab.result.show(visit, entry, language)


def _form(studio: Studio, tab: Any, visit: EditVisit, step: Step, request: gr.Request, axes: dict[str, str],
          but: Collection[str] = ()) -> dict[Any, Any]:
    form: Form = tab.form
    editor = studio.editor(step.values["model"])
    for name in FILES:
        step.values[name] = _present(studio, visit, step.values[name], request)
    return (form.restore(step.values, editor.capabilities, editor.info if editor.status == "ready" else None, but)
            | tab.sweep.follow(editor.capabilities, axes))


def _present(studio: Studio, visit: EditVisit, path: str | None, request: gr.Request) -> str | None:
    """An upload that the form had; where it has given way, from the photo of an edit that was made of it."""
    if path is None or studio.uploads.at(path):
        return path
    kept = next((visit.shelf.get(entry.photo.token) for entry in visit.entries if entry.source == path), None)
    return keep_as_input(studio, kept.file.read_bytes(), kept.name, request) if kept else None
