"""A run of the Edit tab: from the form's values to progress, picture and history, step by step."""

from __future__ import annotations

import html
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from PIL import Image

from mre.editing import EditResult, Step
from mre.errors import EditStopped, MreError
from mre.recipes import png_bytes
from ui.edit_form import new_seed, photo_of, settings_of
from ui.edit_viewer import data_address
from ui.edit_visit import Entry, Visit, file_name
from ui.studio import Studio
from ui.texts import add_texts, say

PREVIEW_SECONDS = 0.3         # between two previews of one run
NOTICE_SECONDS = 0.25         # within which a run that makes no news notices that it shall stop
FORSAKEN_SECONDS = 15         # a run whose page has not asked for news so long is stopped
THUMB = 160
TEXTS = {
    "run_loading": ("Loading the model…", "正在加载模型…"),
    "run_waiting": ("{place} ahead of you in the queue", "前面还有 {place} 个"),
    "run_step": ("Step {step} of {total}", "第 {step} 步，共 {total} 步"),
    "run_left": ("about {seconds} s left", "约剩 {seconds} 秒"),
    "run_done": ("Done in {seconds} s with {model}, seed {seed}", "用时 {seconds} 秒（{model}，种子 {seed}）"),
    "run_stopped": ("Stopped.", "已停止。"), "run_stopping": ("Stopping…", "正在停止…"),
    "run_busy": ("Your last run is still going on; stop it or wait for it.", "你的上一次运行还没结束，请先停止或等待。"),
    "run_waits_for_model": ("The model is still loading; the run begins by itself.", "模型仍在加载，加载完会自动开始。"),
}
add_texts(TEXTS)
T = TypeVar("T")


class Follow:
    """Work in a thread of its own, and its news as they come: iterate, then read `result`.

    `("stopping", None)` is news too, once, when a stop is asked for that the work has not come to yet. Leaving the loop early, or not
    asking for news any more (a closed tab), stops the work within one step.
    """

    def __init__(self, work: Callable[[Callable[..., None], Callable[[], bool]], T], stop: threading.Event) -> None:
        self._news: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._stop = stop
        self._asked = time.monotonic()
        self._work = work
        self.result: T | None = None

    def _should_stop(self) -> bool:
        return self._stop.is_set() or (not self._news.empty() and time.monotonic() - self._asked > FORSAKEN_SECONDS)

    def _run(self) -> None:
        try:
            self._news.put(("result", self._work(lambda kind, value: self._news.put((kind, value)), self._should_stop)))
        except Exception as error:               # handed to the one who follows, who raises it
            self._news.put(("error", error))

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        threading.Thread(target=self._run, name="edit", daemon=True).start()
        told = False
        try:
            while True:
                self._asked = time.monotonic()
                try:
                    kind, value = self._news.get(timeout=None if told else NOTICE_SECONDS)
                except queue.Empty:
                    if told := self._stop.is_set():
                        yield "stopping", None
                    continue
                if kind == "error":
                    raise value
                if kind == "result":
                    self.result = value
                    return
                yield kind, value
        finally:
            self._asked = 0.0
            if self.result is None:
                self._stop.set()


def run_edit(studio: Studio, visit: Visit, language: str, previews: bool, random_seed: bool, photo_path: str | None, model: str,
             *values: Any) -> Iterator[tuple[str, Entry | None]]:
    """Edit the photo as the form says. Yields (progress as HTML, entry when it is done). Raises MreError."""
    if not visit.busy.acquire(blocking=False):
        raise MreError(say("run_busy", language))
    visit.stop.clear()
    try:
        photo = photo_of(photo_path)
        settings = settings_of(*values)
        if random_seed:
            settings = type(settings)(**{**settings.__dict__, "seed": new_seed()})
        editor = studio.editor(model)
        yield bar(say("run_loading" if editor.status != "ready" else "run_step", language, step=0, total=settings.steps or "…"), None), None

        def work(tell: Callable[..., None], should_stop: Callable[[], bool]) -> EditResult:
            last = 0.0

            def on_step(step: Step) -> None:
                nonlocal last
                shown = None
                if previews and step.index and (time.monotonic() - last > PREVIEW_SECONDS):
                    shown, last = step.preview(), time.monotonic()
                tell("step", (step, shown))
            return editor.edit(photo, settings, on_step=on_step, on_wait=lambda place: tell("wait", place), should_stop=should_stop)

        follow, shown = Follow(work, visit.stop), None
        try:
            for kind, value in follow:
                if kind == "wait":
                    yield bar(say("run_waiting", language, place=value), None), None
                elif kind == "stopping":
                    yield bar(say("run_stopping", language), None), None
                else:
                    step, picture = value
                    shown = picture or shown
                    yield step_bar(step, shown, language), None
        except EditStopped:
            yield note(say("run_stopped", language), "plain"), None
            return
        result = follow.result
        entry = keep(visit, photo, result, model or studio.models[0])
        yield note(say("run_done", language, seconds=f"{result.seconds:.1f}", model=entry.model, seed=result.settings.seed), "plain"), entry
    finally:
        visit.busy.release()


def keep(visit: Visit, photo: Image.Image, result: EditResult, model: str) -> Entry:
    """Put a result on the visitor's shelf and into the history."""
    return visit.add(shelve(visit, visit.shelf.put(png_bytes(photo), "photo.png", visit.id), result, model))


def shelve(visit: Visit, photo_token: str, result: EditResult, model: str) -> Entry:
    """Put a result on the visitor's shelf, beside its photo that is there already."""
    name = file_name(result)
    thumb = result.image.copy()
    thumb.thumbnail((THUMB * 2, THUMB * 2))
    entry = Entry(photo=photo_token, picture=visit.shelf.put(result.png(), name, visit.id),
                  thumb=visit.shelf.put(_jpeg(thumb), "thumb.jpg", visit.id), file_name=name, recipe=result.recipe, model=model,
                  seconds=result.seconds, size=result.image.size)
    if visit.closed:                             # the tab closed meanwhile: nothing of it stays
        visit.shelf.drop_owner(visit.id)
    return entry


def _jpeg(image: Image.Image) -> bytes:
    import io
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()


def step_bar(step: Step, picture: Image.Image | None, language: str) -> str:
    """Progress of a run, with the picture as far as it has come."""
    words = say("run_step", language, step=step.index, total=step.total)
    if step.seconds_left is not None and step.index < step.total:
        words += " · " + say("run_left", language, seconds=f"{max(step.seconds_left, 0.1):.1f}")
    return bar(words, step.index / step.total, picture)


def bar(words: str, share: float | None, picture: Image.Image | None = None) -> str:
    """A progress bar; without a share, one that only says that something goes on."""
    value = f'aria-valuenow="{round(100 * share)}"' if share is not None else ""
    width = f"{100 * share:.0f}%" if share is not None else "100%"
    image = f'<img src="{data_address(picture)}" alt="">' if picture else ""
    kind = "track" if share is not None else "track waiting"
    return (f'<div class="progress" role="status"><p>{html.escape(words)}</p><div class="{kind}" role="progressbar" '
            f'aria-label="{html.escape(words)}" aria-valuemin="0" aria-valuemax="100" {value}><i style="width:{width}"></i></div>'
            f'{image}</div>')


def note(text: str, kind: str = "plain") -> str:
    """A line of news; the text may come from anywhere."""
    return f'<p class="notice {kind}" role="status">{html.escape(text)}</p>'
