"""Reward data from triplets: streamed, resumed after any cut, in both forms, with their statistics."""

import json

import numpy as np
import pytest
from PIL import Image

from mre.__main__ import main
from mre.data.reward_statistics import statistics, words_of, write_statistics
from mre.data.rewardedit import read_rewards
from mre.data.scenes.triplets import draw_triplet
from mre.data.sources import named_picture, open_triplets
from mre.errors import DataError
from mre.rewards import PERSPECTIVES, Reward
from mre.scoring.files import RewardFile
from tests.judge.fake_openai import KEY, FakeOpenAI


@pytest.fixture(autouse=True)
def judge_key(monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def picture(path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def tree(tmp_path):
    """An InstructPix2Pix tree: three folders, the last with two seeds."""
    root = tmp_path / "ip2p"
    for number, seeds in ((1, (11,)), (2, (22,)), (3, (33, 34))):
        folder = root / "shard-00" / f"000000{number}"
        for seed in seeds:
            picture(folder / f"{seed}_0.jpg", seed)
            picture(folder / f"{seed}_1.jpg", seed + 100)
        (folder / "prompt.json").write_text(json.dumps({"edit": f"make it: number {number}", "input": "x", "output": "y"}))
    return root


@pytest.fixture
def table(tmp_path):
    """A CSV of five triplets."""
    lines = ["id,instruction,original,edited"]
    for number in range(5):
        for side in ("a", "b"):
            picture(tmp_path / "pictures" / f"{number}{side}.png", number + (50 if side == "b" else 0))
        lines.append(f'row{number},"make it red, {number}",pictures/{number}a.png,pictures/{number}b.png')
    path = tmp_path / "triplets.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def rewards(server, source, out, *flags) -> int:
    judge = ["--judge", "gpt-4o-2024-08-06", "--base-url", server.url, "--picture-size", "32"]
    judge += ["--cache", str(out.parent / "answers.sqlite")]
    return main(["rewards", str(source), "--out", str(out), *judge, *map(str, flags)])


def rows_of(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_tree_becomes_both_forms_with_the_released_keys(tmp_path, tree):
    out = tmp_path / "out" / "rewards.jsonl"
    with FakeOpenAI() as server:
        assert rewards(server, tree, out, "--yes") == 0
    rows = rows_of(out)
    assert [row["id"] for row in rows] == ["shard-00/0000001/11", "shard-00/0000002/22", "shard-00/0000003/33", "shard-00/0000003/34"]
    assert list(rows[0])[:9] == ["id", "instruction", "original", "edited", "judge", "judge_version", "following", "preserving", "quality"]
    assert rows[0]["instruction"] == "make it: number 1"
    assert (rows[0]["judge"], rows[0]["judge_version"]) == ("gpt-4o-2024-08-06@fence", "gpt-4o-2024-08-06")
    assert named_picture(rows[0]["edited"], out.parent).size == (32, 32)
    released = json.loads(out.with_suffix(".json").read_text())
    assert list(released) == ["shard-00/0000001", "shard-00/0000002", "shard-00/0000003/33", "shard-00/0000003/34"]
    for row, entries in zip(rows, released.values(), strict=True):
        assert [entry["Score"] for entry in entries] == [row[name]["score"] for name in PERSPECTIVES]
        assert all(isinstance(entry["Score"], int) for entry in entries)
    assert read_rewards(out)["shard-00/0000001/11"].reward == read_rewards(out.with_suffix(".json"))["shard-00/0000001"].reward


def test_a_parquet_file_is_judged_row_by_row(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet
    rows = []
    for number in range(3):
        picture(tmp_path / "p.png", number)
        side = {"bytes": (tmp_path / "p.png").read_bytes(), "path": None}
        rows.append({"original_image": side, "edit_prompt": f"make it {number}", "edited_image": side})
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "part.parquet")
    out = tmp_path / "elsewhere" / "rewards.jsonl"
    with FakeOpenAI() as server:
        assert rewards(server, tmp_path / "part.parquet", out, "--yes") == 0
    assert [row["id"] for row in rows_of(out)] == ["part.parquet#0", "part.parquet#1", "part.parquet#2"]
    assert named_picture(rows_of(out)[1]["original"], out.parent).size == (32, 32), "named from where the rewards lie"


def test_a_cut_run_goes_on_and_an_unfinished_line_is_taken_back(tmp_path, table):
    out = tmp_path / "rewards.jsonl"
    with FakeOpenAI() as server:
        assert rewards(server, table, out, "--yes") == 0
        whole = out.read_bytes()
        lines = whole.splitlines(keepends=True)
        out.write_bytes(b"".join(lines[:2]) + lines[2][:40])
        (tmp_path / "answers.sqlite").unlink()
        before = server.requests
        assert rewards(server, table, out, "--yes") == 0
        assert server.requests - before == 3 * 3, "what stands in the file is not asked again, even without the cache"
    assert [row["id"] for row in rows_of(out)] == [f"row{number}" for number in range(5)]


def test_a_triplet_with_a_broken_picture_is_named_and_the_rest_goes_on(tmp_path, table, capsys):
    (tmp_path / "pictures" / "1b.png").write_bytes(b"not a picture")
    (tmp_path / "pictures" / "3a.png").unlink()
    out = tmp_path / "rewards.jsonl"
    with FakeOpenAI() as server:
        assert rewards(server, table, out, "--yes") == 1
    assert [row["id"] for row in rows_of(out)] == ["row0", "row2", "row4"]
    assert [row["id"] for row in rows_of(tmp_path / "rewards.failed.jsonl")] == ["row1", "row3"]
    said = capsys.readouterr().err
    assert "no reward for row1" in said
    assert "no reward for row3" in said


def test_failures_are_kept_apart_with_their_replies(tmp_path, table):
    out = tmp_path / "rewards.jsonl"
    with FakeOpenAI(rates={"unreadable": 1.0}) as server:
        assert rewards(server, table, out, "--yes") == 1
    assert out.read_text() == ""
    failed = rows_of(tmp_path / "rewards.failed.jsonl")
    assert len(failed) == 5
    assert "quite good" in failed[0]["raw"]["following"]


def test_rewards_of_another_judge_are_not_mixed_in(tmp_path, table, capsys):
    out = tmp_path / "rewards.jsonl"
    with FakeOpenAI() as server:
        assert rewards(server, table, out, "--yes") == 0
        assert rewards(server, table, out, "--yes", "--no-fence") == 1
    assert "was judged by 'gpt-4o-2024-08-06@fence', not by 'gpt-4o-2024-08-06'" in capsys.readouterr().err


def test_a_budget_ends_the_run_with_an_error_code_and_the_next_run_goes_on(tmp_path, table, capsys):
    out = tmp_path / "rewards.jsonl"
    with FakeOpenAI() as server:
        assert rewards(server, table, out, "--yes", "--max-requests", 7, "--workers", 1) == 1
        assert "budget of 7 requests" in capsys.readouterr().err
        assert len(rows_of(out)) == 2
        assert rewards(server, table, out, "--yes") == 0
        assert server.requests == 15
    assert len(rows_of(out)) == 5


def test_nothing_is_spent_without_a_yes(tmp_path, table, capsys, monkeypatch):
    out = tmp_path / "rewards.jsonl"
    with FakeOpenAI() as server:
        assert rewards(server, table, out) == 1
        assert "give --yes" in capsys.readouterr().err
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", lambda question: "n")
        assert rewards(server, table, out) == 1
        assert server.requests == 0
        monkeypatch.setattr("builtins.input", lambda question: "y")
        assert rewards(server, table, out) == 0
        assert server.requests == 15
    assert "15 requests to send" in capsys.readouterr().err


@pytest.mark.parametrize(("source", "flags", "said"), [
    ("nowhere", [], "no such folder"),
    ("empty", [], "the folder is empty"),
    ("scenes:0", [], "between 1 and"),
    ("scenes:5?colour=red", [], "knows seed, split and size"),
    ("scenes:many", [], "must look like"),
    ("triplets.csv", ["--limit", 0], "--limit"),
    ("headless.csv", [], "has no column instruction"),
    ("holes.csv", [], "row 2: edited is empty"),
    ("triplets.csv", ["--out", "rewards.txt"], "must name a .jsonl file"),
    ("triplets.csv", ["--budget", 0], "a budget of 0 allows no request"),
    ("triplets.csv", ["--budget", -1], "--budget must be 0 or more"),
    ("triplets.csv", ["--judge", "oracle"], "synthetic scenes only"),
    ("triplets.csv", ["--judge", "gpt-9", "--yes"], "knows no model 'gpt-9'"),
    ("triplets.csv", ["--judge", "text-model", "--yes"], "does the model take pictures")])
def test_bad_input_is_one_clear_line(tmp_path, table, capsys, monkeypatch, source, flags, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "headless.csv").write_text("a,b\n1,2\n")
    (tmp_path / "holes.csv").write_text("instruction,original,edited\nx,y,\n")
    monkeypatch.chdir(tmp_path)
    with FakeOpenAI() as server:
        assert rewards(server, source, tmp_path / "rewards.jsonl", *flags) == 1
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    assert said in error[0]


def test_drawn_scenes_get_the_oracles_rewards_and_their_names_draw_them_again(tmp_path):
    out = tmp_path / "rewards.jsonl"
    flags = ["--judge", "oracle", "--cache", str(tmp_path / "answers.sqlite"), "--workers", "1"]
    assert main(["rewards", "scenes:5?seed=3&size=64", "--out", str(out), *flags]) == 0
    rows = rows_of(out)
    assert [row["id"] for row in rows] == [f"train-3-{number}" for number in range(5)]
    for number, row in enumerate(rows):
        triplet = draw_triplet(3, number, "train", 64)
        assert np.array_equal(np.asarray(named_picture(row["edited"], tmp_path)), triplet.edited)
    with pytest.raises(DataError, match="between"):
        open_triplets("scenes:5?size=9999", tmp_path)


def test_a_folder_of_drawn_scenes_gets_from_the_oracle_what_it_was_spoiled_with(tmp_path):
    assert main(["scenes", "--count", "6", "--out", str(tmp_path / "scenes"), "--size", "64", "--seed", "4"]) == 0
    out = tmp_path / "rewards.jsonl"
    assert main(["rewards", str(tmp_path / "scenes"), "--out", str(out), "--judge", "oracle", "--cache", str(tmp_path / "a.sqlite")]) == 0
    true = read_rewards(tmp_path / "scenes" / "scenes.jsonl")
    judged = json.loads(out.with_suffix(".json").read_text())
    assert judged.keys() == true.keys()
    apart = [abs(entry["Score"] - score) for name, row in true.items()
             for entry, score in zip(judged[name], row.reward.scores, strict=True)]
    assert np.mean(apart) < 0.4


def test_a_file_that_is_no_reward_file_is_not_written_over(tmp_path):
    out = tmp_path / "notes.jsonl"
    out.write_text("my notes\n")
    with pytest.raises(DataError, match="line 1: not a reward"):
        RewardFile(out, "judge")
    assert out.read_text() == "my notes\n"


def test_statistics_count_scores_words_and_the_share_below_5(tmp_path):
    found = statistics([Reward(5, 3, 0, ("None", "The sky and the SKY are grey", "It's blurry")),
                        Reward(4, 3, 5, ("No sky", "None", "None")), Reward(5, 5, 5), Reward(5, 4.5, 5)])
    assert found.share_below_best("following") == 0.25
    assert found.share_below_best("preserving") == 0.75
    assert found.words["preserving"] == {"sky": 1, "grey": 1}
    assert found.faultless == {"following": 3, "preserving": 3, "quality": 3}
    paths = write_statistics(found, tmp_path / "statistics")
    assert {path.name for path in paths} == {"score_distribution.csv", "words.csv", "summary.csv", "score_distribution.png", "words.png"}
    assert "preserving,3,2,0.5000" in paths[0].read_text()
    assert "preserving,4,3.8750,0.7500,3" in paths[2].read_text()
    for path in paths[3:]:
        assert np.asarray(Image.open(path).convert("L")).std() > 5, "something is drawn"


def test_words_are_lower_case_and_say_something():
    assert words_of("The Dog's left-hand ear, 3 times: it's not there!") == {"dog's", "left-hand", "ear", "times", "it's"}
