"""Two models side by side on the same photo, with the same settings and the same start noise; the pair can be kept for a study."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from mre.editors.capabilities import limited
from mre.editors.device_queue import BusyError
from mre.errors import EditStopped, SettingsError
from mre.files import QUICK, png_bytes
from mre.imaging import open_image
from mre.rewards import EDIT_TYPES
from mre.study.pairs import KeptEdit, keep_pair
from ui.edit.form import Form, settings_of
from ui.edit.region import for_photo
from ui.edit.run import OPENED, READING, Made, Progress, WorkInBackground, kept_photo, loading, opened, shelve
from ui.edit.viewer import compare_html
from ui.edit.visit import EditVisit, Entry, visit_of
from ui.events import AFTER_UPLOAD, QUEUED, QUIET
from ui.names import edit_type_label
from ui.notices import bar, note
from ui.texts import add_texts, language_of, say, t

if TYPE_CHECKING:
    from mre.editors.editor import EditResult
    from mre.editors.settings import EditSettings
    from ui.studio import Studio

TEXTS = {
    "tab_pair": ("Two models", "两个模型"),
    "pair_about": ("The same photo, settings and starting noise for two models.", "两个模型使用相同的照片、设置和初始噪声。"),
    "pair_first": ("First model", "模型一"), "pair_second": ("Second model", "模型二"), "pair_run": ("Run both", "同时运行"),
    "pair_same": ("Choose two different models.", "请选择两个不同的模型。"),
    "pair_one": ("Only one model is available here; start the studio with --model A --model B to compare two.",
                 "此处只有一个模型；用 --model A --model B 启动即可比较两个。"),
    "pair_type": ("Edit type", "编辑类型"),
    "pair_keep": ("Keep this pair for a study", "保留这一对用于研究"),
    "pair_keep_about": ("A pair that you keep stays: the photo and both edits are stored on this server for people to score.",
                        "保留的图对不会删除：照片和两张编辑结果会存到服务器上，供人评分。"),
    "pair_kept": ("Kept. Make a study of all pairs kept for these two models with: python -m mre study create NAME --edits {folder}",
                  "已保留。用以下命令用这两个模型的所有图对创建研究：python -m mre study create NAME --edits {folder}"),
    "pair_first_run": ("Run both models first.", "请先运行两个模型。"),
    "pair_noise": ("Same starting noise (seed {seed}).", "相同的初始噪声（种子 {seed}）。"),
    "pair_other_noise": ("Same seed ({seed}), but the models work at different sizes, so their starting noise has different shapes.",
                         "种子相同（{seed}），但两个模型的工作尺寸不同，初始噪声的形状也不同。"),
}
add_texts(TEXTS)


class PairPanel:
    """The pair's components."""

    def __init__(self, names: list[str]) -> None:
        gr.Markdown(t("pair_about") if len(names) > 1 else t("pair_one"), elem_classes="muted small")
        with gr.Row():
            self.first = gr.Dropdown(names, value=names[0], label=t("pair_first"), elem_id="pair-first", filterable=False)
            self.second = gr.Dropdown(names, value=names[-1], label=t("pair_second"), elem_id="pair-second", filterable=False)
        with gr.Row():
            self.run = gr.Button(t("pair_run"), variant="primary", elem_id="pair-run", scale=3, elem_classes=AFTER_UPLOAD,
                                 interactive=len(names) > 1)
            self.stop = gr.Button(t("stop"), elem_id="pair-stop", scale=1, min_width=90)
        self.progress = gr.HTML(elem_id="pair-progress")
        self.look = gr.HTML(elem_id="pair-look")
        gr.Markdown(t("pair_keep_about"), elem_classes="muted small")
        with gr.Row():
            self.edit_type = gr.Dropdown([(edit_type_label(name), name) for name in EDIT_TYPES], value="local", label=t("pair_type"),
                                         elem_id="pair-type", filterable=False)
            self.keep = gr.Button(t("pair_keep"), elem_id="pair-keep")
        self.kept = gr.HTML(elem_id="pair-kept")


