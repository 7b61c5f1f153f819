"""What the Compare tab shows: HTML of a comparison. Every name and text that came from a file is escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from mre.agreement.comparison_tables import summary, verdict
from mre.agreement.plots import GRID_LINE, INK, JUDGE, LINE, PAPER, PEOPLE
from mre.agreement.shown import CAPTIONS, cell_text, html_table, image_tag, settings_lines
from ui.names import edit_type_names, perspective_names
from ui.texts import add_texts, say

if TYPE_CHECKING:
    from mre.agreement.comparison import Comparison

MOST_NOTICES = 8
TEXTS = {
    "cmp_perspective": ("Perspective", "维度"), "cmp_judge": ("Judge", "评判模型"), "cmp_edits": ("Edits", "编辑数"),
    "cmp_people": ("People", "人工"), "cmp_people_mean": ("Mean of people", "人工均分"),
    "cmp_judge_mean": ("Mean of judge", "模型均分"), "cmp_bias": ("Bias (judge − people)", "偏差（模型 − 人工）"),
    "cmp_mae": ("Mean error", "平均误差"), "cmp_within": ("Spearman within methods", "方法内 Spearman"),
    "cmp_ceiling": ("Human ceiling", "人工上限"), "cmp_others": ("Judge as an extra annotator", "模型作为额外的标注者"),
    "cmp_pooled": ("Spearman, methods pooled", "Spearman（方法混合）"), "cmp_alpha": ("Alpha of people (ordinal)", "人工一致性 α（序数）"),
    "cmp_tau": ("Order of methods, tau-b", "方法排序 tau-b"), "cmp_same": ("Same order", "顺序相同"),
    "cmp_yes": ("yes", "是"), "cmp_no": ("no", "否"), "cmp_draws": ("in {share:.0%} of resamples", "{share:.0%} 的重采样中相同"),
    "cmp_h_scatter": ("Judge against people", "模型与人工对照"), "cmp_h_difference": ("Difference against mean", "差值与均值"),
    "cmp_h_methods": ("Methods (ranks: people | judge)", "方法（排名：人工 | 模型）"),
    "cmp_h_edit_types": ("Bias by edit type", "按编辑类型的偏差"), "cmp_how": ("How it was computed", "计算方法"),
    "cmp_notices": ("Skipped or suspicious rows ({count})", "被跳过或可疑的行（{count}）"),
    "cmp_tables": ("All tables", "所有表格"), "cmp_none_found": ("No edits match this choice.", "没有符合条件的编辑。"),
    "cmp_no_pictures": ("Pictures are shown for studies and judge runs of this studio.", "本平台的研究和评判任务会显示图片。"),
    "cmp_original": ("original", "原图"), "cmp_edited": ("edited", "编辑后"), "cmp_hidden": ("method hidden", "方法已隐藏"),
    "cmp_annotators_range": ("{count} annotators, {low} to {high}", "{count} 名标注者，{low} 到 {high}"),
    "cmp_all_files": ("Everything (ZIP: CSV, LaTeX, SVG, report)", "全部（ZIP：CSV、LaTeX、SVG、报告）"),
    "cmp_report": ("Report (HTML, opens offline)", "报告（HTML，可离线打开）"), "cmp_csv": ("agreement.csv", "agreement.csv"),
    "cmp_missing": ("Unmatched rows", "未匹配的行"),
}
add_texts(TEXTS)
DARK = {PAPER: "#1b1a19", INK: "#f4f4f2", LINE: "#b3b0aa", GRID_LINE: "#353330", PEOPLE: "#6aa7ea", JUDGE: "#e8915c"}    # of plots
SUMMARY = (("cmp_perspective", "perspective"), ("cmp_judge", "judge"), ("cmp_edits", "edits"), ("cmp_people_mean", "mean_human"),
           ("cmp_judge_mean", "mean_judge"), ("cmp_bias", "bias"), ("cmp_within", "spearman_within"), ("cmp_ceiling", "human_ceiling"),
           ("cmp_others", "judge_vs_others"), ("cmp_tau", "rank_tau_b"), ("cmp_same", "same_order"), ("cmp_mae", "mae"),
           ("cmp_pooled", "spearman_pooled"), ("cmp_alpha", "krippendorff_ordinal"))


def names(language: str) -> dict[str, str]:
    """What charts call perspectives and edit types in a language; English readers know them by their own names."""
    return {} if language == "en" else perspective_names(language) | edit_type_names(language)


def overview(comparison: Comparison, language: str) -> str:
    """The answer in a sentence per judge, the table of the main figures, and what was left out."""
    parts = [f'<p class="notice plain cmp-verdict">{html.escape(verdict(comparison, judge))}</p>' for judge in comparison.sides.judges]
    parts.append(_summary_table(comparison, language))
    if notices := comparison.sides.notices:
        listed = "".join(f"<li>{html.escape(notice)}</li>" for notice in notices[:MOST_NOTICES])
        more = f"<li>… {len(notices) - MOST_NOTICES}</li>" if len(notices) > MOST_NOTICES else ""
        title = say("cmp_notices", language, count=len(notices))
        parts.append(f'<details class="cmp-notices"><summary>{html.escape(title)}</summary><ul>{listed}{more}</ul></details>')
    if len(missing := comparison.sides.missing):
        parts.append(_folded(say("cmp_missing", language), html_table(missing)))
    parts.append(_folded(say("cmp_how", language), "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in
                                                                    settings_lines(comparison)) + "</ul>"))
    return f'<div class="cmp">{"".join(parts)}</div>'


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{html.escape(title)}</summary>{body}</details>"


def _summary_table(comparison: Comparison, language: str) -> str:
    """One row per perspective and judge; a value's interval stands under it. Perspectives come first, so that judges stand side by side."""
    table = summary(comparison)
    order = {name: i for i, name in enumerate(comparison.sides.perspectives)}
    table = table.sort_values(["perspective", "judge"], key=lambda column: column.map(order) if column.name == "perspective" else column)
    head = "".join(f"<th scope=col>{html.escape(say(key, language))}</th>" for key, _ in SUMMARY)
    body = "".join("<tr>" + "".join(_summary_cell(row, column, say(key, language), language) for key, column in SUMMARY) + "</tr>"
                   for row in table.to_dict("records"))
    return (f'<div class="table-scroll"><table class="plain-table stacking-table cmp-summary"><thead><tr>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>")


def _summary_cell(row: dict, column: str, label: str, language: str) -> str:
    value = row[column]
    text, below = cell_text(value), ""
    if column in ("perspective", "judge"):
        shown = names(language).get(value, value) if column == "perspective" else value
        return f'<th scope=row data-label="{html.escape(label)}">{html.escape(str(shown))}</th>'
    if column == "same_order":
        text = say(f"cmp_{value}", language) if value else "–"
        share = row["same_order_share_of_draws"]
        below = say("cmp_draws", language, share=share) if share is not None and not pd.isna(share) else ""
    elif column == "judge_vs_others":
        below = f"{row['cells_judge_higher']} / {row['cells']}"
    elif f"{column}_low" in row and row[f"{column}_low"] is not None and not pd.isna(row[f"{column}_low"]):
        below = f"{row[f'{column}_low']:.2f} … {row[f'{column}_high']:.2f}"
    if column in ("mean_human", "mean_judge", "bias", "mae") and value is not None and not pd.isna(value):
        text = f"{value:+.2f}" if column == "bias" else f"{value:.2f}"
    small = f"<small>{html.escape(below)}</small>" if below else ""
    return f'<td data-label="{html.escape(label)}">{html.escape(text)}{small}</td>'


def plots(comparison: Comparison, drawn: Sequence[tuple[str, str, str]], language: str) -> str:
    """All plots (name, description, SVG), one section per kind, perspectives and judges side by side."""
    parts = []
    for kind in ("scatter", "difference", "methods", "edit_types"):
        images = "".join(f"<figure>{image_tag(themed(svg), about)}{_caption(comparison, about)}</figure>" for name, about, svg in drawn
                         if name.startswith(kind + "_"))
        if images:
            parts.append(f'<h3>{html.escape(say("cmp_h_" + kind, language))}</h3><div class="cmp-plots">{images}</div>')
    return f'<div class="cmp">{"".join(parts)}</div>'


def themed(svg: str) -> str:
    """The plot with colours that follow the theme of the page: a browser tells a picture which scheme the page around it has."""
    names = {colour: f"--c{colour[1:]}" for colour in DARK}

    def named(style: re.Match) -> str:
        return re.sub(r"#[0-9a-f]{6}", lambda colour: f"var({names[colour[0]]})" if colour[0] in names else colour[0], style[0])
    light = "".join(f"{name}:{colour};" for colour, name in names.items())
    dark = "".join(f"{names[colour]}:{shown};" for colour, shown in DARK.items())
    rules = f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}text{{fill:var({names[INK]})}}"
    return re.sub(r"(<svg[^>]*>)", lambda start: f"{start[0]}<style>{rules}</style>", re.sub(r'style="[^"]*"', named, svg), count=1)


