"""The tables of judges on a public set: those that score, and those whose verdicts on pairs were recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mre.benchmark.formats.choices import OVERALL, Choice, JudgeSet
from mre.benchmark.formats.verdicts import Verdicts
from mre.benchmark.judge_figures import (
    Scores,
    accuracy_of_four,
    accuracy_with_ties,
    accuracy_without_ties,
    correlation,
    group_accuracy,
    rho_by_method,
)
from mre.benchmark.tables import INTERVALS, MISSING, Cell, Table, mean_cell
from mre.rewards import PERSPECTIVES
from mre.scoring.selection import Opinion

FOUR = (" Four classes: the first, the second, both good, both bad; two alike are good from a mean score on that was chosen on the other "
        "half.")
MEASURED = ("A score is missing where a picture is, or where the judge gave no readable answer on a perspective: then its whole choice is "
            "missing, and is neither right nor wrong.")


def scalars_of(opinions: Mapping[str, Opinion]) -> dict[str, Scores]:
    """What a judge can be measured by: the mean over its perspectives as `overall`, and each perspective. Edit -> number."""
    known = [name for name in PERSPECTIVES if any(name in opinion.means for opinion in opinions.values())]
    found: dict[str, Scores] = {OVERALL: {edit: sum(one.means.values()) / len(one.means) for edit, one in opinions.items()}}
    return found | {name: {edit: one.means[name] for edit, one in opinions.items() if name in one.means} for name in known}


def tables_of_set(judge_set: JudgeSet, judges: Mapping[str, Mapping[str, Opinion]]) -> list[Table]:
    """Every table that the set allows; a judge is its opinions of edits by name."""
    tables = [table_of_choices(judge_set, judges)] if judge_set.choices and judges else []
    if judge_set.ratings and judges:
        tables.append(table_of_ratings(judge_set, judges))
    return tables


def table_of_choices(judge_set: JudgeSet, judges: Mapping[str, Mapping[str, Opinion]]) -> Table:
    """Accuracy on pairs, with ties and without, and on whole rankings."""
    ways = sorted({len(choice.edits) for choice in judge_set.choices})
    has_tasks, has_kinds = (any(getattr(choice, name) for choice in judge_set.choices) for name in ("task", "tie"))
    columns = ["judge", "by", "people's order", "with ties", "with ties, best threshold", *(f"K = {count}" for count in ways)]
    columns += ["mean over tasks"] * has_tasks + ["four classes"] * has_kinds
    rows = []
    for judge, opinions in judges.items():
        for measure, choices, scores in _measured(judge_set, opinions):
            cells: list[str | int | Cell] = [judge, measure, accuracy_without_ties(choices, scores), accuracy_with_ties(choices, scores),
                                             accuracy_with_ties(choices, scores, fitted=True),
                                             *(group_accuracy(choices, scores, count) for count in ways)]
            cells += [_over_tasks(choices, scores)] if has_tasks else []
            rows.append([*cells, accuracy_of_four(choices, scores)] if has_kinds else cells)
    refused = f" {len(judge_set.refused)} entries contradict each other or show what no judge here takes." if judge_set.refused else ""
    notes = ["people's order: pairs that people ordered; equal scores are wrong. With ties: all pairs, a tie where scores differ by at "
             "most a threshold chosen on the other half of the photos; beside it the threshold that is best on these very pairs, too "
             f"good to be true. K: the whole ranking of K edits; of two, with ties by the threshold that is best on these very pairs."
             f"{FOUR * has_kinds}{refused}", MEASURED, INTERVALS]
    return Table("judges", f"Judges on {judge_set.name}: share of people's choices that they make", columns, rows, notes)


def _measured(judge_set: JudgeSet, opinions: Mapping[str, Opinion]) -> list[tuple[str, Sequence[Choice], Scores]]:
    """What is measured by which scores: where people were asked for aspects, each by its own; else all by each."""
    scalars = scalars_of(opinions)
    aspects = list(dict.fromkeys(choice.aspect for choice in judge_set.choices))
    if aspects != [OVERALL]:
        return [(aspect, [choice for choice in judge_set.choices if choice.aspect == aspect], scalars.get(aspect, {}))
                for aspect in aspects]
    return [(measure, judge_set.choices, scores) for measure, scores in scalars.items()]


def _over_tasks(choices: Sequence[Choice], scores: Scores) -> Cell:
    """The plain mean of the tasks' accuracies."""
    tasks: dict[str, list[Choice]] = {}
    for choice in choices:
        tasks.setdefault(choice.task, []).append(choice)
    cells = [accuracy_without_ties(some, scores) for some in tasks.values()]
    values = [cell.value for cell in cells if cell.n]
    return Cell(sum(values) / len(values) if values else float("nan"), n=sum(cell.n for cell in cells),
                missing=sum(cell.missing for cell in cells), percent=True)


