"""python -m mre edit: one picture, a folder or a table of jobs; whole files or none; again is cheap."""

import os

import numpy as np
import pytest
from PIL import Image

from mre.__main__ import main
from mre.editors.kinds import make_editor
from mre.editors.settings import EditSettings
from mre.imaging import open_image
from mre.put_back import seam_width
from mre.recipes import RecipeError, read_recipe
from mre.rewards import Reward

MODEL = ["--model", "tiny-untrained", "--device", "cpu", "--steps", "1"]


@pytest.fixture(autouse=True)
def one_thread():
    import torch
    torch.set_num_threads(1)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (6, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((90, 60)).save(folder / f"{number}.png")
    return folder


def edit(*args) -> int:
    return main(["edit", *map(str, args)])


def test_one_picture_gets_the_bytes_that_the_editor_gives(photos, tmp_path):
    out = tmp_path / "deep" / "out.png"
    assert edit(photos / "0.png", "make it blue", "--out", out, *MODEL, "--seed", 9, "--scores", "5,3,0", "--reward-text", "a; b; c") == 0
    settings = EditSettings("make it blue", Reward(5, 3, 0, ("a", "b", "c")), 9, 1)
    assert out.read_bytes() == make_editor("tiny-untrained", device="cpu").edit(open_image(photos / "0.png"), settings).png()
    assert [path.name for path in out.parent.iterdir()] == ["out.png"]


def test_a_perspective_can_be_asked_for_alone_or_left_out(photos, tmp_path):
    """--following is --scores for one; a later flag does not undo what a recipe asks for beside it."""
    first, again = tmp_path / "first.png", tmp_path / "again.png"
    assert edit(photos / "0.png", "make it blue", "--out", first, *MODEL, "--scores", "5,4,1", "--following", "none") == 0
    assert read_recipe(first).reward == Reward(None, 4, 1)
    assert edit(photos / "0.png", "--out", again, "--recipe", first, "--device", "cpu", "--quality", "2.5") == 0
    assert read_recipe(again).reward == Reward(None, 4, 2.5)
    (tmp_path / "jobs.csv").write_text("image,instruction,preserving,out\nphotos/0.png,make it blue,none,row.png\n")
    assert edit(tmp_path / "jobs.csv", "--out", tmp_path / "out", *MODEL) == 0
    assert read_recipe(tmp_path / "out" / "row.png").reward == Reward(5, None, 5)


def test_words_that_the_embedded_model_was_never_shown_are_named_once_for_each_instruction(photos, tmp_path, capsys):
    assert edit(photos, "把球变成蓝色", "--out", tmp_path / "out", *MODEL) == 0
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("note:")] == [
        "note: tiny-untrained does not know: 把球变成蓝色; it learned a few hundred English words, see its card"]
    assert edit(photos / "0.png", "make the ball blue", "--out", tmp_path / "known.png", *MODEL) == 0
    assert "note:" not in capsys.readouterr().err


@pytest.mark.parametrize(("scales", "idle"), [
    (("--image-guidance-scale", 2), True), (("--guidance-scale", 0.5), True),
    (("--guidance-scale", 5, "--image-guidance-scale", 0.5), True),
    (("--guidance-scale", 2, "--image-guidance-scale", 2), False), (("--guidance-scale", 1), False), ((), False)])
def test_a_guidance_that_changes_nothing_says_so(photos, tmp_path, capsys, scales, idle):
    assert edit(photos / "0.png", "make the ball blue", "--out", tmp_path / "out.png", *MODEL, *scales) == 0
    assert ("note: the guidance scale changed nothing" in capsys.readouterr().err) == idle


@pytest.mark.parametrize(("model", "flags", "said"), [
    ("tiny", ("--seed", 7), "--seed 7: the model tiny makes the same picture, but for traces, from every seed; leave it out"),
    ("tiny", ("--steps", 30), "--steps 30: the model tiny always works in its own number of steps; leave it out"),
    ("tiny", ("--guidance-scale", 7.5), "--guidance-scale 7.5: the model tiny was not made for guidance"),
    ("tiny", ("--negative-scores", "0,0,0"), "--negative-scores: the model tiny cannot move away from a reward; leave it out"),
    ("tiny", ("--following", "none"), "--scores none,5,5: the model tiny needs a score of each perspective; leave it out"),
    ("tiny-baseline", ("--scores", "3,3,3"), "--scores 3,3,3: the model tiny-baseline reads no scores; leave it out")])
