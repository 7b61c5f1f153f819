"""The Research tab: make, run and watch studies, and take their results away. Everything here is a call of `mre.study`.

What the server owns is in the store; the page holds only which study is looked at. Downloads come from routes of their own, so that no
result lies in Gradio's cache, which all visitors share.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import gradio as gr
import pandas as pd
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from mre.errors import MreError, StudyError
from mre.rewards import PERSPECTIVES
from mre.study import figures, studies
from mre.study.accounts import invite
from mre.study.design import StudyDesign
from mre.study.export import FORMS, export_parts
from mre.study.importer import import_file
from mre.study.intake import StudyFaults, unpacked
from mre.study.simulate import Crowd, power, simulate
from mre.study.table import FORMS as TABLE_FORMS
from mre.study.table import study_table
from ui.studio import without_paths
from ui.texts import add_texts, t

add_texts({"tab_research": ("Research", "研究")})
title = t("tab_research")
REFRESH_SECONDS = 20
MAX_DRAWN = 50
PEOPLE = ("annotator", "excluded", "screens", "skipped", "seconds", *PERSPECTIVES, "spread", "straight lines", "repeat error",
          "checks failed")
OPEN_NOTE = ("This studio was started without `--auth`: whoever reaches this page can use all tabs, this one too. "
             "Start it with `--auth FILE` to let in only people with an account or an invitation.")


def build(studio) -> None:
    """Draw the tab."""
    desk = Desk(studio)
    if not studio.access.enabled:
        gr.Markdown(OPEN_NOTE, elem_id="open-note")
    with gr.Row(equal_height=False):
        chosen = gr.Dropdown([], label="Study", scale=3, elem_id="study-choice")
        refresh = gr.Button("Refresh", scale=0, size="sm", elem_id="study-refresh")
    summary = gr.HTML(elem_id="study-summary")
    with gr.Row():
        start, pause, close = (gr.Button(name, size="sm", elem_id=f"study-{name.lower()}") for name in ("Start", "Pause", "Close"))
    said = gr.HTML(elem_id="study-said")
    with gr.Tabs():
        with gr.Tab("Annotators"):
            people = gr.Dataframe(headers=list(PEOPLE), interactive=False, label="Annotators", elem_id="study-people", wrap=True)
            with gr.Row(equal_height=False):
                who = gr.Dropdown([], label="Annotator")
                reason = gr.Textbox(label="Reason for leaving out")
                exclude, include = gr.Button("Leave out of the analysis", size="sm"), gr.Button("Take back in", size="sm")
        with gr.Tab("Methods"):
            methods = gr.Dataframe(interactive=False, label="Mean scores, excluded annotators left out", elem_id="study-methods")
            sides = gr.HTML(elem_id="study-sides")
        with gr.Tab("Agreement"):
            gr.Markdown("Krippendorff's alpha (ordinal), mean pairwise kappa (quadratic weights) and ICC, each with the 95 % interval from "
                        "resampling whole photos.")
            compute = gr.Button("Compute agreement now", elem_id="agreement-go")
            agreement = gr.Dataframe(interactive=False, label="Agreement", elem_id="study-agreement")
        with gr.Tab("Results"):
            downloads = gr.HTML(elem_id="study-downloads")
            make_table = gr.Button("Table 3 of this study", elem_id="table-go")
            table = gr.Markdown(elem_id="study-table", sanitize_html=True)
        with gr.Tab("New study"):
            new = _new_study_form()
        with gr.Tab("Try a design"):
            drawn, drawn_go, power_inputs, power_table = _design_form()
        with gr.Tab("Invitations"):
            _invitation_form(studio, desk, chosen)
    shown = [summary, people, who, methods, sides, downloads]
    lists = [chosen, *shown]
    _wire(desk, chosen, refresh, said, shown, lists, {"start": start, "pause": pause, "close": close})
    exclude.click(desk.exclude, [chosen, who, reason], [said, *shown], api_visibility="private")
    include.click(desk.include, [chosen, who], [said, *shown], api_visibility="private")
    compute.click(desk.agreement, chosen, agreement, api_visibility="private")
    make_table.click(desk.table, chosen, table, api_visibility="private")
    fields = [new[key] for key in new if key not in ("go", "imported")]
    new["go"].click(desk.create, fields, [said, *lists], api_visibility="private", concurrency_limit=1)
    new["imported"].upload(desk.bring_back, [new["name"], new["imported"]], [said, *lists], api_visibility="private")
    drawn_go.click(desk.simulate, [chosen, drawn], [said, *lists], api_visibility="private", concurrency_limit=1)
    for box in power_inputs:
        box.change(desk.power, power_inputs, power_table, api_visibility="private")


def _new_study_form() -> dict[str, gr.components.Component]:
    default = StudyDesign()
    gr.Markdown("From a folder of edits (`OUT/METHOD/ITEM.png` with `edits.csv`) as `bench` writes it: its path here, or a ZIP of it.")
    with gr.Row():
        name = gr.Textbox(label="Name (annotators never see it)", elem_id="new-name")
        heading = gr.Textbox(default.title, label="Title that annotators see")
    with gr.Row():
        folder = gr.Textbox(label="Folder, CSV or JSONL on this machine", elem_id="new-folder")
        archive = gr.File(label="or a ZIP of the folder", file_types=[".zip"], type="filepath")
    with gr.Row():
        chosen = gr.Textbox(label="Methods (empty: all)", placeholder="tiny,tiny-baseline")
        per_pair = gr.Number(default.per_pair, label="Annotators per pair", precision=0, minimum=1, elem_id="new-per-pair")
        repeats = gr.Number(default.repeats, label="Hidden repeats, %", minimum=0, maximum=100)
        checks = gr.Number(default.checks, label="Attention checks, %", minimum=0, maximum=100)
    with gr.Row():
        limit = gr.Number(default.max_screens, label="Pairs per annotator (0: no limit)", precision=0, minimum=0)
        seed = gr.Number(default.seed, label="Seed", precision=0, minimum=0)
        fit = gr.Checkbox(label="Resize edits to their original's size")
    instructions = gr.Textbox(label="Further instructions (plain text)", lines=2)
    go = gr.Button("Create", variant="primary", elem_id="new-go")
    imported = gr.File(label="Or bring back an exported CSV or JSONL as a closed study of the name above", file_types=[".csv", ".jsonl"],
                       type="filepath")
    return {"name": name, "title": heading, "folder": folder, "archive": archive, "methods": chosen, "per_pair": per_pair,
            "repeats": repeats, "checks": checks, "limit": limit, "seed": seed, "fit": fit, "instructions": instructions, "go": go,
            "imported": imported}


def _design_form() -> tuple:
    gr.Markdown("Drawn annotators score a new version of the study chosen above: its figures and tables before anybody is paid.")
    with gr.Row(equal_height=False):
        drawn = gr.Number(10, label="Drawn annotators", precision=0, minimum=1, maximum=MAX_DRAWN)
        go = gr.Button("Simulate", elem_id="simulate-go")
    gr.Markdown("Power of the paired t-test over items, two-sided at 5 %.")
    with gr.Row():
        gap = gr.Number(0.25, label="Gap to find")
        between = gr.Number(0.85, label="Spread of the true difference over items")
        within = gr.Number(1.13, label="Spread of one annotator's difference")
    table = gr.Dataframe(_power_frame(0.25, 0.85, 1.13), interactive=False, label="Power", elem_id="power-table")
    return drawn, go, [gap, between, within], table


def _invitation_form(studio, desk: Desk, chosen: gr.Dropdown) -> None:
    gr.Markdown("Each personal link is one annotator, wherever it is opened. A link for many makes a new annotator of everybody who "
                "follows it; recruiting services can add their own ids to it (`?PROLIFIC_PID=...`)."
                + ("" if studio.access.enabled else " Without `--auth` the plain link above works too."))
    with gr.Row(equal_height=False):
        count = gr.Number(10, label="Personal links", precision=0, minimum=0, maximum=500)
        go = gr.Button("Make links", elem_id="invite-go")
    links = gr.Textbox(label="Links", lines=8, buttons=["copy"], interactive=False, elem_id="invite-links")
    go.click(desk.invite, [chosen, count], links, api_visibility="private")


def _wire(desk: Desk, chosen, refresh, said, shown: list, lists: list, moves: dict[str, gr.Button]) -> None:
    refresh.click(desk.lists, chosen, lists, api_visibility="private")
    chosen.change(desk.show, chosen, shown, api_visibility="private", show_progress="hidden")
    for name, button in moves.items():
        button.click(desk.mover(name), chosen, [said, *shown], api_visibility="private")
    gr.Timer(REFRESH_SECONDS).tick(desk.show, chosen, shown, api_visibility="private", show_progress="hidden")
    gr.context.Context.root_block.load(desk.lists, chosen, lists, api_visibility="private")


class Desk:
    """Handlers of the tab: widget values into calls, results into what widgets show."""

    def __init__(self, studio) -> None:
        self.studio = studio

    @property
    def store(self):
        return self.studio.store

    # ----------------------------------------------------------------------------------------------------------- looking

    def lists(self, name: str | None) -> list:
        """The choice of studies, and what is to be seen of the chosen one."""
        names = [study.name for study in studies.all_studies(self.store)]
        name = name if name in names else (names[-1] if names else None)
        return [gr.update(choices=names, value=name), *self.show(name)]

    def show(self, name: str | None) -> list:
        if not name:
            nothing = "<p>No study yet: make one under New study.</p>"
            return [nothing, pd.DataFrame(columns=PEOPLE), gr.update(choices=[]), pd.DataFrame(), "", ""]
        study = studies.find_study(self.store, name)
        known = figures.totals(self.store, name)
        people = figures.annotator_figures(self.store, name, known)
        return [_summary(study, figures.coverage(self.store, name)), _people_frame(people),
                gr.update(choices=[person.annotator for person in people]), _means_frame(figures.method_means(self.store, name, known)),
                _sides(figures.position_bias(self.store, name, known)), _downloads(name)]

    def agreement(self, name: str | None) -> pd.DataFrame:
        if not name:
            return pd.DataFrame()
        found = figures.agreement(self.store, name)
        return pd.DataFrame([{"perspective": perspective, **{key.replace("_", " "): _interval(figure) for key, figure in row.items()}}
                             for perspective, row in found.items()])

    def table(self, name: str | None) -> str:
        try:
            return study_table(self.store, str(name)).written("md")
        except StudyError as error:
            raise self.studio.error(error) from error

    def power(self, gap: float, between: float, within: float) -> pd.DataFrame:
        try:
            return _power_frame(gap or 0, between or 0, within or 0)
        except StudyError as error:
            raise self.studio.error(error) from error

    # ---------------------------------------------------------------------------------------------------------- changing

    def mover(self, move: str) -> Callable:
        def move_study(name: str | None, request: gr.Request) -> list:
            study = self._tried(lambda: getattr(studies, move)(self.store, str(name), by=self._by(request)))
            return [_good(f"{study.name} is {study.state}."), *self.show(name)]
        return move_study

    def exclude(self, name: str, who: str, reason: str, request: gr.Request) -> list:
        self._tried(lambda: studies.exclude(self.store, str(name), str(who), reason or "", by=self._by(request)))
        return [_good(f"{who} is left out of the analysis; nothing was deleted."), *self.show(name)]

    def include(self, name: str, who: str, request: gr.Request) -> list:
        self._tried(lambda: studies.include(self.store, str(name), str(who), by=self._by(request)))
        return [_good(f"{who} is in the analysis again."), *self.show(name)]

    def create(self, name, heading, folder, archive, methods, per_pair, repeats, checks, limit, seed, fit, instructions,
               request: gr.Request) -> list:
        """Make a draft; every fault of the edits is listed with its row."""
        def make(source: Path, inside: Path | None) -> studies.Study:
            design = StudyDesign(title=heading, per_pair=int(per_pair or 0), repeats=float(repeats or 0), checks=float(checks or 0),
                                 max_screens=int(limit or 0), seed=int(seed or 0), instructions=instructions or "")
            chosen = tuple(part.strip() for part in methods.split(",") if part.strip()) if methods else ()
            return studies.create_from_edits(self.store, name, [source], design, methods=chosen, fit=fit, inside=inside,
                                             by=self._by(request))

        try:
            if archive:
                with unpacked(Path(archive)) as source:
                    study = make(source, source)
            elif folder:
                study = make(Path(folder), None)
            else:
                raise StudyError("give a folder on this machine, or a ZIP")
        except StudyFaults as error:
            return [_faults(error.faults), *self.lists(None)]
        except MreError as error:
            raise self.studio.error(error) from error
        return [_good(f"{study.name} is a draft; start it when it is right."), *self.lists(study.name)]

    def bring_back(self, name: str, path: str, request: gr.Request) -> list:
        try:
            study = import_file(self.store, name or "", Path(path), by=self._by(request))
        except StudyFaults as error:
            return [_faults(error.faults), *self.lists(None)]
        except MreError as error:
            raise self.studio.error(error) from error
        return [_good(f"{study.name} was read from the file."), *self.lists(study.name)]

    def simulate(self, name: str, annotators: float, request: gr.Request, progress=gr.Progress()) -> list:
        def run() -> studies.Study:
            study = studies.revise(self.store, str(name), by=self._by(request))
            crowd = Crowd(annotators=min(int(annotators or 0), MAX_DRAWN))
            simulate(self.store.sibling(), study.name, crowd, on_screen=lambda count: progress((count, None), unit="screens"))
            return studies.close(self.store, study.name, by=self._by(request))
        study = self._tried(run)
        return [_good(f"{study.name} was scored by drawn annotators."), *self.lists(study.name)]

    def invite(self, name: str, count: float, request: gr.Request) -> str:
        study = self._tried(lambda: studies.find_study(self.store, str(name)))
        base = f"{request.request.url.scheme}://{request.headers.get('host', '')}/join?invitation="
        secret = self.store.secret
        personal = [base + invite(secret, "annotator", study.public_id) for _ in range(max(0, min(int(count or 0), 500)))]
        return "\n".join([*personal, "", "For many:", base + invite(secret, "annotator", study.public_id, personal=False)])

    def _by(self, request: gr.Request | None) -> str:
        return self.studio.access.name(request)

    def _tried(self, call: Callable):
        try:
            return call()
        except MreError as error:
            raise self.studio.error(error) from error


# ------------------------------------------------------------------------------------------------------------- downloads

def add_routes(app: FastAPI, studio) -> None:
    """Exports and tables, streamed from the store. Where there are accounts, for researchers alone (`Access.protect_routes`)."""

    @app.get("/research/export/{name}.{form}")
    def export_study(name: str, form: str, wide: bool = False, bom: bool = False, everyone: bool = True) -> Response:
        kind = {"csv": "wide" if wide else "long", "jsonl": "jsonl"}.get(form)
        if kind not in FORMS:
            return _missing(f"there is no form {form}")
        try:
            studies.find_study(studio.store, name)
        except StudyError as error:
            return _missing(str(error))
        return StreamingResponse(_streamed(studio.store, name, kind, bom, not everyone), headers=_attachment(f"{name}.{form}"),
                                 media_type="text/csv; charset=utf-8" if form == "csv" else "application/x-ndjson")

    @app.get("/research/table/{name}.{form}")
    def table(name: str, form: str, request: Request) -> Response:
        if form not in TABLE_FORMS:
            return _missing(f"there is no form {form}")
        try:
            written = study_table(studio.store, name).written(form)
        except StudyError as error:
            return _missing(str(error))
        return Response(written, media_type="text/plain; charset=utf-8", headers=_attachment(f"{name}-table.{form}"))


def _streamed(store, name: str, form: str, bom: bool, without_excluded: bool) -> Iterator[str]:
    if bom:
        yield "\ufeff"
    for text, _rows in export_parts(store, name, form, without_excluded=without_excluded):
        yield text


def _attachment(filename: str) -> dict[str, str]:
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(filename)}", "Cache-Control": "no-store"}


def _missing(message: str) -> Response:
    return JSONResponse({"error": message}, status_code=404)


# ---------------------------------------------------------------------------------------------------------------- showing

def _summary(study: studies.Study, found: figures.Coverage) -> str:
    design = study.design
    link = f'<a href="/study/s/{study.public_id}" target="_blank">/study/s/{study.public_id}</a>' if study.state == "running" else "–"
    share = (found.slots_done + found.slots_skipped) / max(1, found.pairs * found.per_pair)
    cells = (("State", study.state), ("Pairs complete", f"{found.pairs_complete} of {found.pairs}"),
             ("Screens scored", f"{found.slots_done} of {found.pairs * found.per_pair}"), ("Skipped", found.slots_skipped),
             ("On screens now", found.slots_held),
             ("Annotators", f"{found.annotators}" + (f" ({found.excluded} left out)" if found.excluded else "")),
             ("Per pair", design.per_pair), ("Seed", design.seed), ("Digest", (study.digest or "not started")[:12]))
    shown = "".join(f"<div><dt>{html.escape(str(key))}</dt><dd>{html.escape(str(value))}</dd></div>" for key, value in cells)
    return (f'<dl class="study-facts" style="display:flex;flex-wrap:wrap;gap:.4rem 1.6rem;margin:.3rem 0">{shown}</dl>'
            f'<progress max="1" value="{share:.4f}" aria-label="Coverage" style="width:100%"></progress>'
            f"<p>Annotators go to {link}</p>")


def _people_frame(people: list[figures.AnnotatorFigures]) -> pd.DataFrame:
    return pd.DataFrame([
        (person.annotator, person.excluded, person.screens, person.skipped, _round(person.mean_seconds, 1), *map(_round, person.means),
         _round(person.spread), _round(person.straight_lines), _round(person.repeat_error) if person.repeats else "–",
         f"{person.checks_failed} of {person.checks}") for person in people], columns=list(PEOPLE))


def _means_frame(means: pd.DataFrame) -> pd.DataFrame:
    return means.assign(mean=means["mean"].round(3), sd=means["sd"].astype(float).round(3)) if len(means) else means


def _sides(found: dict[str, figures.Figure]) -> str:
    shown = "; ".join(f"{perspective} {_interval(figure)}" for perspective, figure in found.items())
    return f"<p>Edited Image 1 minus Edited Image 2, whatever the methods (0: sides play no part): {html.escape(shown)}</p>"


def _downloads(name: str) -> str:
    safe = quote(name)
    links = ((f"/research/export/{safe}.csv", "CSV, one row per score"),
             (f"/research/export/{safe}.csv?wide=true", "CSV, one row per shown image"),
             (f"/research/export/{safe}.csv?bom=true", "CSV for spreadsheets (byte-order mark)"),
             (f"/research/export/{safe}.jsonl", "JSON lines"),
             (f"/research/export/{safe}.csv?everyone=false", "CSV without excluded annotators"),
             *((f"/research/table/{safe}.{form}", f"Table 3, {text}") for form, text in TABLE_FORMS.items()))
    return "<ul>" + "".join(f'<li><a href="{link}" download>{html.escape(text)}</a></li>' for link, text in links) + "</ul>"


def _power_frame(gap: float, between: float, within: float) -> pd.DataFrame:
    sizes = (80, 160, 280, 560)
    rows = []
    for people in (1, 3, 5, 10):
        found = [power(gap, items, people, between=between, within=within) for items in sizes]
        rows.append({"annotators per pair": people, "items for 80 %": found[0].items_needed,
                     **{f"{items} items": round(one.power, 3) for items, one in zip(sizes, found, strict=True)}})
    return pd.DataFrame(rows)


def _faults(faults: list[str]) -> str:
    shown = "".join(f"<li>{html.escape(without_paths(fault))}</li>" for fault in faults[:500])
    return f'<div role="alert"><p>Nothing was made. {len(faults)} faults:</p><ol>{shown}</ol></div>'


def _good(text: str) -> str:
    return f'<p role="status">{html.escape(text)}</p>'


def _interval(figure: figures.Figure) -> str:
    if figure.value is None:
        return figure.note
    return f"{figure.value:.3f}" + ("" if figure.low is None else f" [{figure.low:.3f}, {figure.high:.3f}]")


def _round(value: float | None, digits: int = 2) -> float | str:
    return "–" if value is None else round(value, digits)
