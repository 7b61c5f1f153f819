"""Stored triplets as training samples: order, resize, crop and mirror, from a tree or Parquet files and their rewards."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mre.data.pix2pix import open_pix2pix
from mre.data.rewardedit import read_rewards, read_row_map
from mre.errors import DataError
from mre.rewards import PERSPECTIVES, Reward
from mre.scoring.keep import Keep
from mre.scoring.selection import Opinion, read_opinions, weights_of
from mre.training.config import TrainConfig
from mre.training.examples import DATA_STREAM, ExampleSource, TrainingExample

if TYPE_CHECKING:
    from mre.data.triplets import Triplet, TripletText
    from mre.training.config import TrainConfig

ORDER_STREAM = 2            # keeps the order of an epoch apart from draws of samples
HELD_OUT = 16               # triplets never trained on, to look at; none of a set smaller than twenty times that
_SIDES = {"left": "right", "right": "left", "leftmost": "rightmost", "rightmost": "leftmost", "leftwards": "rightwards",
          "rightwards": "leftwards", "leftward": "rightward", "rightward": "leftward", "lefthand": "righthand", "righthand": "lefthand"}
_SIDE_WORD = re.compile(rf"\b({'|'.join(_SIDES)})\b", re.IGNORECASE)


@dataclass(frozen=True)
class View:
    """How a triplet is looked at: numbers in [0, 1) choose the wording and the place of the crop."""

    wording: float = 0.0
    across: float = 0.5
    down: float = 0.5
    mirrored: bool = False

    def worded(self, triplet: Triplet | TripletText) -> str:
        """The instruction in the chosen wording; left and right swap with the picture."""
        instruction = triplet.instructions[self.wording_of(triplet)]
        return swap_sides(instruction) if self.mirrored else instruction

    def wording_of(self, triplet: Triplet | TripletText) -> int:
        """Which of the triplet's instructions is the chosen wording."""
        return int(self.wording * len(triplet.instructions))


@dataclass(frozen=True)
class Row:
    """One triplet as it is stored, how it is looked at, and its reward."""

    triplet: Triplet
    view: View
    reward: Reward


