"""The editing pipeline as one of diffusers: its arguments, callbacks, pictures in and out, its folder and samplers."""

import inspect

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionInstructPix2PixPipeline,
    UniPCMultistepScheduler,
)
from diffusers.callbacks import PipelineCallback

from mre import Reward
from mre.errors import EditStopped
from mre.models import zoo
from mre.pipeline import RewardEditPipeline
from tests.tiny_edits import LOW, STEPS, edited, latents, photo
from tests.tiny_models import pipeline, plain_unet, reward_unet

# -------------------------------------------------------------------------------------------------- what comes with diffusers

def test_positions_names_and_defaults_are_the_stock_pipelines_and_what_we_add_are_keywords():
    ours, stock = (inspect.signature(kind.__call__).parameters for kind in (RewardEditPipeline, StableDiffusionInstructPix2PixPipeline))
    positional = [name for name, one in stock.items() if one.kind is one.POSITIONAL_OR_KEYWORD]
    assert [name for name, one in ours.items() if one.kind is one.POSITIONAL_OR_KEYWORD] == positional
    assert {name for name, one in ours.items() if one.kind is one.KEYWORD_ONLY} == {"reward", "negative_reward", "guidance_interval"}
    of_the_model = {"num_inference_steps", "guidance_scale", "image_guidance_scale"}
    for name in positional:
        if name not in of_the_model:
            default = ours[name].default
            assert (list(default) if isinstance(default, tuple) else default) == stock[name].default, name
        else:
            assert ours[name].default is None


def test_arguments_by_position_mean_what_they_mean_in_the_stock_pipeline(heard, editor):
    """Every one of them, against the same by name."""
    by_position = "red", photo(), 3, 2.0, 1.25, "blue", 2, 0.5
    names = list(inspect.signature(StableDiffusionInstructPix2PixPipeline.__call__).parameters)[1:]
    rest = {"latents": latents(2), "output_type": "latent"}

    def noise() -> dict[str, torch.Generator]:
        return {"generator": torch.Generator().manual_seed(0)}

    output = editor(*by_position, **rest, **noise()).images
    assert len(heard) == 3
    assert torch.equal(output, editor(**dict(zip(names, by_position, strict=False)), **rest, **noise()).images)
    stock = pipeline(plain_unet(), StableDiffusionInstructPix2PixPipeline)
    torch.testing.assert_close(pipeline(reward_unet(plain_unet()))(*by_position, **rest, **noise()).images,
                               stock(*by_position, **rest, **noise()).images, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("positional", "named", "error", "message"), [
    (("red", photo(), Reward.best()), {}, TypeError, "reward is given by keyword"),
    (("red", photo(), 2.5), {}, ValueError, "num_inference_steps must be a whole number above 0, got 2.5"),
    (("red", photo(), 0), {}, ValueError, "num_inference_steps must be a whole number above 0, got 0"),
    (("red", photo()), {"guidence_scale": 3.0}, TypeError, "there is no argument 'guidence_scale'"),
])
def test_a_wrong_argument_is_named(editor, positional, named, error, message):
    with pytest.raises(error, match=message):
        editor(*positional, **named)


@pytest.mark.parametrize("unet", [plain_unet, reward_unet], ids=["stock U-Net", "reward U-Net"])
def test_a_stock_pipeline_becomes_ours_and_ours_a_stock_one_of_the_same_parts(unet):
    stock = pipeline(unet(), StableDiffusionInstructPix2PixPipeline)
    ours = RewardEditPipeline.from_pipe(stock)
    ours.set_progress_bar_config(disable=True)
    assert all(ours.components[name] is part for name, part in stock.components.items())
    assert ours.config.native_size == 16, "of the U-Net, since the other says nothing"
    given = {"reward": {name: value[:1].expand(3, -1) for name, value in ours.encode_rewards([LOW]).items()}} if ours.conditioned else None
    expected = edited(stock, "red", photo(), guidance_scale=7.5, image_guidance_scale=1.5, cross_attention_kwargs=given)
    assert torch.equal(edited(ours, "red", photo(), LOW), expected)
    back = StableDiffusionInstructPix2PixPipeline.from_pipe(ours, unet=ours.unet)       # a class that the stock one does not know is given
    assert all(back.components[name] is part for name, part in stock.components.items())
    again = RewardEditPipeline.from_pipe(StableDiffusionInstructPix2PixPipeline.from_pipe(
        pipeline(unet(), default_steps=3, native_size=32), unet=ours.unet))
    assert (again.config.default_steps, again.config.native_size) == (3, 32), "kept on the way through the stock pipeline"


