"""The Edit tab: a photo, an instruction and three sliders in; an edited photo out."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from fastapi import FastAPI

from mre.editors.settings import EditSettings
from mre.errors import MreError
from mre.imaging import open_image
from ui import pictures
from ui.edit import examples as edit_examples
from ui.edit import form as edit_form
from ui.edit import history as edit_history
from ui.edit import judge as edit_judge
from ui.edit import pair as edit_pair
from ui.edit import programs as edit_programs
from ui.edit import recipe as edit_recipe
from ui.edit import seen as edit_seen
from ui.edit import sweep as edit_sweep
from ui.edit import views as edit_views
from ui.edit import words as edit_words
from ui.edit.form import Form
from ui.edit.run import run_edit
from ui.edit.viewer import empty_viewer, viewer
from ui.edit.views import Change, Kept, keep_photo, measure
from ui.edit.visit import EditVisit, Entry, visit_of
from ui.names import UNTRAINED, limits_of
from ui.notices import note
from ui.pictures import address
from ui.site.door import Page, keep_as_input
from ui.texts import add_texts, language_of, say, t

if TYPE_CHECKING:
    from ui.studio import Studio

OPENED_SECONDS = 0.5          # between the page's opening and the loading of the model
TEXTS = {
    "tab_edit": ("Edit", "编辑"),
    "input_here": ("Edit this result", "编辑此结果"), "undo": ("Undo", "撤销"),
    "download": ("Download PNG (recipe inside)", "下载 PNG（含配方）"), "download_plain": ("without recipe", "不含配方"),
    "privacy": ("Your pictures stay on this server only while this tab is open: they are deleted when it closes.",
                "图片只在本页面打开期间保存在服务器上，关闭页面后即删除。"),
    "ready": ("ready", "就绪"), "loading": ("loading", "加载中"),
    "cold": ("loads on first use", "首次使用时加载"), "failed": ("failed", "加载失败"),
    "need_photo": ("Photo: choose a picture first.", "照片：请先选择图片。"),
    "need_instruction": ("Instruction: say what to change.", "编辑指令：请写下要改什么。"),
}
add_texts(TEXTS)
title = t("tab_edit")


def build(studio: Studio) -> None:
    """Draw the tab and connect its handlers."""
    visit = gr.State(None)
    has = studio.editor().capabilities
    examples = edit_examples.build()
    with gr.Row(equal_height=False, elem_id="edit"):
        with gr.Column(scale=5, min_width=320):
            photo = edit_form.build_photo()
            seen = gr.HTML(elem_id="seen")
            instruction = edit_form.build_instruction()
            words = edit_words.build()
            with gr.Row(elem_classes="go"):
                run = gr.Button(t("run"), variant="primary", size="lg", elem_id="run", scale=3)
                stop = gr.Button(t("stop"), size="lg", elem_id="stop", scale=1, min_width=90)
            rewards, no_rewards, scores = edit_form.build_scores(has)
            reward_texts, texts, chips = edit_form.build_texts(has)
            with gr.Accordion(t("more"), open=False, elem_id="more"):
                fields = edit_form.build_settings(studio, has)
                reuse = gr.Button(t("reuse"), size="sm", elem_id="reuse")
        with gr.Column(scale=7, min_width=320):
            status = gr.HTML(elem_id="status")
            progress = gr.HTML(elem_id="progress")
            look = gr.HTML(empty_viewer("en"), elem_id="look")
            downloads = gr.HTML(elem_id="downloads")
            with gr.Row(elem_classes="toolbar"):
                as_input = gr.Button(t("input_here"), size="sm", elem_id="as-input", interactive=False)
                undo = gr.Button(t("undo"), size="sm", elem_id="undo", interactive=False)
            gr.Markdown(t("privacy"), elem_classes="muted small", elem_id="privacy")
    with gr.Tabs(elem_id="edit-tools"):
        with gr.Tab(t("tab_history"), elem_id="tab-history"):
            history = edit_history.HistoryPanel()
        with gr.Tab(t("tab_sweep"), elem_id="tab-sweep"):
            sweep = edit_sweep.build(has)
        with gr.Tab(t("tab_pair"), elem_id="tab-pair"):
            pair = edit_pair.PairPanel(studio)
        with gr.Tab(t("tab_judge"), elem_id="tab-judge"):
            judge = edit_judge.JudgePanel()
        with gr.Tab(t("tab_recipe"), elem_id="tab-recipe"):
            recipe = edit_recipe.RecipePanel()
        with gr.Tab(t("tab_programs"), elem_id="tab-programs"):
            edit_programs.build(studio)
    form = Form(photo=photo, instruction=instruction, scores=scores, texts=texts, rewards=rewards, no_rewards=no_rewards,
                reward_texts=reward_texts, **fields)
    # not through the queue: an event that joins it just when the session's last one ends can stay without an answer (Gradio 6.31 closes
    # the stream of answers then), and a button whose answer never comes is dead
    quiet = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
    heavy = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": 40, "trigger_mode": "once"}

    page = gr.context.Context.root_block
    page.load(on_load(studio), [visit, form.model], [visit, status, look, examples, words, history.shots, sweep.forecast, form.model],
              **quiet)
    page.unload(on_close(studio, page))
    ticks = gr.Timer(1.0)
    gr.on([ticks.tick, form.model.change], on_tick(studio), form.model, [status, ticks], trigger_mode="always_last", **quiet)

    gr.on([photo.change, form.model.change], edit_seen.on_photo(studio), [visit, photo, form.model], seen, trigger_mode="always_last",
          **quiet)
    gr.on([instruction.change, form.model.change, photo.change], edit_words.on_type(studio), [instruction, form.model, photo], words,
          trigger_mode="always_last", **quiet)
    form.model.input(on_model(studio, form, sweep), [form.model, *sweep.axes], [*form.controls, *sweep.controls], **quiet)
    mended = [photo.change, instruction.change, form.model.input, *(box.input for box in form.settings if box is not instruction)]
    gr.on(mended, None, progress, progress, js=FORGET_TROUBLE, **quiet)      # by the visitor: what a model's change sets forgets nothing
    words.pick(edit_words.on_pick, None, instruction, **quiet)
    examples.pick(edit_examples.on_pick(studio), None, [photo, instruction], **quiet)
    for chip, text in zip(chips, texts, strict=True):
        chip.pick(edit_words.on_pick, None, text, **quiet)

    shown = [look, downloads, as_input]
    redraw = (edit_history.on_change, visit, [history.shots, history.first, history.second])
    done = gr.on([run.click, instruction.submit], on_run(studio), [visit, form.previews, form.random_seed, *form.all],
                 [visit, progress, *shown, form.seed, seen, words], **heavy)
    done.then(*redraw, **quiet)
    gr.on([stop.click, sweep.stop.click], on_stop, visit, None, **quiet)
    as_input.click(on_use_as_input(studio), [visit, photo], [photo, undo], **quiet)
    undo.click(on_undo(studio), visit, [photo, undo], **quiet)
    reuse.click(on_reuse(studio, form, sweep), [visit, *sweep.axes], [*form.controls, *sweep.controls], **quiet)

    history.shots.pick(on_show(edit_history.picked), visit, shown, **quiet)
    history.compare.click(edit_history.on_compare(studio, compare_html), [visit, history.first, history.second], look, **quiet)
    edit_sweep.connect(studio, sweep, form, visit, quiet)
    sweep.grid.pick(on_show(edit_sweep.picked), visit, shown, **quiet)
    edit_pair.connect(studio, pair, form, visit, compare_html, on_stop, quiet).then(*redraw, **quiet)
    judge.one.click(edit_judge.on_one(studio), visit, judge.answer, **heavy)
    judge.sweep.click(edit_judge.on_sweep(studio), visit, [judge.answer, judge.plot], **heavy)
    recipe.file.change(edit_recipe.on_drop(studio, form, sweep, recipe.answer), [visit, recipe.file, photo, form.model, *sweep.axes],
                       [*form.controls, *sweep.controls, recipe.answer], **quiet)


def add_routes(app: FastAPI, studio: Studio) -> None:
    """Visitors' pictures and those of the examples."""
    pictures.add_routes(app, studio)
    edit_views.add_routes(app, studio)
    edit_examples.add_routes(app)


