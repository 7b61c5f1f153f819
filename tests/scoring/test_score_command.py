"""`python -m mre score`: any manifest, one judge, a file that any cut leaves whole."""

import csv
import json
import multiprocessing
import os
import random
import signal
import time

import numpy as np
import pytest
from PIL import Image

from mre.__main__ import main
from mre.agreement.score_files import read_judge
from mre.data.rewardedit import read_rewards
from mre.errors import DataError
from mre.files import EDITS, csv_text
from mre.judge.verdicts import Verdict, Verdicts
from mre.scoring.files import JudgeScores, RewardFile, ScoredEdit

PICTURES = 3


def picture(path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rough = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(rough).resize((32, 32), Image.Resampling.BICUBIC).save(path)


@pytest.fixture
def edits(tmp_path):
    """A benchmark's folder: two methods on three items."""
    root = tmp_path / "bench"
    rows = []
    for item in range(PICTURES):
        picture(root / "original" / f"{item}.png", item)
        for method in ("a", "b"):
            picture(root / method / f"{item}.png", item)
            rows.append((f"item{item}", "local", "make it red", f"original/{item}.png", method, f"{method}/{item}.png", 0, "m", 0.1))
    (root / "edits.csv").write_text(csv_text(EDITS, rows))
    return root


def score(tmp_path, manifest, out, *flags, judge="measured") -> int:
    given = ["--judge", judge, "--out", str(out), "--cache", str(tmp_path / "answers.sqlite"), *map(str, flags)]
    return main(["score", str(manifest), *given])


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_scores_of_a_benchmarks_edits_are_what_compare_reads(tmp_path, edits):
    out = tmp_path / "measured.csv"
    assert score(tmp_path, edits, out) == 0
    with out.open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["item", "method", "judge", "judge_version", "repeat", "perspective", "score", "accepted", "text", "raw", "seconds",
                       "cost_usd", "deviation"]
    assert [row[:2] for row in rows[1:]] == [[f"item{item}", method] for item in range(PICTURES) for method in ("a", "b")]
    read = read_judge(out)
    assert len(read.frame) == 2 * PICTURES
    assert not read.notices
    assert set(read.frame["native"]) == {5.0}, "the edits are the originals"


def test_a_missing_picture_is_listed_and_the_rest_goes_on(tmp_path, edits, capsys):
    (edits / "a" / "1.png").unlink()
    (edits / "b" / "2.png").write_bytes(b"no picture")
    out = tmp_path / "measured.jsonl"
    assert score(tmp_path, edits / "edits.csv", out) == 1
    assert [row["id"] for row in lines(out)] == ["a/item0", "b/item0", "b/item1", "a/item2"]
    assert [row["id"] for row in lines(tmp_path / "measured.failed.jsonl")] == ["a/item1", "b/item2"]
    assert "no score for a/item1" in capsys.readouterr().err
    picture(edits / "a" / "1.png", 1)
    picture(edits / "b" / "2.png", 2)
    assert score(tmp_path, edits, out) == 0
    assert "4 edits were scored already" in capsys.readouterr().err
    assert len(lines(out)) == 2 * PICTURES
    assert not (tmp_path / "measured.failed.jsonl").exists()


def test_two_rows_that_a_csv_cannot_tell_apart_are_said_to_be_and_a_jsonl_scores_both(tmp_path, edits, capsys):
    manifest = edits / "rows.csv"
    manifest.write_text("id,item,instruction,original,edited\n"
                        + "".join(f"{row},photo,make it red,original/0.png,{row}/0.png\n" for row in "ab"))
    for _ in range(2):              # the second run finds the first row's scores in the file
        assert score(tmp_path, manifest, tmp_path / "out.csv") == 1
        assert "no score for b: another edit goes by 'edited/photo' in out.csv already" in capsys.readouterr().err
    assert [row["id"] for row in lines(tmp_path / "out.failed.jsonl")] == ["b"]
    assert score(tmp_path, manifest, tmp_path / "out.jsonl") == 0
    assert [row["id"] for row in lines(tmp_path / "out.jsonl")] == ["a", "b"]


def test_a_tree_with_a_missing_side_and_a_folder_without_words_is_scored_as_far_as_it_goes(tmp_path):
    root = tmp_path / "ip2p"
    for number in range(4):
        folder = root / "shard-00" / f"{number}"
        picture(folder / "7_0.png", number)
        picture(folder / "7_1.png", number)
        (folder / "prompt.json").write_text(json.dumps({"edit": "make it red"}))
    (root / "shard-00" / "1" / "7_1.png").unlink()
    (root / "shard-00" / "2" / "prompt.json").write_text("{}")
    out = tmp_path / "scores.jsonl"
    assert score(tmp_path, root, out) == 1
    assert [row["id"] for row in lines(out)] == ["shard-00/0/7", "shard-00/3/7"]
    assert [row["key"] for row in lines(out)] == ["shard-00/0", "shard-00/3"]
    assert [row["id"] for row in lines(tmp_path / "scores.failed.jsonl")] == ["shard-00/1/7", "shard-00/2"]


def test_shards_together_are_the_whole(tmp_path, edits):
    for number in (1, 2, 3):
        assert score(tmp_path, edits, tmp_path / f"{number}.jsonl", "--shard", f"{number}/3") == 0
    parts = [{row["id"] for row in lines(tmp_path / f"{number}.jsonl")} for number in (1, 2, 3)]
    assert [len(part) for part in parts] == [2, 2, 2]
    assert len(set().union(*parts)) == 2 * PICTURES


def test_what_score_wrote_can_be_scored_by_another_judge(tmp_path):
    """Drawn scenes have no files: their names draw them again, for the oracle too."""
    first, second = tmp_path / "first.jsonl", tmp_path / "elsewhere" / "second.jsonl"
    assert score(tmp_path, "scenes:3?size=64&seed=5", first) == 0
    assert score(tmp_path, first, second, "--workers", 1, judge="oracle") == 0
    assert score(tmp_path, "scenes:3?size=64&seed=5", tmp_path / "direct.jsonl", "--workers", 1, judge="oracle") == 0
    assert {name: row.reward for name, row in read_rewards(second).items()} == {
        name: row.reward for name, row in read_rewards(tmp_path / "direct.jsonl").items()}


def test_deviations_stand_last_and_beside_each_score(tmp_path):
    edit = ScoredEdit("a/x", "x", "a", "make it red")
    verdicts = Verdicts("tiny", "reward", (Verdict("following", 3.5, text="two\nlines, \"quoted\"", deviation=0.25, judge_version="1"),
                                           Verdict("quality", 2.0, judge_version="1")))
    with JudgeScores(tmp_path / "s.csv", "tiny", "1", ("following", "quality")) as file:
        file.add(edit, verdicts)
    with (tmp_path / "s.csv").open(newline="") as file:
        assert [row[-1] for row in csv.reader(file)] == ["deviation", "0.25", ""]
    with RewardFile(tmp_path / "s.jsonl", "tiny") as file:
        file.add(edit, verdicts)
    [row] = lines(tmp_path / "s.jsonl")
    assert (row["following"], row["quality"]) == ({"score": 3.5, "text": 'two\nlines, "quoted"', "deviation": 0.25},
                                                  {"score": 2.0, "text": "None"})
    assert JudgeScores(tmp_path / "s.csv", "tiny", "1", ("following", "quality")).done == {"a/x"}


@pytest.mark.parametrize("name", ["s.csv", "s.jsonl"])
def test_wherever_a_file_was_cut_it_opens_with_whole_edits_only(tmp_path, name):
    kind = {".csv": JudgeScores, ".jsonl": RewardFile}[name[name.index("."):]]
    path = tmp_path / name
    with kind(path, "j", "1") as file:
        for number in range(3):
            file.add(ScoredEdit(f"m/{number}", f"{number}", "m", "i"), Verdicts("j", "reward", tuple(
                Verdict(one, 1.0, text='a "b"\nc', judge_version="1") for one in ("following", "preserving", "quality"))))
    whole = path.read_bytes()
    ends = []
    for cut in range(0, len(whole), 5):
        path.write_bytes(whole[:cut])
        with kind(path, "j", "1") as file:
            assert file.done == {f"m/{number}" for number in range(len(file.done))}
            ends.append(len(file.done))
        assert whole.startswith(path.read_bytes())
    assert ends == sorted(ends)
    assert set(ends) == {0, 1, 2}, "never the third: its last byte is not there"


def test_another_build_of_a_judge_and_a_second_run_on_the_same_file_are_refused(tmp_path):
    edit = ScoredEdit("m/1", "1", "m", "i")
    with RewardFile(tmp_path / "s.jsonl", "j", "1") as file:
        file.add(edit, Verdicts("j", "reward", (Verdict("quality", 1.0, judge_version="1"),)))
        with pytest.raises(DataError, match="another run is writing it"), RewardFile(tmp_path / "s.jsonl", "j", "1"):
            pass
    with pytest.raises(DataError, match="build '1' of j, which is '2' now"):
        RewardFile(tmp_path / "s.jsonl", "j", "2")


def test_a_run_killed_ten_times_loses_no_edit_and_doubles_none(tmp_path):
    """Real SIGKILLs, at moments of chance, of processes that start with this one's modules."""
    count = 40
    picture(tmp_path / "photo.png", 0)
    pixels = np.asarray(Image.open(tmp_path / "photo.png"))
    for number in range(count):
        Image.fromarray(np.clip(pixels.astype(int) + number // 8, 0, 255).astype(np.uint8)).save(tmp_path / f"{number}.png")
    rows = [(number, f"make it {number} lighter", "photo.png", f"{number}.png") for number in range(count)]
    (tmp_path / "m.csv").write_text(csv_text(("id", "instruction", "original", "edited"), rows))
    out, rng, context = tmp_path / "s.csv", random.Random(0), multiprocessing.get_context("fork")
    kills, sizes = 0, []
    while kills < 10:
        run = context.Process(target=score, args=(tmp_path, tmp_path / "m.csv", out))
        before = out.stat().st_size if out.exists() else 0
        run.start()
        more = rng.randint(1, 500)
        while run.is_alive() and (out.stat().st_size if out.exists() else 0) < before + more:
            time.sleep(0.0005)
        os.kill(run.pid, signal.SIGKILL)
        run.join()
        kills += 1
        sizes.append(out.stat().st_size)
    assert sizes == sorted(sizes)
    assert 0 < sizes[2] < sizes[-1], "runs were killed in the middle"
    assert score(tmp_path, tmp_path / "m.csv", out) == 0
    with out.open(newline="") as file:
        assert [row["item"] for row in csv.DictReader(file)] == [str(number) for number in range(count)]


@pytest.mark.parametrize(("manifest", "flags", "said"), [
    ("nowhere", (), "no such folder"),
    ("empty.csv", (), "holds nothing to score"),
    ("bare.csv", (), "has no column instruction"),
    ("torn.jsonl", (), "not JSON"),
    ("bench", ("--shard", "3/2"), "--shard must look like 2/8"),
    ("bench", ("--shard", "x"), "--shard must look like 2/8"),
    ("bench", ("--limit", "0"), "--limit must be 1 or more"),
    ("bench", ("--out", "scores.txt"), "--out must name a .csv or .jsonl file"),
    ("bench", ("--out", "other.csv"), "holds no judge scores"),
    ("bench", ("--judge", "oracle"), "synthetic scenes only")])
def test_bad_input_is_one_clear_line(tmp_path, edits, capsys, monkeypatch, manifest, flags, said):
    (tmp_path / "empty.csv").write_text("instruction,original,edited\n")
    (tmp_path / "bare.csv").write_text("a,b\n1,2\n")
    (tmp_path / "torn.jsonl").write_text("{\n")
    (tmp_path / "other.csv").write_text("my,notes\n")
    monkeypatch.chdir(tmp_path)
    assert score(tmp_path, manifest, "scores.csv", *flags) == 1
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    assert said in error[0]
    assert (tmp_path / "other.csv").read_text() == "my,notes\n"