class StoredExamples(ExampleSource):
    """Every triplet once an epoch, each epoch in another order; with rewards, only the triplets that have one.

    Raises DataError for a triplet that is not whole, a reward without its triplet, or one whose triplet is not clear.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        root = Path(config.data_dir)
        rewards = {key: row.reward for key, row in read_rewards(config.rewards).items()} if config.rewards else None
        if config.row_map:
            rewards = by_row(rewards or {}, config.row_map)
        self.judged = Judged.read(config) if config.scores else None
        if self.judged and config.recondition:
            rewards = self.judged.rewards()
        named = self.judged.names if self.judged else rewards
        triplets = open_pix2pix(root, named)
        texts = triplets.texts()
        if named is not None:
            chosen = rewarded(texts, named, root, config.several_pairs)
            if rewards is not None:
                chosen = [index for index in chosen if texts[index].id in rewards or texts[index].folder in rewards]
            if not chosen:
                raise DataError(f"{root}: no triplet that scores keep has a reward in {config.rewards}")
            texts = [texts[index] for index in chosen]
            triplets = triplets.choose(chosen)
        self.rewards, self.triplets, self.texts = rewards, triplets, texts
        count = len(self.texts)
        held = HELD_OUT if count >= 20 * HELD_OUT else 0
        self._epoch = -1, np.empty(0, int)        # the order of one epoch
        self._held_out = range(count - held, count) if held else range(count)
        self.count = count - held

    def row(self, sample: int) -> Row:
        """The triplet of a sample, as it is stored: cropped at random, mirrored with probability 1/2 where the config says so."""
        return self.row_of(*self.draw(sample))

    def held_out(self, index: int) -> TrainingExample:
        """A triplet from the end, which training leaves out: first wording, centre crop, as it is."""
        return self.example(self.row_of(self._held_out[index % len(self._held_out)], View()))

    def identity(self) -> tuple[int, str]:
        """Of all triplets with their rewards and weights; of pictures the names alone, since reading all of them takes hours."""
        digest = hashlib.sha256()
        for text in self.texts:
            digest.update(repr((text.id, tuple(text.instructions), self.rewards and self.reward(text), self.judgement(text))).encode())
        return len(self.texts), digest.hexdigest()

    @property
    def held_out_rows(self) -> Sequence[int]:
        """The triplets that `held_out` shows, in its order."""
        return self._held_out

    def draw(self, sample: int) -> tuple[int, View]:
        """Which triplet a sample is, and how it is looked at."""
        epoch, place = divmod(sample, self.count)
        wording, across, down, mirror = np.random.default_rng((self.config.seed, sample, DATA_STREAM)).random(4)
        return int(self._order(epoch)[place]), View(wording, across, down, self.config.flip and mirror < 0.5)

    def row_of(self, index: int, view: View) -> Row:
        """Triplet `index` as it is stored."""
        return Row(self.triplets[index], view, self.reward(self.texts[index]))

    def example(self, row: Row) -> TrainingExample:
        """The triplet of a row at training size."""
        original, edited = (square(picture, self.config.resolution, row.view.across, row.view.down) for picture in row.triplet.open())
        if row.view.mirrored:
            original, edited = (np.ascontiguousarray(picture[:, ::-1]) for picture in (original, edited))
        return TrainingExample(row.view.worded(row.triplet), row.reward, original, edited, **self.judgement(row.triplet.text))

    def reward(self, triplet: TripletText) -> Reward:
        """The reward of a triplet; the best one where the data hold none, which a model without rewards does not see."""
        return Reward.best() if self.rewards is None else of_triplet(self.rewards, triplet)

    def judgement(self, triplet: TripletText) -> dict[str, Any]:
        """What a judge's scores make of a triplet, as fields of its TrainingExample."""
        return self.judged.of(triplet) if self.judged else {}

    def _order(self, epoch: int) -> np.ndarray:
        if self._epoch[0] != epoch:
            self._epoch = epoch, self._draw_order(epoch)
        return self._epoch[1]

    def _draw_order(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng((self.config.seed, epoch, ORDER_STREAM))
        if not self.triplets.blocks:
            return rng.permutation(self.count)
        blocks = [rng.permutation(np.array(block)) for block in self.triplets.blocks]          # what is read together stays together
        order = np.concatenate([blocks[one] for one in rng.permutation(len(blocks))])
        return order[order < self.count]


@dataclass(frozen=True)
class Judged:
    """What a judge's scores make of stored triplets: which are trained on, what each weighs, which rewards are too unsure."""

    opinions: dict[str, Opinion]            # of those that are kept
    weights: dict[str, float]               # empty: all equal
    unsure: set[str]

    @classmethod
    def read(cls, config: TrainConfig) -> Judged:
        """As the config says. Raises DataError for scores that cannot be used so."""
        opinions = read_opinions(config.scores)
        if config.keep:
            opinions = {name: opinions[name] for name in Keep.parse(config.keep).chosen(opinions, config.keep_above)}
        if config.recondition and (missing := [name for name in PERSPECTIVES if name not in next(iter(opinions.values())).means]):
            raise DataError(f"recondition needs scores on {', '.join(PERSPECTIVES)}; {config.scores[0]} has none on {', '.join(missing)}")
        weights = weights_of(opinions, opinions, config.keep_above) if config.weight else {}
        unsure = {name for name, opinion in opinions.items() if config.recondition and opinion.doubt > config.recondition_doubt}
        return cls(opinions, weights, unsure)

    @property
    def names(self) -> Collection[str]:
        """The triplets that are kept."""
        return self.opinions.keys()

    def rewards(self) -> dict[str, Reward]:
        """The judge's scores and texts as rewards."""
        return {name: opinion.reward() for name, opinion in self.opinions.items()}

    def of(self, triplet: TripletText) -> dict[str, Any]:
        """Fields of a triplet's TrainingExample."""
        name = triplet.id if triplet.id in self.opinions else triplet.folder
        return {"weight": self.weights.get(name, 1.0), "has_reward": name not in self.unsure}


def of_triplet(rewards: Mapping[str, Reward], triplet: TripletText) -> Reward:
    """The reward of a triplet, under its own name or its folder's."""
    return rewards[triplet.id] if triplet.id in rewards else rewards[triplet.folder]


def by_row(rewards: dict[str, Reward], row_map: Path) -> dict[str, Reward]:
    """Rewards under the names of the Parquet rows that a map gives their keys. Raises DataError for a key that it lacks."""
    rows = read_row_map(row_map)
    for key in rewards:
        if key not in rows:
            raise DataError(f"{row_map}: has no row for {key!r}, which has a reward")
    return {rows[key]: reward for key, reward in rewards.items()}


def rewarded(triplets: Sequence[TripletText], rewards: Collection[str], root: Path, several: str) -> list[int]:
    """The place of one triplet for each name that has a reward, or scores. A key that names a folder of several seed pairs does not say
    which pair was scored: that is an error, unless `several` is "first": the pair with the smallest seed."""
    chosen: dict[str, int] = {}
    for index, triplet in enumerate(triplets):
        if triplet.id in rewards:
            chosen[triplet.id] = index
        elif triplet.folder in rewards:
            if triplet.folder not in chosen:
                chosen[triplet.folder] = index
            elif several != "first":
                raise DataError(f"{root / triplet.folder}: holds several seed pairs, and its reward does not say which it is for; "
                                "name it as FOLDER/SEED, or set several_pairs to first")
    for key in rewards:
        if key not in chosen:
            hint = "; row_map says which Parquet row a folder is" if triplets and ".parquet#" in triplets[0].id else ""
            raise DataError(f"{root}: has no triplet {key!r}, which has a reward{hint}")
    return list(chosen.values())


def square(picture: Image.Image, side: int, across: float, down: float) -> np.ndarray:
    """The shorter side resized to `side`, the aspect kept, then a square crop at `across`, `down` (0..1) of the room there is.

    The paper resizes to 256 and crops; its released code squeezes both pictures into a square instead.
    """
    width, height = picture.size
    short = min(width, height)
    left, top = (width - short) * across, (height - short) * down
    resized = picture.resize((side, side), Image.Resampling.LANCZOS, box=(left, top, left + short, top + short), reducing_gap=3.0)
    return np.asarray(resized)


def swap_sides(instruction: str) -> str:
    """The instruction for the mirrored picture: left becomes right, and right left."""
    def swapped(match: re.Match) -> str:
        word = _SIDES[match[0].lower()]
        return word.upper() if match[0].isupper() else word.capitalize() if match[0][0].isupper() else word

    return _SIDE_WORD.sub(swapped, instruction)
