"""No suggestion fails: each one that the page can offer is run on what it is offered for, and its picture is what it says."""

import io
import os
from functools import lru_cache

import numpy as np
import pytest
import torch
from PIL import Image

from mre.data.scenes.looks import LOOKS
from mre.data.scenes.oracle import score
from mre.editors.kinds import make_editor
from mre.editors.pipeline_info import vocabulary_of
from mre.editors.settings import EditSettings
from mre.embedded.vocabulary import look_instructions
from mre.imaging import reduced
from mre.recipes import png_bytes
from tests.fake_editing import fake_editor
from ui.edit.example_strip import Results, strip_html, thumbnail
from ui.edit.examples import EXAMPLES, PHOTOS, SCENE_SIZE, example_of
from ui.edit.suggestions import MOST_AT_FIRST, MOST_COMPLETIONS, offered, suggestions
from ui.studio import Studio, StudioSettings

MODELS = ("tiny", "tiny-baseline")
DRAWN = [example for example in EXAMPLES if not example.photo]
PHOTO_EXAMPLES = {example.photo: example for example in EXAMPLES if example.photo}
SMALL = 256                  # the model works at 128


@pytest.fixture(scope="module")
def editors():
    torch.set_num_threads(1)
    return {name: make_editor(name, device="cpu") for name in MODELS}


@lru_cache(maxsize=16)
def small(example) -> Image.Image:
    return reduced(example.picture(), SMALL)


def left_out(editor, picture: Image.Image, look: str, instruction: str) -> float:
    """The squared distance of the edit from the true look, by that of the picture: 0 is the look itself, 1 as far from it as before."""
    result = editor.edit(picture, EditSettings(instruction))
    before, made = (np.asarray(one, np.float32) / 255 for one in (result.seen, result.made))
    asked = LOOKS[look](before)
    return float(((made - asked) ** 2).mean() / ((before - asked) ** 2).mean())


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("number", range(MOST_AT_FIRST))
def test_a_look_suggested_at_first_is_what_any_picture_gets(editors, model, number):
    """Drawn or a photo: each look on every other picture, in turn, and on every one with MRE_WHOLE_WALK=1."""
    look = vocabulary_of(model).looks[number]
    instruction = suggestions(vocabulary_of(model), "", None)[number]
    assert instruction in look_instructions(look)
    pictures = (*DRAWN, *PHOTO_EXAMPLES.values())
    for example in pictures if "MRE_WHOLE_WALK" in os.environ else pictures[number % 2::2]:
        assert left_out(editors[model], small(example), look, instruction) < 0.5, (instruction, example.file_name, example.edit_type)


@pytest.mark.parametrize("model", MODELS)
def test_every_other_wording_that_is_offered_while_typing_works_too(editors, model):
    """On one photograph, so that it does not take a minute."""
    for look in vocabulary_of(model).looks:
        for instruction in look_instructions(look)[1:]:
            assert left_out(editors[model], small(PHOTO_EXAMPLES["cat.jpg"]), look, instruction) < 0.5, instruction


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("example", DRAWN, ids=lambda example: example.edit_type)
def test_a_drawn_examples_own_suggestion_is_good_in_the_oracles_eyes(editors, model, example):
    assert suggestions(vocabulary_of(model), "", example)[0] == example.instruction
    triplet = example.triplet(128)
    picture = editors[model].edit(example.picture(), EditSettings(example.instruction)).image.resize((128, 128), Image.Resampling.LANCZOS)
    scores = score(triplet, np.asarray(picture)).scores
    assert scores[0] > 3
    assert scores[1] > 3


def test_photo_examples_say_looks_that_are_done(editors):
    said = {text: look for look in vocabulary_of("tiny").looks for text in look_instructions(look)}
    for example in EXAMPLES:
        if example.photo:
            look = said[example.instruction]
            assert left_out(editors["tiny"], small(example), look, example.instruction) < 0.5, example


def test_results_of_the_examples_are_those_of_the_model_and_none_without_it(editors):
    editors["tiny"].prepare()
    studio = Studio(StudioSettings(), {"tiny": editors["tiny"]})
    number = next(number for number, example in enumerate(EXAMPLES) if example.instruction == "turn day into night")
    made = Results(studio).of(number)
    before, after = (np.asarray(Image.open(io.BytesIO(data)).convert("L"), float) for data in (thumbnail(number), made))
    assert after.shape == before.shape
    assert after.mean() < 0.6 * before.mean(), "night"
    assert Results(Studio(StudioSettings(), {"fake": fake_editor()})).of(number) is None


def test_things_are_only_suggested_for_the_scene_that_has_them(tmp_path):
    for model in MODELS:
        for example in (None, *DRAWN):
            extra = set(offered(vocabulary_of(model), example)) - set(offered(vocabulary_of(model), None))
            assert extra == ({example.instruction} if example else set())
    (tmp_path / "renamed.png").write_bytes(png_bytes(DRAWN[2].picture()))
    assert example_of(tmp_path / "renamed.png") == DRAWN[2]
    Image.new("RGB", (SCENE_SIZE, SCENE_SIZE)).save(tmp_path / "other.png")
    for other in (tmp_path / "other.png", PHOTOS / "cat.jpg", tmp_path / "none.png", None):
        assert example_of(other) is None


def test_on_a_chinese_page_a_model_that_reads_chinese_is_offered_the_same_requests_in_it():
    tiny, other = vocabulary_of("tiny"), vocabulary_of("tiny-untrained")
    for example in (None, *DRAWN):
        english, chinese = (suggestions(tiny, "", example, language) for language in ("en", "zh"))
        assert [tiny.read(text).understood for text in chinese] == [tiny.read(text).understood for text in english] != []
        assert not any(text.isascii() for text in chinese)
    for example in EXAMPLES:
        assert tiny.read(example.said("zh")).understood == tiny.read(example.said("en")).understood
    assert suggestions(tiny, "变成", None, "zh")[0].startswith("变成")
    assert suggestions(other, "", None, "zh") == suggestions(other, "", None, "en")
    cards = [strip_html("zh", make_editor(name, device="cpu")) for name in ("tiny", "tiny-untrained")]
    assert [EXAMPLES[0].said("zh") in html for html in cards] == [True, False]


def test_what_is_typed_is_gone_on_from_and_a_whole_suggestion_brings_the_others():
    assert suggestions(vocabulary_of("tiny"), "turn it", None)[0].startswith("turn it into")
    assert "make it black and white" in suggestions(vocabulary_of("tiny"), "please whi", None)
    assert len(suggestions(vocabulary_of("tiny"), "m", None)) == MOST_COMPLETIONS
    others = suggestions(vocabulary_of("tiny"), "make it look like  Sunset", None)
    assert len(others) == MOST_AT_FIRST
    assert "make it look like sunset" not in others
    assert suggestions(vocabulary_of("reward-insp2p"), "", None) == suggestions(vocabulary_of("tiny-untrained"), "make", DRAWN[0]) == []
