"""What the score sliders of the loaded model do, as a benchmark has measured it: a click away from the sliders."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from mre.rewards import PERSPECTIVES
from ui.names import perspective_names
from ui.texts import add_texts, say

if TYPE_CHECKING:
    from mre.effects import Effect, Effects

add_texts({
    "effects_title": ("What the sliders do, measured", "滑块的实测效果"),
    "effects_down": ("From 5 to 0", "从 5 到 0"),
    "effects_about": ("A row is a slider, a column a score: its mean change when the slider goes from 5 to 0 and the others stay at 5, "
                      "scored by {judge} on {scenes} drawn scenes that training never saw. Below each, its 95 % interval.",
                      "每行一个滑块，每列一项分数：该滑块从 5 降到 0、其余保持 5 时分数的平均变化，"
                      "由 {judge} 在训练未见过的 {scenes} 个合成场景上评分。"
                      "下方为 95 % 区间。"),
})


def effects_html(effects: Effects | None, language: str) -> str:
    """A table to unfold; nothing where nothing was measured."""
    if effects is None:
        return ""
    names = perspective_names(language)
    head = "".join(f"<th scope='col'>{html.escape(text)}</th>" for text in (say("effects_down", language), *names.values()))
    rows = "".join(f"<tr><th scope='row'>{html.escape(names[slider])}</th>"
                   + "".join(_cell(effects.changes[slider][name], slider == name) for name in PERSPECTIVES) + "</tr>"
                   for slider in PERSPECTIVES)
    about = html.escape(say("effects_about", language, judge=effects.judge, scenes=effects.scenes))
    title = html.escape(say("effects_title", language))
    return (f"<details><summary>{title}</summary><table class='plain-table'>"
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table><p class='small muted'>{about}</p></details>")


def _cell(effect: Effect, is_own: bool) -> str:
    value, low, high = effect
    shown, around = _signed(value), "" if low is None or high is None else f"<small>{_signed(low)} … {_signed(high)}</small>"
    return f"<td>{f'<b>{shown}</b>' if is_own else shown}{around}</td>"


def _signed(value: float) -> str:
    """With a minus sign that is as wide as a plus."""
    return f"{value:+.2f}".replace("-", "−")
