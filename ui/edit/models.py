"""The models that can be chosen: what each can do, whose licence its weights have and where they come from."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import gradio as gr

from mre.errors import MreError
from mre.models.known import KNOWN
from ui.names import limits_of
from ui.texts import add_texts, say, t

if TYPE_CHECKING:
    from mre.editors.editor import Editor
    from ui.studio import Studio

TEXTS = {
    "models_about": ("What the models can do", "各模型能做什么"), "models_pair": ("Compare two models", "比较两个模型"),
    "model_uses": ("Uses", "可用"), "model_weights": ("Weights", "权重"), "model_licence": ("Licence", "许可"),
    "model_scores": ("scores", "评分"), "model_texts": ("reward texts", "奖励文本"),
    "model_negative": ("a low reward to avoid", "远离低奖励"),
    "model_seed": ("seed", "种子"), "model_steps": ("steps", "步数"), "model_guidance": ("guidance", "引导"),
    "model_mask": ("a region", "区域"),
    "model_nothing": ("the instruction alone", "仅指令"), "model_open": ("any words", "任意指令"),
    "model_closed": ("a closed list of requests", "固定的请求清单"),
    "model_shipped": ("ship with this program", "随程序提供"), "model_random": ("random, untrained", "随机，未训练"),
    "model_hub": ("Hugging Face: {name}", "Hugging Face：{name}"),
    "model_elsewhere": ("on this server, or reached from it", "在本服务器上，或由它访问"),
    "model_unstated": ("see where they come from", "见来源"), "model_own": ("that of this program", "与本程序相同"),
    "ready": ("ready", "就绪"), "loading": ("loading", "加载中"), "cold": ("loads on first use", "首次使用时加载"),
    "failed": ("failed", "加载失败"),
}
add_texts(TEXTS)


def build_choice(models: list[str]) -> tuple[gr.Dropdown, gr.Button]:
    """Which model edits, and the way to two of them side by side."""
    with gr.Row(elem_id="model-choice"):
        model = gr.Dropdown(models, value=models[0], label=t("model"), elem_id="model", filterable=False, container=False,
                            show_label=False, min_width=190)
        beside = gr.Button(t("models_pair"), size="sm", elem_id="models-pair", visible=len(models) > 1, scale=0, min_width=150)
    return model, beside


def models_html(studio: Studio, language: str) -> str:
    """A card for each model. Loads none, and fetches nothing."""
    return f'<div class="model-cards">{"".join(_card(name, studio.editor(name), language) for name in studio.models)}</div>'


def _card(name: str, editor: Editor, language: str) -> str:
    try:
        info, limits = editor.info, limits_of(editor.info, language)
        title, licence = info.title or name, info.licence
    except MreError:                             # the status line says what is wrong with the model
        title, limits, licence = name, "", ""
    rows = ((say("model_uses", language), _uses(editor, language)), (say("model_weights", language), _source(name, language)),
            (say("model_licence", language), licence or say("model_own" if _is_ours(name) else "model_unstated", language)))
    facts = "".join(f"<dt>{html.escape(label)}</dt><dd>{html.escape(text)}</dd>" for label, text in rows)
    return (f'<section class="card"><h3>{html.escape(title)}</h3>'
            f'<p class="small">{html.escape(limits)}</p><dl>{facts}</dl></section>')


def _uses(editor: Editor, language: str) -> str:
    has = editor.capabilities
    used = [key for key, can in (("model_scores", has.reward), ("model_texts", has.reward_text), ("model_negative", has.negative_reward),
                                 ("model_seed", has.seed), ("model_steps", has.steps is not None), ("model_guidance", has.guided),
                                 ("model_mask", has.mask)) if can]
    words = "model_open" if has.open_vocabulary else "model_closed"
    return ", ".join(say(key, language) for key in (words, *(used or ["model_nothing"])))


def _is_ours(name: str) -> bool:
    return name in KNOWN and not KNOWN[name].hub_id


def _source(name: str, language: str) -> str:
    known = KNOWN.get(name)
    if known is None:
        return say("model_elsewhere", language)
    if known.build:
        return say("model_random", language)
    return say("model_hub", language, name=known.hub_id) if known.hub_id else say("model_shipped", language)
