"""The loop from ratings to a better editor, measured: a study of simulated annotators who know the truth, a judge trained on their
ratings, and editors trained on one pool of triplets by what that judge, the truth, or chance says of them.

All editors (ARMS) are those of `laboratory`: alike but for one thing, at equal steps, scored by the oracle on held-out scenes when
asked for the best edit. Then what a judge is worth as a target: best of N edits by the judge that was trained, by another one and by the
oracle, for N = 1 .. 32. Each stage leaves files in OUT; what is there is not made again.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mre.benchmark.laboratory import BLIND, LAB, TYPES, Pool, asked, crossed_cell
from mre.benchmark.tables import Table
from mre.data.scenes.triplets import SceneTriplet, draw_triplet
from mre.errors import SettingsError
from mre.files import EDITS, csv_text, png_bytes, read_json, write_whole
from mre.rewards import PERSPECTIVES, WHOLE_PICTURE, Reward
from mre.scoring.keep import Keep
from mre.scoring.selection import Opinion, weights_of
from mre.training.examples import TrainingExample

if TYPE_CHECKING:
    from mre.training.config import TrainConfig
    from mre.training.examples import ExampleSource

METHODS = ("first", "second")           # of the study: two edits of each item, each spoiled in its own way
STUDY = "rated"
BAR, MOST_DOUBT = 3.0, 1.0              # as train.py has them: keep_above and recondition_doubt
SIZES = (32, 64, 128, 256)              # pixels a side, of which the laboratory's editor can be
CHOSEN_OF = (1, 2, 4, 8, 16, 32)        # N of best-of-N
KINDS = "truth", "judge"


@dataclass(frozen=True)
class LoopSize:
    """How large a loop is. The defaults take minutes on one core."""

    items: int = 200            # of the study, each rated twice
    annotators: int = 6
    pool: int = 3000            # triplets that the judge scores
    keep: float = 0.25          # share of the pool that filters keep
    size: int = 64              # pixels
    judge_steps: int = 300
    steps: int = 200            # of each editor
    trainings: int = 3
    scenes: int = 60            # held-out, of the table of editors
    chosen_scenes: int = 24     # held-out, of best-of-N

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not (0 < value <= 1 if name == "keep" else value >= 1):
                rule = "above 0 and at most 1" if name == "keep" else "1 or more"
                raise SettingsError(f"{name.replace('_', '-')} must be {rule}, got {value}")
        if self.size not in SIZES:
            raise SettingsError(f"size must be one of {', '.join(map(str, SIZES))}, got {self.size}")


@dataclass(frozen=True)
class Arm:
    """One way to use the pool. `by`: whose scores it uses; None: nobody's."""

    about: str
    by: str | None = None
    use: str = "all"            # all, filter, weight or condition


ARMS = {
    "all": Arm("all triplets"),
    "filtered": Arm("the triplets that the judge ranks highest", "judge", "filter"),
    "weighted": Arm("each by the chance that the judge gives it to be good", "judge", "weight"),
    "reconditioned": Arm("all, conditioned on the judge's scores", "judge", "condition"),
    "oracle filtered": Arm("the triplets whose true scores are highest", "truth", "filter"),
    "oracle conditioned": Arm("all, conditioned on their true scores", "truth", "condition"),
    "random": Arm("as many triplets as the filters keep, by chance", None, "filter"),
}


