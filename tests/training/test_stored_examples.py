"""Stored triplets as samples: every one once an epoch, aspect kept, left and right swapped with the picture."""

import dataclasses
import json
import os

import numpy as np
import pytest
from PIL import Image

from mre.data.pix2pix import open_pix2pix
from mre.errors import DataError
from mre.rewards import EDIT_TYPES
from mre.training.config import TrainConfig
from mre.training.examples import Numbers, batches, collate
from mre.training.scene_examples import SyntheticExamples
from mre.training.stored_examples import StoredExamples, View, square, swap_sides


def test_every_triplet_comes_once_an_epoch_in_an_order_that_the_seed_decides(config):
    source = StoredExamples(config)
    epochs = [[source.draw(sample)[0] for sample in range(epoch * 24, epoch * 24 + 24)] for epoch in range(2)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(24))] * 2
    assert epochs[0] != epochs[1]
    assert epochs[0] == [StoredExamples(config).draw(sample)[0] for sample in range(24)]
    assert epochs[0] != [StoredExamples(dataclasses.replace(config, seed=1)).draw(sample)[0] for sample in range(24)]


def test_a_sample_is_the_same_at_every_call_and_mirrored_half_the_time(config):
    source = StoredExamples(config)
    for sample in range(4):
        one, two = source.training(sample), source.training(sample)
        assert one.instruction == two.instruction
        assert np.array_equal(one.edited, two.edited)
        assert one.original.shape == one.edited.shape == (16, 16, 3)
    mirrored = np.mean([source.draw(sample)[1].mirrored for sample in range(2000)])
    assert mirrored == pytest.approx(0.5, abs=0.04)
    assert not any(StoredExamples(dataclasses.replace(config, flip=False)).draw(sample)[1].mirrored for sample in range(50))


def test_original_and_edited_are_cropped_and_mirrored_together(config):
    source = StoredExamples(config)
    for sample in range(12):
        index, view = source.draw(sample)
        triplet = source.triplets[index]
        sides = [square(side, 16, view.across, view.down) for side in triplet.open()]
        example = source.training(sample)
        for side, made in zip(sides, (example.original, example.edited), strict=True):
            assert np.array_equal(side[:, ::-1] if view.mirrored else side, made)


