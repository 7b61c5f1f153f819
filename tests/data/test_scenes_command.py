"""python -m mre scenes: triplets as files."""

import json

import numpy as np
import pytest
from PIL import Image

from mre.__main__ import main
from mre.data.pix2pix import open_pix2pix
from mre.data.rewardedit import read_rewards
from mre.data.scenes.photos import read_photos
from mre.data.scenes.triplets import draw_triplet
from tests.conftest import ROOT

PHOTOS = ROOT / "mre" / "assets" / "photos"


def scenes(out, *flags):
    return main(["scenes", "--out", str(out), "--size", "32", *map(str, flags)])


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows_of(folder):
    return [json.loads(line) for line in (folder / "scenes.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_tree_and_its_rewards_are_what_the_loaders_read(tmp_path):
    assert scenes(tmp_path, "--count", 9, "--seed", 3) == 0
    triplets, rewards = open_pix2pix(tmp_path), read_rewards(tmp_path / "scenes.jsonl")
    assert len(triplets) == len(rewards) == 9
    for index, triplet in enumerate(triplets):
        drawn = draw_triplet(3, index, "train", 32)
        assert triplet.instructions == (drawn.instruction,)
        original, edited = triplet.open()
        assert np.array_equal(np.asarray(original), drawn.original)
        assert np.array_equal(np.asarray(edited), drawn.edited)
        assert rewards[triplet.text.folder].reward == drawn.reward
        assert rewards[triplet.text.folder].instruction == drawn.instruction
        target = tmp_path / rows_of(tmp_path)[index]["target"]
        assert np.array_equal(np.asarray(Image.open(target)), drawn.target)


def test_rows_hold_the_working_form(tmp_path):
    scenes(tmp_path, "--count", 3, "--split", "heldout", "--edit-type", "add")
    for row in rows_of(tmp_path):
        assert list(row)[:11] == ["id", "instruction", "original", "edited", "judge", "judge_version", "following", "preserving", "quality",
                                  "raw", "seconds"]
        assert row["judge"] == "oracle"
        assert row["edit_type"] == "add"
        assert all(set(row[name]) == {"score", "text"} for name in ("following", "preserving", "quality"))
        assert (tmp_path / row["original"]).is_file()
        assert (tmp_path / row["edited"]).is_file()


def test_a_run_that_was_cut_goes_on_and_ends_with_the_same_files(tmp_path):
    scenes(tmp_path / "whole", "--count", 8)
    scenes(tmp_path / "cut", "--count", 5)
    rows = tmp_path / "cut" / "scenes.jsonl"
    lines = rows.read_bytes().splitlines(keepends=True)
    rows.write_bytes(b"".join(lines[:3]) + lines[3][:40])           # killed while a row was being written
    (tmp_path / "cut" / "seeds.json").unlink()
    kept = [path.stat().st_mtime_ns for path in (tmp_path / "cut" / "shard-00" / "0000001").iterdir()]
    assert scenes(tmp_path / "cut", "--count", 8) == 0
    assert kept == [path.stat().st_mtime_ns for path in (tmp_path / "cut" / "shard-00" / "0000001").iterdir()]
    whole, cut = content(tmp_path / "whole"), content(tmp_path / "cut")
    assert set(whole) == set(cut)
    assert all(whole[name] == cut[name] for name in whole if name != "scenes.jsonl")
    timeless = [[{**row, "seconds": 0} for row in rows_of(tmp_path / name)] for name in ("whole", "cut")]
    assert timeless[0] == timeless[1]


def test_a_folder_with_other_scenes_is_left_alone(tmp_path, capsys):
    scenes(tmp_path, "--count", 2)
    before = content(tmp_path)
    assert scenes(tmp_path, "--count", 4, "--seed", 9) == 1
    assert "seed 0, not 9" in capsys.readouterr().err
    assert scenes(tmp_path, "--count", 4, "--clean") == 1
    assert "spoiled True, not False" in capsys.readouterr().err
    assert scenes(tmp_path, "--count", 4, "--photos", PHOTOS) == 1
    assert content(tmp_path) == before


def test_photographs_stand_behind_their_share_of_the_scenes(tmp_path):
    assert scenes(tmp_path, "--count", 4, "--photos", PHOTOS, "--photo-share", 1, "--clean", "--edit-type", "style") == 0
    photos = read_photos(PHOTOS)
    for index, row in enumerate(rows_of(tmp_path)):
        drawn = draw_triplet(0, index, "train", 32, photos, edit_type="style", photo_share=1.0, spoiled=False)
        assert drawn.photo is not None
        assert np.array_equal(np.asarray(Image.open(tmp_path / row["original"])), drawn.original)
        assert [row[name]["score"] for name in ("following", "preserving", "quality")] == [5, 5, 5]
        assert (tmp_path / row["edited"]).read_bytes() == (tmp_path / row["target"]).read_bytes()


def test_a_contact_sheet_shows_the_first_triplets(tmp_path):
    assert scenes(tmp_path / "out", "--count", 5, "--sheet", tmp_path / "sheets" / "sheet.png") == 0
    with Image.open(tmp_path / "sheets" / "sheet.png") as sheet:
        pixels = np.asarray(sheet)
    drawn = draw_triplet(0, 1, "train", 32)
    tall = pixels.shape[0]
    windows = (pixels[y:y + 32, x:x + 32] for y in range(10, tall - 32) for x in range(100, 180))
    assert any(np.array_equal(window, drawn.original) for window in windows)


@pytest.mark.parametrize(("flags", "named"), [
    (("--count", 0), "--count must be between"), (("--count", 2, "--size", 7), "--size must be between"),
    (("--count", 2, "--photo-share", "nan"), "--photo-share must be between"), (("--count", 2, "--seed", -1), "--seed must be between"),
    (("--count", 2, "--photos", "no-such-folder"), "no-such-folder")])
def test_bad_flags_are_one_line_and_write_nothing(flags, named, tmp_path, capsys):
    assert scenes(tmp_path / "out", *flags) == 1
    error = capsys.readouterr().err
    assert named in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_damaged_row_is_refused_by_its_line(tmp_path, capsys):
    scenes(tmp_path, "--count", 3)
    rows = tmp_path / "scenes.jsonl"
    lines = rows.read_text(encoding="utf-8").splitlines(keepends=True)
    rows.write_text(lines[0] + "not a row\n" + lines[2], encoding="utf-8")
    assert scenes(tmp_path, "--count", 3) == 1
    assert "line 2" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert scenes(tmp_path / "file" / "out", "--count", 1) == 1
    assert "cannot be written" in capsys.readouterr().err
