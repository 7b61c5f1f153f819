"""The Study tab: the annotator's own pages, shown in a frame, with a link to open them alone."""

from __future__ import annotations

import gradio as gr

from ui.texts import add_texts, t

add_texts({
    "tab_study": ("Study", "参加研究"),
    "study_about": ("Score edited images as an annotator does. Studies are created and monitored in the Research tab.",
                    "像标注者一样为编辑图打分。研究在“研究管理”标签页中创建和查看。"),
    "study_open": ("Open in a separate window", "在单独的窗口中打开"),
})
title = t("tab_study")
FRAME = ('<iframe src="/study/" title="Human-evaluation studies" allow="clipboard-write" '
         'style="width:100%;height:max(700px,92vh);border:0"></iframe>')


def build(studio) -> None:
    """Draw the tab. The frame's pages hold a visit of their own, apart from Gradio's session."""
    with gr.Row(elem_classes="toolbar"):
        gr.Markdown(t("study_about"), elem_classes="muted small")
        gr.Button(t("study_open"), link="/study/", size="sm", variant="secondary", scale=0, min_width=200)
    gr.HTML(FRAME, padding=False)
