"""A run of the Edit tab: from the form's values to progress, picture and history, step by step."""

from __future__ import annotations

import io
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from PIL import Image

from mre.errors import EditStopped, MreError
from mre.imaging import reduced
from ui.edit.reading import with_reading
from ui.edit.region import for_photo
from ui.edit.views import Kept, keep_edit, keep_photo, measure, photo_of
from ui.edit.visit import EditVisit, Entry, file_name
from ui.notices import bar, note
from ui.pictures import data_address
from ui.texts import add_texts, say

if TYPE_CHECKING:
    from mre.editors.capabilities import Capabilities
    from mre.editors.editor import Editor, EditResult, Step
    from mre.editors.settings import EditSettings
    from ui.studio import Studio

PREVIEW_SECONDS = 0.3         # between two previews of one run
LOADING_SECONDS = 0.5         # between two looks at a model that loads
STARTING_SECONDS = 2.0        # within which it begins to
NOTICE_SECONDS = 0.25         # within which a run that makes no news notices that it shall stop
FORSAKEN_SECONDS = 15         # a run whose page has not asked for news so long is stopped
THUMB = 160
READING, FULLEST = 0.04, 0.97  # shares of the bar: while the photo is read, and the most there is before all is done
TAIL_SECONDS = 0.15           # for a million pixels: from the last step to the picture, on two cores
LIVE_SECONDS = 1.0            # an edit that took no longer follows a score at once
FEW_PIXELS = 2_000_000        # of a photo that is kept in memory for the next edit
RESTORING = 0.6               # of that, what puts the photo's detail back; the rest writes files
TEXTS = {
    "run_loading": ("Loading {model}: reading its weights, {seconds:.0f} s…", "正在加载 {model}：读取权重，{seconds:.0f} 秒…"),
    "run_fetching": ("Loading {model}: fetching its weights, {seconds:.0f} s…", "正在加载 {model}：下载权重，{seconds:.0f} 秒…"),
    "run_loading_left": ("Stopped. {model} goes on loading, for the next run.", "已停止。{model} 会继续加载，供下次运行使用。"),
    "run_waiting": ("{place} ahead of you in the queue", "前面还有 {place} 个"),
    "run_reading": ("Reading the photo…", "正在读取照片…"),
    "run_editing": ("Editing…", "正在编辑…"), "run_step": ("Step {step} of {total}", "第 {step} 步，共 {total} 步"),
    "run_restoring": ("Restoring the photo's detail…", "正在恢复照片细节…"),
    "run_writing": ("Writing the picture…", "正在写入图片…"),
    "run_left": ("about {seconds} s left", "约剩 {seconds} 秒"),
    "run_done": ("Done in {seconds} s with {model}", "用时 {seconds} 秒（{model}）"), "run_seed": (", seed {seed}", "，种子 {seed}"),
    "run_stopped": ("Stopped.", "已停止。"), "run_stopping": ("Stopping…", "正在停止…"),
    "run_busy": ("Your last run has not finished; stop it or wait for it.", "你的上一次运行还没结束，请先停止或等待。"),
}
add_texts(TEXTS)
T = TypeVar("T")
OPENED = "photo_of has opened it"


class WorkInBackground(Generic[T]):
    """Work in a thread of its own, and its news as they come: iterate, then read `result`.

    `("stopping", None)` is news too, once, when a stop is asked for that the work has not come to yet. Leaving the loop early, or not
    asking for news any more (a closed tab), stops the work within one step.
    """

    def __init__(self, work: Callable[[Callable[..., None], Callable[[], bool]], T], stop: threading.Event) -> None:
        self._news: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._stop = stop
        self._asked = time.monotonic()
        self._work = work
        self._results: list[T] = []

    def _should_stop(self) -> bool:
        return self._stop.is_set() or (not self._news.empty() and time.monotonic() - self._asked > FORSAKEN_SECONDS)

    def _run(self) -> None:
        try:
            self._news.put(("result", self._work(lambda kind, value: self._news.put((kind, value)), self._should_stop)))
        except Exception as error:               # handed to the one who follows, who raises it
            self._news.put(("error", error))

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        threading.Thread(target=copy_context().run, args=(self._run,), name="edit", daemon=True).start()
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
                    self._results.append(value)
                    return
                yield kind, value
        finally:
            self._asked = 0.0
            if not self._results:
                self._stop.set()

    @property
    def result(self) -> T:
        """What the work gave, once its news have come to an end."""
        return self._results[0]


