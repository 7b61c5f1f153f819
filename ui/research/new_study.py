"""The form of a new study: its fields by name, and their values as a design."""

from __future__ import annotations

from typing import Any

import gradio as gr

from mre.study.design import SERVINGS, StudyDesign
from ui.events import AFTER_UPLOAD
from ui.research.words import TEXTS
from ui.texts import add_texts, t

add_texts(TEXTS)


class NewStudyForm:
    """The components. What a new study needs first, then what has a good default."""

    def __init__(self) -> None:
        default = StudyDesign()
        gr.Markdown(t("res_new_about"), elem_classes="muted small")
        with gr.Row():
            self.name = gr.Textbox(label=t("res_name"), elem_id="new-name")
            self.title = gr.Textbox(default.title, label=t("res_title"), elem_id="new-title")
        with gr.Row(equal_height=False):
            with gr.Column():
                self.folder = gr.Dropdown([], multiselect=True, label=t("res_folder"), elem_id="new-folder")
                self.methods = gr.Textbox(label=t("res_methods"), placeholder="tiny, tiny-baseline", elem_id="new-methods")
            self.archive = gr.File(label=t("res_zip"), file_types=[".zip"], type="filepath", height=170)
        with gr.Row():
            self.per_pair = gr.Number(default.per_pair, label=t("res_per_pair"), precision=0, minimum=1, elem_id="new-per-pair",
                                      min_width=140)
            self.repeats = gr.Number(default.repeats, label=t("res_repeats"), minimum=0, maximum=100, min_width=140)
            self.checks = gr.Number(default.checks, label=t("res_check_share"), minimum=0, maximum=100, min_width=140)
            self.serving = gr.Dropdown([(t(f"res_serving_{name}"), name) for name in SERVINGS], value=default.serving,
                                       label=t("res_serving"), min_width=200, elem_id="new-serving")
            self.max_screens = gr.Number(default.max_screens, label=t("res_limit"), precision=0, minimum=0, min_width=140)
        with gr.Accordion(t("res_more"), open=False):
            self._more(default)
        with gr.Accordion(t("res_rules"), open=False):
            self._rules(default)
        self.create = gr.Button(t("res_create"), variant="primary", elem_id="new-go", elem_classes=AFTER_UPLOAD)
        self.imported = gr.File(label=t("res_import"), file_types=[".csv", ".jsonl"], type="filepath", height=120, elem_id="new-import")

    def _more(self, default: StudyDesign) -> None:
        with gr.Row():
            self.min_seconds = gr.Number(default.min_seconds, label=t("res_min_seconds"), minimum=0, min_width=140)
            self.lease_minutes = gr.Number(default.lease_minutes, label=t("res_lease"), minimum=0.05, min_width=140)
            self.break_every = gr.Number(default.break_every, label=t("res_break"), precision=0, minimum=0, min_width=140)
        with gr.Row():
            self.allow_phone = gr.Checkbox(default.allow_phone, label=t("res_phone"))
            self.allow_flip = gr.Checkbox(default.allow_flip, label=t("res_flip"))
            self.fit = gr.Checkbox(label=t("res_fit"))
        self.consent = gr.Textbox(label=t("res_consent"), lines=2)
        self.instructions = gr.Textbox(label=t("res_instructions"), lines=2)

    def _rules(self, default: StudyDesign) -> None:
        """Fields for the rules of taking part; shares are shown as per cent."""
        gr.Markdown(t("res_rules_about"), elem_classes="muted small")
        with gr.Row():
            self.max_skip_share = gr.Number(100 * default.max_skip_share, label=t("res_max_skips"), minimum=0, maximum=100, min_width=140)
            self.max_failed_checks = gr.Number(default.max_failed_checks, label=t("res_max_checks"), precision=0, minimum=0, min_width=140)
            self.min_median_seconds = gr.Number(default.min_median_seconds, label=t("res_min_pace"), minimum=0, min_width=140)
            self.rules_after = gr.Number(default.rules_after, label=t("res_rules_after"), precision=0, minimum=1, min_width=140)
            self.max_pair_skips = gr.Number(default.max_pair_skips, label=t("res_pair_skips"), precision=0, minimum=0, min_width=140)
        with gr.Row():
            self.completion_share = gr.Number(100 * default.completion_share, label=t("res_share"), minimum=0, maximum=100, min_width=140)
            self.completion_code = gr.Textbox(label=t("res_code"), max_length=40, min_width=140)
            self.completion_url = gr.Textbox(label=t("res_url"), max_length=500, min_width=240, elem_id="new-url")
            self.keep_recruiting_id = gr.Checkbox(default.keep_recruiting_id, label=t("res_keep_id"), min_width=200)

    @property
    def design(self) -> dict[str, Any]:
        """Fields that make the design, by the names that `design_of` knows them under."""
        return {name: getattr(self, name) for name in (
            "title", "per_pair", "repeats", "checks", "serving", "max_screens", "min_seconds", "lease_minutes", "break_every",
            "allow_phone", "allow_flip", "consent", "instructions", "max_skip_share", "max_failed_checks", "min_median_seconds",
            "rules_after", "max_pair_skips", "completion_share", "completion_code", "completion_url", "keep_recruiting_id")}

    @property
    def sources(self) -> dict[str, Any]:
        """Fields that say what the new study is called and made of, by name."""
        return {name: getattr(self, name) for name in ("name", "folder", "methods", "archive", "fit")}


def design_of(*, title: str | None, per_pair: float | None, repeats: float | None, checks: float | None, serving: str | None,
              max_screens: float | None, min_seconds: float | None, lease_minutes: float | None, break_every: float | None,
              allow_phone: bool | None, allow_flip: bool | None, consent: str | None, instructions: str | None,
              max_skip_share: float | None, max_failed_checks: float | None, min_median_seconds: float | None,
              rules_after: float | None, max_pair_skips: float | None, completion_share: float | None, completion_code: str | None,
              completion_url: str | None, keep_recruiting_id: bool | None) -> StudyDesign:
    """The values of `NewStudyForm.design` as a checked design; an empty field is 0 or no text. Raises StudyError naming the field."""
    return StudyDesign(
        title=title or "", serving=serving or "random", per_pair=int(per_pair or 0), repeats=float(repeats or 0),
        checks=float(checks or 0), max_screens=int(max_screens or 0), min_seconds=float(min_seconds or 0),
        lease_minutes=float(lease_minutes or 0), break_every=int(break_every or 0), allow_phone=bool(allow_phone),
        allow_flip=bool(allow_flip), consent=consent or "", instructions=instructions or "",
        max_skip_share=(max_skip_share or 0) / 100, max_failed_checks=int(max_failed_checks or 0),
        min_median_seconds=float(min_median_seconds or 0), rules_after=int(rules_after or 0), max_pair_skips=int(max_pair_skips or 0),
        completion_share=(completion_share or 0) / 100, completion_code=(completion_code or "").strip(),
        completion_url=(completion_url or "").strip(), keep_recruiting_id=bool(keep_recruiting_id))