def _caption(comparison: Comparison, about: str) -> str:
    """The judge's name under each plot when there are several."""
    return f"<figcaption>{html.escape(about.split(',')[0])}</figcaption>" if len(comparison.sides.judges) > 1 else ""


def tables(made: Mapping[str, pd.DataFrame], language: str) -> str:
    """Every table that does not stand above already, folded."""
    parts = [_folded(CAPTIONS[name], html_table(table)) for name, table in made.items() if name not in ("summary", "missing")]
    return f'<div class="cmp"><h3>{html.escape(say("cmp_tables", language))}</h3>{"".join(parts)}</div>'


def cards(rows: pd.DataFrame, address: Callable[[str, str | None], str | None], top: float, blind: bool, language: str) -> str:
    """Disagreements with their pictures where there are any. `address` gives where a picture can be fetched."""
    if not len(rows):
        return f'<p class="muted">{html.escape(say("cmp_none_found", language))}</p>'
    made, any_picture = [], False
    for row in cast(Iterable[Any], rows.itertuples()):          # its annotation lets a cell be anything
        pictures = []
        for method, label in ((None, "cmp_original"), (row.method, "cmp_edited")):
            if link := address(row.item, method):
                any_picture = True
                pictures.append(f'<img src="{html.escape(link)}" alt="{html.escape(say(label, language))}" loading="lazy">')
        picture_row = f'<div class="cmp-pictures">{"".join(pictures)}</div>' if pictures else ""
        about = [part for part in (row.item, row.edit_type, say("cmp_hidden", language) if blind else row.method)
                 if isinstance(part, str) and part]
        spread = say("cmp_annotators_range", language, count=row.ratings, low=f"{row.human_min:g}", high=f"{row.human_max:g}")
        words = "" if not isinstance(row.text, str) or not row.text else f'<p class="cmp-words">{html.escape(row.text)}</p>'
        instruction = html.escape(row.instruction) if isinstance(row.instruction, str) else ""
        made.append(
            f'<article class="card cmp-card">{picture_row}'
            f"<p><b>{instruction}</b></p>{_bar(row.human, row.judge_score, top)}"
            f'<p>{html.escape(say("cmp_people", language))} {row.human:.2f} <small>({html.escape(spread)})</small> · '
            f'{html.escape(say("cmp_judge", language))} {row.judge_score:.2f} · <b>{row.difference:+.2f}</b></p>{words}'
            f'<p class="muted small">{html.escape(" · ".join(about))}</p></article>')
    note = "" if any_picture else f'<p class="muted small">{html.escape(say("cmp_no_pictures", language))}</p>'
    return f'<div class="cmp-cards">{"".join(made)}</div>{note}'


def _bar(human: float, judge: float, top: float) -> str:
    """Both scores on the scale."""
    return (f'<div class="cmp-bar"><i class="people" style="left:{100 * human / top:.1f}%"></i>'
            f'<i class="judge" style="left:{100 * judge / top:.1f}%"></i></div>')


def download_links(links: Iterable[tuple[str, str]], language: str) -> str:
    """Links to the files, by name."""
    labels = {"comparison.zip": "cmp_all_files", "report.html": "cmp_report", "agreement.csv": "cmp_csv"}
    return '<p class="chips cmp-downloads">' + "".join(
        f'<a class="chip" id="cmp-{name.split(".")[-1]}" href="{html.escape(link)}" download="{name}">'
        f"{html.escape(say(labels[name], language))}</a>" for name, link in links) + "</p>"


