"""What was asked of an edit beside what a judge gives it: the embedded or configured judge, or for drawn examples the oracle."""

from __future__ import annotations

import html
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from mre.errors import JudgeError, JudgeUsedUpError
from mre.imaging import open_image
from mre.judge.verdicts import Ask, score_one
from mre.rewards import PERSPECTIVES
from ui.edit.examples import small_triplet_of
from ui.edit.visit import EditVisit, Entry, visit_of
from ui.names import perspective_names
from ui.notices import bar, note
from ui.texts import add_texts, language_of, say, t

if TYPE_CHECKING:
    from mre.judge.verdicts import Verdicts
    from ui.studio import Studio

TEXTS = {
    "tab_judge": ("Judge", "评判"),
    "judge_about": ("Compare the scores you asked for with those a judge gives. Synthetic examples are scored by the oracle, which "
                    "knows the true edit. Other pictures are scored by tiny-judge, a small network that runs on this server and says how "
                    "unsure it is, or by the judge that the host has named, to which they are sent.",
                    "比较你要求的分数和评判模型给出的分数。示例中的合成场景已知正确结果，由程序（oracle）评分；"
                    "其他图片由 tiny-judge 评分（在本服务器上运行的小型网络，会给出不确定度），或发送给主办方指定的评判模型。"),
    "judge_choice": ("Who judges", "由谁评判"),
    "judge_choice_about": ("Also chooses the best of four.", "“生成四张，显示最好的”也由它挑选。"),
    "judge_usual": ("as described above", "按上面所述"),
    "judge_run": ("Judge my edit", "评判我的编辑"), "judge_sweep": ("Judge the sweep", "评判整个扫描"),
    "judge_none": ("No judge is configured, and only synthetic examples can be scored without one. Start the studio with --judge NAME.",
                   "没有配置评判模型，只有合成示例可以评分。请用 --judge 名称 启动。"),
    "judge_nothing": ("Make an edit first.", "请先完成一次编辑。"), "judge_no_sweep": ("Run a sweep first.", "请先运行一次扫描。"),
    "judge_used_up": ("This server's budget for its judge is exhausted. Synthetic examples are still scored, for free.",
                      "本服务器的评判次数已达主办方的上限；合成示例仍可免费评分。"),
    "judge_part": ("{done} of {total} cells judged.", "已评判 {done}/{total} 个单元。"),
    "judge_perhaps_paid": ("No answer arrived, and it was perhaps paid for all the same. Judge again to ask again.",
                           "没有收到回答，但可能已经计费。再次评判会重新询问。"),
    "judge_lacking_paid": ("{count} of {total} edits lack scores: their answers did not arrive, and were perhaps paid for all the same. "
                           "Judge again to ask for them again.",
                           "{total} 张编辑中有 {count} 张缺少分数：没有收到回答，但可能已经计费。再次评判会重新询问。"),
    "judge_lacking": ("{count} of {total} edits lack scores: {reason}", "{total} 张编辑中有 {count} 张缺少分数：{reason}"),
    "judge_working": ("Judging {done} of {total}…", "正在评判 {done}/{total}…"),
    "judge_by": ("Scored by {judge} in {seconds:.1f} s", "由 {judge} 评分，用时 {seconds:.1f} 秒"),
    "judge_perspective": ("Perspective", "维度"), "judge_asked": ("Asked", "要求"), "judge_given": ("Given", "得到"),
    "judge_wrong": ("Defect", "缺陷"),
    "judge_deviation": ("± is one standard deviation: about two of three labels lie within it.",
                        "± 为一个标准差：约三分之二的标注分数落在其中。"),
    "judge_drawn": ("tiny-judge was trained on drawn scenes and on things drawn on photographs: of other edits of photographs it is a "
                    "rough guess.", "tiny-judge 用合成场景和照片上的绘制物体训练：对照片的其他编辑只是粗略估计。"),
    "judge_plot": ("Asked and given scores over the sweep", "扫描中要求的分数与得到的分数"),
}
add_texts(TEXTS)
ORACLE_SIZE = 128
EMBEDDED_JUDGE = "tiny-judge"
log = logging.getLogger("mre.studio")


class JudgePanel:
    """The judge's components."""

    def __init__(self) -> None:
        gr.Markdown(t("judge_about"), elem_classes="muted small")
        self.choice = gr.Dropdown([(t("judge_usual"), "")], value="", label=t("judge_choice"), info=t("judge_choice_about"), visible=False,
                                  elem_id="judge-by", filterable=False)
        with gr.Row():
            self.one = gr.Button(t("judge_run"), elem_id="judge-run")
            self.sweep = gr.Button(t("judge_sweep"), elem_id="judge-sweep")
        self.answer = gr.HTML(elem_id="judge-answer")
        self.plot = gr.HTML(elem_id="judge-plot")


@lru_cache(maxsize=1)
def _oracle() -> Any:
    from mre.judge.kinds import make_judge
    return make_judge("oracle")


