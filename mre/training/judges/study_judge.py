"""A judge from one study, and a judge beside the people of a study: what a researcher asks for with one click."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mre.errors import DataError
from mre.training.judges.config import JudgeTraining
from mre.training.judges.groups import GroupSource, split
from mre.training.judges.making import calibrate_and_save, check_ratings, starting_network, train_network
from mre.training.judges.measure import figures, predict
from mre.training.judges.scenes import SceneGroups
from mre.training.judges.sources import weighted
from mre.training.judges.studies import STUDY, study_groups

if TYPE_CHECKING:
    from mre.judge.trained import TrainedJudge
    from mre.study.store import Store

SETTINGS = JudgeTraining(steps=200, groups=8, learning_rate=3e-4, ema=0.98, validate_every=25, patience=4, held_out=0.2)
SCENES = 20_000             # beside the ratings, as often as they, so that what the judge could before is kept
FEWEST_ANNOTATORS = 2
FEWEST_ORIGINALS = 2        # that must be held out: one calibrates, one reports
MOST_SCREENS = 500          # the latest, that a judge is compared on


def train_from_study(store: Store, name: str, out: Path, on_step: Callable[[int, int], object] | None = None,
                     settings: JudgeTraining = SETTINGS) -> Path:
    """Train `tiny-judge` on with a study's ratings, into the folder `out`; some originals are held out, and reported.

    on_step: is told (step, steps); what it raises ends the training, and nothing is left of it
    Raises DataError for a study without ratings, of one annotator, with all scores the same, or of too few originals.
    """
    source = study_groups(store, name)
    check_ratings(source, FEWEST_ANNOTATORS)
    kept, held = split(source, settings.held_out, settings.most_held_out, settings.seed)
    originals = {held.source_of(number) for number in range(len(held))}
    if len(originals) < FEWEST_ORIGINALS or not len(kept):
        raise DataError(f"{source.name}: too few original pictures to hold some out; a judge needs ratings of about "
                        f"{round(FEWEST_ORIGINALS * 2 / settings.held_out)} or more")
    names = [source.name, f"scenes:{SCENES}"]
    settings = dataclasses.replace(settings, most_held_out=min(settings.most_held_out, max(len(held), 20)))
    try:
        network, _ = starting_network("target", "tiny-judge")
        told = (lambda step: on_step(step, settings.steps)) if on_step else None
        trained = train_network(network, [(source, 1.0), (SceneGroups(SCENES), 1.0)], settings, out, names, told)
        assert trained is not None, "one process trains"
        calibrate_and_save(network, [held], settings, out, trained, names)
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise
    shutil.rmtree(out / "training", ignore_errors=True)
    return out


def judge_against_people(store: Store, name: str, judge: TrainedJudge) -> tuple[dict[str, dict[str, float]], int, bool]:
    """Per perspective the figures of `measure.figures` for a judge on what people have scored up to now; how many screens these are; and
    whether only held-out ones are counted, because the judge was trained on this study. Raises DataError for a study without ratings."""
    source: GroupSource = study_groups(store, name)
    learnt = any(weighted(data)[0] == f"{STUDY}{name}" for data in judge.facts.trained.get("data", ()))
    if learnt:
        source = split(source, judge.facts.trained["settings"]["held_out"], len(source), SETTINGS.seed)[1]
    groups = [source.group(number) for number in range(max(0, len(source) - MOST_SCREENS), len(source))]
    if not groups:
        raise DataError(f"{STUDY}{name} has no ratings of pictures that {judge.name} was not trained on")
    found = predict(judge.network, groups)
    found = dataclasses.replace(found, calibrates=np.zeros(len(found.edits), dtype=bool))
    return figures(found, judge.facts.calibration), len(groups), learnt
