"""Stored triplets as samples: every one once an epoch, aspect kept, left and right swapped with the picture."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from mre.rewards import EDIT_TYPES
from mre.training.config import TrainConfig
from mre.training.stored import StoredTriplets, square, swap_sides
from mre.training.triplets import DrawnTriplets, Numbers, collate


def test_every_triplet_comes_once_an_epoch_in_an_order_that_the_seed_decides(config):
    source = StoredTriplets(config)
    epochs = [[source.draw(sample)[0] for sample in range(epoch * 24, epoch * 24 + 24)] for epoch in range(2)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(24))] * 2
    assert epochs[0] != epochs[1]
    assert epochs[0] == [StoredTriplets(config).draw(sample)[0] for sample in range(24)]
    assert epochs[0] != [StoredTriplets(dataclasses.replace(config, seed=1)).draw(sample)[0] for sample in range(24)]


def test_a_sample_is_the_same_at_every_call_and_mirrored_half_the_time(config):
    source = StoredTriplets(config)
    for sample in range(4):
        one, two = source.training(sample), source.training(sample)
        assert one.instruction == two.instruction
        assert np.array_equal(one.edited, two.edited)
        assert one.original.shape == one.edited.shape == (16, 16, 3)
    mirrored = np.mean([source.draw(sample)[1].mirrored for sample in range(2000)])
    assert mirrored == pytest.approx(0.5, abs=0.04)
    assert not any(StoredTriplets(dataclasses.replace(config, flip=False)).draw(sample)[1].mirrored for sample in range(50))


def test_original_and_edited_are_cropped_and_mirrored_together(config):
    source = StoredTriplets(config)
    for sample in range(12):
        index, view = source.draw(sample)
        triplet = source.triplets[index]
        sides = [square(side, 16, view.across, view.down) for side in triplet.open()]
        example = source.training(sample)
        for side, made in zip(sides, (example.original, example.edited), strict=True):
            assert np.array_equal(side[:, ::-1] if view.mirrored else side, made)


def test_a_picture_keeps_its_aspect_and_is_cropped_across_its_longer_side():
    picture = Image.new("RGB", (300, 100))
    for x in range(300):
        picture.paste((x * 255 // 299, 0, 0), (x, 0, x + 1, 100))
    left, middle, right = (square(picture, 50, across, 0.3)[:, :, 0].mean() for across in (0.0, 0.5, 1.0))
    assert (left, middle, right) == pytest.approx((255 / 6, 255 / 2, 255 * 5 / 6), abs=1.5)
    slope = np.diff(square(picture, 50, 0.5, 0)[:, :, 0].astype(float).mean(axis=0))[5:-5].mean()
    assert slope == pytest.approx(2 * 255 / 299, abs=0.05)          # two source pixels a step, not the six of a squeezed picture


@pytest.mark.parametrize(("said", "mirrored"), [
    ("remove the left ball", "remove the right ball"),
    ("Left of the RIGHT tree, add a leftmost star", "Right of the LEFT tree, add a rightmost star"),
    ("make it bright", "make it bright"),
    ("the cleft is upright, leftover", "the cleft is upright, leftover"),
])
def test_left_and_right_swap_as_words(said, mirrored):
    assert swap_sides(said) == mirrored
    assert swap_sides(mirrored) == said


def test_together_the_processes_take_every_number_once():
    taken = []
    for rank in range(3):
        numbers = iter(Numbers(first=12, batch_size=2, rank=rank, world=3))
        taken += [*next(numbers), *next(numbers)]
    assert sorted(taken) == list(range(12, 24))


def test_drawn_triplets_are_clean_for_the_share_that_was_asked_for_and_weigh_edit_types():
    config = TrainConfig(resolution=32, clean_share=0.5, edit_type_weights=(1, 0, 0, 0, 0, 0, 0))
    examples = [DrawnTriplets(config).training(sample) for sample in range(40)]
    clean = [example.reward.scores == (5, 5, 5) for example in examples]
    assert 0.3 < np.mean(clean) < 0.8
    spoiled = [DrawnTriplets(dataclasses.replace(config, clean_share=0.0)).training(sample) for sample in range(40)]
    assert all(np.array_equal(one.original, other.original) and one.instruction == other.instruction
               for one, other in zip(examples, spoiled, strict=True))
    assert sum(np.array_equal(one.edited, other.edited) for one, other in zip(examples, spoiled, strict=True)) < 40


@pytest.mark.parametrize(("edit_type", "expected"), [("texture", False), ("background", False), ("global", True), ("style", True)])
def test_of_drawn_triplets_the_looks_are_edits_of_the_whole_picture(edit_type, expected):
    config = TrainConfig(resolution=32, edit_type_weights=tuple(float(name == edit_type) for name in EDIT_TYPES))
    batch = collate([(sample, DrawnTriplets(config).training(sample)) for sample in range(3)])
    assert batch.everywhere.tolist() == [expected] * 3
