"""Editors of diffusers with a reward condition, in every place of the studio where an editor can be named."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from diffusers import Flux2KleinPipeline
from PIL import Image

from mre.__main__ import main
from mre.editors import weights
from mre.editors.capabilities import Capabilities
from mre.editors.forms import FORMS
from mre.editors.kinds import make_editor
from mre.editors.settings import EditSettings
from mre.errors import ModelError
from mre.models.transformer.files import write_editor
from mre.models.transformer.pipeline import TransformerPipeline
from mre.recipes import read_recipe
from mre.rewards import Reward
from mre.sweep import Axis, Sweep
from mre.training.adapters import add_adapters
from mre.training.transformers import load_stock
from tests.editors import tiny_diffusers
from tests.editors.test_load_options import lora_for
from tests.training.transformers import squares
from tests.ui.serving import served
from tests.ui.test_edit_api import call, edit, fetched
from ui.app import build_app
from ui.studio import StudioSettings

KLEIN, QWEN = "Flux2KleinPipeline", "QwenImageEditPipeline"
WRONG = Reward(1, 2, 0, ("the hat is missing", "None", "None"))


@pytest.fixture(autouse=True)
def small_conditions(monkeypatch):
    """Qwen's editor sees the photo at a megapixel, whatever the size of the edit, and klein reads 512 tokens: here a few, for time."""
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit as module

    real, encode = module.calculate_dimensions, Flux2KleinPipeline.encode_prompt
    monkeypatch.setattr(module, "calculate_dimensions", lambda area, ratio: real(min(area, 64 * 64), ratio))
    monkeypatch.setattr(Flux2KleinPipeline, "encode_prompt", lambda self, **said: encode(self, **said | {"max_sequence_length": 32}))


def trained(base: Path, folder: Path, lora_rank: int = 0) -> Path:
    """What a training with much effect would leave: its condition, and its adapters if there are any, are drawn at random."""
    pipeline = TransformerPipeline(load_stock(str(base)), reward_width=16, reward_num_heads=2)
    if lora_rank:
        add_adapters(pipeline.unet, squares.config(base, base, folder, lora_rank=lora_rank), ("reward_",))
    torch.manual_seed(1)
    for name, parameter in pipeline.unet.named_parameters():
        if name.startswith("reward_") or "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    folder.mkdir()
    write_editor(pipeline, folder, base, str(base), resolution=96, half=False)
    return folder


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> dict[str, Path]:
    return {kind: tiny_diffusers.save(kind, tmp_path_factory.mktemp("bases") / kind) for kind in (KLEIN, QWEN)}


@pytest.fixture(scope="module")
def folders(bases, tmp_path_factory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("trained")
    return {"klein": trained(bases[KLEIN], place / "klein"), "klein-adapters": trained(bases[KLEIN], place / "klein-adapters", 2),
            "qwen": trained(bases[QWEN], place / "qwen")}


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 72, 3), dtype=np.uint8))


@pytest.mark.parametrize("name", ["klein", "qwen"])
def test_a_trained_folder_is_an_editor_whose_scores_and_texts_move_its_picture(name, folders, photo):
    editor = make_editor(str(folders[name]), device="cpu")
    info = editor.info
    assert (info.name, info.native_size, "reads rewards" in info.limits) == (name, 96, True)
    has: Capabilities = editor.capabilities
    assert (has.reward, has.reward_text, has.negative_reward, has.no_wish) == (True, True, True, True)
    asked = {"instruction": "make it red", "steps": 1, "guidance_scale": 2}
    first = editor.edit(photo, EditSettings(**asked))
    assert editor.edit(photo, EditSettings(**asked)).png() == first.png()
    for other in ({"reward": Reward(0, 5, 5)}, {"reward": Reward(5, 5, 0)}, {"reward": Reward(5, None, 5)}, {"negative_reward": WRONG},
                  {"reward": Reward(texts=("None", "the hat is missing", "None"))}):
        assert editor.edit(photo, EditSettings(**asked, **other)).image.tobytes() != first.image.tobytes(), other


def test_the_picture_is_that_of_the_trained_pipeline(folders, bases, photo):
    from mre.models.transformer.files import add_condition

    result = make_editor(str(folders["klein-adapters"]), device="cpu").edit(photo, EditSettings("make it red", WRONG, seed=3, steps=2))
    pipeline = add_condition(load_stock(str(bases[KLEIN])), folders["klein-adapters"])
    own = pipeline("make it red", result.seen, reward=WRONG, num_inference_steps=2, guidance_scale=4.0,
                   generator=torch.Generator().manual_seed(3)).images[0]
    assert result.made.tobytes() == own.tobytes()


def test_training_begins_in_float32_whatever_the_chip_computes(bases, monkeypatch):
    monkeypatch.setattr(weights, "computed_dtypes", lambda device: ("bfloat16", "float32"))
    assert load_stock(str(bases[KLEIN])).transformer.dtype == torch.float32
    assert make_editor(str(bases[KLEIN]), device="cpu").dtype == "bfloat16"


