"""Groups as the tensors of a batch, and the stream of batches that a step reads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mre.judge.pictures import JudgePicture
from mre.judge.reward_models.heads import Labels
from mre.judge.reward_models.likelihood import score_interval
from mre.rewards import PERSPECTIVES

if TYPE_CHECKING:
    from mre.judge.reward_models.bodies import Body
    from mre.training.judges.groups import GroupSource, LabelledGroup


@dataclass(frozen=True)
class WeightedSource:
    """A source to train on, and how often a group is from it beside the others."""

    groups: GroupSource
    weight: float = 1.0


def collate(body: Body, groups: Sequence[LabelledGroup], annotators: dict[str, int]) -> tuple[dict[str, Tensor], Labels]:
    """The inputs of a network and what is known of them. Raises ImageError for a picture that cannot be read."""
    edits = [edit for group in groups for edit in group.edits]
    originals, editeds = [], []
    for group in groups:
        seen: dict[int, np.ndarray] = {}
        for edit in group.edits:
            if id(edit.original) not in seen:           # mostly one picture for the whole group
                seen[id(edit.original)] = body.seen(JudgePicture(edit.original, edit.item).decoded())
            originals.append(seen[id(edit.original)])
            editeds.append(body.seen(JudgePicture(edit.edited, edit.item).decoded()))
    inputs = body.inputs(originals, editeds, [edit.instruction for edit in edits])
    return inputs, label_tensors(body.heads.perspectives, groups, annotators)


def label_tensors(perspectives: Sequence[str], groups: Sequence[LabelledGroup], annotators: dict[str, int]) -> Labels:
    """What is known of the edits of some groups, in their order."""
    edits = [edit for group in groups for edit in group.edits]
    columns = [PERSPECTIVES.index(name) for name in perspectives]
    scores = torch.tensor([[math.nan if (score := edit.scores[column]) is None else score for column in columns] for edit in edits])
    low, high = score_interval(scores, torch.tensor([[edit.step] for edit in edits]))
    first, second, preferred = [], [], []
    start = 0
    for group in groups:
        for said in group.all_preferences():
            first.append(start + said.first)
            second.append(start + said.second)
            preferred.append([math.nan if said.preferred[column] is None else said.preferred[column]
                              for column in [*columns, len(PERSPECTIVES)]])
        start += len(group.edits)
    return Labels(
        torch.where(torch.isnan(scores), math.nan, low), torch.where(torch.isnan(scores), math.nan, high), torch.ones(len(edits)),
        torch.tensor(first, dtype=torch.long), torch.tensor(second, dtype=torch.long),
        torch.tensor(preferred, dtype=torch.float32).reshape(-1, len(columns) + 1), torch.ones(len(first)),
        torch.tensor([annotators.get(edit.annotator, -1) for edit in edits]))


def shuffled(source: GroupSource, key: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """(Number, round) of the groups of a source, for ever, in another order each time round."""
    rounds = 0
    while True:
        for number in np.random.default_rng([*key, rounds]).permutation(len(source)):
            yield int(number), rounds
        rounds += 1


def chosen_groups(sources: Sequence[WeightedSource], seed: int, rank: int, world: int, skip: int) -> Iterator[tuple[int, int, int]]:
    """(Source, number, round) of what process `rank` of `world` trains on, after `skip` groups of its own: a function of the seed alone,
    whatever was drawn before a run was cut."""
    orders = [shuffled(source.groups, (seed, place)) for place, source in enumerate(sources)]
    shares = np.cumsum([source.weight for source in sources])
    rng = np.random.default_rng([seed, 7919])
    count = 0
    while True:
        place = int(np.searchsorted(shares, rng.random() * shares[-1], side="right"))
        number, rounds = next(orders[place])
        if count % world == rank and count // world >= skip:
            yield place, number, rounds
        count += 1