def on_load(studio: Studio) -> Callable:
    """A new visit, and everything that depends on the visitor's language."""
    def load(request: gr.Request, visit: EditVisit | None, model: str) -> list[Any]:
        language = language_of(request)
        visit = visit_of(studio, visit, request)
        editor = studio.editor(model)
        studio.warm(after=OPENED_SECONDS)
        return [visit, status_html(studio, model, language), empty_viewer(language), edit_examples.strip_html(language),
                edit_words.words_html(editor, "", language), edit_history.shots_html(visit, language), "", model]
    return load


def on_close(studio: Studio, page: Page) -> Callable:
    def close(request: gr.Request) -> None:
        if visit := studio.visits.pop(request.session_hash, None):
            visit.close()
        page.forget_session(request.session_hash)
        studio.uploads.drop_session(request.session_hash)
    return close


def on_tick(studio: Studio) -> Callable:
    def tick(request: gr.Request, model: str) -> tuple[str, Any]:
        done = studio.editor(model).status in ("ready", "failed")
        return status_html(studio, model, language_of(request)), gr.Timer(active=not done)
    return tick


def on_model(studio: Studio, form: Form, sweep: edit_sweep.SweepPanel) -> Callable:
    """Another model was chosen: the form and the sweep offer what it can use."""
    def follow(model: str, *axes: str) -> dict[Any, Any]:
        has = studio.editor(model).capabilities
        return form.follow(has) | sweep.follow(has, axes)
    return follow