def test_a_picture_keeps_its_aspect_and_is_cropped_across_its_longer_side():
    picture = Image.new("RGB", (300, 100))
    for x in range(300):
        picture.paste((x * 255 // 299, 0, 0), (x, 0, x + 1, 100))
    left, middle, right = (square(picture, 50, across, 0.3)[:, :, 0].mean() for across in (0.0, 0.5, 1.0))
    assert (left, middle, right) == pytest.approx((255 / 6, 255 / 2, 255 * 5 / 6), abs=1.5)
    slope = np.diff(square(picture, 50, 0.5, 0)[:, :, 0].astype(float).mean(axis=0))[5:-5].mean()
    assert slope == pytest.approx(2 * 255 / 299, abs=0.05)          # two source pixels a step, not the six of a squeezed picture


@pytest.fixture
def parquet(tree, tmp_path):
    """The tree's triplets as two Parquet files of four row groups each, and which row each folder became."""
    import pyarrow
    from pyarrow import parquet

    (tmp_path / "hub").mkdir()
    rows, row_map = [[], []], {}
    for number, triplet in enumerate(open_pix2pix(tree)):
        row_map[triplet.text.folder] = f"part-{number % 2}.parquet#{number // 2}"
        rows[number % 2].append({"original_image": {"bytes": triplet.original.read_bytes()}, "edit_prompt": triplet.instructions[0],
                                 "edited_image": {"bytes": triplet.edited.read_bytes()}})
    for part in (0, 1):
        parquet.write_table(pyarrow.Table.from_pylist(rows[part]), tmp_path / "hub" / f"part-{part}.parquet", row_group_size=3)
    (tmp_path / "rows.json").write_text(json.dumps(row_map))
    return tmp_path / "hub"


@pytest.fixture
def groups_read(tmp_path, monkeypatch):
    """The processes that read row groups with pictures, once for each group, since this was asked last."""
    from pyarrow import parquet

    log, whole = tmp_path / "read.txt", parquet.ParquetFile.read_row_group

    def read(self, group, columns):
        if "edited_image" in columns:
            with log.open("a") as file:
                file.write(f"{os.getpid()}\n")
        return whole(self, group, columns)

    monkeypatch.setattr(parquet.ParquetFile, "read_row_group", read)

    def asked() -> list[int]:
        processes = [int(line) for line in log.read_text().splitlines()] if log.exists() else []
        log.write_text("")
        return processes

    return asked


def test_a_process_reads_each_row_group_once_an_epoch_however_many_workers_decode(config, parquet, tmp_path, groups_read):
    config = dataclasses.replace(config, data_dir=parquet, row_map=tmp_path / "rows.json", num_workers=2)
    source = StoredExamples(config)
    assert groups_read() == []
    for rank in (0, 1):
        own = StoredExamples(config)
        for batch, _ in zip(Numbers(0, 2, rank, world=2), range(6), strict=False):
            for sample in batch:
                own.row(sample)
        assert len(groups_read()) == 8
    for batch, _ in zip(batches(source, config, 0, 0, 1), range(12), strict=False):
        assert all(np.array_equal(picture.permute(1, 2, 0), source.training(sample).edited)
                   for sample, picture in zip(batch.samples, batch.edited, strict=True))
    assert set(groups_read()) == {os.getpid()}


def test_released_rewards_join_parquet_rows_by_a_map(config, tree, parquet, tmp_path):
    row_map = json.loads((tmp_path / "rows.json").read_text())
    kept = sorted(row_map)[::3]
    rewards = json.loads((tree / "rewards.json").read_text())
    (tmp_path / "some.json").write_text(json.dumps({key: rewards[key] for key in kept}))
    (tmp_path / "rows.csv").write_text("key,row\n" + "".join(f"{key},{row}\n" for key, row in row_map.items()))
    from_tree = StoredExamples(dataclasses.replace(config, rewards=tmp_path / "some.json"))
    for name in ("rows.json", "rows.csv"):
        joined = StoredExamples(dataclasses.replace(config, data_dir=parquet, rewards=tmp_path / "some.json", row_map=tmp_path / name))
        assert {text.id for text in joined.texts} == {row_map[key] for key in kept}
        expected = {row_map[one.triplet.text.folder]: one for one in (from_tree.row_of(index, View()) for index in range(len(kept)))}
        for index in range(len(kept)):
            row = joined.row_of(index, View())
            other = expected[row.triplet.id]
            assert (row.reward, row.triplet.instructions) == (other.reward, other.triplet.instructions)
            assert np.array_equal(joined.example(row).edited, from_tree.example(other).edited)
    with pytest.raises(DataError, match="row_map says which Parquet row a folder is"):
        StoredExamples(dataclasses.replace(config, data_dir=parquet))
    for content, said in (({kept[0]: row_map[kept[0]]}, "has no row for"), ({"a": "x"}, "not FILE.parquet#ROW"),
                          ({"a": "x.parquet#1", "b": "x.parquet#1"}, "duplicate key"), ([1], "one row")):
        (tmp_path / "bad.json").write_text(json.dumps(content))
        with pytest.raises(DataError, match=said):
            StoredExamples(dataclasses.replace(config, data_dir=parquet, row_map=tmp_path / "bad.json"))


@pytest.mark.parametrize(("said", "mirrored"), [
    ("remove the left ball", "remove the right ball"),
    ("Left of the RIGHT tree, add a leftmost star", "Right of the LEFT tree, add a rightmost star"),
    ("make it bright", "make it bright"),
    ("the cleft is upright, leftover", "the cleft is upright, leftover"),
])
def test_left_and_right_swap_as_words(said, mirrored):
    assert swap_sides(said) == mirrored
    assert swap_sides(mirrored) == said


def test_together_the_processes_take_every_number_once():
    taken = []
    for rank in range(3):
        numbers = iter(Numbers(first=12, batch_size=2, rank=rank, world=3))
        taken += [*next(numbers), *next(numbers)]
    assert sorted(taken) == list(range(12, 24))


def test_drawn_triplets_are_clean_for_the_share_that_was_asked_for_and_weigh_edit_types():
    config = TrainConfig(resolution=32, clean_share=0.5, edit_type_weights=(1, 0, 0, 0, 0, 0, 0))
    examples = [SyntheticExamples(config).training(sample) for sample in range(40)]
    clean = [example.reward.scores == (5, 5, 5) for example in examples]
    assert 0.3 < np.mean(clean) < 0.8
    spoiled = [SyntheticExamples(dataclasses.replace(config, clean_share=0.0)).training(sample) for sample in range(40)]
    assert all(np.array_equal(one.original, other.original) and one.instruction == other.instruction
               for one, other in zip(examples, spoiled, strict=True))
    assert sum(np.array_equal(one.edited, other.edited) for one, other in zip(examples, spoiled, strict=True)) < 40


@pytest.mark.parametrize(("edit_type", "expected"), [("texture", False), ("background", False), ("global", True), ("style", True)])
def test_of_drawn_triplets_the_looks_are_edits_of_the_whole_picture(edit_type, expected):
    config = TrainConfig(resolution=32, edit_type_weights=tuple(float(name == edit_type) for name in EDIT_TYPES))
    batch = collate([(sample, SyntheticExamples(config).training(sample)) for sample in range(3)])
    assert batch.everywhere.tolist() == [expected] * 3
