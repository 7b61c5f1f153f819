"""Which pairs of a study teach a judge most: those of which it is least sure whether the first wins, ties or loses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from mre.judge.trained import TrainedJudge, embedded_judge
from mre.study import studies
from mre.study.assignment import method_pairs
from mre.study.records import find_study
from mre.study.schema import edits, items, methods
from mre.training.judges.measure import LEAST_DEVIATION, win_probabilities
from mre.training.judges.studies import stored_picture

if TYPE_CHECKING:
    from mre.study.records import Study
    from mre.study.store import Store

BATCH = 32


def start_serving(store: Store, name: str, judge: str = "tiny-judge", by: str = "researcher") -> Study:
    """Start a study; where it is a draft that serves informative pairs first, with what a judge makes of its pairs. Raises StudyError, or
    JudgeError for a judge that gives no deviations."""
    study = find_study(store, name)
    if not study.awaits_judge:
        return studies.start(store, name, by=by)
    asked = embedded_judge() if judge == "tiny-judge" else TrainedJudge(Path(judge))
    return studies.start(store, name, by=by, priorities=pair_entropies(store, study, asked), judge=asked.version)


def pair_entropies(store: Store, study: Study, judge: TrainedJudge) -> dict[tuple[str, str, str], float]:
    """By (item, first method, second method): the entropy, in nats, of win, tie and loss as the judge has them, summed over its
    perspectives."""
    with store.read() as connection:
        rows = connection.execute(
            sa.select(items.c.name, methods.c.name, items.c.instruction, items.c.original, edits.c.image)
            .join(items, items.c.id == edits.c.item_id).join(methods, methods.c.id == edits.c.method_id)
            .where(items.c.study_id == study.id).order_by(items.c.position, methods.c.position)).all()
        names = list(connection.execute(sa.select(methods.c.name).where(methods.c.study_id == study.id).order_by(methods.c.position))
                     .scalars())
    scores: dict[tuple[str, str], Any] = {}
    for start in range(0, len(rows), BATCH):
        part = rows[start:start + BATCH]
        originals, editeds = ([judge.network.seen(stored_picture(store, row[place])) for row in part] for place in (3, 4))
        for row, numbers in zip(part, judge.reported(originals, editeds, [row[2] for row in part]), strict=True):
            scores[row[0], row[1]] = np.maximum(numbers, (0.0, LEAST_DEVIATION))              # (P, 2)
    found = {}
    for item in dict.fromkeys(row[0] for row in rows):
        for first, second in method_pairs(names, study.design.pairs):
            one, other = scores[item, first], scores[item, second]
            found[item, first, second] = sum(
                _entropy(win_probabilities(one[[place], 0] - other[[place], 0], np.hypot(one[[place], 1], other[[place], 1]),
                                           judge.facts.calibration[name])[0])
                for place, name in enumerate(judge.perspectives))
    return found


def _entropy(probabilities: np.ndarray) -> float:
    kept = probabilities[probabilities > 0]
    return float(-(kept * np.log(kept)).sum())
