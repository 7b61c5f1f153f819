"""Which picture an edit of a benchmark is compared with, and folders whose last line was cut."""

import json
import os
import re

import pytest
from PIL import Image

from mre.benchmark.edits import Method, ResultsFolder, write_edits
from mre.benchmark.items import open_benchmark
from mre.benchmark.preserving_tables import FILE, NUMBERS, Row, measure_edits, write_measured
from mre.benchmark.scores import questions
from mre.judge.pictures import as_array

COPY = Method("copy", "copy", make=lambda item: item.open())


def edited(benchmark, out):
    folder = ResultsFolder(out, benchmark)
    write_edits(folder, [COPY], lambda model: pytest.fail("nothing is loaded"))
    folder.merge()
    return folder


def shown(folder):
    """Item -> colour of the original that a judge is shown."""
    return {ask.item: tuple(as_array(ask.original)[0, 0].tolist()) for ask in questions(folder, [("copy", folder.benchmark.items)])}


def painted(path, colour):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), colour).save(path)


@pytest.fixture
def turns(tmp_path):
    """Two turns of one MagicBrush photo: the second edits what the first made."""
    for name, colour in (("7-input", "red"), ("7-output1", "lime"), ("7-output2", "blue")):
        painted(tmp_path / "data" / "images" / "7" / f"{name}.png", colour)
    (tmp_path / "data" / "edit_turns.json").write_text(json.dumps([
        {"input": "7-input.png", "output": "7-output1.png", "instruction": "make it green"},
        {"input": "7-output1.png", "output": "7-output2.png", "instruction": "make it blue"}]))
    return open_benchmark(tmp_path / "data")


def test_each_turn_of_magicbrush_is_compared_with_its_own_input(turns, tmp_path):
    folder = edited(turns, tmp_path / "out")
    assert shown(folder) == {"7-output1": (255, 0, 0), "7-output2": (0, 255, 0)}
    assert len({item.group for item in turns.items}) == 1               # one photo, of which intervals take all or nothing


def test_a_folder_of_before_gets_the_originals_that_it_lacks(turns, tmp_path):
    folder = edited(turns, tmp_path / "out")
    for path in (folder.path / "original").iterdir():
        path.unlink()
    table = folder.path / "edits.csv"
    table.write_text(re.sub("original/7-[a-z0-9]+.png", "original/7.png", table.read_text()))
    painted(folder.path / "original" / "7.png", "red")
    row: Row = dict.fromkeys(NUMBERS, 1.0)
    write_measured(folder.path / FILE, {("copy", item.item): row for item in turns.items}, masked=False)
    os.utime(folder.path / FILE, (1e9, 1e9))
    edited(turns, tmp_path / "out")
    assert shown(folder) == {"7-output1": (255, 0, 0), "7-output2": (0, 255, 0)}
    assert [row["original"] for row in folder.rows().values()] == ["original/7-input.png", "original/7-output1.png"]
    assert all(found["changed"] == 0 for found in measure_edits(folder, ["copy"], turns.items).values())


@pytest.mark.parametrize("names", [("a/1.png", "b/1.png"), ("\u732b.png", "\u72d7.png"), ("x y.png", "x_y.png"), ("1.png", "1.jpg")])
def test_photos_whose_names_are_alike_as_files_keep_their_own_originals(tmp_path, names):
    for name, colour in zip(names, ("red", "blue"), strict=True):
        painted(tmp_path / "data" / name, colour)
    rows = "".join(f"{number},{name},make it winter,global\n" for number, name in enumerate(names))
    (tmp_path / "data" / "items.csv").write_text("item,image,instruction,edit_type\n" + rows, encoding="utf-8")
    red, blue = shown(edited(open_benchmark(tmp_path / "data" / "items.csv"), tmp_path / "out")).values()
    assert red[0] > 200 > 50 > red[2]
    assert blue[2] > 200 > 50 > blue[0]


def test_an_edit_after_a_torn_line_is_not_lost_with_it(turns, tmp_path):
    folder = ResultsFolder(tmp_path / "out", turns)
    (folder.path / "edits.part-0000.jsonl").write_text('{"item": "7-output1", "edi')
    assert edited(turns, tmp_path / "out").rows().keys() == {("copy", "7-output1"), ("copy", "7-output2")}
