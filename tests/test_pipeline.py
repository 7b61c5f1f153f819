"""The editing pipeline: one call, a reward for every picture, and the stock loop underneath."""

import inspect

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    StableDiffusionInstructPix2PixPipeline,
    UniPCMultistepScheduler,
)
from diffusers.callbacks import PipelineCallback
from PIL import Image

from mre import Reward
from mre.errors import EditStopped, RewardError
from mre.models import zoo
from mre.models.kept_readings import MOST, KeptReadings
from mre.pipeline import RewardEditPipeline
from tests.tiny_models import pipeline, plain_unet, reward_unet

LOW = Reward(0, 1, 2, texts=("wrong object", "None", "blurry"))
STEPS = {"num_inference_steps": 2}


def photo(seed: int = 0, width: int = 16, height: int = 16) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def latents(batch: int = 1, seed: int = 1) -> torch.Tensor:
    return torch.randn(batch, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def edited(editor, prompt, image, reward=None, **kwargs) -> torch.Tensor:
    """The edit's latents, exact."""
    rewards = {} if reward is None else {"reward": reward}
    return editor(prompt, image, **{"output_type": "latent", "latents": latents(), **STEPS, **rewards, **kwargs}).images


@pytest.fixture(scope="module")
def editor():
    return pipeline()


@pytest.fixture
def heard(editor):
    """What the U-Net is given at each step, and what it says."""
    calls = []

    def hear(module, args, kwargs, output):
        calls.append({**kwargs["cross_attention_kwargs"]["reward"], "said": output[0]})

    hook = editor.unet.register_forward_hook(hear, with_kwargs=True)
    yield calls
    hook.remove()


# ------------------------------------------------------------------------------------------------------------- the reward

def test_the_device_is_looked_up_at_the_beginning_of_a_call_and_anew_for_the_next(editor, monkeypatch):
    asked = []

    def found(pipeline):
        asked.append(pipeline)
        return torch.device("cpu")
    monkeypatch.setattr(DiffusionPipeline, "_execution_device", property(found))
    for _ in range(2):
        edited(editor, "make it red", photo())
        assert 1 <= len(asked) <= 4, "diffusers alone asks twenty times"
        assert editor._kept_device is None
        asked.clear()


def test_no_reward_means_the_best_reward(editor, heard):
    assert torch.equal(edited(editor, "red", photo()), edited(editor, "red", photo(), Reward.best()))
    assert heard[0]["reward_scores"].tolist() == [[5, 5, 5]] * 3


def test_scores_and_texts_change_the_edit(editor):
    best = edited(editor, "red", photo())
    assert not torch.allclose(edited(editor, "red", photo(), Reward(5, 5, 0)), best, atol=1e-3)
    assert not torch.allclose(edited(editor, "red", photo(), Reward(texts=("None", "None", "blurry"))), best, atol=1e-3)


def test_a_perspective_without_a_wish_reaches_a_u_net_that_knows_it_and_is_refused_for_any_other(editor, heard):
    with pytest.raises(RewardError, match="this model needs a score of quality"):
        edited(editor, "red", photo(), Reward(5, 5, None))
    assert not heard
    editor.unet.register_to_config(knows_no_wish=True)
    try:
        made = edited(editor, "red", photo(), Reward(5, 5, None))
    finally:
        editor.unet.register_to_config(knows_no_wish=False)
    assert heard[0]["reward_scores"].isnan().tolist() == [[False, False, True]] * 3
    assert made.isfinite().all()
    assert not torch.allclose(made, edited(editor, "red", photo()), atol=1e-3)


def test_the_reward_text_is_read_by_the_pipelines_own_text_encoder(editor, heard):
    edited(editor, "red", photo(), LOW)
    ids = editor.tokenizer("wrong object; None; blurry", padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.no_grad():
        expected = editor.text_encoder(ids).pooler_output
    assert torch.allclose(heard[0]["reward_text"], expected.expand(3, -1), atol=1e-6)


def test_in_the_paper_variant_it_is_read_token_by_token_with_its_mask():
    editor = pipeline(reward_unet(variant="paper", reward_init="released"))
    condition = editor.encode_rewards([Reward.best(), LOW])
    assert condition["reward_text"].shape == (2, 77, 32)
    lengths = [len(editor.tokenizer(text).input_ids) for text in ("None; None; None", "wrong object; None; blurry")]
    assert condition["reward_text_mask"].sum(dim=1).tolist() == lengths
    assert not torch.allclose(edited(editor, "red", photo(), LOW), edited(editor, "red", photo()), atol=1e-3)


def test_a_model_of_some_perspectives_reads_their_texts_alone():
    editor = pipeline(reward_unet(perspectives=("quality",), reward_init="released"))
    wrong = Reward(texts=("wrong object", "gone", "None"))
    assert torch.equal(edited(editor, "red", photo(), wrong), edited(editor, "red", photo()))
    assert not torch.equal(edited(editor, "red", photo(), LOW), edited(editor, "red", photo()))


def test_a_batch_with_a_reward_for_each_picture_equals_single_edits(editor):
    rewards, photos, starts = [Reward.best(), LOW], [photo(0), photo(1)], latents(2)
    together = edited(editor, ["red", "a blue sky"], photos, rewards, latents=starts)
    for row, prompt in enumerate(["red", "a blue sky"]):
        alone = edited(editor, prompt, photos[row], rewards[row], latents=starts[row:row + 1])
        assert torch.allclose(together[row], alone[0], atol=1e-4)


def test_several_results_for_each_picture_stay_with_their_picture(editor):
    photos, starts = [photo(0), photo(1)], latents(4)
    results = edited(editor, ["red", "blue"], photos, [LOW, Reward.best()], num_images_per_prompt=2, latents=starts)
    for row, (prompt, image, reward) in enumerate([("red", photos[0], LOW)] * 2 + [("blue", photos[1], Reward.best())] * 2):
        assert torch.allclose(results[row], edited(editor, prompt, image, reward, latents=starts[row:row + 1])[0], atol=1e-4), row


def test_one_instruction_serves_many_pictures_and_one_picture_many_instructions(editor):
    starts = latents(2)
    many = edited(editor, "red", [photo(0), photo(1)], latents=starts)
    assert torch.allclose(many[1], edited(editor, "red", photo(1), latents=starts[1:])[0], atol=1e-4)
    many = edited(editor, ["red", "blue"], photo(0), latents=starts)
    assert torch.allclose(many[1], edited(editor, "blue", photo(0), latents=starts[1:])[0], atol=1e-4)


@pytest.mark.parametrize(("given", "message"), [
    ({"reward": [LOW] * 3}, "one for each of 1 pictures, got 3"), ({"reward": (5, 5, 5)}, "must be a mre.Reward, got 5"),
    ({"reward": "5,5,5"}, "must be a mre.Reward"), ({"negative_reward": (LOW,)}, "or a pair; got 1"),
    ({"negative_reward": LOW, "guidance_scale": 1.0}, "needs guidance"),
    ({"negative_reward": LOW, "image_guidance_scale": 0.5}, "needs guidance"),
])
def test_rewards_that_do_not_fit_are_refused(editor, given, message):
    with pytest.raises(RewardError, match=message):
        edited(editor, "red", photo(), **given)


# ----------------------------------------------------------------------------------------------------------- the branches

def test_a_negative_reward_changes_the_two_branches_without_the_instruction_and_no_other(editor, heard):
    edited(editor, "red", photo())
    edited(editor, "red", photo(), negative_reward=LOW)
    plain, negative = heard[0], heard[2]                       # the first step of each: the same input
    assert negative["reward_scores"].tolist() == [[5, 5, 5], [0, 1, 2], [0, 1, 2]]
    assert torch.equal(negative["said"][0], plain["said"][0])
    for branch in (1, 2):
        assert not torch.allclose(negative["said"][branch], plain["said"][branch], atol=1e-3)


def test_each_branch_can_have_a_reward_of_its_own(editor, heard):
    edited(editor, ["red", "blue"], [photo(0), photo(1)], [Reward.best(), Reward(4, 4, 4)], latents=latents(2),
           negative_reward=([LOW, Reward(1, 1, 1)], Reward(3, 3, 3)))
    assert heard[0]["reward_scores"].tolist() == [[5, 5, 5], [4, 4, 4], [0, 1, 2], [1, 1, 1], [3, 3, 3], [3, 3, 3]]


def test_the_same_reward_as_negative_changes_nothing(editor):
    assert torch.equal(edited(editor, "red", photo(), LOW, negative_reward=LOW), edited(editor, "red", photo(), LOW))


@pytest.mark.parametrize("scales", [{"guidance_scale": 1.0}, {"image_guidance_scale": 0.9}, {"guidance_scale": 0.0}])
def test_without_guidance_each_picture_is_read_once(editor, heard, scales):
    output = edited(editor, ["red"] * 2, [photo(0), photo(1)], LOW, latents=latents(2), **scales)
    assert output.shape == (2, 4, 8, 8)
    assert heard[0]["said"].shape[0] == heard[0]["reward_scores"].shape[0] == 2


# ---------------------------------------------------------------------------------------------------- equal to the parent

@pytest.mark.parametrize(("scales", "computed"), [((7.5, 1), 2), ((1.5, 1.5), 2), ((7.5, 1.5), 3)])
def test_a_branch_of_guidance_that_cancels_is_not_computed_and_the_edit_is_that_of_all_three(scales, computed):
    ours, rows = pipeline(), []
    stock = StableDiffusionInstructPix2PixPipeline(**pipeline().components, requires_safety_checker=False)
    best = {name: value.repeat(3, *[1] * (value.ndim - 1)) for name, value in ours.encode_rewards([Reward.best()]).items()}
    given = {"guidance_scale": scales[0], "image_guidance_scale": scales[1], "num_inference_steps": 3, "latents": latents(),
             "output_type": "latent"}
    all_three = stock("red", photo(), **given, cross_attention_kwargs={"reward": best}).images
    ours.unet.conv_in.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    torch.testing.assert_close(ours("red", photo(), **given).images, all_three, atol=2e-5, rtol=1e-4)
    assert rows == [computed] * 3
    rows.clear()
    ours("red", photo(), **STEPS)
    assert rows == [3] * 2, "the next call has its own scales"


def test_outside_the_interval_of_guidance_one_branch_is_computed_and_stands_for_all():
    ours, rows, timesteps = pipeline(), [], []
    stock = StableDiffusionInstructPix2PixPipeline(**pipeline().components, requires_safety_checker=False)
    best = {name: value.repeat(3, *[1] * (value.ndim - 1)) for name, value in ours.encode_rewards([Reward.best()]).items()}
    given = {"num_inference_steps": 4, "latents": latents(), "output_type": "latent"}

    def first_for_all(module, args, output):            # all three are computed, and two thrown away
        timesteps.append(int(args[1]))
        return output if 200 <= timesteps[-1] <= 600 else (output[0][:1].repeat(3, 1, 1, 1),)
    stock.unet.register_forward_hook(first_for_all)
    expected = stock("red", photo(), **given, cross_attention_kwargs={"reward": best}).images
    ours.unet.conv_in.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    torch.testing.assert_close(ours("red", photo(), **given, guidance_interval=(0.2, 0.6)).images, expected, atol=2e-5, rtol=1e-4)
    assert (timesteps, rows) == ([751, 501, 251, 1], [1, 3, 3, 1])


def test_scales_that_a_callback_changes_count_from_the_next_step_on():
    ours, rows = pipeline(), []
    ours.unet.conv_in.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))

    def lower(pipe, step, timestep, values):
        pipe._image_guidance_scale = 1.0
        return {}
    ours("red", photo(), num_inference_steps=3, callback_on_step_end=lower)
    assert rows == [3, 2, 2]