# In the browser, so that it is at once: what was wrong is not said any longer when something was changed. Progress stays.
FORGET_TROUBLE = "(shown) => typeof shown === 'string' && shown.includes('notice bad') ? '' : shown"


def on_run(studio: Studio) -> Callable:
    """Run, and show what comes. What is missing is said where it is missing, too."""
    def run(request: gr.Request, visit: EditVisit | None, previews: bool, random_seed: bool, photo: str | None, model: str,
            instruction: str, *values: Any) -> Iterator[list]:
        language = language_of(request)
        visit = visit_of(studio, visit, request)
        nothing_new = [gr.skip()] * 6            # viewer, downloads, use as next photo; seed; the lines below photo and instruction
        missing = [key for key, there in (("need_photo", photo), ("need_instruction", (instruction or "").strip())) if not there]
        if missing:
            below = [note(say(key, language), "bad") if key in missing else gr.skip() for key in ("need_photo", "need_instruction")]
            yield [visit, "".join(note(say(key, language), "bad") for key in missing), *nothing_new[:4], *below]
            return
        try:
            for progress, entry in run_edit(studio, visit, language, previews, random_seed, photo, model, instruction, *values):
                edited = nothing_new if entry is None else [*show(visit, entry, language), entry.recipe.seed, *nothing_new[:2]]
                yield [visit, progress, *edited]
        except Exception as error:               # shown in one line; the log has the rest
            yield [visit, note(studio.trouble(error), "bad"), *nothing_new]
    return run


def show(visit: EditVisit, entry: Entry, language: str) -> list[Any]:
    """An edit against its photo: viewer, downloads, and a way to go on from it."""
    visit.shown = entry
    look = compare_html(visit, entry.photo, entry.picture, language, entry.change)
    return [look, downloads_html(entry, language), gr.Button(interactive=True)]


def on_show(picked: Callable[[EditVisit | None, gr.EventData], Entry | None]) -> Callable:
    """Show the edit that was clicked somewhere."""
    def pick(request: gr.Request, visit: EditVisit | None, event: gr.EventData) -> list[Any]:
        entry = picked(visit, event)
        if entry is None or None in (visit.shelf.get(entry.picture.token), visit.shelf.get(entry.photo.token)):
            return [gr.skip()] * 3
        return show(visit, entry, language_of(request))
    return pick


