"""The Data tab: look through reward data, by score and by word, and see the triplets."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gradio as gr

from mre.data import reward_browser
from mre.data.reward_browser import DRAWN, Filter, RewardData
from mre.errors import MreError
from mre.files import QUICK, png_bytes
from mre.rewards import NOTHING_WRONG, PERSPECTIVES
from ui.events import QUIET
from ui.names import perspective_label, perspective_names
from ui.notices import note
from ui.pictures import address
from ui.site.door import this_tab
from ui.texts import add_texts, language_of, say, t

if TYPE_CHECKING:
    from mre.data.rewardedit import TripletReward
    from ui.studio import Studio

TEXTS = {
    "tab_data": ("Data", "数据"),
    "data_about": ("Reward data: an instruction, the original, an edit that may have defects, and three scores, each with a text "
                   "about the defect. `python -m mre rewards` makes such data; files in `data/rewards` appear here.",
                   "奖励数据：指令、原图、可能有缺陷的编辑结果，以及三个分数和缺陷描述。"
                   "用 `python -m mre rewards` 生成；`data/rewards` 中的文件会显示在这里。"),
    "data_set": ("Data set", "数据集"), "data_perspective": ("Perspective", "维度"), "data_any": ("any", "任意"),
    "data_from": ("Score from", "分数从"), "data_to": ("to", "到"),
    "data_word": ("Word in the defect text or the instruction", "缺陷描述或指令中的词"),
    "data_drawing": ("Reading the data…", "正在读取数据……"),
    "data_none": ("No triplets match this filter.", "没有符合条件的数据。"),
    "data_count": ("{shown} of {total} triplets match; page {page} of {pages}",
                   "{total} 个三元组中有 {shown} 个符合；第 {page}/{pages} 页"),
    "data_next": ("Next", "下一页"), "data_back": ("Back", "上一页"),
    "data_original": ("original", "原图"), "data_edited": ("edited", "编辑后"),
    "data_mean": ("mean {mean:.2f}, {below:.0f} % below 5", "平均 {mean:.2f}，{below:.0f} % 低于 5"),
    "data_words": ("Frequent words", "高频词"),
    "data_no_picture": ("no picture in this file", "此文件中没有图片"), "data_lost": ("picture not found", "找不到图片"),
    "data_no_instruction": ("(no instruction in this file)", "（此文件中没有指令）"),
}
add_texts(TEXTS)
title = t("tab_data")
PAGE = 12


class DataPanel:
    """The components of the tab."""

    def __init__(self, names: list[str], forget: Callable[[str], None] | None = None) -> None:
        """`names`: the data sets there are. `forget` is called with the owner of the pictures of a visit that is over."""
        gr.Markdown(t("data_about"), elem_classes="muted small")
        with gr.Row(elem_id="data-filter"):
            self.name = gr.Dropdown(choices=names, value=DRAWN, label=t("data_set"), elem_id="data-set", scale=2)
            self.perspective = gr.Dropdown(choices=[(t("data_any"), "any"), *((perspective_label(one), one) for one in PERSPECTIVES)],
                                           value="any", label=t("data_perspective"), elem_id="data-perspective", min_width=130)
            self.lowest = gr.Number(0, minimum=0, maximum=5, step=1, label=t("data_from"), elem_id="data-from", min_width=80)
            self.highest = gr.Number(5, minimum=0, maximum=5, step=1, label=t("data_to"), elem_id="data-to", min_width=80)
            self.word = gr.Dropdown(choices=[], value="", allow_custom_value=True, label=t("data_word"), elem_id="data-word", scale=2)
        self.numbers = gr.HTML(elem_id="data-numbers")
        self.page, self.opened, self.owner = gr.State(0), gr.State(False), gr.State("", delete_callback=forget)
        with gr.Row(elem_classes="toolbar"):
            self.back = gr.Button(t("data_back"), size="sm", elem_id="data-back", min_width=90, scale=0)
            self.forth = gr.Button(t("data_next"), size="sm", elem_id="data-next", min_width=90, scale=0)
            self.count = gr.HTML(elem_id="data-count")
        gr.Markdown(t("data_drawing"), elem_id="data-waiting", elem_classes="muted small")     # until there are cards, by the style
        self.cards = gr.HTML(elem_id="data-cards")

    @property
    def wanted(self) -> dict[str, Any]:
        """Which triplets are looked for, by the names that the handlers know them under."""
        return {name: getattr(self, name) for name in ("name", "perspective", "lowest", "highest", "word")}

    @property
    def shown(self) -> list[Any]:
        """What shows a page of triplets."""
        return [self.cards, self.count, self.page, self.back, self.forth, self.owner]


def build(studio: Studio) -> None:
    """Draw the tab and connect its handlers. Nothing is read or drawn before the tab is opened."""
    tab, panel = this_tab(), DataPanel(data_sets(studio), studio.shelf.drop_owner)
    of_name: dict[str, Any] = {"name": panel.name, "perspective": panel.perspective}
    tab.select(on_select(studio, panel), None, [panel.opened, panel.name, panel.numbers, panel.word, *panel.shown],
               inputs_kwargs={"opened": panel.opened, **panel.wanted}, **QUIET)
    panel.name.change(on_open(studio, panel), None, [panel.numbers, panel.word], inputs_kwargs=of_name, **QUIET)
    panel.perspective.change(on_words(studio), None, panel.word, inputs_kwargs={**of_name, "typed": panel.word}, **QUIET)
    gr.on([field.change for field in panel.wanted.values()], on_filter(studio, panel, 0), None, panel.shown, inputs_kwargs=panel.wanted,
          trigger_mode="always_last", **QUIET)
    for button, step in ((panel.back, -1), (panel.forth, 1)):
        button.click(on_filter(studio, panel, step), None, panel.shown, inputs_kwargs={**panel.wanted, "page": panel.page}, **QUIET)


def data_sets(studio: Studio) -> list[str]:
    """Names of the data sets there are."""
    return reward_browser.names_of_data(studio.settings.data / "rewards")


def on_select(studio: Studio, panel: DataPanel) -> Callable:
    """What the tab shows when it is opened; coming back to it only looks for new data sets."""
    def selected(request: gr.Request, *, opened: bool, name: str, perspective: str, **wanted: Any) -> dict[Any, Any]:
        names = {panel.name: gr.Dropdown(choices=data_sets(studio))}
        if opened:
            return names
        return {panel.opened: True, **names, **on_open(studio, panel)(request, name=name, perspective=perspective),
                **on_filter(studio, panel, 0)(request, name=name, perspective=perspective, **wanted)}
    return selected


def on_open(studio: Studio, panel: DataPanel) -> Callable:
    """The numbers and words of a data set."""
    def opened(request: gr.Request, *, name: str, perspective: str) -> dict[Any, Any]:
        try:
            data = reward_browser.open_data(studio.settings.data / "rewards", name)
        except MreError as error:
            return {panel.numbers: note(studio.trouble(error), "bad")}
        return {panel.numbers: numbers_html(data, language_of(request)),
                panel.word: gr.Dropdown(choices=word_choices(data, perspective), value="")}
    return opened


def on_words(studio: Studio) -> Callable:
    """The words of the chosen perspective; what was typed stays."""
    def words(*, name: str, perspective: str, typed: str | None) -> Any:
        try:
            data = reward_browser.open_data(studio.settings.data / "rewards", name)
        except MreError:
            return gr.skip()
        return gr.Dropdown(choices=word_choices(data, perspective), value=typed or "")
    return words


def word_choices(data: RewardData, perspective: str) -> list[tuple[str, str]]:
    """Words with how many texts hold them."""
    words = reward_browser.frequent_words(data, perspective if perspective in PERSPECTIVES else None)
    return [("", ""), *((f"{word} ({count})", word) for word, count in words)]


def on_filter(studio: Studio, panel: DataPanel, step: int) -> Callable:
    """One page of the rows that pass: the first, or `step` pages from the one that is shown."""
    def look(request: gr.Request, *, name: str, perspective: str, lowest: float | None, highest: float | None, word: str | None,
             page: int = 0) -> dict[Any, Any]:
        language = language_of(request)
        try:
            wanted = Filter(perspective if perspective in PERSPECTIVES else None, 0 if lowest is None else lowest,
                            5 if highest is None else highest, str(word or "")[:100])
            data = reward_browser.open_data(studio.settings.data / "rewards", name)
            rows = reward_browser.filtered(data, wanted)
        except MreError as error:
            return {panel.cards: note(studio.trouble(error), "bad"), panel.count: "", panel.page: 0,
                    panel.back: gr.Button(interactive=False), panel.forth: gr.Button(interactive=False)}
        pages = max(1, -(-len(rows) // PAGE))
        page = min(max(0, page + step), pages - 1)
        owner = f"data {request.session_hash}"
        studio.shelf.drop_owner(owner)
        studio.shelf.reserve(owner, studio.caller(request))
        cards = "".join(card_html(studio, data, row, owner, language) for row in rows[page * PAGE:(page + 1) * PAGE])
        told = say("data_count", language, shown=len(rows), total=len(data.rows), page=page + 1, pages=pages)
        return {panel.cards: f"<div class='data-cards'>{cards}</div>" if rows else note(say("data_none", language)),
                panel.count: f"<p class='small muted'>{told}</p>", panel.page: page,
                panel.back: gr.Button(interactive=page > 0), panel.forth: gr.Button(interactive=page < pages - 1), panel.owner: owner}
    return look


def card_html(studio: Studio, data: RewardData, row: TripletReward, owner: str, language: str) -> str:
    """One triplet: two pictures, the instruction, and per perspective its score and what is wrong. All text is escaped."""
    pictures = "".join(picture_html(studio, data, name, owner, say(key, language), language)
                       for name, key in ((row.original, "data_original"), (row.edited, "data_edited")))
    scores = ""
    for name, score, text in zip(PERSPECTIVES, row.reward.scores, row.reward.texts, strict=True):
        wrong = "" if text == NOTHING_WRONG else html.escape(text)
        scores += (f"<tr><th scope='row'>{perspective_names(language)[name]}</th><td><b class='score s{int(score)}'>{score:g}</b></td>"
                   f"<td>{wrong or '–'}</td></tr>")
    instruction = html.escape(row.instruction) or f"<span class='muted'>{say('data_no_instruction', language)}</span>"
    return (f"<article class='card data-card'><div class='data-pair'>{pictures}</div><p class='data-instruction'>{instruction}</p>"
            f"<table class='plain-table small'><tbody>{scores}</tbody></table>"
            f"<p class='small muted data-id'>{html.escape(row.id)}</p></article>")


def picture_html(studio: Studio, data: RewardData, name: str, owner: str, label: str, language: str) -> str:
    """A picture under an address of this visit's own, or a word on why there is none."""
    try:
        image = data.picture(name)
    except (MreError, OSError):
        image, missing = None, say("data_lost", language)
    else:
        missing = say("data_no_picture", language)
    if image is None:
        return f"<figure><div class='data-missing small muted'>{missing}</div><figcaption>{label}</figcaption></figure>"
    image.thumbnail((512, 512))
    token = studio.shelf.put(png_bytes(image, QUICK), "triplet.png", owner)
    size = f"width='{image.width}' height='{image.height}'"
    return (f"<figure><img src='{address(token, 'triplet.png')}' alt='{label}' loading='lazy' {size}>"
            f"<figcaption>{label}</figcaption></figure>")