def test_where_readings_are_kept_a_second_edit_runs_no_encoder_and_changes_nothing():
    fresh, ours, runs = pipeline(), pipeline(), []
    ours.keep_readings()
    ours.text_encoder.register_forward_hook(lambda *_: runs.append("text"))
    ours.vae.encoder.register_forward_hook(lambda *_: runs.append("picture"))

    def same(*said, **more):
        runs.clear()
        assert torch.equal(edited(ours, *said, **more), edited(fresh, *said, **more))
        return sorted(runs)
    assert same("red", photo(), LOW) == ["picture", "text", "text"]
    assert same("red", photo(), LOW) == []
    assert same("red", photo(), Reward(1, 2, 3, LOW.texts), guidance_scale=3.0, num_inference_steps=1) == [], "scores are no text"
    assert same("red", photo(1), LOW) == ["picture"]
    assert same("blue", photo(1), LOW) == ["text"]
    assert same("blue", photo(1), Reward()) == ["text"]
    assert same("blue", photo(1), Reward(), guidance_scale=1.0) == ["picture", "text"], "without guidance it asks for other things"
    assert same(["red"] * 4, [photo()] * 4, LOW, latents=latents(4)) == ["picture", "text", "text"], "batches are not kept"
    assert same("red", photo(), LOW) == [], "and drive nothing out"


def test_the_oldest_reading_goes_first():
    kept, made = KeptReadings(), []
    for key in (*range(MOST), 0, MOST, 0, 1):
        assert kept.of(key, lambda key=key: made.append(key) or key) == key
    assert made == [*range(MOST + 1), 1]


def test_an_untrained_reward_pipeline_edits_exactly_as_the_stock_pipeline():
    parent = plain_unet()
    stock = pipeline(parent, StableDiffusionInstructPix2PixPipeline)
    settings = {"guidance_scale": 7.5, "image_guidance_scale": 1.5}
    expected = edited(stock, "red", photo(), **settings)
    assert torch.equal(edited(pipeline(reward_unet(parent)), "red", photo(), LOW, **settings), expected)
    assert torch.equal(edited(pipeline(parent), "red", photo(), LOW, **settings), expected), "a stock U-Net knows no reward"


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
