"""The weights that ship: small, half precision, and moved by the reward that is asked for."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from mre.data.scenes.concepts import canonical
from mre.data.scenes.looks import LOOKS
from mre.data.scenes.oracle import Oracle
from mre.data.scenes.triplets import draw_triplet
from mre.editors.kinds import make_editor
from mre.editors.settings import EditSettings
from mre.models import known, zoo
from mre.rewards import EDIT_TYPES, PERSPECTIVES, Reward
from tests.bench.looks import as_pixels, instruction_for, left_out, middle_of


def test_both_models_together_are_small_and_in_half_precision():
    files = [file for name in ("tiny", "tiny-baseline") for file in (known.ASSETS / name).rglob("*.safetensors")]
    assert len(files) >= 4
    assert sum(file.stat().st_size for file in files) <= 60e6
    for file in files:
        with safe_open(file, "pt") as tensors:
            assert {tensors.get_tensor(name).dtype for name in tensors.keys()} == {torch.float16}, file     # noqa: SIM118


def test_no_path_of_the_machine_that_trained_them_is_left_in_their_folders():
    for name in ("tiny", "tiny-baseline"):
        for file in (known.ASSETS / name).rglob("*.json"):
            if file.name != "tokenizer.json":
                assert not re.search(r'"/\w|/tmp/', json.dumps(json.loads(file.read_text(encoding="utf-8")))), file


@pytest.fixture(scope="module")
def scenes():
    triplets = [draw_triplet(2024, index, "heldout", edit_type=EDIT_TYPES[index % 7], spoiled=False) for index in range(14)]
    return [(triplet, Oracle(triplet)) for triplet in triplets]


def edits_of(pipeline, scenes, reward):
    pipeline.set_progress_bar_config(disable=True)
    triplets = [triplet for triplet, _ in scenes]
    pictures = pipeline([canonical(triplet.edit.request) for triplet in triplets],
                        image=[Image.fromarray(triplet.original) for triplet in triplets],
                        reward=reward, generator=torch.Generator().manual_seed(0)).images
    return [np.asarray(picture) for picture in pictures]


def mean_scores(pipeline, scenes, reward):
    pictures = edits_of(pipeline, scenes, reward)
    return np.mean([oracle.score(picture).scores for (_, oracle), picture in zip(scenes, pictures, strict=True)], axis=0)


def test_tiny_asked_for_the_best_does_better_on_every_perspective_than_asked_for_the_worst(scenes):
    pipeline = zoo.load_pipeline("tiny", device="cpu")
    best, worst = (mean_scores(pipeline, scenes, Reward(score, score, score)) for score in (5, 0))
    for name, high, low in zip(PERSPECTIVES, best, worst, strict=True):
        assert high > low + 0.3, f"{name}: {high:.2f} asked for 5, {low:.2f} asked for 0"


@pytest.fixture(scope="module")
def tiny():
    return make_editor("tiny")


@pytest.mark.parametrize("look", LOOKS)
def test_tiny_gives_a_photo_the_looks_that_the_page_offers(look, tiny):
    """At most a quarter of the way to the true look is left, in squared distance, for each one and all sample photographs together."""
    distances = []
    for path in sorted((known.ASSETS / "photos").glob("*.jpg")):
        photo = middle_of(path, tiny.info.native_size)
        before, asked = as_pixels(photo), LOOKS[look](as_pixels(photo))
        edit = as_pixels(tiny.edit(photo, EditSettings(instruction_for(look))).made)
        distances.append(left_out(before, asked, edit))
    assert distances
    assert np.mean(distances) < 0.25


def test_a_photo_made_black_and_white_keeps_next_to_no_colour(tiny):
    photo = Image.open(known.ASSETS / "photos" / "coffee.jpg").convert("RGB")
    edit = tiny.edit(photo, EditSettings("make it black and white")).image
    before, after = (np.ptp(np.asarray(picture, np.float32), axis=2).mean() for picture in (photo, edit))
    assert after < 0.12 * before


def test_the_baseline_reads_no_reward(scenes):
    pipeline = zoo.load_pipeline("tiny-baseline", device="cpu")
    assert not pipeline.conditioned
    assert np.array_equal(*(edits_of(pipeline, scenes, Reward(score, score, score)) for score in (5, 0)))
