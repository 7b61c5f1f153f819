"""An editor that reads instructions edits what it understood, and leaves the photo alone where it understood nothing."""

import json

import numpy as np
import pytest
from PIL import Image, ImageOps

from mre.editors.capabilities import NOTHING
from mre.editors.editor import EditorInfo
from mre.editors.local_editor import LocalEditor
from mre.editors.reading import Reading
from mre.editors.settings import EditSettings
from mre.recipes import read_recipe


class Inverter(LocalEditor):
    """Inverts what it is asked to invert, at 16 pixels; knows that one request in two words for it."""

    nouns, languages = (), ("en",)

    def __init__(self, reads: bool = True) -> None:
        super().__init__("inverter")
        self.asked: list[str] = []
        self.reads = reads

    def suggestions(self, language="en"):
        return ()

    @property
    def vocabulary(self):
        return self if self.reads else None

    def read(self, instruction):
        if not self.reads:
            return None
        if instruction in ("invert it", "negative please"):
            return Reading(instruction, "invert it", confidence=0.9)
        return Reading(instruction, fault="unknown", nearest=("invert it",), confidence=0.2)

    def looked(self, reading, picture):
        """Finds nothing to invert in a grey picture."""
        if reading.understood and len(picture.convert("L").getcolors()) == 1:
            return Reading(reading.instruction, fault="absent", absent="contrast")
        return reading

    def describe(self):
        return EditorInfo("inverter", "Inverter", native_size=16, size_rule="fit", capabilities=NOTHING)

    def make(self, seen, settings, on_step, should_stop):
        self.asked.append(settings.instruction)
        return ImageOps.invert(seen)


@pytest.fixture
def photo():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8))


def test_what_is_understood_reaches_the_model_in_its_own_words(photo):
    editor = Inverter()
    result = editor.edit(photo, EditSettings("negative please"))
    assert editor.asked == ["invert it"]
    assert result.settings.instruction == "negative please"
    assert result.reading.line == "understood: invert it"
    assert np.abs(np.asarray(result.image, int) - np.asarray(photo, int)).mean() > 10


def test_what_is_asked_of_something_that_is_not_in_the_picture_leaves_every_pixel_and_names_it(photo):
    editor, grey = Inverter(), Image.new("RGB", photo.size, "grey")
    settings = EditSettings("invert it")
    alone, (first, second) = editor.edit(grey, settings), editor.edit_many([grey, photo], [settings] * 2)
    for result in (alone, first):
        assert result.image.tobytes() == grey.tobytes()
        assert result.reading.line == "found no contrast such as it knows in the picture: 'invert it'"
        assert result.recipe.made_with["reading"] == result.reading.line == editor.recipe(grey, settings).made_with["reading"]
    assert second.reading.understood
    assert editor.asked == ["invert it"]


def test_what_is_not_understood_leaves_every_pixel_of_the_photo(photo):
    editor = Inverter()
    result = editor.edit(photo, EditSettings("blur the background"))
    assert editor.asked == []
    assert np.array_equal(result.image, photo)
    assert result.made == result.seen
    assert result.reading.line == "did not understand 'blur the background'; nearest that I know: invert it"


def test_a_batch_edits_what_is_understood_and_no_other(photo):
    editor = Inverter()
    small = photo.resize((16, 16))
    known, unknown, again = editor.edit_many([small] * 3, [EditSettings(text) for text in ("invert it", "hello", "negative please")])
    assert np.array_equal(unknown.image, small)
    assert np.array_equal(known.image, ImageOps.invert(small))
    assert np.array_equal(again.image, known.image)
    assert [one.reading.fault for one in (known, unknown, again)] == ["", "unknown", ""]


def test_the_recipe_says_how_an_instruction_was_read(photo, tmp_path):
    result = Inverter().edit(photo, EditSettings("negative please"))
    (tmp_path / "out.png").write_bytes(result.png())
    assert read_recipe(tmp_path / "out.png").made_with["reading"] == "understood: invert it"
    assert result.recipe.instruction == "negative please"
    other = Inverter(reads=False).edit(photo, EditSettings("negative please"))
    assert "reading" not in json.loads(other.recipe.to_json())["made_with"]
    assert other.reading is None
    [difference] = result.recipe.differences(other.recipe)
    assert difference == "reading of the instruction: understood: invert it then, unknown now"


def test_a_reading_of_a_very_long_instruction_still_fits_into_a_recipe(photo, tmp_path):
    result = Inverter().edit(photo, EditSettings("word " * 190))
    (tmp_path / "out.png").write_bytes(result.png())
    assert read_recipe(tmp_path / "out.png").made_with["reading"].startswith("did not understand 'word word")


def test_a_reading_is_understood_or_has_one_known_fault():
    for wrong in ({}, {"understood": "x", "fault": "unknown"}, {"fault": "tired"}):
        with pytest.raises(ValueError, match="understood or has one of the faults"):
            Reading("text", **wrong)


def test_a_recipe_from_before_there_was_a_reading_hands_on_the_words_as_they_are(photo):
    editor = Inverter()
    before = Inverter(reads=False).edit(photo, EditSettings("negative please")).recipe
    again = editor.edit(photo, EditSettings.from_recipe(before))
    assert editor.asked == ["negative please"]
    assert again.reading is None
    assert "reading" not in again.recipe.made_with
    read = EditSettings.from_recipe(editor.edit(photo, EditSettings("negative please")).recipe)
    assert not read.as_typed
