"""A recipe travels inside its PNG, comes back as it was, and is as untrusted as any upload."""

import json
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mre.editors.settings import EditSettings
from mre.errors import SettingsError
from mre.imaging import open_image
from mre.masks import Mask
from mre.recipes import PNG_SIGNATURE, Recipe, RecipeError, png_bytes, read_recipe
from mre.rewards import Reward

RECIPE = Recipe("make it blue; “now”, 现在", Reward(5, 3.5, 0, ("None", "too dark", "雪")), 7, 8, 1.5, 1.0, "ddim",
                Reward(0, 0, 0), "guided", {"model": "tiny", "weights": "a" * 64, "input": "b" * 64, "size": "128x88", "device": "cpu",
                                            "code": "0.1.0", "torch": "2"})


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8))


def with_chunk(png: bytes, text: bytes, keyword: bytes = b"mre", kind: bytes = b"iTXt", flags: bytes = b"\0\0") -> bytes:
    """A PNG with a text chunk put in by hand, right after its header."""
    body = keyword + b"\0" + (flags + b"\0\0" if kind == b"iTXt" else b"") + text
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return png[:33] + chunk + png[33:]


def test_a_recipe_comes_back_from_its_png_as_it_was_and_the_pixels_too(picture, tmp_path):
    data = png_bytes(picture, RECIPE)
    (tmp_path / "a.png").write_bytes(data)
    assert read_recipe(data) == read_recipe(tmp_path / "a.png") == RECIPE
    assert np.array_equal(np.asarray(open_image(data)), np.asarray(picture))
    assert EditSettings.from_recipe(RECIPE).reward.texts == ("None", "too dark", "雪")


def test_no_wish_travels_in_the_recipe(picture):
    wishless = replace(RECIPE, reward=Reward(5, None, 3))
    assert read_recipe(png_bytes(picture, wishless)) == wishless
    assert json.loads(wishless.to_json())["reward"]["preserving"] is None


def test_a_mask_travels_in_the_recipe_and_a_recipe_without_is_what_versions_before_wrote():
    mask = Mask.of(np.eye(20, 30, dtype=bool))
    masked = replace(RECIPE, mask=mask, put_back=True)
    again = Recipe.from_json(masked.to_json())
    assert again == masked
    assert EditSettings.from_recipe(again).mask == mask
    assert json.loads(masked.to_json())["recipe"] == 2, "a version that knows no masks must not make another picture of it"
    assert {"mask", "put_back"} & set(json.loads(RECIPE.to_json())) == set()
    assert json.loads(RECIPE.to_json())["recipe"] == 1
    assert masked.differences(RECIPE)[0] == "put back: True then, False now"
    assert masked.differences(replace(masked, mask=Mask.of(np.eye(20, 31, dtype=bool))))[0].startswith("mask: 30x20, 3.3% of it")


def test_an_interval_of_guidance_travels_in_a_recipe_that_versions_before_do_not_read():
    fast = replace(RECIPE, guidance_interval=(0.1, 0.8))
    assert Recipe.from_json(fast.to_json()) == fast
    assert EditSettings.from_recipe(fast).guidance_interval == (0.1, 0.8)
    assert json.loads(fast.to_json())["recipe"] == 3
    assert fast.differences(RECIPE) == ["guidance interval: (0.1, 0.8) then, None now"]
    for wrong in ([0.1], [0.1, 2], "0.1", [None, 1], [True, "x"]):
        with pytest.raises(RecipeError, match="guidance_interval must hold two numbers"):
            Recipe.from_json(json.dumps(json.loads(fast.to_json()) | {"guidance_interval": wrong}))
    with pytest.raises(SettingsError, match=r"guidance interval must end above where it begins, got 0\.8 to 0\.1"):
        EditSettings("x", guidance_interval=(0.8, 0.1))


def test_equal_pixels_and_recipes_are_equal_bytes(picture):
    other = picture.copy()
    other.info["comment"] = "from elsewhere"
    assert png_bytes(picture, RECIPE) == png_bytes(other, Recipe.from_json(RECIPE.to_json()))


