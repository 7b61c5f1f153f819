"""The Research tab's judge: trained from the chosen study with one click, and shown beside the study's people as their ratings come."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from mre.errors import MreError, StudyError, TrainingStopped
from mre.families import named
from mre.study.coverage import coverage
from ui.events import QUIET
from ui.judges import EMBEDDED
from ui.names import perspective_names
from ui.notices import note
from ui.research.jobs import Job, Jobs
from ui.research.markup import escaped, job_bar, number, table
from ui.research.words import TEXTS
from ui.site.door import this_page
from ui.texts import add_texts, language_of, say, t

if TYPE_CHECKING:
    from ui.studio import Studio

add_texts(TEXTS)
LOOK_SECONDS, FOLLOW_SECONDS = 1, 20
COLUMNS = {"res_judge_n": "edits", "res_judge_error": "mean_error", "res_judge_rank": "spearman", "res_judge_within": "coverage",
           "res_judge_pairs": "pairs", "res_judge_order": "pair_accuracy", "res_judge_ties": "accuracy_with_ties"}
SHARES = ("coverage", "pair_accuracy", "accuracy_with_ties")


def build(studio: Studio, chosen: gr.Dropdown) -> None:
    """Draw the inner tab. `chosen`: which study is looked at."""
    handlers = JudgeHandlers(studio)
    gr.Markdown(t("res_judge_about"), elem_classes="muted small")
    with gr.Row(elem_classes="toolbar study-moves", elem_id="judge-train-row"):
        train = gr.Button(t("res_judge_train"), elem_id="judge-train", size="sm", min_width=160)
        cancel = gr.Button(t("res_judge_cancel"), elem_id="judge-cancel", size="sm", min_width=80, interactive=False)
    said = gr.HTML(elem_id="judge-said")
    with gr.Row(equal_height=False):
        judge = gr.Dropdown([EMBEDDED], value=EMBEDDED, label=t("res_judge_choice"), min_width=180, elem_id="judge-choice")
        with gr.Row(elem_classes="toolbar study-moves"):
            compare = gr.Button(t("res_judge_compare"), elem_id="judge-compare", size="sm", min_width=160)
    against = gr.HTML(elem_id="judge-against")
    job, following = gr.State(None), gr.State(None)             # the job's id; (study, judge, ratings) of the table that is shown
    look, follow = gr.Timer(LOOK_SECONDS, active=False), gr.Timer(FOLLOW_SECONDS)
    page = this_page()
    private: dict[str, Any] = {"queue": False, "api_visibility": "private"}
    running, shown = [job, said, look, cancel], [against, following]
    train.click(handlers.train, chosen, running, **private)
    cancel.click(handlers.cancel, job, said, **private)
    look.tick(handlers.look, job, [*running, judge], **QUIET)
    page.load(handlers.opened, None, [*running, judge], **QUIET)
    compare.click(handlers.compare, [chosen, judge], shown, concurrency_limit=1, api_visibility="private")
    follow.tick(handlers.follow, [chosen, judge, following], shown, concurrency_limit=1, show_progress="hidden", api_visibility="private")
    chosen.input(lambda: ("", None), None, shown, **QUIET)


class JudgeHandlers:
    """Handlers of the inner tab."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.jobs = Jobs()              # of their own: an import does not wait for a training
        self._naming = threading.Lock()

    def train(self, name: str | None, request: gr.Request) -> list:
        """Begin a training in the background."""
        language = language_of(request)
        try:
            if not name:
                raise StudyError(say("res_choose", language))
            if self.jobs.latest() is not None:
                raise StudyError(say("res_judge_busy", language))
            job = self.jobs.start("judge", name, self._make)
        except MreError as error:
            raise self.studio.error(error) from error
        return self._shown(job, language)

    def _make(self, job: Job, upload: Path | None) -> Path:
        """The job itself: a folder of a name that no judge has yet."""
        def on_step(step: int, steps: int) -> None:
            if job.stop.is_set() or self.studio.closing.is_set():
                raise TrainingStopped(f"the training of a judge from {job.name} was stopped")
            job.on_progress("training" if step < steps else "reporting", step, steps)
        with self._naming:
            taken = {path.name for path in self.studio.judges.folder.iterdir()} if self.studio.judges.folder.is_dir() else set()
            wanted = (f"{job.name}-judge{count}" for count in ("", *(f"-{count}" for count in range(2, len(taken) + 3))))
            out = self.studio.judges.folder / next(free for free in wanted if free not in taken)
        return named("mre.training.judges.study_judge:train_from_study")(self.studio.store, job.name, out, on_step)

    def cancel(self, job_id: str | None, request: gr.Request) -> Any:
        """Ask the training to end; it does within a step."""
        job = self.jobs.get(job_id)
        if job is not None:
            job.stop.set()
        return gr.skip()

    def opened(self, request: gr.Request) -> list:
        """What goes on when a page is opened, and the judges that there are."""
        job, names = self.jobs.latest(), gr.update(choices=self.studio.judges.names)
        return [*(self._shown(job, language_of(request)) if job else [gr.skip()] * 4), names]

    def look(self, job_id: str | None, request: gr.Request) -> list:
        """How far the training is; once it has ended, what came of it, and the list of judges anew."""
        language, job = language_of(request), self.jobs.get(job_id)
        if job is None:
            return [None, gr.skip(), gr.Timer(active=False), gr.update(interactive=False), gr.skip()]
        if not job.ended:
            return [gr.skip(), job_bar(job, language), gr.skip(), gr.skip(), gr.skip()]
        if job.made:
            told, names = note(say("res_judge_made", language, name=job.made)), gr.update(choices=self.studio.judges.names, value=job.made)
        elif isinstance(job.error, TrainingStopped):
            told, names = note(say("res_judge_stopped", language)), gr.skip()
        else:
            assert job.error is not None, "a job ends with what it made, or with why not"
            told, names = note(self.studio.trouble(job.error), "bad", role="alert"), gr.skip()
        return [None, told, gr.Timer(active=False), gr.update(interactive=False), names]

    def _shown(self, job: Job, language: str) -> list:
        return [job.id, job_bar(job, language), gr.Timer(active=True), gr.update(interactive=True)]

    def compare(self, name: str | None, judge: str | None, request: gr.Request) -> list:
        """The judge beside the people of the study, as far as they are."""
        language = language_of(request)
        try:
            if not name:
                raise StudyError(say("res_choose", language))
            return [self._against(name, judge or EMBEDDED, language), (name, judge, self._ratings(name))]
        except MreError as error:
            raise self.studio.error(error) from error

    def follow(self, name: str | None, judge: str | None, following: Any, request: gr.Request) -> list:
        """The table anew where it is shown and ratings have come since."""
        if not following or not name or tuple(following[:2]) != (name, judge) or self._ratings(name) == following[2]:
            return [gr.skip(), gr.skip()]
        return self.compare(name, judge, request)

    def _ratings(self, name: str) -> int:
        return coverage(self.studio.store, name).slots_done

    def _against(self, name: str, judge: str, language: str) -> str:
        compared = named("mre.training.judges.study_judge:judge_against_people")
        found, screens, learnt = compared(self.studio.store, name, self.studio.judges.get(judge))
        rows = [(perspective_names(language)[perspective], *(_figure(key, values[key]) for key in COLUMNS.values()))
                for perspective, values in found.items()]
        told = say("res_judge_against", language, judge=judge, screens=screens) + (" " + say("res_judge_held", language) if learnt else "")
        return (f"<p>{escaped(told)}</p>" + table(["res_perspective", *COLUMNS], rows, language)
                + f'<p class="small muted">{escaped(say("res_judge_legend", language))}</p>')


def _figure(key: str, value: float) -> str:
    if value != value:
        return "–"
    return str(int(value)) if key in ("edits", "pairs") else f"{value:.0%}" if key in SHARES else number(value)
