"""The Compare tab: do automatic scores agree with people's, where, and how surely?"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import gradio as gr

from mre.errors import MreError
from ui.compare.sources import SampleSources, Sources, read_sources, run_names, study_names
from ui.events import AFTER_UPLOAD, QUEUED, QUIET
from ui.notices import note
from ui.pictures import address
from ui.site.door import this_tab
from ui.texts import add_texts, language_of, say, t

if TYPE_CHECKING:
    from mre.agreement.comparison import Comparison
    from mre.agreement.sides import Options
    from ui.studio import Studio

NAME, LINK = "compare", "cmp_"  # in addresses: the tab, and what the keys of its links begin with
DRAWS = 1000
SCHEMES = ("mre", "viescore")
STATISTICS = ("ui.compare.view", "mre.agreement.comparison", "mre.agreement.plots")     # slow imports, made while a visitor looks around
CARDS = 12
SIGNS = ("both", "judge higher", "judge lower")
TEXTS = {
    "tab_compare": ("Compare", "对比"),
    "cmp_intro": ("Do automatic scores agree with people? Choose both sides; scores are joined edit by edit. Nothing leaves this machine.",
                  "自动评分与人工一致吗？请选择两方数据；分数按编辑逐一配对，数据不会离开本机。"),
    "cmp_human_side": ("People", "人工评分"), "cmp_judge_side": ("Judge", "模型评分"),
    "cmp_study": ("Study of this studio", "本平台的研究"), "cmp_run": ("Judge run of this studio", "本平台的评判任务"),
    "cmp_upload_human": ("or upload ratings (CSV)", "或上传人工评分（CSV）"),
    "cmp_upload_judge": ("or upload judge scores (CSV)", "或上传模型评分（CSV）"),
    "cmp_upload_edits": ("edits.csv: edit types, source images (optional)", "edits.csv：编辑类型、原图（可选）"),
    "cmp_scheme": ("Scheme", "方案"), "cmp_mre": ("per perspective, 0–5", "逐维度，0–5"),
    "cmp_viescore": ("SC, PQ, O, 0–1", "SC、PQ、O，0–1"),
    "cmp_sample": ("Show an example", "查看示例"),
    "cmp_sample_about": ("Edits of drawn scenes whose true scores are known: simulated annotators against tiny-judge.",
                         "合成场景的编辑，真实分数已知：模拟标注者与 tiny-judge 对照。"),
    "cmp_sample_making": ("Drawing and scoring the example: a few seconds, the first time …", "正在绘制并评分示例：首次需要几秒……"),
    "cmp_go": ("Compare", "开始对比"), "cmp_judges": ("Judges", "评判模型"), "cmp_methods": ("Methods", "方法"),
    "cmp_types": ("Edit types", "编辑类型"), "cmp_all": ("all", "全部"), "cmp_again": ("Apply", "应用"),
    "cmp_reading": ("Reading both sides …", "正在读取数据……"),
    "cmp_values": ("Values are ready; computing intervals ({done} of {total}) …", "数值已就绪；正在计算区间（{done}/{total}）……"),
    "cmp_done": ("{figures} figures; {rule}", "{figures} 个指标；{rule}"),
    "cmp_largest": ("Largest disagreements", "最大分歧"), "cmp_of": ("Perspective and judge", "维度与模型"),
    "cmp_sign": ("Direction", "方向"),
    "cmp_both": ("both", "两者"), "cmp_higher": ("judge higher", "模型更高"), "cmp_lower": ("judge lower", "模型更低"),
    "cmp_type": ("Edit type", "编辑类型"),
    "cmp_reveal": ("Show methods", "显示方法"),
}
add_texts(TEXTS)
title = t("tab_compare")
KEEP_LINK = """(query) => { const url = new URL(location.href); for (const key of [...url.searchParams.keys()]) if (key.startsWith('cmp_'))
url.searchParams.delete(key); for (const [key, value] of new URLSearchParams(query || '')) url.searchParams.append(key, value);
history.replaceState(history.state, '', url); }"""
START_FROM_LINK = """(opened) => { const asked = new URLSearchParams(location.search); const go = document.querySelector('#cmp-go');
const sample = asked.get('cmp_sample') && document.querySelector('#cmp-sample');
if (go && !go.dataset.started && (sample || asked.get('cmp_study') && asked.get('cmp_run'))) {
go.dataset.started = 'yes'; setTimeout(() => (sample || go).click(), 0); }
return opened; }"""


@dataclass
class CompareVisit:
    """What one visitor compares."""

    sources: Sources | None = None
    comparison: Comparison | None = None
    is_sample: bool = False
    id: str = field(default_factory=lambda: "compare-" + secrets.token_hex(8))
    pictures: list[str] = field(default_factory=list)       # tokens of the cards shown
    files: list[str] = field(default_factory=list)          # tokens of the downloads


class ComparePanel:
    """The components of the tab."""

    def __init__(self, forget: Callable[[CompareVisit | None], None] | None = None) -> None:
        """`forget` is called with a visit that is over."""
        self.visit, self.opened = gr.State(None, delete_callback=forget), gr.State(False)
        self.query = gr.Textbox(visible=False)
        with gr.Column(elem_id="compare"):
            gr.Markdown(t("cmp_intro"), elem_classes="muted")
            with gr.Row(elem_classes="toolbar"):
                self.sample = gr.Button(t("cmp_sample"), size="sm", elem_id="cmp-sample", scale=0, min_width=150)
                gr.Markdown(t("cmp_sample_about"), elem_classes="muted small")
            self._sources()
            self.status = gr.HTML(elem_id="cmp-status")
            many = {"choices": [], "multiselect": True, "min_width": 180}
            with gr.Row(visible=False, elem_id="cmp-filters") as self.filters:
                self.judges = gr.Dropdown(label=t("cmp_judges"), elem_id="cmp-judges", **many)
                self.methods = gr.Dropdown(label=t("cmp_methods"), elem_id="cmp-methods", **many)
                self.types = gr.Dropdown(label=t("cmp_types"), elem_id="cmp-types", **many)
                self.again = gr.Button(t("cmp_again"), elem_id="cmp-again", min_width=100, scale=0)
            self.overview, self.downloads = gr.HTML(elem_id="cmp-overview"), gr.HTML(elem_id="cmp-downloads")
            self.plots = gr.HTML(elem_id="cmp-plots")
            with gr.Column(visible=False, elem_id="cmp-largest") as self.largest:
                self._disagreements()
            self.tables = gr.HTML(elem_id="cmp-tables")

    def _sources(self) -> None:
        csv = {"file_types": [".csv"], "height": 150}
        with gr.Row(equal_height=False):
            with gr.Column(min_width=280):
                self.study = gr.Dropdown([], label=t("cmp_study"), elem_id="cmp-study", value=None)
                self.human = gr.File(label=t("cmp_upload_human"), file_count="multiple", file_types=[".csv", ".tsv"], height=150,
                                     elem_id="cmp-human")
            with gr.Column(min_width=280):
                self.run = gr.Dropdown([], label=t("cmp_run"), elem_id="cmp-run", value=None)
                self.judge = gr.File(label=t("cmp_upload_judge"), file_count="multiple", elem_id="cmp-judge", **csv)
            with gr.Column(min_width=280):
                self.scheme = gr.Radio([(t("cmp_mre"), "mre"), (t("cmp_viescore"), "viescore")], value="mre", label=t("cmp_scheme"),
                                       elem_id="cmp-scheme")
                with gr.Accordion(t("cmp_upload_edits"), open=False):
                    self.edits = gr.File(show_label=False, elem_id="cmp-edits", **csv)
                self.go = gr.Button(t("cmp_go"), variant="primary", elem_id="cmp-go", elem_classes=AFTER_UPLOAD)

    def _disagreements(self) -> None:
        gr.Markdown(t("cmp_largest"), elem_classes="cmp-heading")
        with gr.Row():
            self.which = gr.Dropdown([], label=t("cmp_of"), elem_id="cmp-which", min_width=180)
            self.sign = gr.Dropdown([(t("cmp_both"), SIGNS[0]), (t("cmp_higher"), SIGNS[1]), (t("cmp_lower"), SIGNS[2])], value=SIGNS[0],
                                    label=t("cmp_sign"), elem_id="cmp-sign", min_width=140)
            self.kind = gr.Dropdown([], label=t("cmp_type"), elem_id="cmp-kind", min_width=140)
            self.reveal = gr.Checkbox(False, label=t("cmp_reveal"), elem_id="cmp-reveal", min_width=140)
        self.cards = gr.HTML(elem_id="cmp-cards")

    @property
    def choice(self) -> dict[str, Any]:
        """What is to be compared, by the names that `on_compare`'s handler knows it under."""
        return {name: getattr(self, name) for name in ("study", "human", "run", "judge", "edits", "scheme", "judges", "methods", "types")}

    @property
    def shown(self) -> list[Any]:
        """What a comparison changes."""
        return [self.visit, self.query, self.status, self.filters, self.judges, self.methods, self.types, self.overview, self.downloads,
                self.plots, self.tables, self.largest, self.which, self.kind]


