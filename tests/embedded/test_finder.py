"""What finds things in pictures: those of drawn scenes, none in photographs, and what that does to a request."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from mre.data.scenes.render import render
from mre.data.scenes.world import KINDS, draw_scene
from mre.editors.kinds import make_editor
from mre.editors.settings import EditSettings
from mre.embedded.finder import Finder, ThingFinder, load_finder
from mre.embedded.names import vocabulary_of
from mre.embedded.reader import SHIPPED, load_reader
from mre.embedded.train_finder import calibrated, drawn, train_finder
from mre.errors import ModelError
from mre.imaging import open_image
from mre.models.known import ASSETS

PHOTOS = ("astronaut.jpg", "cat.jpg", "coffee.jpg", "rocket.jpg")


@pytest.fixture(scope="module")
def scenes():
    """Held-out scenes, and the kinds that are in each."""
    rng = np.random.default_rng(4)
    found = [draw_scene(rng, "heldout", False) for _ in range(40)]
    pictures = [Image.fromarray((np.asarray(render(scene, 128)).clip(0, 1) * 255).astype(np.uint8)) for scene in found]
    return [(picture, {thing.kind for thing in scene.things}) for picture, scene in zip(pictures, found, strict=True)]


def test_things_of_held_out_scenes_are_found_and_others_are_not(scenes):
    finder = load_finder(SHIPPED)
    found = [finder.holds(picture, kind) for picture, here in scenes for kind in here]
    mistaken = [finder.holds(picture, kind) for picture, here in scenes for kind in KINDS if kind not in here]
    assert np.mean(found) >= 0.93
    assert np.mean(mistaken) <= 0.1


@pytest.mark.parametrize("name", PHOTOS)
def test_a_request_about_a_thing_that_a_photograph_does_not_hold_changes_no_pixel_and_is_said_in_one_line(name):
    photo, editor = open_image(ASSETS / "photos" / name), make_editor("tiny", device="cpu")
    left = []
    for asked in ("remove the balloon", "make the red cube blue", "turn the mushroom striped"):
        result = editor.edit(photo, EditSettings(asked))
        if result.reading.fault == "absent":
            assert result.image.tobytes() == photo.convert("RGB").tobytes()
            assert result.reading.line.endswith(f"in the picture: '{asked}'")
            left.append(asked)
    assert len(left) >= 2


def test_what_needs_nothing_to_be_there_is_never_refused():
    reader = load_reader(SHIPPED)
    for asked, kind in (("add a red ball on the left", ""), ("make it winter", ""), ("change the background to a beach", ""),
                        ("remove both trees", "tree"), ("make the left star golden", "star"), ("把球变成蓝色", "ball")):
        assert reader.thing_changed(reader.read(asked).understood) == kind


def test_a_kind_that_it_does_not_know_counts_as_there_and_sizes_do_not_matter():
    finder = Finder(ThingFinder(2).eval(), ("ball", "cube"), (1e9, -1e9))
    for size in ((128, 128), (640, 60), (17, 400), (1, 1)):
        picture = Image.new("RGB", size, "red")
        assert [finder.holds(picture, kind) for kind in ("giraffe", "ball", "cube")] == [True, False, True]


def test_training_learns_from_where_things_are_and_a_saved_finder_says_the_same(tmp_path):
    photos = [np.asarray(open_image(ASSETS / "photos" / "coffee.jpg"))]
    picture, here = drawn(np.random.default_rng(1), "train", photos)
    assert picture.shape == (128, 128, 3)
    assert set(np.unique(here[~np.isnan(here)])) == {0.0, 1.0}
    finder, shares = calibrated(train_finder(photos, steps=4, batch=4), photos, 0, count=64)
    assert set(shares) == set(KINDS)
    assert np.mean([found for found, _ in shares.values()]) > 0.7, "what counts as there is set by those that are"
    finder.save(tmp_path)
    again = load_finder(tmp_path)
    shown = [Image.fromarray((picture * 255).astype(np.uint8))]
    assert torch.allclose(again.logits(shown), finder.logits(shown), atol=0.05)
    assert again.least == finder.least
    assert load_finder(tmp_path / "nothing") is None


@pytest.mark.parametrize("torn", ["finder.safetensors", "reader.safetensors", "finder.json"])
def test_a_torn_file_is_one_line_that_names_where_it_lies(tmp_path, monkeypatch, torn):
    folder = shutil.copytree(SHIPPED, tmp_path / "tiny-reader")
    (folder / torn).write_bytes((folder / torn).read_bytes()[:100])
    monkeypatch.setattr("mre.embedded.reader.SHIPPED", folder)
    with pytest.raises(ModelError, match=r"^tiny-reader: what reads instructions is not whole there \([^\n]*\); fetch these files again$"):
        vocabulary_of("tiny").read("make it winter")


@pytest.mark.parametrize("chinese", ["3", "null", '{"looks": {}}'])
def test_settings_of_another_form_are_that_line_too(tmp_path, monkeypatch, chinese):
    folder = shutil.copytree(SHIPPED, tmp_path / "tiny-reader")
    settings = json.loads((folder / "reader.json").read_text(encoding="utf-8"))
    (folder / "reader.json").write_text(json.dumps(settings | {"chinese": json.loads(chinese)}), encoding="utf-8")
    monkeypatch.setattr("mre.embedded.reader.SHIPPED", folder)
    with pytest.raises(ModelError, match="what reads instructions is not whole there"):
        vocabulary_of("tiny").read("变成夜景")
