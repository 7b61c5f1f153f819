"""Names -> weights."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EulerAncestralDiscreteScheduler, StableDiffusionInstructPix2PixPipeline
from PIL import Image
from safetensors.torch import load_file, save_file

from mre import Reward
from mre.editors import pipeline_info
from mre.embedded.build import build_pipeline
from mre.errors import ModelError
from mre.models import known, zoo
from tests.conftest import ROOT
from tests.tiny_models import pipeline, plain_unet


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "mine"
    pipeline(default_steps=3, default_guidance_scale=2.0, default_image_guidance_scale=1.25, native_size=16,
             size_rule="fit").save_pretrained(path)
    return path


def test_a_folder_is_described_without_loading_it(folder):
    info = pipeline_info.describe(str(folder))
    assert (info.name, info.native_size, info.size_rule) == ("mine", 16, "fit")
    assert (info.steps, info.guidance_scale, info.image_guidance_scale) == (3, 2.0, 1.25)
    assert info.conditioned
    assert info.capabilities == pipeline_info.capabilities_of(str(folder)) == pipeline_info.FULL_SIZE
    assert len(info.digest) == 64


def test_the_digest_follows_the_weights(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert known.weight_digest(copy) == known.weight_digest(folder)
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["conv_out.bias"] += 1e-3
    save_file(tensors, file, metadata={"format": "pt"})
    assert known.weight_digest(copy) != known.weight_digest(folder)


@pytest.mark.parametrize("name", known.KNOWN)
def test_every_known_name_is_described_or_says_that_it_is_not_here(name):
    if known.KNOWN[name].folder and not (known.ASSETS / known.KNOWN[name].folder).is_dir():
        with pytest.raises(ModelError, match=f"the embedded model {name} is not in this copy"):
            pipeline_info.describe(name)
        return
    info = pipeline_info.describe(name)
    assert info.name == name
    assert info.title
    assert info.limits
    assert info.conditioned == info.capabilities.reward == (name not in ("insp2p", "tiny-baseline", "smartedit-7b", "smartedit-13b"))
    assert info.capabilities == pipeline_info.capabilities_of(name), "the page knows it before the model is loaded"


def test_the_untrained_model_is_the_same_each_time_and_heeds_instruction_reward_and_seed():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    before = torch.random.get_rng_state()

    def run(prompt: str = "make it red", reward: Reward | None = None, seed: int = 0) -> np.ndarray:
        editor = zoo.load_pipeline("tiny-untrained", device="cpu")
        editor.set_progress_bar_config(disable=True)
        return np.asarray(editor(prompt, image, reward=reward, generator=torch.Generator().manual_seed(seed), output_type="np").images[0])

    first = run()
    assert np.array_equal(run(), first)
    assert torch.equal(torch.random.get_rng_state(), before), "the program's own random numbers are left alone"
    for other in (run("make it blue"), run(reward=Reward(0, 0, 0)), run(seed=1)):
        assert np.abs(other - first).max() > 1e-4
    assert pipeline_info.describe("tiny-untrained").native_size == 64


@pytest.mark.parametrize(("name", "message"), [
    ("nowhere", "there is no model folder nowhere"), ("no/where", "no/where is not on this machine, and HF_HUB_OFFLINE forbids"),
    ("../nowhere", "there is no model folder"), ("", "there is no model folder"),
])
def test_a_name_that_leads_nowhere_is_refused_in_one_line(name, message):
    with pytest.raises(ModelError, match=message) as caught:
        zoo.load_pipeline(name)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError):
        pipeline_info.describe(name)


def test_public_weights_that_are_not_here_are_described_but_not_loaded_offline(monkeypatch, tmp_path):
    """HF_HUB_OFFLINE is set for tests: nothing is fetched."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    info = pipeline_info.describe("reward-insp2p")
    assert (info.steps, info.guidance_scale, info.image_guidance_scale, info.size_rule, info.native_size) == (30, 7.5, 1.5, "released", 512)
    assert info.digest is None
    with pytest.raises(ModelError, match="is not on this machine, and HF_HUB_OFFLINE forbids asking the hub"):
        zoo.load_pipeline("reward-insp2p")


def test_an_embedded_model_that_was_deleted_or_damaged_is_said_by_name(monkeypatch, folder, tmp_path):
    monkeypatch.setattr(known, "ASSETS", tmp_path)
    with pytest.raises(ModelError, match="the embedded model tiny is not in this copy"):
        zoo.load_pipeline("tiny")
    with pytest.raises(ModelError, match="the embedded model tiny is not in this copy"):
        pipeline_info.describe("tiny")
    shutil.copytree(folder, tmp_path / "tiny")
    assert zoo.load_pipeline("tiny", device="cpu").config.default_steps == 3
    (tmp_path / "tiny" / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"^tiny/unet/diffusion_pytorch_model.safetensors is damaged"):
        zoo.load_pipeline("tiny")


def test_weights_saved_by_others_get_the_sampler_of_the_released_evaluation(tmp_path, folder):
    pipeline(plain_unet(), StableDiffusionInstructPix2PixPipeline).save_pretrained(tmp_path / "plain")
    editor = zoo.load_pipeline(str(tmp_path / "plain"), device="cpu")
    assert isinstance(editor.scheduler, EulerAncestralDiscreteScheduler)
    assert editor.scheduler.config.beta_schedule == "scaled_linear"
    assert isinstance(zoo.load_pipeline(str(folder), device="cpu").scheduler, DDIMScheduler), "ours says itself what it wants"


def test_importing_the_names_loads_no_torch_and_loading_a_model_says_nothing():
    code = ("import sys; from mre.models import zoo; assert 'torch' not in sys.modules\n"
            "zoo.load_pipeline('tiny-untrained', device='cpu')")
    done = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout + done.stderr == ""


def test_an_embedded_model_is_known_as_one_in_whatever_folder(folder, tmp_path):
    """What the page and the command line say of words that it never saw is said of a model trained by a user too."""
    build_pipeline(width=(32, 48, 64), words=["red"], native_size=32).save_pretrained(tmp_path / "mine")
    assert pipeline_info.vocabulary_of(str(tmp_path / "mine"))
    assert not pipeline_info.vocabulary_of(str(folder)), "a reward U-Net of the full kind"
    assert not pipeline_info.vocabulary_of("someone/some-model")