class Loop:
    """The stages of a loop in a folder, each made when it is first asked for."""

    def __init__(self, out: Path, size: LoopSize, train: Callable[[TrainConfig, ExampleSource], object],
                 say: Callable[[str], object] = lambda text: None, **lab: Any) -> None:
        """train: the trainer of editors, of a config and its examples; lab: other settings of it. Raises SettingsError where the folder
        holds a loop of another size."""
        self.out, self.size, self.train, self.say, self.lab = out, size, train, say, lab
        path = out / "loop.json"
        if path.exists() and read_json(path) != asdict(size):
            raise SettingsError(f"{out}: holds a loop of {read_json(path)}, not of {asdict(size)}; name another --out")
        write_whole(path, json.dumps(asdict(size), indent=1) + "\n")
        self.pool = Pool(0, 0.0, size.pool, size.size)

    # -- from ratings to a judge

    def rate(self) -> Path:
        """The store with the study, rated by simulated annotators who see the truth with noise of their own. Its items are no part of the
        pool."""
        from mre.study import records, studies
        from mre.study.design import StudyDesign
        from mre.study.simulate import Crowd, simulate
        from mre.study.store import Store

        data, edits = self.out / "study", self.out / "edits"
        store = Store.open(data)
        try:
            if not any(study.name == f"{STUDY}-simulated" and study.state == "closed" for study in records.all_studies(store)):
                truth = self._draw_edits(edits)
                if not any(study.name == STUDY for study in records.all_studies(store)):
                    studies.create_from_edits(store, STUDY, [edits], StudyDesign(per_pair=2, repeats=0, checks=0))
                _, screens = simulate(store, STUDY, Crowd(annotators=self.size.annotators, careless=0.0), truth=truth)
                self.say(f"{screens} screens rated by {self.size.annotators} simulated annotators")
        finally:
            store.close()
        return data

    def _draw_edits(self, folder: Path) -> dict[tuple[str, str], tuple[float, ...]]:
        """Two edits each of scenes that no pool has, as a folder of edits; returns their true scores."""
        from mre.training.judges.scenes import spoiled_group

        rows: list[list[Any]] = []
        truth: dict[tuple[str, str], tuple[float, ...]] = {}
        for number in range(self.size.items):
            triplet = draw_triplet(77, number, "train", self.size.size, edit_type=TYPES[number % len(TYPES)])
            triplet = replace(triplet, instruction=asked(triplet, None))
            group = spoiled_group(triplet, np.random.default_rng([77, number]), variants=len(METHODS))
            item, original = f"scene-{number:04d}", f"originals/scene-{number:04d}.png"
            write_whole(folder / original, png_bytes(Image.fromarray(triplet.original)))
            for method, edit in zip(METHODS, group.edits, strict=True):
                assert isinstance(edit.edited, Image.Image), "scenes are drawn"
                write_whole(folder / method / f"{item}.png", png_bytes(edit.edited))
                rows.append([item, triplet.edit_type, triplet.instruction, original, method, f"{method}/{item}.png", number, method, 0.0])
                truth[item, method] = tuple(float(score or 0.0) for score in edit.scores)
        write_whole(folder / "edits.csv", csv_text(EDITS, rows))
        return truth

    def judge_folder(self) -> Path:
        """A judge trained on the study alone."""
        from mre.study.store import Store
        from mre.training.judges.config import JudgeTraining
        from mre.training.judges.making import calibrate_and_save, split_sources, starting_network, train_network
        from mre.training.judges.studies import study_groups

        folder = self.out / "judge"
        if (folder / "judge.json").is_file():
            return folder
        store = Store.open(self.rate())
        try:
            name = f"study:{STUDY}-simulated"
            sources = [(study_groups(store, f"{STUDY}-simulated"), 1.0)]
            steps = self.size.judge_steps
            config = JudgeTraining(steps=steps, groups=12, learning_rate=2e-3, ema=0.98, validate_every=max(steps // 10, 1), patience=5)
            network, _ = starting_network("target", sizes=[f"size={self.size.size}", "widths=16,24,32,48"], seed=0)
            trained = train_network(network, sources, config, folder, [name])
            assert trained is not None, "one process trains"
            calibrate_and_save(network, split_sources(sources, config)[1], config, folder, trained, [name])
        finally:
            store.close()
        return folder

    @cached_property
    def judge(self) -> Any:
        """The judge that learnt from the study."""
        from mre.judge.trained import TrainedJudge
        return TrainedJudge(self.judge_folder(), "trained")

    # -- from a judge to data

    @cached_property
    def opinions(self) -> dict[str, dict[str, Opinion]]:
        """Of each of KINDS what it says of every triplet of the pool, whose names are their numbers; the judge's is kept in scores.csv."""
        path = self.out / "scores.csv"
        if not path.exists():
            rows = []
            for start in range(0, self.size.pool, 64):
                numbers = range(start, min(start + 64, self.size.pool))
                drawn = [self.pool.triplet(number) for number in numbers]
                said = scores_by(self.judge, [(t.original, t.edited, asked(t, None)) for t in drawn])
                for number, triplet, judged in zip(numbers, drawn, said, strict=True):
                    rows.append([number, *triplet.reward.scores, *(value for pair in judged for value in pair)])
            write_whole(path, csv_text(["triplet", *PERSPECTIVES, *(f"{what} {name}" for name in PERSPECTIVES
                                                                    for what in ("judged", "deviation of"))], rows, floats=".6g"))
        with path.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        return {"truth": {row["triplet"]: Opinion({name: float(row[name]) for name in PERSPECTIVES}) for row in rows},
                "judge": {row["triplet"]: Opinion({name: float(row[f"judged {name}"]) for name in PERSPECTIVES},
                                                  {name: float(row[f"deviation of {name}"]) for name in PERSPECTIVES}) for row in rows}}

    def examples(self, arm: Arm, training: int) -> LoopExamples:
        """The pool as an arm uses it."""
        names = [str(number) for number in range(self.size.pool)]
        kept, weights, said = names, dict.fromkeys(names, 1.0), self.opinions[arm.by] if arm.by else {}
        count = max(1, round(self.size.keep * self.size.pool))
        if arm.use == "filter" and said:
            kept = Keep(top=count).chosen(said, BAR)
        elif arm.use == "filter":
            kept = [names[place] for place in np.random.default_rng([5, training]).permutation(len(names))[:count]]
        elif arm.use == "weight":
            weights = weights_of(said, names, BAR)
        return LoopExamples(self.pool, [int(name) for name in kept], weights, said if arm.use == "condition" else {}, training)

    # -- from data to editors

    def pipeline_folder(self, name: str, training: int) -> Path:
        """An arm's editor."""
        folder = self.out / "editors" / f"{name}-{training}".replace(" ", "_")
        if not (folder / "pipeline" / "model_index.json").exists():
            from mre.training.config import TrainConfig

            arm = ARMS[name]
            blind = {} if arm.use == "condition" else BLIND
            self.train(TrainConfig(**{**LAB, **blind, "seed": training, "max_steps": self.size.steps, "resolution": self.size.size,
                                      "out": str(folder), **self.lab}), self.examples(arm, training))
        return folder / "pipeline"

    def scored(self, name: str, training: int) -> np.ndarray:
        """(scenes, 3): the oracle's scores of an arm's edits of held-out scenes, asked for the best."""
        path = self.out / "scores" / f"{name}-{training}.csv".replace(" ", "_")
        if not path.exists():
            editor = LabEditor(self.pipeline_folder(name, training))
            rows = [[number, *oracle_scores(scene, editor.edit(scene, Reward.best(), 0))]
                    for number, scene in enumerate(self.held_out(self.size.scenes))]
            write_whole(path, csv_text(["scene", *PERSPECTIVES], rows, floats=".6g"))
        with path.open(encoding="utf-8", newline="") as lines:
            return np.array([[float(row[column]) for column in PERSPECTIVES] for row in csv.DictReader(lines)])

    def held_out(self, count: int) -> list[SceneTriplet]:
        """Scenes of things, places and wordings that no pool shows, unspoiled."""
        return [draw_triplet(7, index, "heldout", self.size.size, edit_type=TYPES[index % len(TYPES)], spoiled=False)
                for index in range(count)]

    def table(self, arms: Sequence[str] = tuple(ARMS)) -> Table:
        """The table of editors, of all trainings that are there or are made now."""
        rows: list[list[Any]] = []
        for name in arms:
            values = np.stack([self.scored(name, training) for training in range(self.size.trainings)])        # (T, S, 3)
            rows.append([name, str(self.size.trainings), *(crossed_cell(values[..., column]) for column in range(len(PERSPECTIVES))),
                         crossed_cell(values.mean(-1))])
            self.say(f"{name}: mean {values.mean():.3f}")
        notes = ["Intervals: 95 %, bootstrap over trainings and scenes.",
                 f"Oracle's scores, 0 to 5, of {self.size.scenes} held-out scenes; {self.size.steps} steps of {LAB['batch_size']} from "
                 f"nothing on {self.size.pool} triplets, filters keep {self.size.keep:.0%}; judge of {self.size.items} items rated twice.",
                 *(f"{name}: {ARMS[name].about}." for name in arms)]
        return Table("loop", "Editors by what their data were chosen with", ["data", "trainings", *PERSPECTIVES, "mean"], rows, notes)

    def judge_table(self) -> Table:
        """How right the judge is on the pool, none of which it was trained on."""
        from scipy import stats

        rows: list[list[Any]] = []
        for name in PERSPECTIVES:
            truth, judged = (np.array([one.means[name] for one in self.opinions[kind].values()]) for kind in KINDS)
            deviation = np.array([one.deviations[name] for one in self.opinions["judge"].values()])
            off = np.abs(judged - truth)
            rank: Any = stats.spearmanr(judged, truth)
            rows.append([name, f"{off.mean():.3f}", f"{rank.statistic:.3f}", f"{(off <= deviation).mean():.3f}"])
        return Table("judge", "The judge on the pool, against the truth", ["perspective", "mean error", "rank correlation",
                                                                           "within one deviation"], rows)

    def data_table(self, arms: Sequence[str] = tuple(ARMS)) -> Table:
        """What each arm's data are truly worth before any editor is trained on them."""
        rows: list[list[Any]] = []
        for name in arms:
            examples = self.examples(ARMS[name], 0)
            weights = np.array([examples.weights[str(number)] for number in examples.numbers])
            truth = np.array([list(self.opinions["truth"][str(number)].means.values()) for number in examples.numbers])       # (N, 3)
            means = np.average(truth, axis=0, weights=weights)
            good = np.average(truth.min(1) > BAR, weights=weights)
            told = np.mean([examples.reads_reward(number) for number in examples.numbers]) if ARMS[name].use == "condition" else None
            rows.append([name, str(len(truth)), *(f"{value:.3f}" for value in means), f"{good:.1%}",
                         "-" if told is None else f"{told:.1%}"])
        return Table("data", "What editors are trained on, by the truth", ["data", "triplets", *PERSPECTIVES, f"all above {BAR:g}",
                                                                          "reward is read"], rows,
                     ["Mean true scores, weighted as the loss is; of the first training."])

    # -- best of N

    def best_of(self, other: Any, name: str = "oracle conditioned") -> list[dict[str, Any]]:
        """Per judge that chooses and N: the oracle's and the trained judge's mean score of what is chosen among the first N edits of each
        scene. The edits of a scene are asked for with scores that are drawn for each, so that they differ.

        other: a judge that the study did not train
        """
        path = self.out / "best-of-n.csv"
        if not path.exists():
            write_whole(path, csv_text(["chosen by", "of", "oracle", "trained judge", "another judge"], self._best_of(other, name),
                                       floats=".4f"))
        with path.open(encoding="utf-8", newline="") as lines:
            return [{key: value if key == "chosen by" else float(value or "nan") for key, value in row.items()}
                    for row in csv.DictReader(lines)]

    def _best_of(self, other: Any, name: str) -> list[list[Any]]:
        editor, rng, rows = LabEditor(self.pipeline_folder(name, 0)), np.random.default_rng(3), []
        means = {"oracle": [], "trained judge": [], "another judge": []}
        for scene in self.held_out(self.size.chosen_scenes):
            wishes = [Reward.of(rng.integers(0, 6, 3).tolist()) for _ in range(CHOSEN_OF[-1])]
            made = [editor.edit(scene, wish, seed) for seed, wish in enumerate(wishes)]
            asks = [(scene.original, picture, asked(scene, None)) for picture in made]
            means["oracle"].append([float(np.mean(oracle_scores(scene, picture))) for picture in made])
            for label, judge in (("trained judge", self.judge), ("another judge", other)):
                means[label].append([float(np.mean([score for score, _ in pairs])) for pairs in scores_by(judge, asks)])
        scores = {label: np.array(rows_) for label, rows_ in means.items()}                             # (S, 32) each
        places = np.arange(self.size.chosen_scenes)
        for chooser, values in scores.items():
            for count in CHOSEN_OF:
                best = values[:, :count].argmax(1)
                rows.append([chooser, count, *(float(scores[label][places, best].mean()) for label in scores)])
        return rows


@dataclass(frozen=True)
class LoopExamples:
    """Triplets of a pool, in an order that all arms of a training share, with the rewards and weights that an arm gives them."""

    pool: Pool
    numbers: list[int]
    weights: Mapping[str, float]
    opinions: Mapping[str, Opinion]     # whose rewards are read; empty: nobody's
    training_seed: int

    def row(self, sample: int) -> int:
        """Every triplet once an epoch, each epoch in another order."""
        epoch, place = divmod(sample, len(self.numbers))
        return self.numbers[int(np.random.default_rng([self.training_seed, epoch]).permutation(len(self.numbers))[place])]

    def example(self, row: int) -> TrainingExample:
        triplet = self.pool.triplet(row)
        opinion = self.opinions.get(str(row))
        return TrainingExample(asked(triplet, None), opinion.reward() if opinion else triplet.reward, triplet.original, triplet.edited,
                               everywhere=triplet.edit_type in WHOLE_PICTURE, weight=self.weights[str(row)],
                               has_reward=self.reads_reward(row))

    def identity(self) -> tuple[int, str]:
        """Nothing is stored: numbers draw all of it."""
        return 0, ""

    def reads_reward(self, row: int) -> bool:
        """Whether the triplet's reward is sure enough to be read."""
        opinion = self.opinions.get(str(row))
        return opinion is None or opinion.doubt <= MOST_DOUBT

    def training(self, sample: int) -> TrainingExample:
        return self.example(self.row(sample))

    def held_out(self, index: int) -> TrainingExample:
        return self.training(index)


class LabEditor:
    """An editor of the laboratory, loaded."""

    def __init__(self, folder: Path) -> None:
        from mre.models.zoo import load_pipeline

        self.pipeline: Any = load_pipeline(str(folder), device="cpu")
        self.pipeline.set_progress_bar_config(disable=True)

    def edit(self, scene: SceneTriplet, wish: Reward, seed: int) -> np.ndarray:
        """(size, size, 3) uint8."""
        import torch
        return np.asarray(self.pipeline(asked(scene, None), image=Image.fromarray(scene.original), reward=wish,
                                        generator=torch.Generator().manual_seed(seed)).images[0])


def oracle_scores(scene: SceneTriplet, picture: np.ndarray) -> tuple[float, ...]:
    """What the oracle gives an edit of a scene."""
    from mre.data.scenes.oracle import Oracle
    return Oracle(scene).score(picture).scores


def scores_by(judge: Any, asks: Sequence[tuple[np.ndarray, np.ndarray, str]]) -> list[list[tuple[float, float]]]:
    """(score, deviation) per perspective of (original, edited, instruction), by a trained judge."""
    seen = [[judge.network.seen(Image.fromarray(picture)) for picture in pair] for *pair, _ in asks]
    return judge.score_arrays([pair[0] for pair in seen], [pair[1] for pair in seen], [text for *_, text in asks])


def plot_best_of(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """What the oracle, and what the judge that chose, thinks of the best of N, over N."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axis, scored_by in zip(figure.subplots(1, 2, sharey=False), ("oracle", "trained judge"), strict=True):
        for chooser in dict.fromkeys(row["chosen by"] for row in rows):
            mine = [row for row in rows if row["chosen by"] == chooser]
            axis.plot([row["of"] for row in mine], [row[scored_by] for row in mine], "o-", markersize=3, label=f"chosen by the {chooser}")
        axis.set_xscale("log", base=2)
        axis.set_xticks(list(CHOSEN_OF), list(map(str, CHOSEN_OF)))
        axis.set_xlabel("best of N edits")
        axis.set_ylabel(f"mean score by the {scored_by}")
        axis.legend(fontsize="small")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    write_whole(path, picture.getvalue())