def test_the_embedded_editor_becomes_another_of_ours_of_the_same_parts():
    editor = zoo.load_pipeline("tiny-untrained", device="cpu")
    again = RewardEditPipeline.from_pipe(editor, default_steps=2)
    assert all(again.components[name] is part for name, part in editor.components.items())
    assert (again.config.default_steps, again.config.native_size, again.config.size_rule) == (2, 64, "fit")


def test_the_same_generator_gives_the_same_picture_and_latents_can_be_given(editor):
    def run(seed: int) -> np.ndarray:
        return np.asarray(editor("red", photo(), generator=torch.Generator().manual_seed(seed), **STEPS).images[0])

    assert np.array_equal(run(0), run(0))
    assert not np.array_equal(run(0), run(1))
    drawn = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(np.asarray(editor("red", photo(), latents=drawn, **STEPS).images[0]), run(0))


def test_a_callback_sees_every_step_and_may_change_the_latents(editor):
    steps = []

    def blank(pipe, step, timestep, tensors):
        steps.append((pipe, step))
        return {"latents": torch.zeros_like(tensors["latents"])}

    assert not edited(editor, "red", photo(), callback_on_step_end=blank).any()
    assert steps == [(editor, 0), (editor, 1)]


def test_a_callback_object_says_itself_which_tensors_it_wants(editor):
    class Listener(PipelineCallback):
        tensor_inputs = ["latents", "image_latents"]
        seen = None

        def callback_fn(self, pipeline, step_index, timestep, callback_kwargs):
            self.seen = set(callback_kwargs)
            return callback_kwargs

    listener = Listener()
    edited(editor, "red", photo(), callback_on_step_end=listener)
    assert listener.seen == {"latents", "image_latents"}


def test_an_interrupted_edit_ends_with_the_step_and_the_next_one_runs(editor):
    steps = []

    def stop(pipe, step, timestep, tensors):
        steps.append(step)
        pipe._interrupt = step == 1
        return {}

    with pytest.raises(EditStopped, match="after step 2"):
        edited(editor, "red", photo(), num_inference_steps=8, callback_on_step_end=stop)
    assert steps == [0, 1]
    assert edited(editor, "red", photo()).shape == (1, 4, 8, 8)


def test_pictures_come_out_in_the_size_they_went_in_with_sides_cut_to_the_factor(editor):
    assert editor("red", photo(width=24, height=17), **STEPS).images[0].size == (24, 16)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_a_picture_that_is_not_rgb_is_read_as_rgb(editor, mode):
    image = photo().convert(mode)
    assert torch.equal(edited(editor, "red", image), edited(editor, "red", image.convert("RGB")))


def test_tensors_are_pictures_too(editor):
    tensor = torch.from_numpy(np.array(photo())).permute(2, 0, 1)[None] / 255
    assert torch.allclose(edited(editor, "red", tensor), edited(editor, "red", photo()), atol=1e-4)


@pytest.mark.parametrize(("prompt", "image", "message"), [
    ("red", None, "image is missing"), (["red"] * 3, [photo(), photo()], "3 instructions cannot be shared out over 2 pictures"),
    ("red", [photo(), photo(width=32)], "one size"),
])
def test_pictures_and_instructions_that_do_not_pair_are_refused(editor, prompt, image, message):
    with pytest.raises(ValueError, match=message):
        editor(prompt, image)


