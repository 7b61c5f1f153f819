"""The Research tab: make, run and watch studies, and take their results away. Everything here is a call of `mre.study`.

What the server owns is in the store; the page holds only which study is looked at. Downloads come from routes of their own, so that no
result lies in Gradio's cache, which all visitors share.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import gradio as gr

from mre.errors import MreError, StudyError
from mre.families import named
from mre.study import figures, records, studies
from mre.study.accounts import invite
from mre.study.coverage import coverage, skipped_pairs
from mre.study.design import checked_name
from mre.study.importer import import_file
from mre.study.intake import StudyFaults, unpacked
from mre.study.participants import forget_ids, participants
from mre.study.simulate import Crowd, simulate
from mre.study.table import study_table
from ui.events import QUIET
from ui.notices import note
from ui.research import judge, people, view
from ui.research.jobs import Job, Jobs
from ui.research.markup import job_bar
from ui.research.new_study import design_of
from ui.research.panel import MAX_LINKS, MAX_SIMULATED, MOVES, ResearchPanel
from ui.site.door import this_tab
from ui.texts import language_of, say, t

if TYPE_CHECKING:
    from mre.study.store import Store
    from ui.studio import Studio

title = t("tab_research")
REFRESH_SECONDS = 20
NOW: dict[str, Any] = {"queue": False, "api_visibility": "private"}
SLOW: dict[str, Any] = {"api_visibility": "private"}                 # through the queue, which says how long it takes
EDITS_FILE = "edits.csv"
T = TypeVar("T")


def build(studio: Studio) -> None:
    """Draw the tab and connect its handlers. Nothing is read before the tab is opened."""
    panel = ResearchPanel(studio.access.enabled)
    handlers = ResearchHandlers(studio, panel)
    judge.connect(studio, panel.judge, panel.chosen)
    connect_looking(panel, handlers)
    connect_moves(panel, handlers)
    connect_making(panel, handlers)


def connect_looking(panel: ResearchPanel, handlers: ResearchHandlers) -> None:
    """What is to be seen of the chosen study, anew when the tab is opened, at a choice, a click and from time to time."""
    tab, lists, ticks = this_tab(), [panel.chosen, *panel.shown], gr.Timer(REFRESH_SECONDS, active=False)
    tab.select(lambda: gr.Timer(active=True), None, ticks, **QUIET)
    for seen in (panel.refresh.click, tab.select):
        seen(handlers.lists, None, lists, inputs_kwargs=panel.study, **NOW)
    gr.on([panel.refresh.click, tab.select], handlers.folders, None, panel.new.folder, **QUIET)
    for seen in (panel.chosen.change, ticks.tick):
        seen(handlers.show, None, panel.shown, inputs_kwargs=panel.study, **QUIET)
    panel.chosen.input(handlers.forget_answers, None, [panel.agreement, panel.table, panel.said], **QUIET)
    gr.on([panel.chosen.change, *(box.change for box in panel.pay.values())], handlers.pay_links, None, panel.pay_links,
          inputs_kwargs={**panel.study, **panel.pay}, **QUIET)
    panel.compute.click(handlers.agreement, None, panel.agreement, inputs_kwargs=panel.study, **SLOW)
    panel.make_table.click(handlers.table, None, panel.table, inputs_kwargs=panel.study, **SLOW)
    gr.on([*(box.change for box in panel.power.values()), tab.select], handlers.power, None, panel.power_table, inputs_kwargs=panel.power,
          trigger_mode="always_last", **QUIET)


def connect_moves(panel: ResearchPanel, handlers: ResearchHandlers) -> None:
    """What changes the chosen study; it is closed only when somebody is sure."""
    told, person = [panel.said, *panel.shown], {**panel.study, "who": panel.who}
    for button, move in ((panel.moves["start"], "start"), (panel.moves["pause"], "pause"), (panel.close, "close")):
        button.click(handlers.mover(move), None, told, inputs_kwargs=panel.study, **NOW)
    panel.moves["close"].click(lambda: gr.update(visible=True), None, panel.sure, **QUIET)
    gr.on([panel.close.click, panel.cancel.click], lambda: gr.update(visible=False), None, panel.sure, **QUIET)
    panel.exclude.click(handlers.exclude, None, told, inputs_kwargs={**person, "reason": panel.reason}, **NOW)
    panel.recollect.click(handlers.recollect, None, told, inputs_kwargs=person, **NOW)
    panel.include.click(handlers.include, None, told, inputs_kwargs=person, **NOW)
    panel.let_continue.click(handlers.let_continue, None, told, inputs_kwargs=person, **NOW)
    panel.forget.click(handlers.forget, None, told, inputs_kwargs=panel.study, **NOW)


def connect_making(panel: ResearchPanel, handlers: ResearchHandlers) -> None:
    """New studies, simulated ones, those that a file brings back, and invitations."""
    lists = [panel.chosen, *panel.shown]
    panel.new.create.click(handlers.create, None, panel.running, inputs_kwargs={**panel.new.sources, **panel.new.design}, **NOW)
    panel.new.imported.upload(handlers.bring_back, None, [*panel.running, panel.new.imported],
                              inputs_kwargs={"name": panel.new.name, "path": panel.new.imported}, **NOW)
    panel.look.tick(handlers.look, None, [*panel.running, *lists], inputs_kwargs={"job_id": panel.job}, **QUIET)
    this_tab().select(handlers.running, None, panel.running, **QUIET)
    panel.simulate.click(handlers.simulate, None, [panel.said, *lists], inputs_kwargs={**panel.study, "annotators": panel.annotators},
                         concurrency_limit=1, **SLOW)
    panel.invite.click(handlers.invite, None, panel.links, inputs_kwargs={**panel.study, "count": panel.links_count}, **SLOW)


class ResearchHandlers:
    """One for each page event: takes the values of components by name, returns what components become. A refusal is told in one line."""

    def __init__(self, studio: Studio, panel: ResearchPanel) -> None:
        self.studio, self.panel = studio, panel
        self.jobs = Jobs()

    @property
    def store(self) -> Store:
        return self.studio.store

    # ----------------------------------------------------------------------------------------------------------- looking

    def lists(self, request: gr.Request, *, name: str | None) -> dict[Any, Any]:
        """The choice of studies, and what is to be seen of the chosen one."""
        names = [study.name for study in records.all_studies(self.store)]
        name = name if name in names else (names[-1] if names else None)
        return {self.panel.chosen: gr.update(choices=names, value=name), **self.show(request, name=name)}

    def show(self, request: gr.Request, *, name: str | None) -> dict[Any, Any]:
        """Summary, annotators, their names, methods, downloads, and which of the three moves can be made."""
        panel, language = self.panel, language_of(request)
        if not name:
            return {panel.summary: view.nothing_yet(language), panel.who: gr.update(choices=[]),
                    **dict.fromkeys((panel.people, panel.skipped, panel.took_part, panel.methods, panel.downloads), ""),
                    **dict.fromkeys(panel.moves.values(), gr.update(interactive=False))}
        study = self._tried(lambda: records.find_study(self.store, name))
        known = figures.totals(self.store, name)
        found, sides = figures.annotator_figures(self.store, name, known), figures.position_bias(self.store, name, known)
        return {panel.summary: view.summary(study, coverage(self.store, name), language, self.studio.access.enabled),
                panel.people: view.people(found, language), panel.who: gr.update(choices=[person.annotator for person in found]),
                panel.skipped: people.skipped_pairs(skipped_pairs(self.store, name), language),
                panel.took_part: people.participants(participants(self.store, name), name, language),
                panel.methods: view.methods(figures.method_means(self.store, name), sides, language),
                panel.downloads: view.downloads(name, language),
                **{button: gr.update(interactive=study.state in MOVES[move]) for move, button in panel.moves.items()}}

    def folders(self) -> Any:
        """The folders of edits that a study can be made of."""
        return gr.update(choices=self.studio.folders_with(EDITS_FILE))

    def forget_answers(self) -> dict[Any, Any]:
        """What was computed or said of the study that was looked at before goes."""
        return {self.panel.agreement: "", self.panel.table: "", self.panel.said: ""}

    def agreement(self, request: gr.Request, *, name: str | None) -> str:
        language = language_of(request)
        found = self._tried(lambda: figures.agreement(self.store, self._chosen(name, language)))
        return view.agreement(found, language)

    def table(self, request: gr.Request, *, name: str | None) -> str:
        return self._tried(lambda: study_table(self.store, self._chosen(name, language_of(request))).written("md"))

    def power(self, request: gr.Request, *, gap: float | None, between: float | None, within: float | None) -> str:
        return self._tried(lambda: view.power_table(gap or 0, between or 0, within or 0, language_of(request)))

    def pay_links(self, request: gr.Request, *, name: str | None, amount: float | None, per_screen: float | None, reject: bool) -> str:
        return people.pay_links(name, amount or 0, per_screen or 0, reject, language_of(request)) if name else ""

    # ---------------------------------------------------------------------------------------------------------- changing

    def mover(self, move: str) -> Callable:
        """The handler of one of MOVES."""
        def move_study(request: gr.Request, *, name: str | None) -> dict[Any, Any]:
            language = language_of(request)
            study = self._tried(lambda: self._moved(move, self._chosen(name, language), self._by(request)))
            return self._told(request, name, "res_state_said", name=study.name, state=say(f"res_{study.state}", language))
        return move_study

    def _moved(self, move: str, name: str, by: str) -> records.Study:
        if move == "start" and records.find_study(self.store, name).awaits_judge:
            return named("mre.training.judges.serving:start_serving")(self.store, name, by=by)
        return getattr(studies, move)(self.store, name, by=by)

    def exclude(self, request: gr.Request, *, name: str | None, who: str | None, reason: str | None) -> dict[Any, Any]:
        self._on_chosen(request, name, lambda study, by: studies.exclude(self.store, study, who or "", reason or "", by=by))
        return self._told(request, name, "res_exclude_said", who=who)

    def include(self, request: gr.Request, *, name: str | None, who: str | None) -> dict[Any, Any]:
        found = self._on_chosen(request, name, lambda study, by: studies.include(self.store, study, who or "", by=by))
        return self._told(request, name, "res_include_said", who=who, counted=found.counted, surplus=found.surplus)

    def recollect(self, request: gr.Request, *, name: str | None, who: str | None) -> dict[Any, Any]:
        count = self._on_chosen(request, name, lambda study, by: studies.recollect(self.store, study, who or "", by=by))
        return self._told(request, name, "res_recollect_said", who=who, count=count)

    def let_continue(self, request: gr.Request, *, name: str | None, who: str | None) -> dict[Any, Any]:
        self._on_chosen(request, name, lambda study, by: studies.let_continue(self.store, study, who or "", by=by))
        return self._told(request, name, "res_continue_said", who=who)

    def forget(self, request: gr.Request, *, name: str | None) -> dict[Any, Any]:
        count = self._on_chosen(request, name, lambda study, by: forget_ids(self.store, study, by=by))
        return self._told(request, name, "res_forget_said", count=count)

    # ------------------------------------------------------------------------------------------------------------ making

    def create(self, request: gr.Request, *, name: str | None, folder: list[str] | None, methods: str | None, archive: str | None,
               fit: bool | None, **design: Any) -> dict[Any, Any]:
        """Make a draft in the background, of the design that `design_of` makes of the other fields; every fault of the edits is listed with
        its row."""
        language, named_so, by = language_of(request), (name or "").strip(), self._by(request)
        checked = self._tried(lambda: design_of(**design))
        wanted = tuple(part.strip() for part in (methods or "").split(",") if part.strip())
        sources = [] if archive else self._tried(lambda: self._folders(folder or [], language))

        def make(job: Job, upload: Path | None) -> records.Study:
            job.on_progress("unpacking" if upload else "pictures", 0, 0)
            with unpacked(upload) if upload else nullcontext() as inside:
                return studies.create_from_edits(self.store, named_so, [inside] if inside else sources, checked, methods=wanted,
                                                 fit=bool(fit), inside=inside, by=by,
                                                 on_item=lambda done, of: job.on_progress("pictures", done, of))

        return self._begun("create", named_so, make, archive, language)

    def _folders(self, given: list[str], language: str) -> list[Path]:
        """Folders of edits in the data folder, by the names that `folders` gave."""
        there = self.studio.folders_with(EDITS_FILE)
        if unknown := [str(name)[:100] for name in given if name not in there]:
            raise StudyError(say("res_no_folder", language, name=unknown[0]))
        if not given:
            raise StudyError(say("res_give_source", language))
        return [self.studio.settings.data / name for name in given]

    def bring_back(self, request: gr.Request, *, name: str | None, path: str) -> dict[Any, Any]:
        """Import in the background; the field of the file is free for the next."""
        named_so, by = (name or "").strip(), self._by(request)

        def make(job: Job, upload: Path | None) -> records.Study:
            assert upload is not None, "the job begins with the file"
            return import_file(self.store, named_so, upload, by=by, on_progress=job.on_progress)

        return {**self._begun("import", named_so, make, path, language_of(request)), self.panel.new.imported: None}

    def _begun(self, kind: str, name: str, make: Callable[[Job, Path | None], records.Study], upload: str | None,
               language: str) -> dict[Any, Any]:
        """Shows the new job, and looks at it from now on."""
        self._tried(lambda: checked_name(name))
        return self._watched(self._tried(lambda: self.jobs.start(kind, name, make, Path(upload) if upload else None)), language)

    def _watched(self, job: Job, language: str) -> dict[Any, Any]:
        return {self.panel.job: job.id, self.panel.said: job_bar(job, language), self.panel.look: gr.Timer(active=True)}

    def running(self, request: gr.Request) -> dict[Any, Any]:
        """What goes on when a page is opened."""
        job = self.jobs.latest()
        return self._watched(job, language_of(request)) if job else gr.skip()

    def look(self, request: gr.Request, *, job_id: str | None) -> dict[Any, Any]:
        """How far the page's job is; once it has ended, what came of it, and the choice of studies anew."""
        panel, language, job = self.panel, language_of(request), self.jobs.get(job_id)
        if job is not None and not job.ended:
            return {panel.said: job_bar(job, language)}
        over = {panel.job: None, panel.look: gr.Timer(active=False)}
        if job is None:
            return over
        if job.made:
            told = say({"import": "res_imported", "create": "res_created"}[job.kind], language, name=job.made)
            return {**over, panel.said: note(told), **self.lists(request, name=job.made)}
        assert job.error is not None, "a job ends with what it made, or with why not"
        return {**over, panel.said: view.faults(job.error.faults, language) if isinstance(job.error, StudyFaults) else
                note(self.studio.trouble(job.error), "bad", role="alert")}

    def simulate(self, request: gr.Request, progress: gr.Progress = gr.Progress(), *, name: str | None,
                 annotators: float | None) -> dict[Any, Any]:
        """A copy of the study, scored by simulated annotators, or the faults for which there is none."""
        language, crowd = language_of(request), Crowd(annotators=min(int(annotators or 0), MAX_SIMULATED))
        try:
            copy, _screens = simulate(self.store, self._chosen(name, language), crowd, by=self._by(request),
                                      on_screen=lambda count: progress((count, None), unit="screens"))
        except StudyFaults as error:
            return {self.panel.said: view.faults(error.faults, language)}
        except MreError as error:
            raise self.studio.error(error) from error
        return {self.panel.said: note(say("res_simulated", language, name=copy.name)), **self.lists(request, name=copy.name)}

    def invite(self, request: gr.Request, *, name: str | None, count: float | None) -> str:
        """Links for one person each, and one for many."""
        language = language_of(request)
        study = self._tried(lambda: studies.invitable(self.store, self._chosen(name, language)))
        asking = request.request
        assert asking is not None, "a page asks"
        base = f"{asking.url.scheme}://{request.headers.get('host', '')}/join?invitation="
        secret = self._tried(lambda: self.store.secret)
        personal = [base + invite(secret, "annotator", study.public_id) for _ in range(max(0, min(int(count or 0), MAX_LINKS)))]
        for_many = base + invite(secret, "annotator", study.public_id, personal=False)
        return "\n".join([*personal, "", say("res_for_many", language), for_many])

    # ------------------------------------------------------------------------------------------------------------- parts

    def _on_chosen(self, request: gr.Request, name: str | None, change: Callable[[str, str], T]) -> T:
        """What `change` makes of the chosen study, by whoever asks."""
        language = language_of(request)
        return self._tried(lambda: change(self._chosen(name, language), self._by(request)))

    def _told(self, request: gr.Request, study: str | None, key: str, **words: Any) -> dict[Any, Any]:
        """What was done to a study, in a line, and how the study is now."""
        return {self.panel.said: note(say(key, language_of(request), **words)), **self.show(request, name=study)}

    def _chosen(self, name: str | None, language: str) -> str:
        if not name:
            raise StudyError(say("res_choose", language))
        return name

    def _by(self, request: gr.Request | None) -> str:
        return self.studio.access.name(request)

    def _tried(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except MreError as error:
            raise self.studio.error(error) from error