def test_a_flag_that_the_model_has_no_use_for_is_refused_before_anything_is_made(photos, tmp_path, capsys, model, flags, said):
    assert edit(photos, "make it darker", "--out", tmp_path / "out", "--model", model, *flags) == 1
    assert capsys.readouterr().err.startswith(f"error: {said}")
    assert not (tmp_path / "out").exists()


def test_a_column_that_the_model_has_no_use_for_is_refused_with_its_row(photos, tmp_path, capsys):
    (tmp_path / "jobs.csv").write_text("image,instruction,seed\nphotos/0.png,make it darker,42\nphotos/1.png,make it darker,7\n")
    assert edit(tmp_path / "jobs.csv", "--out", tmp_path / "out", "--model", "tiny") == 1
    assert "jobs.csv, row 3: seed 7: the model tiny makes the same picture" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_recipe_of_before_runs_with_what_its_model_has_no_use_for(photos, tmp_path, capsys):
    settings = EditSettings("make it darker", seed=7, guidance_scale=1.5)
    made = make_editor("tiny", device="cpu").edit(open_image(photos / "0.png"), settings).png()
    (tmp_path / "made.png").write_bytes(made)
    again = ("--out", tmp_path / "again.png", "--recipe", tmp_path / "made.png", "--device", "cpu")
    assert edit(photos / "0.png", *again) == 0
    assert (tmp_path / "again.png").read_bytes() == made
    assert edit(photos / "0.png", *again, "--seed", 8) == 1
    assert "--seed 8: the model tiny" in capsys.readouterr().err


def test_a_recipe_makes_the_same_bytes_again(photos, tmp_path):
    first, again = tmp_path / "first.png", tmp_path / "again.png"
    assert edit(photos / "0.png", "make it blue", "--out", first, *MODEL, "--seed", 3) == 0
    assert edit(photos / "0.png", "--out", again, "--recipe", first, "--device", "cpu") == 0
    assert again.read_bytes() == first.read_bytes()


def test_without_recipe_only_pixels_are_written(photos, tmp_path):
    assert edit(photos / "0.png", "make it blue", "--out", tmp_path / "plain.png", "--no-recipe", *MODEL) == 0
    with pytest.raises(RecipeError):
        read_recipe(tmp_path / "plain.png")


def test_a_folder_is_done_once_and_goes_on_where_it_was_cut(photos, tmp_path, capsys):
    out = tmp_path / "out"
    (photos / "bad.png").write_text("no picture")
    assert edit(photos, "make it blue", "--out", out, *MODEL) == 1
    heard = capsys.readouterr()
    assert heard.out == "3 made, 0 already there, 1 failed\n"
    assert "bad.png: not a picture" in heard.err
    assert sorted(path.name for path in out.iterdir()) == ["0.png", "1.png", "2.png"]
    (photos / "bad.png").unlink()
    (out / "1.png").unlink()
    kept = (out / "0.png").stat().st_mtime_ns
    assert edit(photos, "make it blue", "--out", out, *MODEL) == 0
    assert capsys.readouterr().out == "1 made, 2 already there, 0 failed\n"
    assert (out / "0.png").stat().st_mtime_ns == kept
    assert edit(photos, "make it red", "--out", out, *MODEL) == 0
    assert capsys.readouterr().out == "3 made, 0 already there, 0 failed\n", "another instruction is another job"


