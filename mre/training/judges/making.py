"""From groups of labelled edits to the folder of a judge: what to begin with, what is held out, training, calibration and report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from mre.errors import DataError, SettingsError
from mre.judge.reward_models.bodies import build, sizes_of
from mre.judge.reward_models.folder import JudgeFacts, load_network, read_facts, save_judge
from mre.judge.trained import EMBEDDED
from mre.rewards import PERSPECTIVES
from mre.training.judges.batches import WeightedSource
from mre.training.judges.config import JudgeTraining
from mre.training.judges.groups import GroupSource, split
from mre.training.judges.loop import JudgeRun
from mre.training.judges.measure import Predictions, calibrate, held_out_groups, predict
from mre.training.judges.report import report_rows, write_report
from mre.training.memory import keep_freed_memory

Sources = Sequence[tuple[GroupSource, float]]           # with how often a group is from each


def split_sources(sources: Sources, config: JudgeTraining) -> tuple[list[WeightedSource], list[GroupSource]]:
    """(To train on, held out), by original picture. Raises DataError where nothing is left to hold out."""
    parts = [split(source, config.held_out, config.most_held_out, config.seed) for source, _ in sources]
    held = [apart for _, apart in parts]
    if not sum(map(len, held)):
        raise DataError("nothing is left to hold out: there are too few original pictures; give more data, or raise --held-out")
    return [WeightedSource(kept, weight) for (kept, _), (_, weight) in zip(parts, sources, strict=True)], held


def annotators_of(sources: Sequence[GroupSource]) -> list[str]:
    """Everybody who scored. Scenes are drawn when they are asked for, and nobody scored them."""
    return sorted({edit.annotator for source in sources if not source.name.startswith("scenes:") for number in range(len(source))
                   for edit in source.group(number).edits} - {""})


def check_ratings(source: GroupSource, fewest_annotators: int = 1) -> None:
    """Refuse ratings from which nothing can be learnt. Raises DataError: too few annotators, or every score the same."""
    edits = [edit for number in range(len(source)) for edit in source.group(number).edits]
    people = {edit.annotator for edit in edits}
    if len(people) < fewest_annotators:
        raise DataError(f"{source.name}: all ratings are one annotator's; at least {fewest_annotators} annotators are needed, so that a "
                        "judge learns what people agree on")
    scores = {score for edit in edits for score in edit.scores if score is not None}
    said = any(value for number in range(len(source)) for preference in source.group(number).preferences
               for value in preference.preferred)
    if len(scores) == 1 and not said:
        raise DataError(f"{source.name}: every score is {scores.pop():g}: there is nothing to tell good edits from bad ones by")


def train_network(network: Any, sources: Sources, config: JudgeTraining, out: Path, names: Sequence[str],
                  on_step: Callable[[int], object] | None = None) -> dict[str, Any] | None:
    """Train in place. Returns what `judge.json` says of it; None in a process that is not the first.

    on_step: is told each step; what it raises ends the training, which goes on from its last checkpoint when it is called again
    """
    keep_freed_memory()
    torch.manual_seed(config.seed)
    train, held = split_sources(sources, config)
    for source, _ in sources:
        if not source.name.startswith("scenes:"):
            check_ratings(source)
    annotators = annotators_of([part.groups for part in train])
    run = JudgeRun(network, train, held, annotators, config, out, names)
    progress = run.train(on_step)
    if run.rank:
        return None
    return {"data": list(names), "settings": dataclasses.asdict(config), "steps": progress.step, "best_step": progress.best_step,
            "held_out_loss": progress.best, "annotators": len(annotators)}


def calibrate_and_save(network: Any, tests: Sequence[GroupSource], config: JudgeTraining, out: Path, trained: dict[str, Any],
                       names: Sequence[str]) -> tuple[Predictions, list, list[Path]]:
    """Calibrate on half of what `tests` hold, report the other half, write the judge. Returns predictions, the report's rows and files."""
    found = predict(network, held_out_groups(tests, config.most_held_out))
    calibration = calibrate(found)
    rows = report_rows(found, calibration)
    trained["report"] = {name: values for kind, name, values in rows if kind == "all"}
    about = f"# {out.name}\n\nTrained on {', '.join(names)}; reported on {', '.join(test.name for test in tests)}."
    paths = write_report(out, found, calibration, about)
    save_judge(out, network, JudgeFacts(network.kind, sizes_of(network), network.heads.perspectives, calibration, trained))
    return found, rows, paths


def starting_network(body: str, start: str | Path | None = None, sizes: Sequence[str] = (), perspectives: Sequence[str] = PERSPECTIVES,
                     seed: int = 0) -> tuple[Any, dict[str, Any]]:
    """A network drawn at random, of sizes such as "size=64", or that of the judge `start`; and what is known of its training. Raises
    SettingsError for sizes or perspectives that do not go together."""
    if unknown := set(perspectives) - set(PERSPECTIVES):
        raise SettingsError(f"perspectives must be some of {', '.join(PERSPECTIVES)}, got {', '.join(sorted(unknown))}")
    wanted = tuple(name for name in PERSPECTIVES if name in perspectives)
    if start:
        folder = EMBEDDED if start == "tiny-judge" else Path(start)
        facts = read_facts(folder)
        if sizes or facts.perspectives != wanted:
            raise SettingsError(f"{start} has its own sizes and scores {', '.join(facts.perspectives)}; only a fresh judge takes others")
        return _fast(load_network(folder, facts)), dict(facts.trained)
    torch.manual_seed(seed)
    return _fast(build(body, dict(map(_size, sizes)), wanted, Path("--network"))), {}


def _size(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    if not name or not value:
        raise SettingsError(f"--network {text}: must look like size=64 or widths=16,48,64,96 or base=FOLDER")
    parts = value.split(",")
    if all(part.strip().isdigit() for part in parts):
        return name, [int(part) for part in parts] if len(parts) > 1 else int(value)
    return name, value


def _fast(network: Any) -> Any:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return network.to(device, memory_format=torch.channels_last)