def run_edit(studio: Studio, visit: EditVisit, language: str, photo_path: str | None, model: str, settings: EditSettings, *,
             previews: bool = True, newest_scores: bool = False) -> Generator[tuple[str, Entry | None], None, None]:
    """Edit the photo. Yields (progress as HTML, entry when it is done). Raises MreError.

    newest_scores: of scores that move while the model is still being loaded, the last ones count (`visit.newest`)
    """
    if not visit.begin():
        raise MreError(say("run_busy", language))
    try:
        editor = studio.editor(model)
        started = time.monotonic()
        yield bar(say("run_reading", language), READING), None
        asked = settings
        photo = opened(visit, photo_path)
        assert photo_path is not None, OPENED
        visit.newest = asked if newest_scores else None
        for told in loading(studio, visit, model, language):
            yield told, None
        if visit.stop.is_set():
            return
        asked, visit.newest = visit.newest or asked, None
        settings = for_photo(asked, photo)

        def work(tell: Callable[..., None], should_stop: Callable[[], bool]) -> EditResult:
            last = 0.0

            def on_step(step: Step) -> None:
                nonlocal last
                shown = None
                if previews and step.index and (time.monotonic() - last > PREVIEW_SECONDS):
                    shown, last = step.preview(), time.monotonic()
                tell("step", (step, shown))
            return editor.edit(photo, settings, on_step=on_step, on_wait=lambda place: tell("wait", place),
                               on_restore=lambda share: tell("restore", share), should_stop=should_stop)

        follow, progress = WorkInBackground(work, visit.stop), Progress(language, photo.size)
        try:
            for kind, value in follow:
                if kind == "wait":
                    yield bar(say("run_waiting", language, place=value), None), None
                    started = time.monotonic()           # waiting is not in the time that is told
                elif kind == "stopping":
                    yield bar(say("run_stopping", language), None), None
                elif kind == "restore":
                    yield progress.restoring(value), None
                else:
                    yield progress.step(*value), None
        except EditStopped:
            yield note(say("run_stopped", language), "plain"), None
            return
        yield progress.writing(), None
        result = follow.result
        kept = kept_photo(visit, photo, photo_path)
        entry = visit.add(shelve(visit, photo, kept, result, Made(model or studio.models[0], asked, photo_path, editor.capabilities)))
        done = done_text(entry, time.monotonic() - started, language)
        yield with_reading(done, result.reading, language), entry
    finally:
        visit.newest = None
        visit.busy.release()


def loading(studio: Studio, visit: EditVisit, model: str, language: str) -> Iterator[str]:
    """While the model of a run is loaded: what goes on, and for how long. A stop ends the wait at once; the model goes on loading, and
    nobody else's edits wait for it."""
    editor = studio.editor(model)
    if editor.status in ("ready", "failed"):     # one that failed is tried again by the edit, which says why it fails
        return
    editor.warm()
    begun, key = time.monotonic(), "run_loading" if _has_weights(editor) else "run_fetching"
    while editor.status == "loading" or (editor.status == "cold" and time.monotonic() - begun < STARTING_SECONDS):
        if visit.stop.is_set():
            yield note(say("run_loading_left", language, model=model), "plain")
            return
        yield bar(say(key, language, model=model, seconds=time.monotonic() - begun), None)
        visit.stop.wait(LOADING_SECONDS)


def _has_weights(editor: Editor) -> bool:
    try:
        return editor.info.digest is not None
    except MreError:                             # said when it has failed
        return True


def done_text(entry: Entry, seconds: float, language: str) -> str:
    """What is said of an edit when it is there."""
    done = say("run_done", language, seconds=f"{seconds:.1f}", model=entry.model)
    return done + (say("run_seed", language, seed=entry.recipe.seed) if entry.seeded else "")


def run_live(studio: Studio, visit: EditVisit, photo_path: str, model: str, settings: EditSettings) -> Entry:
    """The edit that is shown, with other scores: with those of `visit.newest` where these have moved on before it began. Waits for what
    else the visitor runs, and for other visitors' edits of this kind. Raises MreError, EditStopped."""
    with visit.busy:
        visit.stop.clear()
        visit.following, visit.newest = True, settings
        try:
            editor = studio.editor(model)
            photo = opened(visit, photo_path)
            for _ in loading(studio, visit, model, "en"):
                continue                         # nobody is told: the score that moves next counts
            if visit.stop.is_set():
                raise EditStopped("stopped while the model was loaded")
            with studio.following.join() as ticket:
                while not ticket.wait(NOTICE_SECONDS):
                    if visit.stop.is_set():
                        raise EditStopped("stopped while waiting")
                settings, visit.newest = visit.newest or settings, None
                result = editor.edit(photo, for_photo(settings, photo), should_stop=visit.stop.is_set,
                                     on_restore=lambda share: ticket.leave())
            made = Made(model, settings, photo_path, editor.capabilities, live=True)
            return visit.add(shelve(visit, photo, kept_photo(visit, photo, photo_path), result, made))
        finally:
            visit.following, visit.newest = False, None


