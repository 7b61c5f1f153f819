"""The paper's claims on synthetic scenes, where the oracle knows: single sliders, reward texts, negative rewards, counts and positions."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mre.benchmark.edits import Method, ResultsFolder, method_name
from mre.benchmark.tables import INTERVALS, Cell, Table, mean_cell
from mre.rewards import NOTHING_WRONG, PERSPECTIVES, Reward

if TYPE_CHECKING:
    from mre.benchmark.answers import Scores
    from mre.benchmark.items import Item

TABLES = ("scores", "data", "sliders", "texts", "negative", "counts")
TRAINING_DATA = "training-data"
TEXT_SCORE = 1.0            # asked, with a text that names a defect, on that text's own perspective
NEGATIVES = (0.0, 1.0, 2.0, 3.0, 4.0)
BEST = Reward.best()
Kind = tuple[str, str, str]     # perspective, kind, text that asks for it


def training_data() -> Method:
    """All spoiled pictures that training would see on the same scenes (the paper's Table 9 takes those scored 2 or less)."""
    return Method(TRAINING_DATA, TRAINING_DATA, make=_spoiled)


def _spoiled(item: Item):
    from PIL import Image

    return Image.fromarray(item.drawn().edited)


def slider_methods(model: str) -> list[Method]:
    """Each slider at 0 with the others at 5."""
    return [Method(method_name(model, reward), model, reward) for reward in (BEST.with_score(name, 0.0) for name in PERSPECTIVES)]


def text_methods(model: str) -> list[tuple[Kind, Method]]:
    """One method for each kind of defect: its own perspective's score low, and a text that names it."""
    methods = []
    for kind in defect_kinds():
        perspective, name, text = kind
        texts = [text if other == perspective else NOTHING_WRONG for other in PERSPECTIVES]
        reward = Reward.of(BEST.with_score(perspective, TEXT_SCORE).wishes, texts)
        methods.append((kind, Method(f"{method_name(model, reward)}@{name}", model, reward)))
    return methods


def negative_methods(model: str) -> list[tuple[float | None, Method]]:
    """The best reward with ever higher negative ones; the first with none (the same as the reward itself)."""
    best = method_name(model, BEST)
    return [*((score, Method(f"{best}@negative-{score:g}", model, BEST, Reward.of([score] * 3))) for score in NEGATIVES),
            (None, Method(f"{best}@negative-off", model, BEST, BEST))]


@functools.cache
def defect_kinds() -> tuple[Kind, ...]:
    """Every kind of defect that training spoils with, and the plainest text that names it."""
    from mre.data.scenes import defects

    kinds: list[Kind] = [("following", "missing", defects.FOLLOWING_TEXTS[0][0]), ("following", "wrong", defects.FOLLOWING_TEXTS[1][0]),
                         ("following", "weak", defects.FOLLOWING_TEXTS[2][0])]
    known = [("preserving", kind) for kind in (*defects.PHOTOMETRIC, *defects.GEOMETRIC, *defects.OBJECTS)]
    known += [("quality", kind) for kind in defects.QUALITY_KINDS]
    for perspective, kind in known:
        wordings = (defects.PRESERVING_TEXTS if perspective == "preserving" else defects.QUALITY_TEXTS)[kind]
        plain = [text for text in wordings if "{other}" not in text]
        if plain:
            kinds.append((perspective, kind, defects.named(plain[0], kind, int(TEXT_SCORE), defects.FORM)))
    return tuple(kinds)


@functools.cache
def _wordings() -> tuple[tuple[str, str, re.Pattern], ...]:
    """(perspective, kind, pattern) of every text that the oracle may give."""
    from mre.data.scenes import defects

    named = {0: "missing", 1: "wrong", 2: "weak", 3: "weak", 4: "weak", "half": "weak"}
    sources = [("following", named[level], texts) for level, texts in defects.FOLLOWING_TEXTS.items()]
    sources += [("preserving", kind, texts) for kind, texts in defects.PRESERVING_TEXTS.items()]
    sources += [("quality", kind, texts) for kind, texts in defects.QUALITY_TEXTS.items()]
    parts = "|".join(map(re.escape, defects.PART_TEXTS.values()))
    return tuple((perspective, kind, re.compile(re.sub(r"\\\{\w+\\\}", ".+", re.escape(text)) + f"(?:{parts})"))
                 for perspective, kind, texts in sources for text in texts)


@functools.cache
def kind_of(perspective: str, text: str | None) -> str:
    """Which kind of defect an oracle's text names: "" for nothing wrong, "other" for a text of no known kind."""
    if text in (None, "", NOTHING_WRONG):
        return ""
    return next((kind for where, kind, pattern in _wordings() if where == perspective and pattern.fullmatch(text)), "other")


# -- tables -----------------------------------------------------------------------------------------------------------------------

def table_of_means(scores: Scores, methods: Sequence[str]) -> Table:
    """Mean scores with intervals: every model at every asked score, the baselines, the training data."""
    rows = [[method, *(scores.mean(method, name) for name in PERSPECTIVES)] for method in methods]
    return Table("scores", "Scores on held-out scenes (Tables 4, 6, 8)", ["method", *PERSPECTIVES], rows, [INTERVALS, scores.judge_note()])


def table_of_gains(scores: Scores, pairs: Sequence[tuple[str, str]]) -> Table:
    """Differences on the same scenes."""
    rows = [[method, against, *(scores.gain(method, against, name) for name in PERSPECTIVES)] for method, against in pairs]
    return Table("gains", "Gains on the same scenes (Tables 4, 8)", ["method", "minus", *PERSPECTIVES], rows,
                 [INTERVALS, scores.judge_note()])


def table_of_sliders(scores: Scores, model: str, items: Sequence[Item]) -> Table:
    """Rows: the slider that goes from 5 to 0 while the others stay at 5. Columns: how far each perspective falls."""
    best = method_name(model, BEST)
    rows, held = [], []
    for method, slider in zip(slider_methods(model), PERSPECTIVES, strict=True):
        falls = [scores.gain(method.name, best, name, items) for name in PERSPECTIVES]
        own = falls[PERSPECTIVES.index(slider)].value
        held.append(own < 0 and all(own < fall.value for name, fall in zip(PERSPECTIVES, falls, strict=True) if name != slider))
        rows.append([f"{slider} 5 to 0", *falls])
    says = ", ".join(f"{name} {'yes' if ok else 'no'}" for name, ok in zip(PERSPECTIVES, held, strict=True))
    return Table(f"sliders_{method_name(model, None)}", f"One slider at a time, {model}: change of each score", ["slider", *PERSPECTIVES],
                 rows, [f"Its own perspective falls most: {says}.", INTERVALS, scores.judge_note()])


def table_of_texts(scores: Scores, model: str, items: Sequence[Item]) -> Table:
    """Per defect kind: how often the asked defect appears, how often without asking, and what else appears."""
    best = method_name(model, BEST)
    rows: list[list] = []
    groups = [item.group for item in items]
    for (perspective, kind, text), method in text_methods(model):
        found = kinds_found(scores, method.name, perspective, items)
        plain = kinds_found(scores, best, perspective, items)
        others = Counter(name or "nothing" for name in found if name is not None and name != kind)
        rows.append([perspective, kind, text, share_of(found, kind, groups), share_of(plain, kind, groups),
                     share_of(found, "", groups), ", ".join(f"{name} {count}" for name, count in others.most_common(3)) or "-"])
    for perspective in PERSPECTIVES:
        plain = kinds_found(scores, best, perspective, items)
        rows.append([perspective, "(none)", NOTHING_WRONG, "", "", share_of(plain, "", groups),
                     ", ".join(f"{name} {count}" for name, count in Counter(name for name in plain if name).most_common(3)) or "-"])
    columns = ["perspective", "asked", "reward text", "asked defect appears", "at 5/5/5 with None", "nothing wrong", "what else, edits"]
    note = f"The text's own perspective is asked at {TEXT_SCORE:g}, the others at 5. What appears is the oracle's finding."
    return Table(f"texts_{method_name(model, None)}", f"Reward texts that name a defect, {model}", columns, rows, [note, INTERVALS])


def table_of_negatives(scores: Scores, model: str, items: Sequence[Item]) -> Table:
    """The best reward with negative rewards over their scale, and what each gains over none."""
    off = next(method.name for score, method in negative_methods(model) if score is None)
    rows, helps = [], []
    for score, method in negative_methods(model):
        means = [scores.mean(method.name, name, items) for name in PERSPECTIVES]
        if score is None:
            rows.append(["off", *means, "", "", ""])
            continue
        gains = [scores.gain(method.name, off, name, items) for name in PERSPECTIVES]
        if all(gain.value > 0 for gain in gains):
            helps.append(f"{score:g}")
        rows.append(["/".join([f"{score:g}"] * 3), *means, *gains])
    columns = ["negative reward", *PERSPECTIVES, *(f"{name} gain" for name in PERSPECTIVES)]
    title = f"A negative reward in the guidance branches without the instruction, {model} at 5/5/5"
    return Table(f"negative_{method_name(model, None)}", title, columns, rows,
                 [f"All three means rise at: {', '.join(helps) or 'no value'}.", INTERVALS, scores.judge_note()])


def table_of_counts(right: dict[str, dict[str, bool | None]], items: Sequence[Item], operation: Callable[[Item], str]) -> Table:
    """Counts and positions: the share of edits that are right, per kind of request. `right`: method -> item -> right, None: unreadable."""
    asked = [item for item in items if any(item.item in found for found in right.values())]
    operations = sorted({operation(item) for item in asked})
    rows = []
    for method, found in right.items():
        cells: list[Cell] = []
        for name in [*operations, None]:
            chosen = [item for item in asked if name is None or operation(item) == name]
            values = [None if (right_one := found.get(item.item)) is None else float(right_one) for item in chosen]
            cells.append(mean_cell(values, [item.group for item in chosen], percent=True))
        rows.append([method, *cells])
    return Table("counts", "Counts and positions: share of edits that are right", ["method", *operations, "all"], rows, [INTERVALS])


def kinds_found(scores: Scores, method: str, perspective: str, items: Sequence[Item]) -> list[str | None]:
    """The kind of defect that the oracle found in each item's edit; None where there is no answer."""
    answers = scores.answers(method, perspective, [(item.item, 0) for item in items])
    return [None if answer is None or answer.score is None else kind_of(perspective, answer.text) for answer in answers]


def share_of(found: Sequence[str | None], kind: str, groups: Sequence[str]) -> Cell:
    """How many of the findings are of a kind."""
    return mean_cell([None if name is None else float(name == kind) for name in found], groups, percent=True)


# -- counts and positions ---------------------------------------------------------------------------------------------------------

def operation_of(item: Item) -> str:
    """Which kind of counting or placing a scene asks for, such as "add two" or "remove, place named"; "" for none."""
    edit = item.drawn().edit
    if edit.edit_type not in ("add", "remove"):
        return ""
    return f"{edit.operation}, place named" if edit.request.place else edit.operation


def counts_found(folder: ResultsFolder, method: str, items: Sequence[Item]) -> dict[str, bool | None]:
    """Item -> whether exactly the things are there that should be, for the scenes that add or remove; None: no edit to look at."""
    from mre.data.scenes.counting import counts_right
    from mre.errors import ImageError
    from mre.judge.pictures import as_array

    found: dict[str, bool | None] = {}
    for item in items:
        if not operation_of(item):
            continue
        try:
            found[item.item] = counts_right(item.drawn(), as_array(folder.edited(method, item.item)))
        except ImageError:
            found[item.item] = None
    return found
