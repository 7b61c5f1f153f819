"""Triplets in tar files: what is written is read back, other people's names are known, and what is not whole is named."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mre.__main__ import main
from mre.data.pix2pix import open_pix2pix
from mre.data.sources import named_picture, open_triplets
from mre.errors import DataError
from mre.files import read_json_lines
from mre.training.config import TrainConfig
from mre.training.stored_examples import StoredExamples


def flat(picture: object) -> Any:
    """The array of a picture."""
    return np.asarray(picture)


def jpeg(colour, size=(40, 32)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "JPEG")
    return buffer.getvalue()


def shard(path, members) -> None:
    with tarfile.open(path, "w") as opened:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))


@pytest.fixture
def tree(tmp_path):
    """Five folders of one pair each, whose colours tell them apart."""
    root = tmp_path / "tree"
    for number in range(5):
        folder = root / f"shard-00/{number:07d}"
        folder.mkdir(parents=True)
        (folder / "7_0.jpg").write_bytes(jpeg((40 * number, 0, 0)))
        (folder / "7_1.jpg").write_bytes(jpeg((40 * number, 0, 200)))
        (folder / "prompt.json").write_text(json.dumps({"edit": [f"make {number} blue", f"blue for {number}"]}), encoding="utf-8")
    return root


def test_shards_hold_the_same_triplets_byte_for_byte_and_writing_goes_on_where_it_was_cut(tree, tmp_path, capsys):
    out = tmp_path / "shards"
    assert main(["shards", str(tree), "--out", str(out), "--per-shard", "2"]) == 0
    assert "5 triplets in 3 files" in capsys.readouterr().out
    written = {path.name: path.read_bytes() for path in out.glob("*.tar")}
    before, after = open_pix2pix(tree), open_pix2pix(out)
    assert after.texts() == before.texts()
    for ours, theirs in zip(after, before, strict=True):
        assert (ours.id, ours.key, ours.instructions) == (theirs.id, theirs.key, theirs.instructions)
        assert (ours.original, ours.edited) == tuple(Path(str(side)).read_bytes() for side in (theirs.original, theirs.edited))
    (out / "000001.tar").unlink()
    assert main(["shards", str(tree), "--out", str(out), "--per-shard", "2"]) == 0
    assert {path.name: path.read_bytes() for path in out.glob("*.tar")} == written
    with tarfile.open(out / "000002.tar") as opened:        # as any reader of WebDataset finds it
        assert opened.getnames() == ["000000004.json", "000000004.original.jpg", "000000004.edited.jpg"]
    assert after.blocks == [[0, 1], [2, 3], [4]], "what lies in one file is read together"
    assert [triplet.id for triplet in after.choose([4, 0])] == ["shard-00/0000004/7", "shard-00/0000000/7"]


def test_training_and_scoring_read_shards_like_the_tree_that_they_were(tree, tmp_path):
    main(["shards", str(tree), "--out", str(tmp_path / "shards"), "--per-shard", "2"])
    rewards = tmp_path / "rewards.json"
    side = [{"Score": score, "Negative Prompt": "None"} for score in (5, 3, 1)]
    rewards.write_text(json.dumps({"shard-00/0000003": side, "shard-00/0000001": side}), encoding="utf-8")
    read = {where: StoredExamples(TrainConfig(data="pix2pix", data_dir=str(tmp_path / where), rewards=str(rewards), resolution=16))
            for where in ("tree", "shards")}
    pixels = {where: {text.id: examples.held_out(place).edited for place, text in enumerate(examples.texts)}
              for where, examples in read.items()}
    assert sorted(pixels["shards"]) == sorted(pixels["tree"]) == ["shard-00/0000001/7", "shard-00/0000003/7"]
    assert all(np.array_equal(flat(pixels["shards"][name]), flat(pixels["tree"][name])) for name in pixels["tree"])
    scores = tmp_path / "scores.jsonl"
    assert main(["score", str(tmp_path / "shards"), "--judge", "measured", "--out", str(scores)]) == 0
    rows = [row for _, row in read_json_lines(scores)]
    assert sorted(row["id"] for row in rows) == [f"shard-00/000000{number}/7" for number in range(5)]
    found = [int(flat(named_picture(row["edited"], tmp_path))[5, 5, 0]) for row in sorted(rows, key=lambda row: row["id"])]
    assert found == pytest.approx([0, 40, 80, 120, 160], abs=3), "the name of a picture finds it again"


@pytest.mark.parametrize(("words", "original", "edited"), [
    ({"json": b'{"instruction": "make it blue"}'}, "source.jpg", "target.jpg"),
    ({"txt": b"make it  blue\n"}, "input.png", "output.png"),
    ({"json": b'{"width": 3}', "txt": b"make it blue"}, "0.jpg", "1.jpg"),
    ({"json": b'{"edit_prompt": ["make it blue"]}'}, "0.webp", "1.webp")])
def test_the_names_that_others_give_are_known_and_a_sample_without_an_id_is_called_by_its_own(tmp_path, words, original, edited):
    members = {f"some/00017.{kind}": content for kind, content in words.items()}
    shard(tmp_path / "part-3.tar", {**members, f"some/00017.{edited}": jpeg("blue"), f"some/00017.{original}": jpeg("red"),
                                    "some/00017.cls": b"3"})
    only = open_triplets(str(tmp_path / "part-3.tar"), tmp_path)[0]
    assert (only.id, only.instructions) == ("part-3/some/00017", ("make it blue",))
    assert [flat(side)[3, 3, 0] > 200 for side in only.open()] == [True, False]


WHOLE = {"1.json": b'{"edit": "make it blue"}', "1.original.jpg": jpeg("red"), "1.edited.jpg": jpeg("blue")}


@pytest.mark.parametrize(("members", "said"), [
    ({"1.json": WHOLE["1.json"], "1.original.jpg": WHOLE["1.original.jpg"]}, "1: the edited picture is missing"),
    ({name: content for name, content in WHOLE.items() if name != "1.json"}, "1: has no instruction"),
    ({**WHOLE, "1.json": b"{"}, "1.json: is not JSON"), ({**WHOLE, "1.json": b"[1]"}, "1.json: must hold an object"),
    ({**WHOLE, "1.json": b'{"edit": " "}'}, "1.json: has no instruction"),
    ({**WHOLE, "1.json": b'{"edit": 3}'}, "1.json: has no instruction"),
    ({**WHOLE, "1.source.png": jpeg("red")}, "1: has two pictures that are the original one"), ({}, "holds no samples")])
def test_a_sample_that_is_not_whole_is_named(tmp_path, members, said):
    shard(tmp_path / "bad.tar", members)
    with pytest.raises(DataError, match=r"bad\.tar") as caught:
        open_pix2pix(tmp_path)
    assert said in str(caught.value)


@pytest.mark.parametrize("kept", [700, 1100, 2300])
def test_a_shard_that_is_cut_and_one_that_is_compressed_are_refused_in_one_line(tmp_path, kept):
    shard(tmp_path / "cut.tar", WHOLE)
    content = (tmp_path / "cut.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(content[:kept])
    with pytest.raises(DataError, match=r"cut\.tar"):
        open_pix2pix(tmp_path)
    (tmp_path / "cut.tar").rename(tmp_path / "packed.tar.gz")
    with pytest.raises(DataError, match=r"packed\.tar\.gz: is compressed"):
        open_pix2pix(tmp_path)


def test_a_folder_with_other_shards_and_a_picture_that_cannot_be_read_stop_the_writing_and_leave_nothing_half(tree, tmp_path, capsys):
    out = tmp_path / "shards"
    (tree / "shard-00/0000003/7_1.jpg").write_bytes(b"no picture")
    assert main(["shards", str(tree), "--out", str(out), "--per-shard", "2"]) == 1
    assert "shard-00/0000003/7_1.jpg" in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir()) == ["000000.tar", "shards.json"]
    assert main(["shards", str(tree), "--out", str(out), "--per-shard", "3"]) == 1
    assert "holds shards of other triplets" in capsys.readouterr().err