def on_run(studio: Studio, panel: PairPanel, state: gr.State) -> Callable:
    """Edit with one model and then with the other, and show both."""
    def run(request: gr.Request, visit: EditVisit | None, first: str, second: str, photo: str | None,
            **fields: Any) -> Iterator[dict[Any, Any]]:
        language = language_of(request)
        visit = visit_of(studio, visit, request)
        try:
            for progress, pair in run_pair(studio, visit, language, first, second, photo, settings_of(**fields)):
                shown = {state: visit, panel.progress: progress}
                if pair:
                    one, two = pair
                    shown[panel.look] = compare_html(visit, one.picture, two.picture, language, labels=(one.model, two.model),
                                                     element="pair-look")
                yield shown
        except Exception as error:               # shown in one line with an id; the log has the rest
            yield {state: visit, panel.progress: note(studio.trouble(error), "bad")}
    return run


def run_pair(studio: Studio, visit: EditVisit, language: str, first: str, second: str, photo_path: str | None,
             settings: EditSettings) -> Iterator[tuple[str, tuple[Entry, Entry] | None]]:
    """Yields (progress, the two entries when both are made). Raises MreError."""
    if first == second:
        raise SettingsError(say("pair_same", language))
    if not visit.begin():
        raise BusyError(say("run_busy", language))
    try:
        yield bar(say("run_reading", language), READING), None
        photo = opened(visit, photo_path)
        assert photo_path is not None, OPENED
        asked = settings
        settings = for_photo(settings, photo)
        for name in (first, second):
            for told in loading(studio, visit, name, language):
                yield told, None
            if visit.stop.is_set():
                return

        def work(tell: Callable[..., None], should_stop: Callable[[], bool]) -> list[EditResult]:
            hooks = {"on_step": lambda step: tell("step", step), "on_wait": lambda place: tell("wait", place),
                     "on_restore": lambda share: tell("restore", share), "should_stop": should_stop}
            return [editor.edit(photo, limited(settings, editor.info), **hooks) for editor in map(studio.editor, (first, second))]
        follow, progress = WorkInBackground(work, visit.stop), Progress(language, photo.size, parts=2)
        try:
            for kind, value in follow:
                if kind == "step":
                    yield progress.step(value), None
                elif kind == "restore":
                    yield progress.restoring(value), None
                else:
                    yield bar(say("run_waiting" if kind == "wait" else "run_stopping", language, place=value), None), None
        except EditStopped:
            yield note(say("run_stopped", language)), None
            return
        yield progress.writing(), None
        kept = kept_photo(visit, photo, photo_path)
        one, two = (visit.add(shelve(visit, photo, kept, result, Made(name, asked, photo_path, studio.editor(name).capabilities)))
                    for result, name in zip(follow.result, (first, second), strict=True))
        same = follow.result[0].seen.size == follow.result[1].seen.size
        visit.pair = (one, two)
        yield note(say("pair_noise" if same else "pair_other_noise", language, seed=one.recipe.seed)), (one, two)
    finally:
        visit.busy.release()


def on_keep(studio: Studio) -> Callable:
    """Put the pair that is shown where a study can be made of it."""
    def keep(request: gr.Request, visit: EditVisit | None, edit_type: str) -> str:
        language = language_of(request)
        if visit is None or visit.pair is None:
            return note(say("pair_first_run", language))
        try:
            one, two = visit.pair
            files = [visit.shelf.get(kept.token) for kept in (one.photo, one.picture, two.picture)]
            there = [file.file for file in files if file is not None]
            if len(there) < len(files):
                return note(say("pair_first_run", language))
            original, pictures = png_bytes(open_image(there[0]), QUICK), [file.read_bytes() for file in there[1:]]
            first, second = (KeptEdit(entry.model, png, entry.recipe.seed, entry.seconds)
                             for entry, png in zip(visit.pair, pictures, strict=True))
            folder = keep_pair(studio.settings.data, edit_type, visit.pair[0].recipe.instruction, original, (first, second))
            visit.pair = None                    # once
            return note(say("pair_kept", language, folder=f"{studio.settings.data.name}/pairs/{folder.name}"))
        except Exception as error:               # shown in one line with an id; the log has the rest
            return note(studio.trouble(error), "bad")
    return keep


def connect(studio: Studio, panel: PairPanel, form: Form, visit: gr.State) -> Any:
    """Returns the event of a run, for what should happen after it."""
    panel.keep.click(on_keep(studio), [visit, panel.edit_type], panel.kept, **QUIET)
    return panel.run.click(on_run(studio, panel, visit), [visit, panel.first, panel.second, form.photo],
                           [visit, panel.progress, panel.look], inputs_kwargs=form.settings, **QUEUED)