def opened(visit: EditVisit, path: str | None) -> Image.Image:
    """The photo, whose pixels are kept for the next edit where they are few. Raises ImageError."""
    if visit.photo is not None and visit.photo[0] == path and visit.photo[1] is not None:
        return visit.photo[1]
    return photo_of(path)


def kept_photo(visit: EditVisit, photo: Image.Image, path: str) -> Kept:
    """The photo's files on the shelf: those of the edit before, where they are still there."""
    if visit.photo is None or visit.photo[0] != path or None in map(visit.shelf.get, (visit.photo[2].token, visit.photo[2].view)):
        kept = keep_photo(visit.shelf, photo, Path(path), visit.id)
        visit.photo = path, photo if photo.width * photo.height <= FEW_PIXELS else None, kept
    return visit.photo[2]


@dataclass(frozen=True)
class Made:
    """How an edit came about, beside what its result tells: fields of `Entry`."""

    model: str
    asked: EditSettings
    source: str
    has: Capabilities          # of the model
    live: bool = False


def shelve(visit: EditVisit, photo: Image.Image, kept: Kept, result: EditResult, made: Made) -> Entry:
    """Put a result on the visitor's shelf, beside its photo that is kept there already."""
    rewarded, recipe = made.has.reward or made.has.reward_text, result.recipe
    name, file = file_name(result, rewarded), io.BytesIO()
    scores = f"scores {recipe.reward.shown()}, " if rewarded else ""
    about = f"{recipe.instruction} ({scores}seed {recipe.seed}, {made.model})"
    reduced(result.image, 2 * THUMB).save(file, "JPEG", quality=85)
    entry = Entry(photo=kept, picture=keep_edit(visit.shelf, result.image, result.png(), name, visit.id, about),
                  thumb=visit.shelf.put(file.getvalue(), "thumb.jpg", visit.id), change=measure(photo, result.image), file_name=name,
                  recipe=recipe, model=made.model, seconds=result.seconds, rewarded=rewarded,
                  seeded=made.has.seed, asked=made.asked, source=made.source, live=made.live)
    if visit.closed:                             # the tab closed meanwhile: nothing of it stays
        visit.shelf.drop_owner(visit.id)
    return entry


class Progress:
    """The bar of an edit, or of `parts` edits one after the other: what goes on, and how much of it all is done. It is never full: what
    comes after the last step grows with the photo, and has its share."""

    def __init__(self, language: str, size: tuple[int, int], parts: int = 1) -> None:
        self._language = language
        self._tail = TAIL_SECONDS * size[0] * size[1] / 1e6
        self._parts, self._part = parts, 0
        self._begun = time.monotonic()
        self._share, self._steps = READING, 0.0          # of all done; of a part taken by its steps

    def step(self, step: Step, picture: Image.Image | None = None) -> str:
        """Step by step, with the picture as far as it has come."""
        if not step.index:
            self._begun = time.monotonic()
        elif step.total:
            seconds = (time.monotonic() - self._begun) / step.index * step.total
            self._steps = seconds / (seconds + self._tail + 1e-6)
        words = say("run_step", self._language, step=step.index, total=step.total) if step.total > 1 else say("run_editing", self._language)
        if step.seconds_left is not None and step.index < step.total:
            words += " · " + say("run_left", self._language, seconds=f"{max(step.seconds_left, 0.1):.1f}")
        return self._bar(words, self._steps * step.index / step.total, picture)

    def restoring(self, share: float) -> str:
        """While the photo's own detail is put back; at its end the next edit may begin."""
        shown = self._bar(say("run_restoring", self._language), self._steps + (1 - self._steps) * RESTORING * share)
        self._part += share == 1 and self._part + 1 < self._parts
        return shown

    def writing(self) -> str:
        return self._bar(say("run_writing", self._language), self._steps + (1 - self._steps) * RESTORING)

    def _bar(self, words: str, share: float, picture: Image.Image | None = None) -> str:
        self._share = max(self._share, min((self._part + share) / self._parts, FULLEST))
        return bar(words, self._share, data_address(picture) if picture else "")
