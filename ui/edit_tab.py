"""The Edit tab: a photo, an instruction and three sliders in; an edited photo out."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import gradio as gr

from mre.editing import MAX_INSTRUCTION_CHARS, EditSettings
from mre.errors import MreError
from mre.imaging import open_image
from ui import edit_form
from ui.edit_form import Form, t
from ui.edit_run import note, run_edit
from ui.edit_viewer import difference, empty_viewer, viewer
from ui.edit_visit import Entry, Visit
from ui.pictures import address
from ui.studio import Studio
from ui.texts import add_texts, language_of, say

TEXTS = {
    "tab_edit": ("Edit", "编辑"),
    "input_here": ("Use as next photo", "作为下一张照片"), "undo": ("Undo", "撤销"),
    "download": ("Download PNG (recipe inside)", "下载 PNG（含配方）"), "download_plain": ("without recipe", "不含配方"),
    "privacy": ("Your pictures stay on this server only while this tab is open: they are deleted when it closes.",
                "图片只在本页面打开期间保存在服务器上，关闭页面后即删除。"),
    "ready": ("ready", "就绪"), "loading": ("loading", "加载中"),
    "cold": ("loads on first use", "首次使用时加载"), "failed": ("failed", "加载失败"),
    "need_photo": ("Choose a picture first.", "请先选择图片。"), "need_instruction": ("Say what to change.", "请写下要改什么。"),
    "instruction_long": ("At most {most} characters.", "最多 {most} 个字符。"),
    "cannot": ("What it can edit", "它能编辑什么"),
}
add_texts(TEXTS)
title = t("tab_edit")


def build(studio: Studio) -> None:
    """Draw the tab and connect its handlers."""
    page = gr.context.Context.root_block
    visit = gr.State(None)
    with gr.Row(equal_height=False, elem_id="edit"):
        with gr.Column(scale=5, min_width=320):
            photo = edit_form.build_photo()
            instruction = edit_form.build_instruction()
            scores, _, _ = edit_form.build_scores()
            with gr.Row():
                run = gr.Button(t("run"), variant="primary", size="lg", elem_id="run", scale=3)
                stop = gr.Button(t("stop"), size="lg", elem_id="stop", scale=1, min_width=90)
            with gr.Accordion(t("texts_title"), open=False):
                gr.Markdown(t("texts_about"), elem_classes="muted small")
                texts = tuple(gr.Textbox(label=t(f"text_{name}"), placeholder="None", max_lines=2, elem_id=f"text-{name}")
                              for name in ("following", "preserving", "quality"))
            with gr.Accordion(t("more"), open=False, elem_id="more"):
                fields = edit_form.build_settings(studio)
                reuse = gr.Button(t("reuse"), size="sm", elem_id="reuse")
        with gr.Column(scale=7, min_width=320):
            status = gr.HTML(elem_id="status")
            progress = gr.HTML(elem_id="progress")
            look = gr.HTML(empty_viewer("en"), elem_id="look")
            with gr.Row(elem_classes="toolbar"):
                as_input = gr.Button(t("input_here"), size="sm", elem_id="as-input", interactive=False)
                undo = gr.Button(t("undo"), size="sm", elem_id="undo", interactive=False)
            downloads = gr.HTML(elem_id="downloads")
            gr.Markdown(t("privacy"), elem_classes="muted small", elem_id="privacy")
    form = Form(photo=photo, instruction=instruction, scores=scores, texts=texts, **fields)
    quiet = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}

    page.load(on_load(studio), [visit], [visit, status, look], **quiet)
    page.unload(on_close(studio))
    ticks = gr.Timer(1.0)
    ticks.tick(on_tick(studio), form.model, [status, ticks], **quiet)
    form.model.change(on_tick(studio), form.model, [status, ticks], **quiet)
    outputs = [visit, progress, look, downloads, form.seed, as_input, undo]
    gr.on([run.click, instruction.submit], on_run(studio), [visit, form.previews, form.random_seed, *form.all], outputs,
                  validator=check_form, api_visibility="private", show_progress="hidden", concurrency_limit=40, trigger_mode="once")
    stop.click(on_stop, visit, progress, **quiet)
    as_input.click(on_use_as_input(studio), [visit, photo], [photo, undo], **quiet)
    undo.click(on_undo(studio), visit, [photo, undo], **quiet)
    reuse.click(on_reuse(studio, form), visit, [*form.settings, form.model, form.random_seed], **quiet)


def on_load(studio: Studio) -> Callable:
    def load(visit: Visit | None, request: gr.Request) -> tuple[Visit, str, str]:
        language = language_of(request)
        return visit_of(studio, visit, request), status_html(studio, None, language), empty_viewer(language)
    return load


def on_close(studio: Studio) -> Callable:
    def close(request: gr.Request) -> None:
        if visit := studio.visits.pop(request.session_hash, None):
            visit.close()
    return close


def visit_of(studio: Studio, visit: Visit | None, request: gr.Request) -> Visit:
    """The visitor's own visit; a new one for whoever has none yet."""
    if visit is None or visit.closed:
        visit = Visit(studio.shelf)
    if request and request.session_hash:
        studio.visits[request.session_hash] = visit
    return visit


def on_tick(studio: Studio) -> Callable:
    def tick(model: str, request: gr.Request) -> tuple[str, Any]:
        done = studio.editor(model).status in ("ready", "failed")
        return status_html(studio, model, language_of(request)), gr.Timer(active=not done)
    return tick