def build(studio: Studio) -> None:
    """Draw the tab and connect its handlers."""
    tab = this_tab()
    sample = SampleSources()
    panel = ComparePanel(lambda visit: _forget(studio, visit))
    picked = [panel.visit, panel.which, panel.sign, panel.kind, panel.reveal]
    tab.select(on_open(studio, panel), panel.opened, [panel.opened, panel.study, panel.run, panel.scheme, panel.judges, panel.methods,
                                                      panel.types], **QUIET).then(None, panel.opened, panel.opened, js=START_FROM_LINK)
    runs = {"outputs": panel.shown, "inputs_kwargs": panel.choice, **QUEUED, "concurrency_limit": 4, "concurrency_id": "compare"}
    for event in (panel.go.click(on_compare(studio, panel), panel.visit, **runs),
                  panel.sample.click(on_compare(studio, panel, sample=sample), panel.visit, **runs),
                  panel.again.click(on_compare(studio, panel, reread=False), panel.visit, **runs)):
        event.then(None, panel.query, None, js=KEEP_LINK).then(on_cards(studio), picked, [panel.visit, panel.cards], **QUIET)
    gr.on([panel.which.input, panel.sign.input, panel.kind.input, panel.reveal.input], on_cards(studio), picked,
          [panel.visit, panel.cards], trigger_mode="always_last", **QUIET)