def score(studio: Studio, visit: EditVisit, entry: Entry) -> Any:
    """Verdicts on an edit: by the judge that the visit has chosen; else by the oracle where it can, else by the configured judge. Raises
    JudgeError when there is none, JudgeUsedUpError when visitors have asked it as much as they may, StudyError for a chosen one that is
    gone."""
    photo, picture = (open_image(visit.shelf.path(kept.token)) for kept in (entry.photo, entry.picture))
    if visit.judge:
        return score_one(studio.judges.get(visit.judge), Ask("the edit", entry.recipe.instruction, photo, picture), "reward")
    if (triplet := small_triplet_of(photo, entry.recipe.instruction, ORACLE_SIZE)) is not None:
        small = picture.resize((ORACLE_SIZE, ORACLE_SIZE), Image.Resampling.LANCZOS)
        return score_one(_oracle(), Ask("the edit", triplet.instruction, Image.fromarray(triplet.original), small, scene=triplet), "reward")
    if studio.judge is None:
        raise JudgeError("no judge is configured")
    return score_one(studio.judge, Ask("the edit", entry.recipe.instruction, photo, picture), "reward")


def can_judge(studio: Studio, visit: EditVisit, entry: Entry) -> bool:
    """Whether anybody can score this edit."""
    if studio.settings.judge or visit.judge:
        return True
    return small_triplet_of(open_image(visit.shelf.path(entry.photo.token)), entry.recipe.instruction, ORACLE_SIZE) is not None


def used_up(limit: JudgeUsedUpError, language: str) -> str:
    """What a visitor reads; the host's log has the numbers."""
    log.warning("%s; python app.py --judge-requests allows more", limit)
    return note(say("judge_used_up", language), "bad")


def choices(studio: Studio, request: gr.Request) -> list[str]:
    """Judges that this visitor may choose by name. Those trained here are named after their studies, which are for researchers."""
    trained = studio.access.shows("researcher", studio.access.role(request))
    return studio.judges.names if trained and studio.judges.trained else []


def on_open(studio: Studio) -> Callable:
    """The judges that there are now, where there is a choice."""
    def opened(visit: EditVisit | None, request: gr.Request) -> Any:
        names = choices(studio, request)
        chosen = visit.judge if visit and visit.judge in names else ""
        return gr.Dropdown(choices=[(t("judge_usual"), ""), *((name, name) for name in names)], value=chosen, visible=bool(names))
    return opened


def on_choose(studio: Studio) -> Callable:
    """Who scores this visit's edits from now on."""
    def choose(visit: EditVisit | None, name: str | None, request: gr.Request) -> EditVisit:
        visit = visit_of(studio, visit, request)
        visit.judge = name if name and name in choices(studio, request) else ""
        return visit
    return choose


def on_one(studio: Studio) -> Callable:
    """Score the edit that is shown."""
    def judge(visit: EditVisit | None, request: gr.Request) -> Iterator[Any]:
        language = language_of(request)
        if visit is None or visit.shown is None:
            yield note(say("judge_nothing", language))
            return
        try:
            if not can_judge(studio, visit, visit.shown):
                yield note(say("judge_none", language))
                return
            yield bar(say("judge_working", language, done=1, total=1), None)
            yield table_html(visit.shown, score(studio, visit, visit.shown), language)
        except JudgeUsedUpError as limit:
            yield used_up(limit, language)
        except Exception as error:               # shown in one line with an id; the log has the rest
            yield note(studio.trouble(error), "bad")
    return judge


def table_html(entry: Entry, verdicts: Any, language: str) -> str:
    """Asked beside given, a row for each perspective; with what is wrong where the judge says it, and its doubt where it knows it."""
    rows = ""
    known = {verdict.perspective: verdict for verdict in verdicts}
    says_why = any(verdict.text or verdict.error for verdict in verdicts)
    for name, asked in zip(PERSPECTIVES, entry.recipe.reward.shown(",").split(","), strict=True):
        if (verdict := known.get(name)) is None:             # a judge may know some of them only
            continue
        wrong = say("judge_perhaps_paid", language) if verdict.perhaps_paid else verdict.text or verdict.error or ""
        why = f"<td>{html.escape(wrong)}</td>" if says_why else ""
        rows += f"<tr><th scope='row'>{perspective_names(language)[name]}</th><td>{asked}</td><td>{given_text(verdict)}</td>{why}</tr>"
    columns = ("judge_perspective", "judge_asked", "judge_given", *(["judge_wrong"] * says_why))
    head = "".join(f"<th scope='col'>{say(key, language)}</th>" for key in columns)
    version = verdicts.judge_version
    who = version if version.startswith(verdicts.judge) else f"{verdicts.judge} {version}".strip()
    by = html.escape(say("judge_by", language, judge=who, seconds=verdicts.seconds))
    notes = [by] + [say("judge_deviation", language)] * any(verdict.deviation is not None for verdict in verdicts)
    notes += [say("judge_drawn", language)] * (verdicts.judge == EMBEDDED_JUDGE)
    return (f"<table class='plain-table'><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
            f"<p class='small muted'>{'<br>'.join(notes)}</p>")