def test_no_photo_is_written_over_and_no_edit_over_another(photos, tmp_path, capsys):
    """A folder edited into itself, a photo into its own file, a row onto a photo; and photos whose names differ in their endings alone."""
    before = {path: path.read_bytes() for path in photos.iterdir()}
    table = tmp_path / "jobs.csv"
    for source, out, rows in ((photos, photos / "deep" / "..", ""), (photos / "1.png", photos / "1.png", ""),
                              (table, tmp_path, "photos/0.png,blue,photos/0.png\n"),
                              (table, tmp_path, "photos/0.png,blue,a.png\nphotos/1.png,blue,photos/../photos/0.png\n")):
        table.write_text("image,instruction,out\n" + rows)
        assert edit(source, *([] if source == table else ["make it blue"]), "--out", out, *MODEL) == 1
        assert "is the photo itself" in capsys.readouterr().err
    table.write_text("image,instruction,out\nphotos/0.png,blue,a.png\nphotos/1.png,blue,sub/../a.png\n")
    assert edit(table, "--out", tmp_path / "out", *MODEL) == 1
    assert "same as that of row 2" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in photos.iterdir()} == before
    assert not (tmp_path / "out").exists()
    for name in ("0.jpg.png", "0.jpg"):
        Image.open(photos / "0.png").save(photos / name)
    assert edit(photos, "make it blue", "--out", tmp_path / "out", *MODEL) == 0
    assert len(list((tmp_path / "out").iterdir())) == len(before) + 2


def test_a_table_says_per_row_what_differs_from_the_flags(photos, tmp_path, capsys):
    table, out = tmp_path / "jobs.csv", tmp_path / "out"
    table.write_text("image,instruction,following,text_quality,seed,out\nphotos/0.png,make it red,0,noisy,4,a.png\nphotos/1.png,,,,,\n")
    assert edit(table, "make it blue", "--out", out, *MODEL, "--scores", "4,4,4") == 0
    first, second = read_recipe(out / "a.png"), read_recipe(out / "0002-1.png")
    assert (first.instruction, first.reward.scores, first.reward.texts[2], first.seed) == ("make it red", (0, 4, 4), "noisy", 4)
    assert (second.instruction, second.reward.scores, second.seed) == ("make it blue", (4, 4, 4), 42)


@pytest.mark.parametrize(("text", "reason"), [
    ("picture\na.png\n", "no column image"), ("image,size\na.png,3\n", "unknown column size"), ("image\n", "no rows"),
    ("image,instruction\nphotos/0.png,\n", "row 2: the instruction is empty"),
    ("image,instruction,following\nphotos/0.png,x,6\n", "row 2: following must be"),
    ("image,instruction,seed\nphotos/0.png,x,one\n", "row 2: seed must be"),
    ("image,instruction,out\nphotos/0.png,x,../up.png\n", "row 2: out must be a .png under"),
    ("image,instruction,out\nphotos/0.png,x,a.png\nphotos/1.png,x,a.png\n", "row 3: out is the same as that of row 2")])
def test_a_fault_in_a_table_names_file_and_row_before_anything_is_made(photos, tmp_path, capsys, text, reason):
    (tmp_path / "jobs.csv").write_text(text)
    assert edit(tmp_path / "jobs.csv", "--out", tmp_path / "out", *MODEL) == 1
    heard = capsys.readouterr().err
    assert "jobs.csv" in heard
    assert reason in heard
    assert heard.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("args", "reason"), [
    (["nowhere.png", "x"], "nowhere.png: no such file"), (["text.png", "x"], "text.png: not a picture"),
    (["empty.png", "x"], "empty.png: the file is empty"),
    (["0.png", ""], "instruction is empty"), (["0.png"], "instruction is empty"), (["0.png", "x" * 1001], "1001 characters"),
    (["0.png", "x", "--scores", "nan,5,5"], "following must be"), (["0.png", "x", "--scores", "5,6,5"], "preserving must be"),
    (["0.png", "x", "--scores", "5,5,-1"], "quality must be"), (["0.png", "x", "--scores", "5;5;5"], "with commas between"),
    (["0.png", "x", "--reward-text", "a"], "reward text must be three"), (["0.png", "x", "--seed", "many"], "seed must be"),
    (["0.png", "x", "--recipe", "0.png"], "holds no recipe"), (["0.png", "x", "--model", "no/such/model"], "no/such/model"),
    (["0.png", "x", "--out", "out.jpg"], "--out must be a .png")])
