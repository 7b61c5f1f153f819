"""A pair that a visitor keeps is an item of a study to be."""

import numpy as np
import pytest
from PIL import Image

from mre.errors import DataError
from mre.recipes import png_bytes
from mre.study.intake import read_items
from mre.study.pairs import KeptEdit, keep_pair, pair_folder


def picture(level: int) -> bytes:
    return png_bytes(Image.fromarray(np.full((40, 60, 3), level, np.uint8)))


def keep(data, instruction="make it darker, please", models=("tiny", "org/other model")):
    edits = tuple(KeptEdit(model, picture(50 * place), 7, 0.5) for place, model in enumerate(models, start=1))
    return keep_pair(data, "global", instruction, picture(200), edits)


def test_kept_pairs_are_read_as_items_of_one_study(tmp_path):
    folder = keep(tmp_path)
    assert keep(tmp_path, "=SUM(1)", ("org/other model", "tiny")) == folder == pair_folder(tmp_path, "tiny", "org/other model")
    methods, items = read_items([folder])
    assert sorted(methods) == ["org-other-model", "tiny"]
    assert sorted(item.instruction for item in items) == ["=SUM(1)", "make it darker, please"]


def test_one_model_twice_or_an_unknown_edit_type_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(DataError, match="two different models"):
        keep(tmp_path, models=("tiny", "tiny"))
    with pytest.raises(DataError, match="edit type"):
        keep_pair(tmp_path, "odd", "x", picture(1), (KeptEdit("a", picture(1), 1, 1), KeptEdit("b", picture(1), 1, 1)))
    assert not list(tmp_path.iterdir())
