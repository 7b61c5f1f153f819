"""Make four, show the best: edits with four seeds one after the other, all of them in the history, and the judge chooses."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mre.best_of import with_seeds
from mre.errors import JudgeUsedUpError, MreError
from mre.judge.overall import overall_of
from ui.edit.run import run_edit
from ui.edit.visit import EditVisit, Entry
from ui.notices import bar, note
from ui.texts import add_texts, say

if TYPE_CHECKING:
    from mre.editors.settings import EditSettings
    from mre.judge.verdicts import Verdicts
    from ui.studio import Studio

COUNT = 4
add_texts({
    "best_part": ("{part} of {count}", "第 {part} 张，共 {count} 张"),
    "best_done": ("Best of {count} by {judge}: seed {seed}, {score} of 1; the others {others}. All are in the history.",
                  "{judge} 从 {count} 张中选出：种子 {seed}，得分 {score}（满分 1）；其余 {others}。全部保存在历史记录中。"),
    "best_unscored": ("None of the {count} edits could be scored.", "{count} 张编辑都无法评分。"),
})


@dataclass(frozen=True)
class Judging:
    """How a visit's edits are scored: see `ui.edit.judge`, which has these."""

    score: Callable[[Studio, EditVisit, Entry], Any]
    can_judge: Callable[[Studio, EditVisit, Entry], bool]
    used_up: Callable[[JudgeUsedUpError, str], str]
    lacking: Callable[[Sequence[Verdicts], str], str]


def run_best(judge: Judging, studio: Studio, visit: EditVisit, language: str, photo_path: str | None, model: str, settings: EditSettings, *,
             previews: bool = True) -> Generator[tuple[str, Entry | None], None, None]:
    """As `run_edit`, with COUNT seeds from that of the settings on; ends with the best, or with the last one that was made."""
    entries: list[Entry] = []
    for number, one in enumerate(with_seeds(settings, COUNT), start=1):
        made = None
        for progress, entry in run_edit(studio, visit, language, photo_path, model, one, previews=previews):
            made = entry or made
            yield f"<p class='small muted'>{say('best_part', language, part=number, count=COUNT)}</p>{progress}", None
        if made is None:                         # stopped
            return
        entries.append(made)
    if not judge.can_judge(studio, visit, entries[0]):
        yield note(say("judge_none", language)), entries[-1]
        return
    scores: dict[int, float] = {}
    judged: list[Verdicts] = []
    reason = ""
    for number, entry in enumerate(entries):
        yield bar(say("judge_working", language, done=number + 1, total=COUNT), (number + 1) / (COUNT + 1)), None
        try:
            judged.append(judge.score(studio, visit, entry))
            scores[number] = overall_of(judged[-1])
        except JudgeUsedUpError as limit:
            yield judge.used_up(limit, language), entries[-1]
            return
        except MreError as error:                # this one has no score; the others may
            reason = studio.trouble(error)
    lacking = judge.lacking(judged, language)
    if not scores:
        yield note(say("best_unscored", language, count=COUNT), "bad") + (lacking or note(reason, "bad")), entries[-1]
        return
    best = max(scores, key=lambda number: scores[number])
    others = ", ".join(f"{scores[number]:.2f}" if number in scores else "–" for number in range(COUNT) if number != best)
    visit.shown = entries[best]
    done = say("best_done", language, count=COUNT, judge=judged[-1].judge, seed=entries[best].recipe.seed, score=f"{scores[best]:.2f}",
               others=others)
    yield lacking + note(done), entries[best]
