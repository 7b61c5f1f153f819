"""Large pictures go through the autoencoder in what memory there is: in slices, in tiles, and the recipe tells of the latter."""

import numpy as np
import pytest
import torch
from PIL import Image

from mre.editors import tiling
from mre.editors.kinds import make_editor
from mre.editors.load_options import LoadOptions
from mre.editors.settings import EditSettings
from tests import tiny_models
from tests.editors import tiny_diffusers

ASKED = EditSettings("make it red", steps=1)
VALUES = 4 * 16 * 4             # bytes for a pixel of tiny_models.vae() in float32: four layers of its 16 channels


def free(bytes_: float, monkeypatch) -> None:
    monkeypatch.setattr(tiling, "free_memory", lambda device: int(bytes_))


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize((64, 48), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict:
    """An editor of ours and one of diffusers, whose autoencoders take tiles."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tiled")
    tiny_models.pipeline(native_size=64, size_rule="fit").save_pretrained(folder / "ours")
    return {"ours": folder / "ours", "kontext": tiny_diffusers.save("FluxKontextPipeline", folder / "kontext", native=64)}


@pytest.mark.parametrize(("kind", "levels"), [("ours", 12), ("kontext", 24)])
def test_a_picture_too_large_for_the_memory_goes_in_tiles_and_its_recipe_tells(folders, kind, levels, photo, monkeypatch):
    def edited(memory: float, by_hand: bool = False):
        free(memory, monkeypatch)
        editor = make_editor(str(folders[kind]), device="cpu", loading=LoadOptions(dtype="float32"))
        if by_hand:
            editor.prepare().vae.enable_tiling()
            editor._most_pixels = None
        return editor.edit(photo, ASKED)
    whole, tiled, own_tiles = edited(1e12), edited(1e5), edited(1e12, by_hand=True)
    assert tiled.made.tobytes() == own_tiles.made.tobytes(), "the library's tiles"
    away = np.abs(np.asarray(whole.made, float) - np.asarray(tiled.made, float)).mean()
    assert 0 < away < levels, "of 255: random weights, whose norms see 16 pixels at a time"
    assert "autoencoder" not in whole.recipe.made_with
    assert whole.recipe.differences(tiled.recipe) == ["way through the autoencoder: in one piece then, in tiles now"]


def test_the_free_memory_says_from_which_size_on(monkeypatch):
    free(VALUES * 1000 / tiling.SHARE, monkeypatch)
    vae = tiny_models.vae()
    most = tiling.most_pixels(vae, "cpu")
    assert most == pytest.approx(1000, abs=1)
    assert tiling.most_pixels(tiny_models.vae().to(torch.bfloat16), "cpu") == pytest.approx(2000, abs=2)
    for pictures, size, sliced, tiled in ((1, (30, 30), False, False), (2, (30, 30), True, False), (1, (40, 30), True, True)):
        tiling.share_out(vae, pictures, size, most)
        assert (vae.use_slicing, vae.use_tiling) == (sliced, tiled)
    monkeypatch.setattr(tiling, "free_memory", lambda device: None)
    assert tiling.most_pixels(vae, "cpu") is None, "nobody knows"


@torch.inference_mode()
def test_slices_give_the_pictures_of_the_batch():
    vae, latents = tiny_models.vae(), torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = vae.decode(latents).sample
    tiling.share_out(vae, 3, (16, 16), 300)
    assert vae.use_slicing
    torch.testing.assert_close(vae.decode(latents).sample, expected, atol=1e-5, rtol=1e-5)
