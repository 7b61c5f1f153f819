"""The editing pipeline: a reward for every picture, the branches of guidance, and equality with its parent."""


import pytest
import torch
from diffusers import (
    DiffusionPipeline,
    StableDiffusionInstructPix2PixPipeline,
)

from mre import Reward
from mre.errors import RewardError
from mre.models.kept_readings import MOST, KeptReadings
from tests.tiny_edits import LOW, STEPS, edited, latents, photo
from tests.tiny_models import pipeline, plain_unet, reward_unet

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