def test_bad_input_is_one_line_that_names_it_and_leaves_nothing_behind(photos, capsys, monkeypatch, args, reason):
    monkeypatch.chdir(photos)
    (photos / "text.png").write_text("hello")
    (photos / "empty.png").write_bytes(b"")
    before = sorted(os.listdir(photos))
    full = [*args] + ([] if "--out" in args else ["--out", "out.png"])
    assert edit(*full, *([] if "--model" in args else MODEL)) == 1
    heard = capsys.readouterr().err
    assert heard.startswith("error: ")
    assert reason in heard
    assert heard.count("\n") == 1
    assert sorted(os.listdir(photos)) == before


def test_a_picture_that_cannot_be_written_is_named_and_no_part_of_it_stays(photos, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert edit(photos / "0.png", "make it blue", "--out", tmp_path / "file" / "out.png", *MODEL) == 1
    assert "out.png: cannot be written" in capsys.readouterr().err


def test_a_forged_model_name_in_a_recipe_is_not_opened(photos, tmp_path, capsys):
    from mre.recipes import Recipe, png_bytes
    from mre.rewards import Reward
    forged = Recipe("x", Reward.best(), 1, 1, 1.0, 1.0, "default", made_with={"model": "../../somewhere"})
    (tmp_path / "forged.png").write_bytes(png_bytes(Image.new("RGB", (20, 20)), forged))
    assert edit(photos / "0.png", "--recipe", tmp_path / "forged.png", "--out", tmp_path / "out.png") == 1
    assert "no model known by name" in capsys.readouterr().err


@pytest.fixture
def mask(photos):
    """Beside the photos, of their size: a box of 30 x 20 pixels."""
    inside = np.zeros((60, 90), np.uint8)
    inside[20:40, 30:60] = 255
    Image.fromarray(inside).save(photos.parent / "mask.png")
    return photos.parent / "mask.png"


def pixels(path) -> np.ndarray:
    return np.asarray(open_image(path))


def beyond_the_seam() -> np.ndarray:
    outside = np.ones((60, 90), bool)
    outside[20 - seam_width((90, 60)):40 + seam_width((90, 60)), 30 - seam_width((90, 60)):60 + seam_width((90, 60))] = False
    return outside


def test_outside_a_mask_the_picture_is_the_photo_bit_for_bit_and_its_recipe_makes_the_same_bytes(photos, mask, tmp_path, capsys):
    """The recipe carries the mask: the file is gone when the picture is made again."""
    out, again = tmp_path / "out.png", tmp_path / "again.png"
    flags = [photos / "0.png", "make it blue", "--out", out, *MODEL]
    assert edit(*flags, "--mask", mask) == 0
    assert (pixels(out) == pixels(photos / "0.png"))[beyond_the_seam()].all()
    assert (pixels(out) != pixels(photos / "0.png"))[20:40, 30:60].mean() > 0.9
    kept = out.stat().st_mtime_ns
    assert edit(*flags, "--mask", mask) == 0
    assert out.stat().st_mtime_ns == kept, "made already"
    mask.unlink()
    assert edit(photos / "0.png", "--recipe", out, "--out", again, "--device", "cpu") == 0
    assert again.read_bytes() == out.read_bytes()
    assert edit(photos / "0.png", "--recipe", out, "--no-put-back", "--out", again, *MODEL) == 0
    assert (pixels(again) != pixels(photos / "0.png"))[beyond_the_seam()].mean() > 0.5


def test_put_back_without_a_mask_goes_by_what_was_measured(tmp_path, monkeypatch):
    """An editor that moves the picture, and paints a square: the rest of the photo comes back."""
    from mre.editors.editor import EditorInfo
    from mre.editors.kinds import KINDS, EditorKind
    from mre.editors.local_editor import LocalEditor
    from tests.metrics.drawn import cuts, with_patch

    photo, moved = cuts(1, 6.0, 4.0)

    class Mover(LocalEditor):
        def describe(self) -> EditorInfo:
            return EditorInfo("mover", "Mover")

        def make(self, seen, settings, on_step, should_stop):
            return with_patch(moved, 2, (100, 100, 180, 160))

    monkeypatch.setattr("mre.editors.kinds.KINDS", [EditorKind("mover", lambda name: name == "mover", Mover), *KINDS])
    photo.save(tmp_path / "photo.png")
    assert edit(tmp_path / "photo.png", "add a patch", "--model", "mover", "--put-back", "--out", tmp_path / "out.png") == 0
    same = (pixels(tmp_path / "out.png") == np.asarray(photo)).all(axis=2)
    assert same[:60].all()
    assert same[:, :60].all()
    assert not same[100:150, 100:170].any()
    assert read_recipe(tmp_path / "out.png").put_back
    assert edit(tmp_path / "photo.png", "add a patch", "--model", "mover", "--out", tmp_path / "plain.png") == 0
    assert (pixels(tmp_path / "plain.png") != np.asarray(photo)).any(axis=2)[:60].mean() > 0.3


def test_a_table_names_masks_beside_it(photos, mask, tmp_path):
    table, out = tmp_path / "jobs.csv", tmp_path / "out"
    table.write_text("image,instruction,mask,put_back\nphotos/0.png,make it blue,mask.png,\nphotos/1.png,make it blue,,no\n")
    assert edit(table, "--out", out, *MODEL) == 0
    assert (pixels(out / "0001-0.png") == pixels(photos / "0.png"))[beyond_the_seam()].all()
    assert not read_recipe(out / "0002-1.png").put_back


@pytest.mark.parametrize(("painted", "flags", "reason"), [
    (np.full((60, 91), 0, np.uint8) + np.eye(60, 91, dtype=np.uint8) * 255, [], "mask.png: has 91 x 60 pixels, the photo 90 x 60"),
    (np.zeros((60, 90), np.uint8), [], "mask.png: marks nothing"),
    (np.full((60, 90), 255, np.uint8), [], "mask.png: marks the whole picture"),
    (np.eye(60, 90, dtype=np.uint8) * 255, ["--no-put-back"], "leave out one of the two"), (None, [], "mask.png: no such file")])
def test_a_mask_that_cannot_be_used_is_one_line_and_nothing_is_made(photos, tmp_path, capsys, painted, flags, reason):
    if painted is not None:
        Image.fromarray(painted).save(tmp_path / "mask.png")
    made = edit(photos / "0.png", "make it blue", "--out", tmp_path / "out.png", "--mask", tmp_path / "mask.png", *flags, *MODEL)
    heard = capsys.readouterr().err
    assert made == 1
    assert reason in heard
    assert heard.count("\n") == 1
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(("row", "reason"), [("mask.png,no", "leave out one of the two"), (",maybe", "put_back must be yes or no"),
                                             ("none.png,", "none.png: no such file")])
def test_a_fault_in_a_tables_masks_names_its_row(photos, mask, tmp_path, capsys, row, reason):
    (tmp_path / "jobs.csv").write_text(f"image,instruction,mask,put_back\nphotos/0.png,x,{row}\n")
    assert edit(tmp_path / "jobs.csv", "--out", tmp_path / "out", *MODEL) == 1
    heard = capsys.readouterr().err
    assert "row 2" in heard
    assert reason in heard
    assert heard.count("\n") == 1


@pytest.mark.parametrize(("device", "said"), [("cuda:977", "--device cuda:977: this machine has no such device"),
                                              ("potato", "--device must be cpu, cuda, cuda:1 or mps, got 'potato'")])
def test_a_device_that_is_not_there_is_one_line_and_nothing_is_written(photos, tmp_path, capsys, device, said):
    out = tmp_path / "out.png"
    photo = sorted(photos.iterdir())[0]
    assert main(["edit", str(photo), "make it night", "--model", "tiny-untrained", "--device", device, "--out", str(out)]) == 1
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_flags_of_an_editor_on_a_server_are_refused_with_another_model(photos, tmp_path, capsys):
    photo = sorted(photos.iterdir())[0]
    assert main(["edit", str(photo), "make it night", *MODEL[:2], "--budget", "2", "--ask-again", "--out", str(tmp_path / "out.png")]) == 1
    assert capsys.readouterr().err.startswith("error: --budget, --ask-again: only for an editor on a server")