def on_open(studio: Studio, panel: ComparePanel) -> Callable:
    """The choices there are; the first time, set as the page's address says."""
    def load(request: gr.Request, opened: bool) -> dict[Any, Any]:
        Thread(target=lambda: [import_module(name) for name in STATISTICS], daemon=True).start()
        try:
            studies, runs = study_names(studio), run_names(studio)
        except MreError as error:
            studio.trouble(error)
            studies, runs = [], []
        if opened:
            return {panel.study: gr.update(choices=studies), panel.run: gr.update(choices=runs)}
        asked = request.query_params
        study, run, scheme = (asked.get(f"cmp_{name}") for name in ("study", "run", "scheme"))
        many = {getattr(panel, name): _all(asked, f"cmp_{name}") for name in ("judges", "methods", "types")}
        return {panel.opened: True, panel.study: gr.update(choices=studies, value=study if study in studies else None),
                panel.run: gr.update(choices=runs, value=run if run in runs else None),
                panel.scheme: scheme if scheme in SCHEMES else "mre",
                **{filters: gr.update(choices=names, value=names) for filters, names in many.items()}}
    return load


def _all(asked: Any, key: str) -> list[str]:
    """All values of a repeated query parameter."""
    values = asked.getlist(key) if hasattr(asked, "getlist") else asked.get(key) or []
    return [str(value) for value in ([values] if isinstance(values, str) else values)]


def on_compare(studio: Studio, panel: ComparePanel, reread: bool = True, sample: SampleSources | None = None) -> Callable:
    """Tables first, then plots, then intervals as they come. Without `reread` the files are those that were read before; `sample` stands in
    for all that was chosen."""
    def compare(request: gr.Request, visit: CompareVisit | None, *, study: str | None, human: list[str] | None, run: str | None,
                judge: list[str] | None, edits: str | None, scheme: str, judges: list[str], methods: list[str],
                types: list[str]) -> Iterator[dict[Any, Any]]:
        from mre.agreement.sides import Options
        language = language_of(request)
        visit = visit or CompareVisit()
        studio.shelf.reserve(visit.id, studio.caller(request))
        try:
            if sample is not None:
                yield {panel.visit: visit, panel.status: note(say("cmp_sample_making", language))}
                visit.sources, visit.is_sample = sample.get(), True
            elif reread or visit.sources is None:
                yield {panel.visit: visit, panel.status: note(say("cmp_reading", language))}
                visit.is_sample = False
                visit.sources = read_sources(studio, study, human, run, judge, edits)
            there = _names(visit.sources)
            judges, methods, types = ([name for name in chosen if name in names] for chosen, names in
                                      zip((judges, methods, types), there, strict=True))
            chosen_sides = {"cmp_sample": 1} if visit.is_sample else {"cmp_study": "" if human else study, "cmp_run": "" if judge else run}
            link = {**chosen_sides, "cmp_scheme": scheme, "cmp_judges": judges, "cmp_methods": methods, "cmp_types": types}
            yield {panel.query: urlencode({key: value for key, value in link.items() if value}, doseq=True)}
            options = Options(scheme=scheme, methods=tuple(methods), judges=tuple(judges), edit_types=tuple(types), bootstrap=DRAWS)
            yield from _steps(studio, panel, visit, language, options)
        except Exception as error:               # shown in one line with an id; the log has the rest
            yield {panel.visit: visit, panel.status: note(studio.trouble(error), "bad")}
    return compare