def test_with_no_wish_at_all_it_is_its_parent(folders, bases, photo):
    nothing = Reward(None, None, None)
    result = make_editor(str(folders["klein"]), device="cpu").edit(photo, EditSettings("make it red", nothing, steps=1))
    parent = load_stock(str(folders["klein"]))
    own = parent(image=result.seen, prompt="make it red", num_inference_steps=1, guidance_scale=4.0, width=result.seen.width,
                 height=result.seen.height, generator=torch.Generator().manual_seed(42)).images[0]
    assert result.made.tobytes() == own.tobytes()


def test_the_identity_tells_two_conditions_on_one_editor_apart(folders, bases, tmp_path):
    copy = shutil.copytree(folders["klein-adapters"], tmp_path / "copy")
    own, same = (make_editor(str(folder)).info.digest for folder in (folders["klein-adapters"], copy))
    assert own == same, "a folder's name changes nothing"
    weights = bytearray((copy / "reward.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "reward.safetensors").write_bytes(weights)
    assert make_editor(str(copy)).info.digest != own
    assert make_editor(str(bases[KLEIN])).info.digest in own


def test_a_lora_joins_the_adapters_that_were_trained(folders, bases, photo, tmp_path):
    from mre.editors.load_options import LoadOptions, Lora

    lora = lora_for(bases[KLEIN], tmp_path / "style.safetensors", size=0.0)
    plain, with_nothing = (make_editor(str(folders["klein-adapters"]), device="cpu", loading=loading).edit(
        photo, EditSettings("make it red", steps=1)) for loading in (LoadOptions(), LoadOptions(loras=(Lora(str(lora)),))))
    assert with_nothing.made.tobytes() == plain.made.tobytes(), "a LoRA of zeros leaves what was trained as it is"


def test_the_command_edits_from_flags_and_from_the_recipe(folders, photo, tmp_path):
    photo.save(tmp_path / "photo.png")
    command = ["edit", str(tmp_path / "photo.png"), "--model", str(folders["klein"]), "--device", "cpu"]
    asked = ["make it red", "--steps", "1", "--scores", "1,2,0", "--reward-text", "the hat is missing; None; None"]
    assert main([*command[:2], asked[0], *command[2:], *asked[1:], "--out", str(tmp_path / "out.png")]) == 0
    assert read_recipe(tmp_path / "out.png").reward == WRONG
    assert main([*command, "--recipe", str(tmp_path / "out.png"), "--out", str(tmp_path / "again.png")]) == 0
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "out.png").read_bytes()


def test_a_sweep_varies_its_scores(folders, photo):
    editor = make_editor(str(folders["klein"]), device="cpu")
    axis = Axis.parse("following", "0, 5")
    sweep = Sweep.plan(EditSettings("make it red", steps=1, guidance_scale=1), "klein", [axis], {"klein": editor.capabilities})
    assert len({result.made.tobytes() for _, result in sweep.run(photo, {"klein": editor})}) == 2


def test_the_page_offers_its_sliders_and_edits(folders, photo, tmp_path, monkeypatch):
    monkeypatch.setitem(FORMS, KLEIN, replace(FORMS[KLEIN], steps=2))
    photo.save(tmp_path / "photo.png")
    with (served(build_app(StudioSettings(models=(str(folders["klein"]),), data=tmp_path / "data"))) as url,
          httpx.Client(base_url=url, timeout=60) as client):
        told = call(client, "models", [])[1][0]
        assert [(one["model"], one["capabilities"]["reward"]) for one in told] == [("klein", True)]
        outcome, answer = edit(client, (tmp_path / "photo.png").read_bytes(), "make it red", (1, 5, 5), model="klein")
        assert outcome == "complete", answer
        assert read_recipe(fetched(client, answer)).reward == Reward(1, 5, 5)


def change(folder: Path, **values: object) -> None:
    about = json.loads((folder / "reward.json").read_text())
    (folder / "reward.json").write_text(json.dumps(about | values))


@pytest.mark.parametrize(("values", "said"), [
    ({"base": "/nowhere/klein-base"}, "^cut goes on the editor klein-base, as its reward.json says, and that one is not on this machine"),
    ({"condition": 3}, "cut/reward.json cannot be read: reward.json must hold base"),
    ({"condition": {"reward_width": 8}}, "cut/reward.safetensors does not fit its settings"),
    ({"more": 1}, "cut/reward.json cannot be read")])
def test_a_folder_that_is_not_right_is_refused_in_one_line(values, said, folders, photo, tmp_path):
    folder = shutil.copytree(folders["klein-adapters"], tmp_path / "cut")
    change(folder, **values)
    with pytest.raises(ModelError, match=said) as raised:
        make_editor(str(folder), device="cpu").edit(photo, EditSettings("make it red", steps=1))
    assert "\n" not in str(raised.value)
    assert "/nowhere" not in str(raised.value)
