"""The Research tab's judge: trained from the chosen study with one click, and shown beside the study's people as their ratings come."""

from __future__ import annotations

import threading
from dataclasses import dataclass
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
from ui.site.door import this_tab
from ui.texts import add_texts, language_of, say, t

if TYPE_CHECKING:
    from ui.studio import Studio

add_texts(TEXTS)
LOOK_SECONDS, FOLLOW_SECONDS = 1, 20
COLUMNS = {"res_judge_n": "edits", "res_judge_error": "mean_error", "res_judge_rank": "spearman", "res_judge_within": "coverage",
           "res_judge_pairs": "pairs", "res_judge_order": "pair_accuracy", "res_judge_ties": "accuracy_with_ties"}
SHARES = ("coverage", "pair_accuracy", "accuracy_with_ties")


class JudgePanel:
    """The components of the inner tab."""

    def __init__(self) -> None:
        gr.Markdown(t("res_judge_about"), elem_classes="muted small")
        with gr.Row(elem_classes="toolbar study-moves", elem_id="judge-train-row"):
            self.train = gr.Button(t("res_judge_train"), elem_id="judge-train", size="sm", min_width=160)
            self.cancel = gr.Button(t("res_judge_cancel"), elem_id="judge-cancel", size="sm", min_width=80, interactive=False)
        self.said = gr.HTML(elem_id="judge-said")
        with gr.Row(equal_height=False):
            self.judge = gr.Dropdown([EMBEDDED], value=EMBEDDED, label=t("res_judge_choice"), min_width=180, elem_id="judge-choice")
            with gr.Row(elem_classes="toolbar study-moves", elem_id="judge-compare-row"):
                self.compare = gr.Button(t("res_judge_compare"), elem_id="judge-compare", size="sm", min_width=160)
        self.against = gr.HTML(elem_id="judge-against")
        self.job, self.following = gr.State(None), gr.State(None)           # the job's id; what the table that is shown was made of
        self.look, self.follow = gr.Timer(LOOK_SECONDS, active=False), gr.Timer(FOLLOW_SECONDS, active=False)


@dataclass(frozen=True)
class Following:
    """What a table was made of: another choice, or more ratings, make another table."""

    study: str
    judge: str
    ratings: int


def connect(studio: Studio, panel: JudgePanel, chosen: gr.Dropdown) -> None:
    """Connect the handlers. `chosen`: which study is looked at."""
    handlers = JudgeHandlers(studio, panel)
    tab = this_tab()
    study: dict[str, Any] = {"name": chosen}
    private: dict[str, Any] = {"queue": False, "api_visibility": "private"}
    one_at_a_time: dict[str, Any] = {"concurrency_limit": 1, "api_visibility": "private"}
    running, shown = [panel.job, panel.said, panel.look, panel.cancel], [panel.against, panel.following]
    compared = {**study, "judge": panel.judge}
    panel.train.click(handlers.train, None, running, inputs_kwargs=study, **private)
    panel.cancel.click(handlers.cancel, None, None, inputs_kwargs={"job_id": panel.job}, **private)
    panel.look.tick(handlers.look, None, [*running, panel.judge], inputs_kwargs={"job_id": panel.job}, **QUIET)
    tab.select(handlers.opened, None, [*running, panel.judge, panel.follow], **QUIET)
    panel.compare.click(handlers.compare, None, shown, inputs_kwargs=compared, **one_at_a_time)
    panel.follow.tick(handlers.follow, None, shown, inputs_kwargs={**compared, "following": panel.following}, show_progress="hidden",
                      **one_at_a_time)
    chosen.input(lambda: {panel.against: "", panel.following: None}, None, shown, **QUIET)


class JudgeHandlers:
    """Handlers of the inner tab."""

    def __init__(self, studio: Studio, panel: JudgePanel) -> None:
        self.studio, self.panel = studio, panel
        self.jobs = Jobs()              # of their own: an import does not wait for a training
        self._naming = threading.Lock()

    def train(self, request: gr.Request, *, name: str | None) -> dict[Any, Any]:
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

    def cancel(self, *, job_id: str | None) -> None:
        """Ask the training to end; it does within a step."""
        job = self.jobs.get(job_id)
        if job is not None:
            job.stop.set()

    def opened(self, request: gr.Request) -> dict[Any, Any]:
        """What goes on when the tab is opened, and the judges that there are."""
        panel, job = self.panel, self.jobs.latest()
        known = {panel.judge: gr.update(choices=self.studio.judges.names), panel.follow: gr.Timer(active=True)}
        return known | (self._shown(job, language_of(request)) if job else {})

    def look(self, request: gr.Request, *, job_id: str | None) -> dict[Any, Any]:
        """How far the training is; once it has ended, what came of it, and the list of judges anew."""
        panel, language, job = self.panel, language_of(request), self.jobs.get(job_id)
        if job is not None and not job.ended:
            return {panel.said: job_bar(job, language)}
        over = {panel.job: None, panel.look: gr.Timer(active=False), panel.cancel: gr.update(interactive=False)}
        if job is None:
            return over
        if job.made:
            return {**over, panel.said: note(say("res_judge_made", language, name=job.made)),
                    panel.judge: gr.update(choices=self.studio.judges.names, value=job.made)}
        if isinstance(job.error, TrainingStopped):
            return {**over, panel.said: note(say("res_judge_stopped", language))}
        assert job.error is not None, "a job ends with what it made, or with why not"
        return {**over, panel.said: note(self.studio.trouble(job.error), "bad", role="alert")}

    def _shown(self, job: Job, language: str) -> dict[Any, Any]:
        return {self.panel.job: job.id, self.panel.said: job_bar(job, language), self.panel.look: gr.Timer(active=True),
                self.panel.cancel: gr.update(interactive=True)}

    def compare(self, request: gr.Request, *, name: str | None, judge: str | None) -> dict[Any, Any]:
        """The judge beside the people of the study, as far as they are."""
        language = language_of(request)
        try:
            if not name:
                raise StudyError(say("res_choose", language))
            return {self.panel.against: self._against(name, judge or EMBEDDED, language),
                    self.panel.following: Following(name, judge or EMBEDDED, self._ratings(name))}
        except MreError as error:
            raise self.studio.error(error) from error

    def follow(self, request: gr.Request, *, name: str | None, judge: str | None, following: Following | None) -> dict[Any, Any]:
        """The table anew where it is shown and ratings have come since."""
        if following is None or not name or (following.study, following.judge) != (name, judge or EMBEDDED) or (
                self._ratings(name) == following.ratings):
            return gr.skip()
        return self.compare(request, name=name, judge=judge)

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