def _names(sources: Sources) -> tuple[list[str], list[str], list[str]]:
    """Judges, methods and edit types that the files have, for the filters."""
    judges = sorted(map(str, sources.judge.frame["judge"].unique()))
    methods = sorted({*map(str, sources.human.frame["method"].unique()), *map(str, sources.judge.frame["method"].unique())})
    kinds = {str(kind) for frame in (sources.human.frame, sources.judge.frame, sources.edits) if frame is not None and "edit_type" in frame
             for kind in frame["edit_type"].dropna().unique() if kind}
    return judges, methods, sorted(kinds)


def _steps(studio: Studio, panel: ComparePanel, visit: CompareVisit, language: str, options: Options) -> Iterator[dict[Any, Any]]:
    from mre.agreement.comparison import Comparison
    from mre.agreement.comparison_tables import all_tables, edit_types
    from mre.agreement.plots import all_plots
    from mre.agreement.report import downloads
    from mre.agreement.sides import sides_of
    from ui.compare import view

    sources = visit.sources
    assert sources is not None, "read before"
    sides = sides_of(sources.human, sources.judge, options, sources.edits)
    comparison = visit.comparison = Comparison(sides)
    there = _names(sources)
    filters = {box: gr.update(choices=names, value=list(chosen)) for box, names, chosen in
               zip((panel.judges, panel.methods, panel.types), there, (options.judges, options.methods, options.edit_types), strict=True)}
    named = view.names(language)
    which = [(named.get(name, name) + (f" · {judge}" if len(sides.judges) > 1 else ""), f"{judge}\n{name}")
             for judge, name in comparison.edits]
    kinds = [(say("cmp_all", language), ""), *((named.get(kind, kind), kind) for kind in there[2])]

    def drawing(done: int, total: int) -> str:
        return note(say("cmp_values", language, done=done, total=total))

    blocks = len(sides.perspectives) + len(comparison.edits)         # annotators by perspective, then judges by perspective
    yield {panel.visit: visit, panel.status: drawing(0, blocks), panel.filters: gr.update(visible=True), **filters,
           panel.overview: view.overview(comparison, language), panel.downloads: "", panel.plots: "", panel.tables: "",
           panel.largest: gr.update(visible=True), panel.which: gr.update(choices=which, value=which[0][1]),
           panel.kind: gr.update(choices=kinds, value="")}
    drawn = list(all_plots(comparison, edit_types(comparison), language, named))
    yield {panel.plots: view.plots(comparison, drawn, language)}
    comparison.method_tests()
    for done, total in comparison.intervals():
        yield {panel.status: drawing(done, total)}
    made = all_tables(comparison)
    drawn = list(all_plots(comparison, edit_types(comparison), language, named))
    yield {panel.status: note(say("cmp_done", language, figures=len(comparison.rows), rule=comparison.interval_rule)),
           panel.overview: view.overview(comparison, language), panel.plots: view.plots(comparison, drawn, language),
           panel.tables: view.tables(made, language)}
    if language != "en":                                    # the report and its files are English
        drawn = list(all_plots(comparison, made.get("edit_types", edit_types(comparison))))
    files = downloads(comparison, made, drawn)
    studio.shelf.drop(*visit.files)                         # those of the comparison before
    visit.files = [studio.shelf.put(data, name, visit.id) for name, data in files.items()]
    links = [(name, address(token, name)) for token, name in zip(visit.files, files, strict=True)]
    yield {panel.downloads: view.download_links(links, language)}


def on_cards(studio: Studio) -> Callable:
    """The edits on which both sides differ most."""
    def draw(request: gr.Request, visit: CompareVisit | None, which: str | None, sign: str, kind: str | None, reveal: bool) -> list[Any]:
        from mre.agreement.comparison_tables import disagreements
        from ui.compare import view

        language = language_of(request)
        if visit is None or visit.comparison is None or visit.sources is None or not which:
            return [gr.skip(), ""]
        sources = visit.sources
        judge, _, perspective = which.partition("\n")
        if (judge, perspective) not in visit.comparison.edits:
            return [gr.skip(), ""]
        rows = disagreements(visit.comparison, judge, perspective, CARDS, sign if sign in SIGNS else SIGNS[0], edit_type=kind or None)
        studio.shelf.drop(*visit.pictures)
        visit.pictures = []

        def place(item: str, method: str | None) -> str | None:
            try:
                data = sources.picture(item, method)
            except MreError as error:
                studio.trouble(error)
                return None
            if data is None:
                return None
            visit.pictures.append(studio.shelf.put(data, "picture.png", visit.id))
            return address(visit.pictures[-1], plain=True)
        return [visit, view.cards(rows, place, visit.comparison.sides.top, not reveal, language)]
    return draw


def _forget(studio: Studio, visit: CompareVisit | None) -> None:
    """The visitor is gone, and so are the files made for them."""
    if visit is not None:
        studio.shelf.drop_owner(visit.id)