def table_of_ratings(judge_set: JudgeSet, judges: Mapping[str, Mapping[str, Opinion]]) -> Table:
    """Correlation with people's ratings, over the edits of each method."""
    rows = []
    for judge, opinions in judges.items():
        for measure, scores in scalars_of(opinions).items():
            rhos = rho_by_method(judge_set.ratings, scores)
            defined = sum(rho == rho for rho in rhos.values())
            rows.append([judge, measure, correlation(judge_set.ratings, scores), correlation(judge_set.ratings, scores, fisher=False),
                         f"{defined} of {len(rhos)}"])
    notes = ["Spearman's rho over the edits of each method, averaged by Fisher's transform and plainly, over the methods whose scores are "
             "not all the same.", MEASURED, INTERVALS]
    return Table("judges_ratings", f"Judges on {judge_set.name}: correlation with people's ratings",
                 ["judge", "by", "rho, Fisher", "rho, mean", "methods"], rows, notes)


# -- recorded verdicts ------------------------------------------------------------------------------------------------------------

def table_of_verdicts(judge_set: JudgeSet, judges: Mapping[str, Verdicts]) -> Table:
    """Judges that saw two edits at once: right verdicts over both orders, whole groups, and what the order did."""
    has_kinds = any(choice.tie for choice in judge_set.choices)
    columns = ["judge", "verdicts", "people's order", "groups", "both orders", "consistent", "first position", "missing as wrong",
               *["four classes"] * has_kinds]
    rows = [[judge, *verdict_cells(judge_set.choices, found)] for judge, found in judges.items()]
    notes = ["verdicts: right of the readable ones, ties among them. groups: choices between several edits with every pair right. both "
             "orders: pairs right however they were shown; consistent: pairs with the same verdict both ways; first position: share of "
             "verdicts for the edit shown first (half is fair). A reply without a verdict is missing."
             + " Four classes: first, second, both good, both bad; a tie of unsaid kind is right for both." * has_kinds, INTERVALS]
    return Table("judges_verdicts", f"Pairwise judges on {judge_set.name}", columns, rows, notes)


def verdict_cells(choices: Sequence[Choice], found: Verdicts) -> list[Cell | str]:
    """The cells of one judge, in the order of the table."""
    rows = [(choice, people, *_asked(choice, first, second, found)) for choice in choices for first, second, people in choice.pairs]
    single = [(choice.photo, people, verdict) for choice, people, *both in rows for verdict in both[:2 if found.reverse else 1]]
    pairs = [(choice.photo, people, forward, reverse) for choice, people, forward, reverse in rows]
    groups: dict[str, tuple[str, list[float | None]]] = {}
    for choice, people, forward, _ in rows:
        if len(choice.edits) > 2:
            groups.setdefault(choice.id, (choice.photo, []))[1].append(None if forward is None else float(forward == people))
    cells: list[Cell | str] = [
        _cell([(photo, None if verdict is None else verdict == people) for photo, people, verdict in single]),
        _cell([(photo, None if verdict is None else verdict == people) for photo, people, verdict in single if people]),
        _cell([(photo, None if None in right else all(right)) for photo, right in groups.values()]) if groups else MISSING]
    if found.reverse:
        cells += [_cell([(photo, None if None in (one, two) else one == people == two) for photo, people, one, two in pairs]),
                  _cell([(photo, None if None in (one, two) else one == two) for photo, _, one, two in pairs]),
                  _cell([(photo, verdict == side) for photo, _, one, two in pairs for verdict, side in ((one, 1), (two, -1)) if verdict])]
    else:
        cells += [MISSING] * 3
    cells.append(_cell([(photo, verdict is not None and verdict == people) for photo, people, verdict in single]))
    if any(choice.tie for choice in choices):
        cells.append(_cell([(choice.photo, None if verdict is None else verdict == people and (
            people != 0 or kind in ("", choice.tie))) for choice, people, verdict, kind in (
                (choice, people, _asked(choice, first, second, found)[0], found.ties.get(_key(choice, first, second, found), ""))
                for choice in choices for first, second, people in choice.pairs)]))
    return cells


def _asked(choice: Choice, first: int, second: int, found: Verdicts) -> tuple[int | None, int | None]:
    """The verdict on a pair and the one in the other order."""
    key = _key(choice, first, second, found)
    return found.forward.get(key), found.reverse.get(key)


def _key(choice: Choice, first: int, second: int, found: Verdicts) -> tuple[str, str]:
    """What a pair goes by in the replies: a row of Parquet files by its number, where replies do."""
    kind = f"{chr(ord('A') + first)}vs{chr(ord('A') + second)}" if len(choice.edits) > 2 else ""
    keys = [(choice.id, kind), (choice.id.rpartition("#")[2], kind)]
    return next((key for key in keys if key in found.forward or key in found.reverse), keys[0])


def _cell(values: Sequence[tuple[str, bool | None]]) -> Cell:
    return mean_cell([None if value is None else float(value) for _, value in values], [photo for photo, _ in values], percent=True)