def on_stop(visit: EditVisit | None) -> None:
    """Stop the visitor's own run; the next denoising step does not begin. The run itself says so: its news alone come in order."""
    if visit is not None and visit.busy.locked():
        visit.stop.set()


def compare_html(visit: EditVisit, before: Kept, after: Kept, language: str, change: Change | None = None,
                 labels: tuple[str, str] | None = None, element: str = "look") -> str:
    """The viewer for two pictures of the shelf; how much they differ is measured where it is not known."""
    if change is None:
        change = measure(*(open_image(visit.shelf.path(kept.token)) for kept in (before, after)))
    return viewer(before, after, change, language=language, labels=labels, element=element)


def downloads_html(entry: Entry, language: str) -> str:
    """Links to take the picture away, with its recipe and without."""
    name = html.escape(entry.file_name, quote=True)
    token = entry.picture.token
    return (f'<p class="small"><a href="{address(token, entry.file_name)}" download="{name}" id="download">'
            f'{say("download", language)}</a> · <a href="{address(token, entry.file_name, plain=True)}" download="{name}" '
            f'id="download-plain">{say("download_plain", language)}</a></p>')


def on_use_as_input(studio: Studio) -> Callable:
    """The picture shown becomes the photo; the photo before it can be had back."""
    def use(request: gr.Request, visit: EditVisit | None, photo: str | None) -> tuple[Any, Any]:
        found = visit.shelf.get(visit.shown.picture.token) if visit and visit.shown else None
        if found is None:
            return gr.skip(), gr.skip()
        if photo:
            with suppress(MreError):             # a photo that cannot be read is not worth going back to
                visit.earlier.append(keep_photo(visit.shelf, edit_form.photo_of(photo), Path(photo), visit.id).token)
        return keep_as_input(studio, found.file.read_bytes(), found.name, request), gr.Button(interactive=bool(visit.earlier))
    return use


def on_undo(studio: Studio) -> Callable:
    """Back to the photo before; as many times as there are any."""
    def undo(request: gr.Request, visit: EditVisit | None) -> tuple[Any, Any]:
        if visit is None or not visit.earlier:
            return gr.skip(), gr.Button(interactive=False)
        found = visit.shelf.get(visit.earlier.pop())
        photo = keep_as_input(studio, found.file.read_bytes(), found.name, request) if found else gr.skip()
        return photo, gr.Button(interactive=bool(visit.earlier))
    return undo


def on_reuse(studio: Studio, form: Form, sweep: edit_sweep.SweepPanel) -> Callable:
    """The settings of the last edit into the form."""
    def reuse(visit: EditVisit | None, *axes: str) -> dict[Any, Any]:
        if visit is None or not visit.entries:
            return {form.seed: gr.skip()}
        last = visit.entries[-1]
        editor = studio.editor(last.model)
        return form.fill(EditSettings.from_recipe(last.recipe), last.model, editor.info) | sweep.follow(editor.capabilities, axes)
    return reuse


def status_html(studio: Studio, model: str | None, language: str) -> str:
    """Which model is chosen, how it is, and what it can edit."""
    editor = studio.editor(model)
    state = editor.status
    ready = state == "ready"
    name = editor.info.title if ready else model or studio.models[0]
    limits = f'<p class="small muted">{html.escape(limits_of(editor.info, language))}</p>' if ready else ""
    if editor.name == UNTRAINED:
        limits = edit_words.notice(say("untrained", language))
    failed = f'<p class="notice bad">{html.escape(studio.trouble(MreError(editor.failure)))}</p>' if editor.failure else ""
    return (f'<div class="model-line"><span class="dot {state}" aria-hidden="true"></span><b>{html.escape(name)}</b> '
            f'<span class="muted small">{say(state, language)}</span></div>{limits}{failed}')
