"""What benchmarks ask for: lines of Real-Edit, turns of MagicBrush, scenes drawn for the purpose."""

import json

import pytest

from mre.benchmark.items import SceneSet
from mre.data.magicbrush import read_magicbrush
from mre.data.realedit import parse_line, read_real_edit
from mre.errors import DataError
from mre.rewards import EDIT_TYPES
from tests.benchmark.conftest import noise


def test_a_colon_inside_an_instruction_does_not_cut_it(real_edit):
    edits = read_real_edit(real_edit)
    assert len(edits) == 14
    assert [edit.edit_type for edit in edits[:7]] == list(EDIT_TYPES)
    assert edits[0].instruction == "do this: local it"


@pytest.mark.parametrize(("line", "number", "expected"), [
    ("Local: make the car red", 1, ("local", "make the car red")),
    ("3) Add: a dog: brown", 3, ("add", "a dog: brown")),
    ("Background change: the sea", 2, ("background", "the sea")),
    ("5. Turn it into: night", 9, ("background", "Turn it into: night")),
    ("make it night", 6, ("global", "make it night"))])
def test_real_edit_lines_say_their_type_by_word_number_or_place(line, number, expected):
    assert parse_line(line, number, 7, "here") == expected


def test_a_line_without_a_type_among_fewer_than_seven_is_refused():
    with pytest.raises(DataError, match=r"photo: line 1: names no edit type"):
        parse_line("make it night", 1, 3, "photo: line 1")


def test_magicbrush_turns_find_their_pictures_and_captions(tmp_path):
    images = tmp_path / "images" / "139306"
    images.mkdir(parents=True)
    for name in ("139306-input.png", "139306-output1.png", "139306-output2.png"):
        noise(3).save(images / name)
    turns = [{"input": "139306-input.png", "mask": "m.png", "output": "139306-output1.png", "instruction": "Put a cat on the seat."},
             {"input": "139306-output1.png", "mask": "m.png", "output": "139306-output2.png", "instruction": "make it red"}]
    (tmp_path / "edit_turns.json").write_text(json.dumps(turns))
    (tmp_path / "global_descriptions.json").write_text(json.dumps({"139306": {"139306-output1.png": "a cat, a seat and a street"}}))
    (tmp_path / "local_descriptions.json").write_text(json.dumps({"139306": {"139306-output1.png": "a cat on a seat"}}))
    first, second = read_magicbrush(tmp_path)
    assert (first.item, first.original.name, first.target.name, first.caption) == (
        "139306-output1", "139306-input.png", "139306-output1.png", "a cat on a seat")
    assert second.original.name == "139306-output1.png"
    assert second.caption is None
    (images / "139306-output2.png").unlink()
    with pytest.raises(DataError, match=r"turn 1: no picture '139306-output2\.png'"):
        read_magicbrush(tmp_path)


def test_scenes_come_equally_from_all_types_and_more_of_them_begin_with_the_same():
    few, more = SceneSet(1, size=64).benchmark(), SceneSet(2, size=64).benchmark()
    assert [item.edit_type for item in few.items] == list(EDIT_TYPES)
    assert [item.item for item in more.items[:7]] == [item.item for item in few.items]
    assert len({item.item for item in more.items}) == 14
