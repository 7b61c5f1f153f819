"""What the tests of benchmarks share: a tiny model, a small Real-Edit of photos, and the command."""

import json

import numpy as np
import pytest
from PIL import Image

from mre.__main__ import main
from mre.benchmark.runs import editors
from mre.rewards import EDIT_TYPES

TINY = "tiny-untrained"


def noise(seed: int, size=(96, 64)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))


@pytest.fixture
def real_edit(tmp_path):
    """Two photos, of other sizes, with seven lines each."""
    folder = tmp_path / "real-edit"
    folder.mkdir()
    noise(1).save(folder / "one.png")
    noise(2, (64, 100)).save(folder / "two.jpg")
    lines = [f"{number}. {name.capitalize()}: do this: {name} it" for number, name in enumerate(EDIT_TYPES, 1)]
    (folder / "instruct.json").write_text(json.dumps({"one.png": lines, "two.jpg": lines}))
    return folder


def bench(*flags) -> int:
    return main(["bench", *map(str, flags)])


@pytest.fixture(scope="session")
def untrained():
    return editors()
