"""InstructPix2Pix triplets: roles come from names, and what is not whole is refused with the name of its folder."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from mre.data.pix2pix import open_pix2pix
from mre.errors import DataError, ImageError


def picture(path, colour, size=(40, 32)):
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def tree(tmp_path):
    """Two folders; the second holds two seed pairs, and its files are made in an order that no role follows."""
    root = tmp_path / "tree"
    for name, seeds in (("shard-00/0000001", ["11"]), ("shard-00/0000002", ["9", "30"])):
        folder = root / name
        folder.mkdir(parents=True)
        for seed in seeds:
            picture(folder / f"{seed}_1.jpg", "blue")
            prompt = {"caption": "a", "edit": f"make {name[-1]} blue", "output": "b"}
            (folder / "prompt.json").write_text(json.dumps(prompt), encoding="utf-8")
            picture(folder / f"{seed}_0.jpg", "red")
    return root


def test_roles_come_from_names_and_every_seed_pair_is_a_triplet(tree):
    triplets = list(open_pix2pix(tree))
    assert [triplet.id for triplet in triplets] == ["shard-00/0000001/11", "shard-00/0000002/9", "shard-00/0000002/30"]
    assert triplets[1].instructions == ("make 2 blue",)
    for triplet in triplets:
        original, edited = (np.asarray(side).mean(axis=(0, 1)) for side in triplet.open())
        assert original[0] > 200 > edited[0]
        assert edited[2] > 200 > original[2]


def test_the_list_of_seeds_decides_which_pairs_count(tree):
    (tree / "seeds.json").write_text(json.dumps([["shard-00/0000002", ["30"]]]), encoding="utf-8")
    assert [triplet.id for triplet in open_pix2pix(tree)] == ["shard-00/0000002/30"]


def test_single_folders_or_pairs_can_be_asked_for(tree):
    assert [triplet.id for triplet in open_pix2pix(tree, ["shard-00/0000002/9", "shard-00/0000001"])] \
        == ["shard-00/0000002/9", "shard-00/0000001/11"]
    for name in ("shard-00/0000003", "shard-09/1/2", "../outside"):
        with pytest.raises(DataError, match="no such triplet folder"):
            open_pix2pix(tree, [name])


@pytest.mark.parametrize("missing", ["30_0.jpg", "30_1.jpg", "prompt.json"])
def test_a_missing_side_or_instruction_names_its_folder(tree, missing):
    (tree / "shard-00/0000002" / missing).unlink()
    with pytest.raises(DataError, match=r"shard-00/0000002: .*is missing") as caught:
        open_pix2pix(tree)
    assert missing in str(caught.value)


def test_a_seed_that_is_listed_but_not_there_is_refused(tree):
    (tree / "seeds.json").write_text(json.dumps([["shard-00/0000001", ["11", "12"]]]), encoding="utf-8")
    with pytest.raises(DataError, match=r"0000001: 12_0.jpg \(original\) is missing"):
        open_pix2pix(tree)


@pytest.mark.parametrize("content", ["{}", '{"edit": ""}', '{"edit": 3}', '{"edit": []}', "[", '{"edit": ["a", " "]}'])
def test_an_instruction_that_is_none_is_refused(tree, content):
    (tree / "shard-00/0000001/prompt.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="shard-00/0000001"):
        open_pix2pix(tree)


def test_several_wordings_of_an_instruction_are_kept(tree):
    (tree / "shard-00/0000001/prompt.json").write_text('{"edit": ["make it blue", "turn  it blue"]}', encoding="utf-8")
    assert open_pix2pix(tree)[0].instructions == ("make it blue", "turn it blue")


def test_an_unreadable_side_is_an_error_never_a_black_square(tree):
    side = tree / "shard-00/0000001/11_1.jpg"
    side.write_bytes(side.read_bytes()[:200])
    with pytest.raises(ImageError, match=r"11_1\.jpg"):
        open_pix2pix(tree)[0].open()
    picture(side, "blue", size=(64, 32))
    with pytest.raises(DataError, match="original is 40x32, edited 64x32"):
        open_pix2pix(tree)[0].open()


def test_a_folder_without_triplets_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match=str(path)):
            open_pix2pix(path)


def encoded(colour):
    buffer = io.BytesIO()
    Image.new("RGB", (24, 24), colour).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def parquet(folder, rows, name="train-00000-of-00001.parquet", rows_per_group=3):
    import pyarrow
    from pyarrow import parquet

    folder.mkdir(exist_ok=True)
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / name, row_group_size=rows_per_group)
    return folder


def test_the_parquet_form_gives_every_row_under_its_own_number(tmp_path):
    rows = [{"original_prompt": "a", "original_image": encoded((i, 0, 0)), "edit_prompt": f"edit {i}", "edited_prompt": "b",
             "edited_image": encoded((0, i, 0))} for i in range(8)]
    folder = parquet(tmp_path / "hub", rows[:5])
    parquet(folder, rows[5:], "train-00001-of-00001.parquet")
    triplets = open_pix2pix(folder)
    assert len(triplets) == 8
    assert triplets.blocks == [[0, 1, 2], [3, 4], [5, 6, 7]]
    assert [text.instructions for text in triplets.texts()] == [(f"edit {i}",) for i in range(8)]
    some = triplets.choose([6, 1, 2, 7])
    assert [text.instructions[0][-1] for text in some.texts()] == ["6", "1", "2", "7"]
    assert [text.id[-2:] for text in some.texts()] == ["#1", "#1", "#2", "#2"]
    assert some.blocks == [[0, 3], [1, 2]]
    assert [some[index].id for index in range(4)] == [text.id for text in some.texts()]
    for index in (7, 0, 4, 3, 5):
        triplet = triplets[index]
        assert triplet.instructions == (f"edit {index}",)
        original, edited = triplet.open()
        assert (original.getpixel((0, 0)), edited.getpixel((0, 0))) == ((index, 0, 0), (0, index, 0))
    assert triplets[6].id == triplets[6].text.folder == "train-00001-of-00001.parquet#1"


def test_ids_and_instructions_of_parquet_rows_are_had_without_their_pictures(tmp_path, monkeypatch):
    from pyarrow import parquet as library

    good = {"original_image": encoded("red"), "edit_prompt": "make it  blue", "edited_image": encoded("blue")}
    folder, read = parquet(tmp_path / "hub", [good] * 7), []
    whole = library.ParquetFile.read_row_group
    monkeypatch.setattr(library.ParquetFile, "read_row_group",
                        lambda self, group, columns: read.append(columns) or whole(self, group, columns))
    assert [text.instructions for text in open_pix2pix(folder).texts()] == [("make it blue",)] * 7
    assert read == [["edit_prompt"]] * 3


def test_a_parquet_file_with_a_fault_is_refused_by_row_or_column(tmp_path):
    good = {"original_image": encoded("red"), "edit_prompt": "x", "edited_image": encoded("blue")}
    with pytest.raises(DataError, match="no column 'edited_image'"):
        open_pix2pix(parquet(tmp_path / "a", [{name: good[name] for name in ("original_image", "edit_prompt")}]))
    for number, fault in enumerate(({"edited_image": None}, {"edit_prompt": " "}, {"original_image": {"bytes": None, "path": "x.jpg"}})):
        with pytest.raises(DataError, match="parquet#1: "):
            open_pix2pix(parquet(tmp_path / f"b{number}", [good, good | fault]))[1]
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "x.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match=r"x.parquet: not a Parquet file"):
        open_pix2pix(tmp_path / "c")
