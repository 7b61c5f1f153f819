"""The Research tab: make, run and watch studies, and take their results away. Everything here is a call of `mre.study`.

What the server owns is in the store; the page holds only which study is looked at. Downloads come from routes of their own, so that no
result lies in Gradio's cache, which all visitors share.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import gradio as gr

from mre.errors import MreError, StudyError
from mre.families import named
from mre.study import figures, records, studies
from mre.study.accounts import invite
from mre.study.coverage import coverage, skipped_pairs
from mre.study.design import SERVINGS, StudyDesign, checked_name
from mre.study.importer import import_file
from mre.study.intake import StudyFaults, unpacked
from mre.study.participants import forget_ids, participants
from mre.study.simulate import Crowd, simulate
from mre.study.table import study_table
from ui.events import AFTER_UPLOAD, QUIET
from ui.notices import note
from ui.research import judge as judge_tab
from ui.research import people as people_view
from ui.research import view
from ui.research.jobs import Job, Jobs
from ui.research.markup import job_bar
from ui.research.words import TEXTS
from ui.site.door import this_page
from ui.texts import add_texts, language_of, say, t

add_texts(TEXTS)
title = t("tab_research")
REFRESH_SECONDS = 20
EDITS_FILE = "edits.csv"
LOOK_SECONDS = 1            # between two looks at a job in the background
MAX_SIMULATED = 50
MAX_LINKS = 500
POWER = {"gap": 0.25, "between": 0.85, "within": 1.13}          # a quarter of a point; the spreads of our simulated annotators
MOVES = {"start": ("draft", "paused"), "pause": ("running",), "close": ("draft", "running", "paused")}      # from which states


def build(studio) -> None:
    """Draw the tab."""
    handlers = ResearchHandlers(studio)
    with gr.Column(elem_id="research"):
        if not studio.access.enabled:
            gr.Markdown(t("res_open"), elem_id="open-note", elem_classes="muted small")
        with gr.Row(equal_height=False, elem_id="study-bar-top"):
            chosen = gr.Dropdown([], label=t("res_study"), scale=3, elem_id="study-choice", min_width=220)
            with gr.Row(elem_classes="toolbar study-moves"):
                buttons = {name: gr.Button(t(f"res_{name}"), size="sm", elem_id=f"study-{name}", min_width=80) for name in MOVES}
                refresh = gr.Button(t("res_refresh"), size="sm", elem_id="study-refresh", min_width=80)
        with gr.Row(visible=False, elem_id="study-sure", elem_classes="toolbar") as sure:
            gr.Markdown(t("res_close_sure"))
            close = gr.Button(t("res_close_yes"), size="sm", variant="stop", elem_id="study-close-yes", min_width=120)
            cancel = gr.Button(t("res_cancel"), size="sm", elem_id="study-close-no", min_width=80)
        said = gr.HTML(elem_id="study-said")
        job, look = gr.State(None), gr.Timer(LOOK_SECONDS, active=False)
        summary = gr.HTML(elem_id="study-summary")
        with gr.Tabs(elem_id="research-tabs"):
            with gr.Tab(t("res_tab_people")):
                people = gr.HTML(elem_id="study-people")
                skipped = gr.HTML(elem_id="study-skipped")
                with gr.Row(equal_height=False, elem_id="study-leave-out"):
                    who = gr.Dropdown([], label=t("res_annotator"), min_width=140, elem_id="study-who")
                    reason = gr.Textbox(label=t("res_reason"), scale=2, min_width=200, elem_id="study-reason")
                    with gr.Row(elem_classes="toolbar study-moves"):
                        exclude = gr.Button(t("res_exclude"), size="sm", elem_id="study-exclude", min_width=120)
                        recollect = gr.Button(t("res_recollect"), size="sm", elem_id="study-recollect", min_width=120)
                        include = gr.Button(t("res_include"), size="sm", elem_id="study-include", min_width=120)
                        go_on = gr.Button(t("res_continue"), size="sm", elem_id="study-continue", min_width=120)
            with gr.Tab(t("res_tab_pay")):
                took_part = gr.HTML(elem_id="study-took-part")
                pay, pay_links = _payment_form()
                forget = gr.Button(t("res_forget"), size="sm", elem_id="study-forget", min_width=120)
            with gr.Tab(t("res_tab_methods")):
                methods = gr.HTML(elem_id="study-methods")
            with gr.Tab(t("res_tab_agreement")):
                gr.Markdown(t("res_agreement_about"), elem_classes="muted small")
                compute = gr.Button(t("res_agreement_go"), elem_id="agreement-go", size="sm")
                agreement = gr.HTML(elem_id="study-agreement")
            with gr.Tab(t("res_tab_judge")):
                judge_tab.build(studio, chosen)
            with gr.Tab(t("res_tab_results")):
                downloads = gr.HTML(elem_id="study-downloads")
                make_table = gr.Button(t("res_table_go"), elem_id="table-go", size="sm")
                table = gr.Markdown(elem_id="study-table", sanitize_html=True)
            with gr.Tab(t("res_tab_new")):
                new, create, imported = _new_study_form()
            with gr.Tab(t("res_tab_design")):
                simulated, simulate_go, power_inputs, power_table = _design_form()
            with gr.Tab(t("res_tab_invite")):
                _invitation_form(studio, handlers, chosen)
    shown = [summary, people, who, skipped, took_part, methods, downloads, *buttons.values()]
    lists = [chosen, *shown]
    page = this_page()
    private: dict[str, Any] = {"queue": False, "api_visibility": "private"}
    slow: dict[str, Any] = {"api_visibility": "private"}             # through the queue, which says how long it takes
    refresh.click(handlers.lists, chosen, lists, **private)
    gr.on([refresh.click, page.load], handlers.folders, None, new["folder"], **QUIET)
    chosen.change(handlers.show, chosen, shown, **QUIET)
    chosen.input(lambda: ("", "", ""), None, [agreement, table, said], **QUIET)       # they spoke of another study
    gr.Timer(REFRESH_SECONDS).tick(handlers.show, chosen, shown, **QUIET)
    page.load(handlers.lists, chosen, lists, **private)
    for name in ("start", "pause"):
        buttons[name].click(handlers.mover(name), chosen, [said, *shown], **private)
    buttons["close"].click(lambda: gr.update(visible=True), None, sure, **QUIET)
    for button in (close, cancel):
        button.click(lambda: gr.update(visible=False), None, sure, **QUIET)
    close.click(handlers.mover("close"), chosen, [said, *shown], **private)
    exclude.click(handlers.exclude, [chosen, who, reason], [said, *shown], **private)
    recollect.click(handlers.recollect, [chosen, who], [said, *shown], **private)
    include.click(handlers.include, [chosen, who], [said, *shown], **private)
    go_on.click(handlers.let_continue, [chosen, who], [said, *shown], **private)
    forget.click(handlers.forget, chosen, [said, *shown], **private)
    gr.on([chosen.change, *(box.change for box in pay.values())], handlers.pay_links, chosen, pay_links, inputs_kwargs=pay, **QUIET)
    compute.click(handlers.agreement, chosen, agreement, **slow)
    make_table.click(handlers.table, chosen, table, **slow)
    running = [job, said, look]
    create.click(handlers.create, None, running, inputs_kwargs=new, **private)
    imported.upload(handlers.bring_back, [new["name"], imported], [*running, imported], **private)
    look.tick(handlers.look, [job, chosen], [*running, *lists], **QUIET)
    page.load(handlers.running, None, running, **QUIET)
    simulate_go.click(handlers.simulate, [chosen, simulated], [said, *lists], concurrency_limit=1, **slow)
    gr.on([*(box.change for box in power_inputs), page.load], handlers.power, power_inputs, power_table,
          trigger_mode="always_last", **QUIET)


def _new_study_form() -> tuple[dict[str, Any], gr.Button, gr.File]:
    """Fields by the names that `ResearchHandlers.create` knows them under; the button; and the file to import."""
    default = StudyDesign()
    gr.Markdown(t("res_new_about"), elem_classes="muted small")
    new: dict[str, Any] = {}
    with gr.Row():
        new["name"] = gr.Textbox(label=t("res_name"), elem_id="new-name")
        new["title"] = gr.Textbox(default.title, label=t("res_title"), elem_id="new-title")
    with gr.Row(equal_height=False):
        with gr.Column():
            new["folder"] = gr.Dropdown([], multiselect=True, label=t("res_folder"), elem_id="new-folder")
            new["methods"] = gr.Textbox(label=t("res_methods"), placeholder="tiny, tiny-baseline", elem_id="new-methods")
        new["archive"] = gr.File(label=t("res_zip"), file_types=[".zip"], type="filepath", height=170)
    with gr.Row():
        new["per_pair"] = gr.Number(default.per_pair, label=t("res_per_pair"), precision=0, minimum=1, elem_id="new-per-pair",
                                    min_width=140)
        new["repeats"] = gr.Number(default.repeats, label=t("res_repeats"), minimum=0, maximum=100, min_width=140)
        new["checks"] = gr.Number(default.checks, label=t("res_check_share"), minimum=0, maximum=100, min_width=140)
        new["serving"] = gr.Dropdown([(t(f"res_serving_{name}"), name) for name in SERVINGS], value=default.serving,
                                     label=t("res_serving"), min_width=200, elem_id="new-serving")
        new["max_screens"] = gr.Number(default.max_screens, label=t("res_limit"), precision=0, minimum=0, min_width=140)
    with gr.Accordion(t("res_more"), open=False):
        with gr.Row():
            new["min_seconds"] = gr.Number(default.min_seconds, label=t("res_min_seconds"), minimum=0, min_width=140)
            new["lease_minutes"] = gr.Number(default.lease_minutes, label=t("res_lease"), minimum=0.05, min_width=140)
            new["break_every"] = gr.Number(default.break_every, label=t("res_break"), precision=0, minimum=0, min_width=140)
        with gr.Row():
            new["allow_phone"] = gr.Checkbox(default.allow_phone, label=t("res_phone"))
            new["allow_flip"] = gr.Checkbox(default.allow_flip, label=t("res_flip"))
            new["fit"] = gr.Checkbox(label=t("res_fit"))
        new["consent"] = gr.Textbox(label=t("res_consent"), lines=2)
        new["instructions"] = gr.Textbox(label=t("res_instructions"), lines=2)
    with gr.Accordion(t("res_rules"), open=False):
        _rules_form(new, default)
    create = gr.Button(t("res_create"), variant="primary", elem_id="new-go", elem_classes=AFTER_UPLOAD)
    imported = gr.File(label=t("res_import"), file_types=[".csv", ".jsonl"], type="filepath", height=120, elem_id="new-import")
    return new, create, imported


def _payment_form() -> tuple[dict[str, Any], gr.HTML]:
    """Amount, pay per screen, whether to reject who is excluded, by the names of `pay_links`; and where the links to the files show."""
    gr.Markdown(t("res_pay_about"), elem_classes="muted small")
    with gr.Row(equal_height=False):
        amount = gr.Number(0, label=t("res_pay_amount"), minimum=0, step=0.01, min_width=140, elem_id="pay-amount")
        per_screen = gr.Number(0, label=t("res_pay_screen"), minimum=0, step=0.001, min_width=140, elem_id="pay-screen")
        reject = gr.Checkbox(label=t("res_pay_reject"), min_width=200, elem_id="pay-reject")
    return {"amount": amount, "per_screen": per_screen, "reject": reject}, gr.HTML(elem_id="pay-links")


def _rules_form(new: dict[str, Any], default: StudyDesign) -> None:
    """Fields for the rules of taking part; shares are shown as per cent."""
    gr.Markdown(t("res_rules_about"), elem_classes="muted small")
    with gr.Row():
        new["max_skip_share"] = gr.Number(100 * default.max_skip_share, label=t("res_max_skips"), minimum=0, maximum=100, min_width=140)
        new["max_failed_checks"] = gr.Number(default.max_failed_checks, label=t("res_max_checks"), precision=0, minimum=0, min_width=140)
        new["min_median_seconds"] = gr.Number(default.min_median_seconds, label=t("res_min_pace"), minimum=0, min_width=140)
        new["rules_after"] = gr.Number(default.rules_after, label=t("res_rules_after"), precision=0, minimum=1, min_width=140)
        new["max_pair_skips"] = gr.Number(default.max_pair_skips, label=t("res_pair_skips"), precision=0, minimum=0, min_width=140)
    with gr.Row():
        new["completion_share"] = gr.Number(100 * default.completion_share, label=t("res_share"), minimum=0, maximum=100, min_width=140)
        new["completion_code"] = gr.Textbox(label=t("res_code"), max_length=40, min_width=140)
        new["completion_url"] = gr.Textbox(label=t("res_url"), max_length=500, min_width=240, elem_id="new-url")
        new["keep_recruiting_id"] = gr.Checkbox(default.keep_recruiting_id, label=t("res_keep_id"), min_width=200)


def _design_form() -> tuple[gr.Number, gr.Button, list[gr.Number], gr.HTML]:
    gr.Markdown(t("res_design_about"), elem_classes="muted small")
    with gr.Row(equal_height=False, elem_id="study-simulated-row"):
        simulated = gr.Number(10, label=t("res_simulated_count"), precision=0, minimum=1, maximum=MAX_SIMULATED, min_width=140)
        go = gr.Button(t("res_simulate"), elem_id="simulate-go", min_width=120, size="sm")
    gr.Markdown(t("res_power_about"), elem_classes="muted small")
    with gr.Row():
        boxes = [gr.Number(value, label=t(f"res_{name}"), min_width=140, step=0.01) for name, value in POWER.items()]
    return simulated, go, boxes, gr.HTML(elem_id="power-table")


def _invitation_form(studio, handlers: ResearchHandlers, chosen: gr.Dropdown) -> None:
    gr.Markdown(t("res_invite_about"), elem_classes="muted small")
    if not studio.access.enabled:
        gr.Markdown(t("res_plain_link"), elem_classes="muted small")
    with gr.Row(equal_height=False, elem_id="study-links-row"):
        count = gr.Number(10, label=t("res_links_count"), precision=0, minimum=0, maximum=MAX_LINKS, min_width=140)
        go = gr.Button(t("res_make_links"), elem_id="invite-go", min_width=120, size="sm")
    links = gr.Textbox(label=t("res_links"), lines=8, buttons=["copy"], interactive=False, elem_id="invite-links")
    go.click(handlers.invite, [chosen, count], links, api_visibility="private")


class ResearchHandlers:
    """Handlers of the tab: widget values into calls, results into what widgets show."""

    def __init__(self, studio) -> None:
        self.studio = studio
        self.jobs = Jobs()

    @property
    def store(self):
        return self.studio.store

    # ----------------------------------------------------------------------------------------------------------- looking

    def lists(self, name: str | None, request: gr.Request) -> list:
        """The choice of studies, and what is to be seen of the chosen one."""
        names = [study.name for study in records.all_studies(self.store)]
        name = name if name in names else (names[-1] if names else None)
        return [gr.update(choices=names, value=name), *self.show(name, request)]

    def show(self, name: str | None, request: gr.Request) -> list:
        """Summary, annotators, their names, methods, downloads, and which of the three moves can be made."""
        language = language_of(request)
        if not name:
            return [view.nothing_yet(language), "", gr.update(choices=[]), "", "", "", "", *[gr.update(interactive=False)] * len(MOVES)]
        study = self._tried(lambda: records.find_study(self.store, name))
        known = figures.totals(self.store, name)
        people = figures.annotator_figures(self.store, name, known)
        return [view.summary(study, coverage(self.store, name), language, self.studio.access.enabled),
                view.people(people, language), gr.update(choices=[person.annotator for person in people]),
                people_view.skipped_pairs(skipped_pairs(self.store, name), language),
                people_view.participants(participants(self.store, name), name, language),
                view.methods(figures.method_means(self.store, name), figures.position_bias(self.store, name, known), language),
                view.downloads(name, language), *(gr.update(interactive=study.state in states) for states in MOVES.values())]

    def folders(self) -> Any:
        """The folders of edits that a study can be made of."""
        return gr.update(choices=self.studio.folders_with(EDITS_FILE))

    def agreement(self, name: str | None, request: gr.Request) -> str:
        language = language_of(request)
        found = self._tried(lambda: figures.agreement(self.store, self._chosen(name, language)))
        return view.agreement(found, language)

    def table(self, name: str | None, request: gr.Request) -> str:
        return self._tried(lambda: study_table(self.store, self._chosen(name, language_of(request))).written("md"))

    def power(self, gap: float | None, between: float | None, within: float | None, request: gr.Request) -> str:
        return self._tried(lambda: view.power_table(gap or 0, between or 0, within or 0, language_of(request)))

    # ---------------------------------------------------------------------------------------------------------- changing

    def mover(self, move: str) -> Callable:
        """The handler of one of MOVES."""
        def move_study(name: str | None, request: gr.Request) -> list:
            language = language_of(request)
            study = self._tried(lambda: self._moved(move, self._chosen(name, language), self._by(request)))
            told = say("res_state_said", language, name=study.name, state=say(f"res_{study.state}", language))
            return [note(told), *self.show(name, request)]
        return move_study

    def _moved(self, move: str, name: str, by: str) -> records.Study:
        if move == "start" and records.find_study(self.store, name).awaits_judge:
            return named("mre.training.judges.serving:start_serving")(self.store, name, by=by)
        return getattr(studies, move)(self.store, name, by=by)

    def exclude(self, name: str | None, who: str | None, reason: str | None, request: gr.Request) -> list:
        language = language_of(request)
        self._tried(lambda: studies.exclude(self.store, self._chosen(name, language), who or "", reason or "", by=self._by(request)))
        return [note(say("res_exclude_said", language, who=who)), *self.show(name, request)]

    def include(self, name: str | None, who: str | None, request: gr.Request) -> list:
        language = language_of(request)
        found = self._tried(lambda: studies.include(self.store, self._chosen(name, language), who or "", by=self._by(request)))
        return [note(say("res_include_said", language, who=who, counted=found.counted, surplus=found.surplus)),
                *self.show(name, request)]

    def recollect(self, name: str | None, who: str | None, request: gr.Request) -> list:
        language = language_of(request)
        count = self._tried(lambda: studies.recollect(self.store, self._chosen(name, language), who or "", by=self._by(request)))
        return [note(say("res_recollect_said", language, who=who, count=count)), *self.show(name, request)]

    def let_continue(self, name: str | None, who: str | None, request: gr.Request) -> list:
        language = language_of(request)
        self._tried(lambda: studies.let_continue(self.store, self._chosen(name, language), who or "", by=self._by(request)))
        return [note(say("res_continue_said", language, who=who)), *self.show(name, request)]

    def forget(self, name: str | None, request: gr.Request) -> list:
        language = language_of(request)
        count = self._tried(lambda: forget_ids(self.store, self._chosen(name, language), by=self._by(request)))
        return [note(say("res_forget_said", language, count=count)), *self.show(name, request)]

    def pay_links(self, name: str | None, request: gr.Request, *, amount: float | None, per_screen: float | None, reject: bool) -> str:
        return people_view.pay_links(name, amount or 0, per_screen or 0, reject, language_of(request)) if name else ""

    def create(self, request: gr.Request, *, name, title, folder, methods, archive, per_pair, repeats, checks, serving, max_screens,
               min_seconds, lease_minutes, break_every, allow_phone, allow_flip, fit, consent, instructions,
               max_skip_share, max_failed_checks, min_median_seconds, rules_after, max_pair_skips, completion_share, completion_code,
               completion_url, keep_recruiting_id) -> list:
        """Make a draft in the background; every fault of the edits is listed with its row."""
        language, name, by = language_of(request), (name or "").strip(), self._by(request)
        design = self._tried(lambda: StudyDesign(
            title=title or "", serving=serving or "random", per_pair=int(per_pair or 0),
            repeats=float(repeats or 0), checks=float(checks or 0),
            max_screens=int(max_screens or 0), min_seconds=float(min_seconds or 0), lease_minutes=float(lease_minutes or 0),
            break_every=int(break_every or 0), completion_code=(completion_code or "").strip(), allow_phone=bool(allow_phone),
            allow_flip=bool(allow_flip), consent=consent or "", instructions=instructions or "",
            max_skip_share=(max_skip_share or 0) / 100, max_failed_checks=int(max_failed_checks or 0),
            min_median_seconds=float(min_median_seconds or 0), rules_after=int(rules_after or 0), max_pair_skips=int(max_pair_skips or 0),
            completion_share=(completion_share or 0) / 100, completion_url=(completion_url or "").strip(),
            keep_recruiting_id=bool(keep_recruiting_id)))
        wanted = tuple(part.strip() for part in (methods or "").split(",") if part.strip())
        sources = [] if archive else self._tried(lambda: self._folders(folder or [], language))

        def make(job: Job, upload: Path | None) -> records.Study:
            job.on_progress("unpacking" if upload else "pictures", 0, 0)
            with unpacked(upload) if upload else nullcontext() as inside:
                return studies.create_from_edits(self.store, name, [inside] if inside else sources, design, methods=wanted, fit=bool(fit),
                                                 inside=inside, by=by, on_item=lambda done, of: job.on_progress("pictures", done, of))

        return self._begun("create", name, make, archive, language)

    def _folders(self, given: list[str], language: str) -> list[Path]:
        """Folders of edits in the data folder, by the names that `folders` gave."""
        there = self.studio.folders_with(EDITS_FILE)
        if unknown := [str(name)[:100] for name in given if name not in there]:
            raise StudyError(say("res_no_folder", language, name=unknown[0]))
        if not given:
            raise StudyError(say("res_give_source", language))
        return [self.studio.settings.data / name for name in given]

    def bring_back(self, name: str | None, path: str, request: gr.Request) -> list:
        """Import in the background; the field of the file is free for the next."""
        name, by = (name or "").strip(), self._by(request)

        def make(job: Job, upload: Path | None) -> records.Study:
            assert upload is not None, "the job begins with the file"
            return import_file(self.store, name, upload, by=by, on_progress=job.on_progress)

        return [*self._begun("import", name, make, path, language_of(request)), None]

    def _begun(self, kind: str, name: str, make: Callable[[Job, Path | None], records.Study], upload: str | None, language: str) -> list:
        """The job's id, how far it is, and looks at it from now on."""
        self._tried(lambda: checked_name(name))
        job = self._tried(lambda: self.jobs.start(kind, name, make, Path(upload) if upload else None))
        return [job.id, job_bar(job, language), gr.Timer(active=True)]

    def running(self, request: gr.Request) -> list:
        """What goes on when a page is opened."""
        job = self.jobs.latest()
        return [job.id, job_bar(job, language_of(request)), gr.Timer(active=True)] if job else [gr.skip()] * 3

    def look(self, job_id: str | None, chosen: str | None, request: gr.Request) -> list:
        """How far the page's job is; once it has ended, what came of it, and the choice of studies anew."""
        language, job = language_of(request), self.jobs.get(job_id)
        if job is not None and not job.ended:
            return [gr.skip(), job_bar(job, language), *[gr.skip()] * (9 + len(MOVES))]
        told, lists = gr.skip(), [gr.skip()] * (8 + len(MOVES))
        if job is not None and job.made:
            told = note(say({"import": "res_imported", "create": "res_created"}[job.kind], language, name=job.made))
            lists = self.lists(job.made, request)
        elif job is not None:
            told = (view.faults(job.error.faults, language) if isinstance(job.error, StudyFaults) else
                    note(self.studio.trouble(job.error), "bad", role="alert"))
        return [None, told, gr.Timer(active=False), *lists]

    def simulate(self, name: str | None, annotators: float | None, request: gr.Request, progress=gr.Progress()) -> list:
        language = language_of(request)

        def run() -> records.Study:
            crowd = Crowd(annotators=min(int(annotators or 0), MAX_SIMULATED))
            copy, _screens = simulate(self.store, self._chosen(name, language), crowd, by=self._by(request),
                                      on_screen=lambda count: progress((count, None), unit="screens"))
            return copy
        return self._made(run, "res_simulated", request)

    def invite(self, name: str | None, count: float | None, request: gr.Request) -> str:
        language = language_of(request)
        study = self._tried(lambda: studies.invitable(self.store, self._chosen(name, language)))
        asking = request.request
        assert asking is not None, "a page asks"
        base = f"{asking.url.scheme}://{request.headers.get('host', '')}/join?invitation="
        secret = self._tried(lambda: self.store.secret)
        personal = [base + invite(secret, "annotator", study.public_id) for _ in range(max(0, min(int(count or 0), MAX_LINKS)))]
        for_many = base + invite(secret, "annotator", study.public_id, personal=False)
        return "\n".join([*personal, "", say("res_for_many", language), for_many])

    def _made(self, make: Callable[[], records.Study], told: str, request: gr.Request) -> list:
        """What is shown after a study was made, or the faults for which it was not."""
        language = language_of(request)
        try:
            study = make()
        except StudyFaults as error:
            return [view.faults(error.faults, language), *[gr.skip()] * (8 + len(MOVES))]
        except MreError as error:
            raise self.studio.error(error) from error
        return [note(say(told, language, name=study.name)), *self.lists(study.name, request)]

    def _chosen(self, name: str | None, language: str) -> str:
        if not name:
            raise StudyError(say("res_choose", language))
        return name

    def _by(self, request: gr.Request | None) -> str:
        return self.studio.access.name(request)

    def _tried(self, call: Callable):
        try:
            return call()
        except MreError as error:
            raise self.studio.error(error) from error