def numbers_html(data: RewardData, language: str) -> str:
    """Scores and words of a data set: three small bar charts (Fig. 3) with the commonest words under each (Fig. 4)."""
    found = data.statistics
    levels = {name: [sum(count for score, count in found.scores[name].items() if int(score) == level) for level in range(6)]
              for name in PERSPECTIVES}
    most = max(1, *(count for whole in levels.values() for count in whole))
    panels = ""
    for name, whole in levels.items():
        bars = "".join(f"<div class='bar' title='{level}: {count}'><span>{count}</span>"
                       f"<i style='height:{max(2, round(70 * count / most))}px'></i><em>{level}</em></div>"
                       for level, count in enumerate(whole))
        mean = sum(score * count for score, count in found.scores[name].items()) / max(1, found.count)
        words = ", ".join(html.escape(f"{word} {count}") for word, count in reward_browser.frequent_words(data, name, 8))
        panels += (f"<section class='card'><h3>{perspective_names(language)[name]}</h3>"
                   f"<div class='bars' role='img' aria-label='{whole}'>{bars}</div>"
                   f"<p class='small muted'>{say('data_mean', language, mean=mean, below=100 * found.share_below_best(name))}</p>"
                   f"<p class='small'><span class='muted'>{say('data_words', language)}:</span> {words or '–'}</p></section>")
    return f"<div class='data-numbers'>{panels}</div>"
