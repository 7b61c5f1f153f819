"""Scores to try the comparison with: edits of synthetic scenes, each with a true score, rated by simulated annotators and by tiny-judge."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL.Image import Image

from mre.agreement.score_files import Ratings, read_edits, read_human, read_judge
from mre.files import EDITS, csv_text, png_bytes, write_whole
from mre.judge.kinds import make_judge
from mre.judge.verdicts import Ask, Verdicts
from mre.rewards import PERSPECTIVES
from mre.study import studies
from mre.study.design import StudyDesign
from mre.study.export import export
from mre.study.simulate import Crowd, simulate
from mre.study.store import Store
from mre.training.judges.groups import LabelledEdit
from mre.training.judges.scenes import SceneGroups

NAME, JUDGE = "sample", "tiny-judge"
SCENES, SEED, SIZE = 14, 3, 128         # two scenes of each edit type on average; pixels a side
METHODS = ("first", "second")           # two edits of each scene, each spoiled in its own way
CROWD = Crowd(annotators=6, seed=1, careless=0.0)


@dataclass(frozen=True)
class Sample:
    """Both sides of a comparison, the edits.csv, and each picture as a PNG by item and method (None: the original)."""

    human: Ratings
    judge: Ratings
    edits: pd.DataFrame
    pictures: dict[tuple[str, str | None], bytes]


def draw_sample() -> Sample:
    """Takes seconds; nothing stays on disk. The same every time."""
    groups = SceneGroups(SCENES, SEED, "heldout", SIZE)
    edits = {(f"scene-{number + 1:02d}", method): edit for number in range(SCENES)
             for method, edit in zip(METHODS, groups.group(number).edits, strict=False)}
    pictures: dict[tuple[str, str | None], bytes] = {}
    for (item, method), edit in edits.items():
        for place, picture in ((None, edit.original), (method, edit.edited)):
            assert isinstance(picture, Image), "scenes are drawn"
            pictures[item, place] = png_bytes(picture)
    rows = [(item, edit.edit_type, edit.instruction, f"originals/{item}.png", method, f"{method}/{item}.png", SEED, method, 0)
            for (item, method), edit in edits.items()]
    with tempfile.TemporaryDirectory(prefix="sample-") as name:
        folder = Path(name)
        write_whole(folder / "edits.csv", csv_text(EDITS, rows))
        for (item, method), picture in pictures.items():
            write_whole(folder / (method or "originals") / f"{item}.png", picture)
        table = read_edits(folder / "edits.csv")
        assert table is not None, "just written"
        return Sample(_people(folder, edits), _judged(edits), table, pictures)


def _people(folder: Path, edits: dict[tuple[str, str], LabelledEdit]) -> Ratings:
    """A study of the folder's edits, rated by simulated annotators: the true score with a bias and noise of each."""
    store = Store.open(folder / "data")
    try:
        studies.create_from_edits(store, NAME, [folder], StudyDesign(per_pair=CROWD.annotators, repeats=0, checks=0))
        copy, _ = simulate(store, NAME, CROWD, truth={key: [score or 0.0 for score in edit.scores] for key, edit in edits.items()})
        text = io.StringIO(newline="")
        export(store, copy.name, text, "long")
    finally:
        store.close()
    return read_human(text.getvalue().encode(), [NAME])


def _judged(edits: dict[tuple[str, str], LabelledEdit]) -> Ratings:
    rows: list[dict[str, str]] = []

    def heard(ask: Ask, verdicts: Verdicts) -> None:
        one = {"item": ask.item, "method": ask.method, "judge": verdicts.judge, "judge_version": verdicts.judge_version, "repeat": "1"}
        rows.extend(one | {"perspective": name, "score": "" if score is None else f"{score:g}"}
                    for name, score in zip(PERSPECTIVES, verdicts.scores, strict=True))
    asks: Sequence[Ask] = [Ask(item, edit.instruction, edit.original, edit.edited, method) for (item, method), edit in edits.items()]
    make_judge(JUDGE).score_all(asks, "reward", heard)
    return read_judge(pd.DataFrame(rows), [JUDGE])