def test_a_negative_instruction_serves_one_picture_and_many(editor):
    starts = latents(2)
    many = edited(editor, "red", [photo(0), photo(1)], negative_prompt="blue", latents=starts)
    alone = edited(editor, "red", photo(1), negative_prompt="blue", latents=starts[1:])
    assert torch.allclose(many[1], alone[0], atol=1e-4)
    assert not torch.allclose(alone, edited(editor, "red", photo(1), latents=starts[1:]), atol=1e-3)


# ----------------------------------------------------------------------------------------------------- a model's own config

def test_a_model_brings_its_own_defaults_and_arguments_win(heard, editor):
    assert (editor.config.default_steps, editor.config.default_guidance_scale, editor.config.default_image_guidance_scale) == (30, 7.5, 1.5)
    own = pipeline(editor.unet, default_steps=3, default_guidance_scale=2.0, default_image_guidance_scale=1.25, native_size=16)
    own("red", photo(), output_type="latent")
    assert (len(heard), own.guidance_scale, own.image_guidance_scale) == (3, 2.0, 1.25)
    own("red", photo(), num_inference_steps=1, guidance_scale=1.0, output_type="latent")
    assert (len(heard), own.guidance_scale, own.image_guidance_scale) == (4, 1.0, 1.25)


def test_a_pipeline_comes_back_from_its_folder_as_it_was(editor, tmp_path, capfd):
    own = pipeline(editor.unet, default_steps=3, default_guidance_scale=2.0, native_size=16, size_rule="fit")
    own.save_pretrained(tmp_path / "model")
    assert capfd.readouterr() == ("", ""), "a training writes many; nobody needs a progress bar for each part"
    again = RewardEditPipeline.from_pretrained(tmp_path / "model")
    again.set_progress_bar_config(disable=True)
    for name in ("default_steps", "default_guidance_scale", "default_image_guidance_scale", "native_size", "size_rule"):
        assert again.config[name] == own.config[name]
    assert torch.equal(again("red", photo(), reward=LOW, latents=latents(), output_type="latent").images,
                       own("red", photo(), reward=LOW, latents=latents(), output_type="latent").images)
    half = RewardEditPipeline.from_pretrained(tmp_path / "model", torch_dtype=torch.bfloat16)
    assert {half.unet.dtype, half.vae.dtype, half.text_encoder.dtype} == {torch.bfloat16}


def test_a_tokenizer_without_a_limit_gets_the_text_encoders(editor):
    editor.tokenizer.model_max_length = int(1e30)
    assert RewardEditPipeline(**editor.components).tokenizer.model_max_length == 77
    assert edited(editor, "very " * 100 + "red", photo(), Reward(texts=("long " * 40, "None", "None"))).isfinite().all()


@pytest.mark.parametrize("kind", [DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler])
def test_the_embedded_classes_edit_with_every_sampler_of_predicted_pictures(kind):
    """A patch autoencoder without weights, a U-Net that predicts the picture itself, texts of 40 tokens."""
    editor = zoo.load_pipeline("tiny-untrained", device="cpu")
    editor.set_progress_bar_config(disable=True)
    editor.scheduler = kind.from_config(editor.scheduler.config)
    assert editor.scheduler.config.prediction_type == "sample"

    def run(reward: Reward) -> np.ndarray:
        return np.asarray(editor("make it red", photo(width=64, height=48), reward=reward, num_inference_steps=3,
                                 generator=torch.Generator().manual_seed(0), output_type="np").images[0])

    assert run(Reward.best()).shape == (48, 64, 3)
    assert np.isfinite(run(Reward.best())).all()
    assert np.abs(run(Reward.best()) - run(LOW)).max() > 0.005