def test_what_a_picture_brings_from_elsewhere_does_not_go_into_its_png(picture):
    picture.info |= {"comment": "at home", "icc_profile": b"profile of a camera", "dpi": (300, 300), "exif": b"Exif\0\0home"}
    kinds = []
    data = png_bytes(picture)
    place = 8
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place:place + 8])
        kinds.append(kind)
        place += length + 12
    assert set(kinds) == {b"IHDR", b"IDAT", b"IEND"}
    assert picture.info["comment"] == "at home", "the caller's picture is left as it is"


def test_on_request_no_recipe_travels(picture):
    data = png_bytes(open_image(png_bytes(picture, RECIPE)))
    assert b"mre" not in data
    assert b"blue" not in data
    with pytest.raises(RecipeError, match="holds no recipe"):
        read_recipe(data)


def test_what_differs_is_said_field_by_field():
    here = Recipe(**{**vars(RECIPE), "made_with": {**RECIPE.made_with, "device": "cuda", "weights": "c" * 64}})
    assert RECIPE.differences(here) == ["weights of the model: aaaaaaaaaaaa… then, cccccccccccc… now", "kind of device: cpu then, cuda now"]
    assert RECIPE.differences(RECIPE) == []
    assert RECIPE.differences(Recipe(**{**vars(RECIPE), "seed": 8})) == ["seed: 7 then, 8 now"]


def changed(**fields) -> str:
    return json.dumps({**json.loads(RECIPE.to_json()), **fields})


@pytest.mark.parametrize(("text", "reason"), [
    (changed(recipe=4), "newer form"), (changed(recipe="1"), "no known version"), (changed(recipe=True), "no known version"),
    ("{", "not valid JSON"), ("[" * 5000, "not valid JSON"), ("[]", "not a JSON object"),
    (changed(seed="7"), "seed must be a number"), (changed(instruction=5), "instruction must be a text"),
    (changed(reward={"following": 9, "preserving": 5, "quality": 5, "texts": ["", "", ""]}), "reward: following must be"),
    (changed(reward={"following": 5, "preserving": 5, "quality": 5, "texts": [""]}), "reward: texts must be three"),
    (changed(reward={"following": 5, "preserving": 5, "texts": ["", "", ""]}), "reward must hold"),
    (changed(reward=None), "reward must hold"), (changed(made_with={"model": "x" * 400}), "made_with"),
    (changed(made_with=[1]), "made_with"), (changed(recipe=2), "put_back must be"),
    (changed(recipe=2, put_back=True, mask=3), "mask a text"), (changed(guidance_scale=10**400), "guidance_scale is too large"),
    (changed(reward={"following": 10**400, "preserving": 5, "quality": 5, "texts": ["", "", ""]}), "reward: following must be"),
    (changed(recipe=2, put_back=True, mask="iVBO"), "recipe field mask: the recipe's mask"),
    (changed(recipe=2, put_back=True, mask=Mask.of(np.eye(20, dtype=bool)).text[:-40]), "recipe field mask: the recipe's mask"),
])
def test_a_forged_recipe_is_refused_and_the_field_named(picture, text, reason):
    with pytest.raises(RecipeError, match=reason) as refused:
        read_recipe(with_chunk(png_bytes(picture), text.encode()))
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_ten_megabytes_of_json_are_refused_without_being_read(picture):
    with pytest.raises(RecipeError, match="larger than 400 kB"):
        read_recipe(with_chunk(png_bytes(picture), b'{"recipe": 1, "x": "' + b"y" * 10_000_000 + b'"}'))


@pytest.mark.parametrize("data", [b"", b"GIF89a", PNG_SIGNATURE, PNG_SIGNATURE + b"\xff" * 40,
                                  PNG_SIGNATURE + struct.pack(">I", 2**31) + b"iTXtmre\0",
                                  PNG_SIGNATURE + struct.pack(">I", 4) + b"iTXtmre\0" + bytes(4)])
def test_what_is_no_png_or_cut_off_holds_no_recipe(data):
    with pytest.raises(RecipeError):
        read_recipe(data)


def test_values_out_of_range_are_refused_when_the_recipe_becomes_settings():
    from mre.errors import SettingsError
    for fields in ({"steps": 10**9}, {"seed": -1}, {"guidance_scale": float("nan")}, {"instruction": "x" * 1001},
                   {"scheduler": "os.system"}):
        with pytest.raises(SettingsError):
            EditSettings.from_recipe(Recipe.from_json(changed(**fields)))
