"""The components of the Research tab."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ui.research.judge import JudgePanel
from ui.research.new_study import NewStudyForm
from ui.research.words import TEXTS
from ui.texts import add_texts, t

add_texts(TEXTS)
LOOK_SECONDS = 1            # between two looks at a job in the background
MAX_SIMULATED = 50
MAX_LINKS = 500
POWER = {"gap": 0.25, "between": 0.85, "within": 1.13}          # a quarter of a point; the spreads of our simulated annotators
MOVES = {"start": ("draft", "paused"), "pause": ("running",), "close": ("draft", "running", "paused")}      # from which states


class ResearchPanel:
    """A bar to choose and move a study, what is to be seen of it, and the forms, each in an inner tab."""

    def __init__(self, accounts: bool) -> None:
        """`accounts`: whether the studio has any; without, the page says so."""
        with gr.Column(elem_id="research"):
            if not accounts:
                gr.Markdown(t("res_open"), elem_id="open-note", elem_classes="muted small")
            self._bar()
            with gr.Tabs(elem_id="research-tabs"):
                with gr.Tab(t("res_tab_people")):
                    self._people()
                with gr.Tab(t("res_tab_pay")):
                    self._payment()
                with gr.Tab(t("res_tab_methods")):
                    self.methods = gr.HTML(elem_id="study-methods")
                with gr.Tab(t("res_tab_agreement")):
                    gr.Markdown(t("res_agreement_about"), elem_classes="muted small")
                    self.compute = gr.Button(t("res_agreement_go"), elem_id="agreement-go", size="sm")
                    self.agreement = gr.HTML(elem_id="study-agreement")
                with gr.Tab(t("res_tab_judge")):
                    self.judge = JudgePanel()
                with gr.Tab(t("res_tab_results")):
                    self.downloads = gr.HTML(elem_id="study-downloads")
                    self.make_table = gr.Button(t("res_table_go"), elem_id="table-go", size="sm")
                    self.table = gr.Markdown(elem_id="study-table", sanitize_html=True)
                with gr.Tab(t("res_tab_new")):
                    self.new = NewStudyForm()
                with gr.Tab(t("res_tab_design")):
                    self._design()
                with gr.Tab(t("res_tab_invite")):
                    self._invitations(accounts)

    def _bar(self) -> None:
        """The choice of studies, the moves, and what was said of the last one."""
        with gr.Row(equal_height=False, elem_id="study-bar-top"):
            self.chosen = gr.Dropdown([], label=t("res_study"), scale=3, elem_id="study-choice", min_width=220)
            with gr.Row(elem_classes="toolbar study-moves"):
                self.moves = {name: gr.Button(t(f"res_{name}"), size="sm", elem_id=f"study-{name}", min_width=80) for name in MOVES}
                self.refresh = gr.Button(t("res_refresh"), size="sm", elem_id="study-refresh", min_width=80)
        with gr.Row(visible=False, elem_id="study-sure", elem_classes="toolbar") as self.sure:
            gr.Markdown(t("res_close_sure"))
            self.close = gr.Button(t("res_close_yes"), size="sm", variant="stop", elem_id="study-close-yes", min_width=120)
            self.cancel = gr.Button(t("res_cancel"), size="sm", elem_id="study-close-no", min_width=80)
        self.said = gr.HTML(elem_id="study-said")
        self.job, self.look = gr.State(None), gr.Timer(LOOK_SECONDS, active=False)         # the job's id; on while it goes on
        self.summary = gr.HTML(elem_id="study-summary")

    def _people(self) -> None:
        self.people = gr.HTML(elem_id="study-people")
        self.skipped = gr.HTML(elem_id="study-skipped")
        with gr.Row(equal_height=False, elem_id="study-leave-out"):
            self.who = gr.Dropdown([], label=t("res_annotator"), min_width=140, elem_id="study-who")
            self.reason = gr.Textbox(label=t("res_reason"), scale=2, min_width=200, elem_id="study-reason")
            with gr.Row(elem_classes="toolbar study-moves"):
                self.exclude = gr.Button(t("res_exclude"), size="sm", elem_id="study-exclude", min_width=120)
                self.recollect = gr.Button(t("res_recollect"), size="sm", elem_id="study-recollect", min_width=120)
                self.include = gr.Button(t("res_include"), size="sm", elem_id="study-include", min_width=120)
                self.let_continue = gr.Button(t("res_continue"), size="sm", elem_id="study-continue", min_width=120)

    def _payment(self) -> None:
        self.took_part = gr.HTML(elem_id="study-took-part")
        gr.Markdown(t("res_pay_about"), elem_classes="muted small")
        with gr.Row(equal_height=False):
            self.pay: dict[str, Any] = {
                "amount": gr.Number(0, label=t("res_pay_amount"), minimum=0, step=0.01, min_width=140, elem_id="pay-amount"),
                "per_screen": gr.Number(0, label=t("res_pay_screen"), minimum=0, step=0.001, min_width=140, elem_id="pay-screen"),
                "reject": gr.Checkbox(label=t("res_pay_reject"), min_width=200, elem_id="pay-reject")}
        self.pay_links = gr.HTML(elem_id="pay-links")
        self.forget = gr.Button(t("res_forget"), size="sm", elem_id="study-forget", min_width=120)

    def _design(self) -> None:
        gr.Markdown(t("res_design_about"), elem_classes="muted small")
        with gr.Row(equal_height=False, elem_id="study-simulated-row"):
            self.annotators = gr.Number(10, label=t("res_simulated_count"), precision=0, minimum=1, maximum=MAX_SIMULATED, min_width=140)
            self.simulate = gr.Button(t("res_simulate"), elem_id="simulate-go", min_width=120, size="sm")
        gr.Markdown(t("res_power_about"), elem_classes="muted small")
        with gr.Row():
            self.power: dict[str, Any] = {name: gr.Number(value, label=t(f"res_{name}"), min_width=140, step=0.01)
                                          for name, value in POWER.items()}
        self.power_table = gr.HTML(elem_id="power-table")

    def _invitations(self, accounts: bool) -> None:
        gr.Markdown(t("res_invite_about"), elem_classes="muted small")
        if not accounts:
            gr.Markdown(t("res_plain_link"), elem_classes="muted small")
        with gr.Row(equal_height=False, elem_id="study-links-row"):
            self.links_count = gr.Number(10, label=t("res_links_count"), precision=0, minimum=0, maximum=MAX_LINKS, min_width=140)
            self.invite = gr.Button(t("res_make_links"), elem_id="invite-go", min_width=120, size="sm")
        self.links = gr.Textbox(label=t("res_links"), lines=8, buttons=["copy"], interactive=False, elem_id="invite-links")

    @property
    def study(self) -> dict[str, Any]:
        """Which study is looked at, by the name that every handler knows it under."""
        return {"name": self.chosen}

    @property
    def shown(self) -> list[Any]:
        """What shows the chosen study."""
        return [self.summary, self.people, self.who, self.skipped, self.took_part, self.methods, self.downloads, *self.moves.values()]

    @property
    def running(self) -> list[Any]:
        """What shows a job in the background."""
        return [self.job, self.said, self.look]