def check_form(request: gr.Request, visit: Any, previews: bool, random_seed: bool, photo: str | None, model: str, instruction: str,
               *rest: Any) -> list[dict]:
    """What can be said before anything starts, beside the field it is about."""
    language = language_of(request)
    fine = gr.validate(True, "")
    text = (instruction or "").strip()
    wrong = "need_instruction" if not text else "instruction_long" if len(text) > MAX_INSTRUCTION_CHARS else None
    about_text = gr.validate(False, say(wrong, language, most=MAX_INSTRUCTION_CHARS)) if wrong else fine
    about_photo = fine if photo else gr.validate(False, say("need_photo", language))
    return [fine, fine, fine, about_photo, fine, about_text, *[fine] * len(rest)]


def on_run(studio: Studio) -> Callable:
    def run(request: gr.Request, visit: Visit | None, previews: bool, random_seed: bool, *values: Any) -> Iterator[list]:
        language = language_of(request)
        visit = visit_of(studio, visit, request)
        keep = gr.skip()
        try:
            for progress, entry in run_edit(studio, visit, language, previews, random_seed, *values):
                if entry is None:
                    yield [visit, progress, keep, keep, keep, keep, keep]
                else:
                    yield [visit, progress, look_html(visit, entry, language), downloads_html(entry, language), entry.recipe.seed,
                           gr.Button(interactive=True), keep]
        except Exception as error:               # shown in one line with an id; the log has the rest
            yield [visit, note(studio.trouble(error), "bad"), keep, keep, keep, keep, keep]
    return run


def on_stop(visit: Visit | None, request: gr.Request) -> Any:
    """Stop the visitor's own run; the next denoising step does not begin."""
    if visit is None or not visit.busy.locked():
        return gr.skip()
    visit.stop.set()
    return note(say("run_stopping", language_of(request)))


def look_html(visit: Visit, entry: Entry, language: str) -> str:
    """The viewer for an edit against its photo."""
    return compare_html(visit, entry.photo, entry.picture, language)


def compare_html(visit: Visit, before: str, after: str, language: str, labels: tuple[str, str] | None = None, element: str = "look") -> str:
    """The viewer for two pictures of the shelf; the second is fitted to the first one's size for the difference."""
    first, second = (open_image(visit.shelf.get(token).file) for token in (before, after))
    found = difference(first, second if second.size == first.size else second.resize(first.size))
    import io
    file = io.BytesIO()
    found.picture.save(file, "PNG")
    token = visit.shelf.put(file.getvalue(), "difference.png", visit.id)
    return viewer(address(before), address(after), address(token, "difference.png"), changed=found.changed, top=found.top, size=first.size,
                  language=language, labels=labels, element=element)


def downloads_html(entry: Entry, language: str) -> str:
    """Links to take the picture away, with its recipe and without."""
    name = html.escape(entry.file_name, quote=True)
    return (f'<p class="small"><a href="{address(entry.picture, entry.file_name)}" download="{name}" id="download">'
            f'{say("download", language)}</a> · <a href="{address(entry.picture, entry.file_name, plain=True)}" download="{name}" '
            f'id="download-plain">{say("download_plain", language)}</a></p>')


def on_use_as_input(studio: Studio) -> Callable:
    def use(visit: Visit | None, photo: str | None) -> tuple[Any, Any]:
        if visit is None or visit.shown is None or not visit.shelf.get(visit.shown.picture):
            return gr.skip(), gr.skip()
        if photo:
            with suppress(MreError, OSError):
                from mre.recipes import png_bytes
                visit.earlier.append(visit.shelf.put(png_bytes(edit_form.photo_of(photo)), "photo.png", visit.id))
        return str(visit.shelf.get(visit.shown.picture).file), gr.Button(interactive=bool(visit.earlier))
    return use


def on_undo(studio: Studio) -> Callable:
    def undo(visit: Visit | None) -> tuple[Any, Any]:
        if visit is None or not visit.earlier:
            return gr.skip(), gr.Button(interactive=False)
        picture = visit.shelf.get(visit.earlier.pop())
        return str(picture.file) if picture else gr.skip(), gr.Button(interactive=bool(visit.earlier))
    return undo


def on_reuse(studio: Studio, form: Form) -> Callable:
    def reuse(visit: Visit | None) -> dict[Any, Any]:
        if visit is None or not visit.entries:
            return {form.seed: gr.skip()}
        last = visit.entries[-1]
        return form.fill(EditSettings.from_recipe(last.recipe), last.model if last.model in studio.editors else None)
    return reuse


def status_html(studio: Studio, model: str | None, language: str) -> str:
    """Which model is chosen, how it is, and what it can edit."""
    editor = studio.editor(model)
    state = editor.status
    ready = state == "ready"
    name = editor.info.title if ready else editor.name
    limits = f'<p class="small muted">{html.escape(editor.info.limits)}</p>' if ready else ""
    failed = f'<p class="notice bad">{html.escape(studio.trouble(MreError(editor.failure)))}</p>' if editor.failure else ""
    return (f'<div class="model-line"><span class="dot {state}" aria-hidden="true"></span><b>{html.escape(name)}</b> '
            f'<span class="muted small">{say(state, language)}</span></div>{limits}{failed}')