def given_text(verdict: Any) -> str:
    """A score with its deviation, such as 4.2 ± 0.6."""
    if verdict.score is None:
        return "–"
    if verdict.deviation is None:
        return f"{round(verdict.score, 2):g}"
    return f"<span class='nowrap'>{verdict.score:.1f} ± {verdict.deviation:.1f}</span>"


def plot_html(means: dict[str, list[tuple[float, float]]], language: str) -> str:
    """Mean score given against score asked, a line for each perspective; both axes from 0 to 5, and the diagonal where they agree."""
    left, top, side = 40, 14, 240

    def at(asked: float, given: float) -> str:
        return f"{left + asked / 5 * side:.1f},{top + (5 - given) / 5 * side:.1f}"
    grid = "".join(f'<path class="grid" d="M{at(score, 0)} L{at(score, 5)} M{at(0, score)} L{at(5, score)}"/>'
                   f'<text x="{left + score / 5 * side}" y="{top + side + 16}" text-anchor="middle">{score}</text>'
                   f'<text x="{left - 8}" y="{top + (5 - score) / 5 * side + 4}" text-anchor="end">{score}</text>' for score in range(6))
    lines = ""
    for number, (name, points) in enumerate(means.items()):
        if not points:
            continue
        dots = "".join('<circle r="4" cx="{}" cy="{}"/>'.format(*at(*point).split(",")) for point in points)
        lines += (f'<g class="line{number}"><polyline points="{" ".join(at(*point) for point in points)}"/>{dots}'
                  f'<circle r="4" cx="{left + side + 22}" cy="{top + 12 + 24 * number}"/>'
                  f'<text x="{left + side + 34}" y="{top + 16 + 24 * number}">{html.escape(perspective_names(language)[name])}</text></g>')
    title = html.escape(say("judge_plot", language))
    return (f'<figure class="scores-plot"><figcaption>{title}</figcaption>'
            f'<svg viewBox="0 0 {left + side + 210} {top + side + 40}" role="img" aria-label="{title}">{grid}'
            f'<path class="agree" d="M{at(0, 0)} L{at(5, 5)}"/>{lines}'
            f'<text x="{left + side / 2}" y="{top + side + 34}" text-anchor="middle">{say("judge_asked", language)}</text>'
            f'<text transform="translate(12 {top + side / 2}) rotate(-90)" text-anchor="middle">{say("judge_given", language)}</text>'
            f'</svg></figure>')


def lacking(judged: Sequence[Verdicts], language: str) -> str:
    """How many of these edits lack scores, and why; nothing where none does."""
    paid = sum(any(verdict.perhaps_paid for verdict in verdicts) for verdicts in judged)
    others = [[verdict.error for verdict in verdicts if verdict.error and not verdict.perhaps_paid] for verdicts in judged]
    told = note(say("judge_lacking_paid", language, count=paid, total=len(judged)), "warn") if paid else ""
    if reasons := [errors[0] for errors in others if errors]:
        told += note(say("judge_lacking", language, count=len(reasons), total=len(judged), reason=reasons[0]), "warn")
    return told


def means_of(entries: Sequence[Entry], judged: Sequence[Verdicts]) -> dict[str, list[tuple[float, float]]]:
    """For each perspective the scores asked, and the mean of those given there."""
    points: dict[str, dict[float, list[float]]] = {name: {} for name in PERSPECTIVES}
    for entry, verdicts in zip(entries, judged, strict=False):             # a judge may have stopped early
        for name, asked, given in zip(PERSPECTIVES, entry.recipe.reward.wishes, verdicts.scores, strict=True):
            if given is not None and asked is not None:
                points[name].setdefault(asked, []).append(given)
    return {name: sorted((asked, sum(given) / len(given)) for asked, given in found.items()) for name, found in points.items()}


def on_sweep(studio: Studio) -> Callable:
    """Score every cell of the last sweep and draw asked against given."""
    def judge(visit: EditVisit | None, request: gr.Request) -> Iterator[list]:
        language = language_of(request)
        made = visit.sweep if visit else None
        if visit is None or made is None or not made.entries:
            yield [note(say("judge_no_sweep", language)), gr.skip()]
            return
        entries = list(made.entries.values())
        judged: list[Verdicts] = []
        over = ""
        try:
            if not can_judge(studio, visit, entries[0]):
                yield [note(say("judge_none", language)), gr.skip()]
                return
            for number, entry in enumerate(entries, start=1):
                yield [bar(say("judge_working", language, done=number, total=len(entries)), number / len(entries)), gr.skip()]
                judged.append(score(studio, visit, entry))
        except JudgeUsedUpError as limit:                # what was answered is shown all the same
            over = used_up(limit, language)
        except Exception as error:                       # and so it is here; one line with an id, the log has the rest
            over = note(studio.trouble(error), "bad")
        if not judged:
            yield [over, gr.skip()]
            return
        part = note(say("judge_part", language, done=len(judged), total=len(entries))) if over else ""
        by = note(say("judge_by", language, judge=judged[-1].judge, seconds=judged[-1].seconds))
        yield [over + part + lacking(judged, language) + by, plot_html(means_of(entries, judged), language)]
    return judge
