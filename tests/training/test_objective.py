"""What is minimised, by numbers worked out by hand or given by the released implementation."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from diffusers.training_utils import EMAModel
from diffusers.utils import BaseOutput

from mre.embedded.masks import ChangeMasks, changed_mask
from mre.training.config import TrainConfig
from mre.training.draws import Draws, dropped, timesteps
from mre.training.objectives.noise import NoisePrediction
from mre.training.objectives.objective import Batch
from mre.training.optimizer import build_optimizer, set_learning_rate
from tests import tiny_models


@pytest.mark.parametrize("d", [0.05, 0.1])
def test_conditions_are_dropped_as_in_the_released_code(shared, d):
    for row in json.loads((shared / "parity" / "rules.json").read_text())["conditioning_dropout"]:
        text, image = dropped(torch.tensor([row["random_p"]]), d)
        assert (text.item(), image.item()) == (row[f"drop_text_at_{d:g}"], row[f"drop_image_at_{d:g}"]), row


def test_the_moving_average_decays_as_in_the_released_code(shared):
    ema = EMAModel([torch.nn.Parameter(torch.zeros(1))], decay=TrainConfig().ema_decay, foreach=True)
    for step, decay in json.loads((shared / "parity" / "rules.json").read_text())["ema_decay_by_optimizer_step"].items():
        assert ema.get_decay(int(step)) == pytest.approx(decay, rel=1e-12)


@pytest.mark.parametrize("perspective_dropout", [0.0, 0.5])
def test_a_sample_is_drawn_alike_whatever_batch_it_comes_in(perspective_dropout):
    config = TrainConfig(seed=3, timestep_high=0.5, perspective_dropout=perspective_dropout)
    together, apart = Draws.of(config, range(4), (4, 8, 8)), [Draws.of(config, [number], (4, 8, 8)) for number in range(4)]
    drawn = {name: value for name, value in vars(together).items() if value is not None}
    assert vars(together).keys() - drawn.keys() == (set() if perspective_dropout else {"perspectives"})    # drawn only where asked for
    assert all((one.perspectives is None) == (not perspective_dropout) for one in apart)
    for name, value in drawn.items():
        assert torch.equal(value, torch.cat([getattr(one, name) for one in apart])), name
    other = Draws.of(dataclasses.replace(config, seed=4), range(4), (4, 8, 8))
    assert not torch.equal(together.noise, other.noise)
    assert len({float(one) for one in together.noise.mean(dim=(1, 2, 3))}) == 4        # and each sample differently


def test_the_mixture_of_timesteps_has_the_shares_that_were_asked_for():
    kind, place = torch.rand(2, 40_000, generator=torch.Generator().manual_seed(0))
    drawn = timesteps(kind, place, TrainConfig(timestep_terminal=0.3, timestep_high=0.4), 1000)
    assert (drawn == 999).float().mean() == pytest.approx(0.3 + 0.4 / 200 + 0.3 / 1000, abs=0.01)
    assert ((drawn >= 800) & (drawn < 999)).float().mean() == pytest.approx(0.4 + 0.3 * 0.2, abs=0.01)
    uniform = timesteps(kind, place, TrainConfig(), 1000)
    assert (uniform.min(), uniform.max()) == (0, 999)
    assert uniform.float().mean() == pytest.approx(499.5, abs=5)


class _Answers(torch.nn.Module):
    """A network that answers the same whatever it is asked."""

    def __init__(self, sample, mask_logits=None):
        super().__init__()
        self.sample, self.mask_logits = sample, mask_logits

    def forward(self, *args, **kwargs):
        @dataclasses.dataclass
        class Output(BaseOutput):
            sample: torch.Tensor
            mask_logits: torch.Tensor | None = None

        return Output(self.sample, self.mask_logits)


def batch_and_draws(steps):
    generator = torch.Generator().manual_seed(0)
    latents, image, noise = torch.randn(3, 2, 4, 2, 2, generator=generator)
    mask = torch.zeros(2, 1, 4, 4)
    mask[0, 0, 0, 3] = 1            # one pixel: the upper right cell of the first sample counts as changed
    ones = torch.ones(2)
    draws = Draws(torch.tensor(steps), ones, ones, ones, noise, torch.zeros_like(noise))
    return Batch(latents, image, torch.zeros(2, 3, 8), {}, {"mask": mask.repeat(1, 2, 1, 1)}), draws


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
def test_the_loss_is_the_mean_squared_distance_to_what_is_to_be_predicted(prediction):
    scheduler = DDPMScheduler(beta_schedule="scaled_linear", prediction_type=prediction)
    batch, draws = batch_and_draws([10, 900])
    alpha = torch.tensor(np.cumprod(1 - np.linspace(0.0001**0.5, 0.02**0.5, 1000) ** 2)[[10, 900]]).float()[:, None, None, None]
    target = {"epsilon": draws.noise, "sample": batch.latents,
              "v_prediction": alpha.sqrt() * draws.noise - (1 - alpha).sqrt() * batch.latents}
    answer = torch.full_like(batch.latents, 0.25)
    losses = NoisePrediction(scheduler, TrainConfig())(_Answers(answer), batch, draws)
    assert losses["loss"].item() == pytest.approx(((answer - target[prediction]) ** 2).mean().item(), rel=1e-5)


@pytest.mark.parametrize("outside", [0.0, 3.0])
def test_weights_of_noise_level_and_mask_and_the_loss_of_the_mask_are_as_worked_out_by_hand(outside):
    scheduler = DDPMScheduler.from_config(DDIMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="sample").config)
    batch, draws = batch_and_draws([100, 999])
    alpha = scheduler.alphas_cumprod[[100, 999]].tolist()
    levels = [min(1 / (1 - one), 2.0) for one in alpha]
    assert levels[0] == 2.0
    assert levels[1] == pytest.approx(1.0, abs=1e-3)
    weights = torch.tensor(levels)[:, None, None, None].expand(2, 4, 2, 2).clone()
    weights *= 1 + outside
    weights[0, :, 0, 1] *= (1 + 5 / (1 / 4)) / (1 + outside)       # one of four cells
    answer, logits = torch.zeros_like(batch.latents), torch.full((2, 1, 4, 4), -1.5)
    config = TrainConfig(snr_cap=2.0, mask_weight=5.0, mask_loss_weight=0.3, outside_weight=outside)
    losses = NoisePrediction(scheduler, config)(_Answers(answer, logits), batch, draws)
    shut = math.log(1 + math.exp(-1.5))
    mask = (31 * (1 + outside) * shut + (1 + 5 / (1 / 16)) * (shut + 1.5)) / 32     # one of sixteen pixels
    assert losses["mask"].item() == pytest.approx(mask, rel=1e-5)
    assert losses["denoise"].item() == pytest.approx((weights * batch.latents**2).mean().item(), rel=1e-5)
    assert losses["loss"].item() == pytest.approx(losses["denoise"].item() + 0.3 * mask, rel=1e-5)


def test_what_lies_outside_the_change_is_weighed_without_a_weight_of_the_change_itself_too():
    scheduler = DDPMScheduler.from_config(DDIMScheduler(prediction_type="sample").config)
    batch, draws = batch_and_draws([100, 999])
    weights = torch.full((2, 4, 2, 2), 3.0)
    weights[0, :, 0, 1] = 1                      # the one cell that differs
    losses = NoisePrediction(scheduler, TrainConfig(outside_weight=2.0))(_Answers(torch.zeros_like(batch.latents)), batch, draws)
    assert losses["loss"].item() == pytest.approx((weights * batch.latents**2).mean().item(), rel=1e-5)
    assert TrainConfig(outside_weight=2.0).reads_masks


def test_the_mask_marks_pixels_where_any_channel_changed_by_more_than_a_twenty_fifth():
    original = torch.zeros(1, 3, 2, 2)
    edited = original.clone()
    edited[0, 1, 0, 0], edited[0, 2, 1, 1] = 0.1, 0.07          # of a range of 2: 0.05 and 0.035
    assert changed_mask(original, edited).tolist() == [[[[1, 0], [0, 0]]]]


def test_an_edit_of_the_whole_picture_is_everywhere_also_where_it_changes_nothing_unless_nothing_was_edited():
    original, edited = torch.zeros(3, 3, 2, 2), torch.zeros(3, 3, 2, 2)
    edited[:2, 0, 0, 0] = 0.5
    masks = changed_mask(original, edited, torch.tensor([True, False, True]))
    assert masks.flatten(1).tolist() == [[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_faults_of_an_edit_are_in_the_mask_that_is_learned_and_not_in_the_weights():
    original = torch.zeros(1, 3, 4, 4)
    asked, edited = original.clone(), original.clone()
    asked[..., 0, 0], edited[..., 3, 3] = 0.5, 0.5              # the wrong thing was edited
    term = ChangeMasks(TrainConfig(mask_weight=2.0, mask_loss_weight=1.0))
    masks = term.read(original, edited, asked, None)
    assert masks.flatten(2).nonzero().tolist() == [[0, 0, 15], [0, 1, 0]]
    assert term.weight(masks, (2, 2)).flatten().tolist() == [1 + 2 / (1 / 4), 1, 1, 1]
    open_there = torch.full((1, 1, 4, 4), -20.0)
    open_there[..., 3, 3] = 20.0
    assert term.loss(_Answers(original, open_there), masks).item() == pytest.approx(0, abs=1e-6)


def test_weight_decay_spares_norms_and_biases_unless_asked_for_as_released():
    unet = tiny_models.plain_unet()
    spared = build_optimizer(unet, TrainConfig())
    decays = {id(one): group["weight_decay"] for group in spared.param_groups for one in group["params"]}
    assert {one.ndim > 1: decays[id(one)] for one in unet.parameters()} == {True: 1e-2, False: 0.0}
    assert [group["weight_decay"] for group in build_optimizer(unet, TrainConfig(decay_all=True)).param_groups] == [1e-2]


def test_the_learning_rate_warms_up_stays_and_falls_to_zero_by_steps_or_minutes():
    model = torch.nn.ModuleDict({"unet": torch.nn.Linear(2, 2), "text_encoder": torch.nn.Linear(2, 2)})
    config = TrainConfig(learning_rate=1.0, warmup_steps=10, schedule="cosine", cosine_from=0.5, text_encoder_rate=2.0)
    optimizer = build_optimizer(model, config)
    shares = [set_learning_rate(optimizer, config, step, progress) for step, progress in ((0, 0), (4, 0), (20, 0.5), (20, 0.75), (20, 1.0))]
    assert shares == pytest.approx([0.1, 0.5, 1.0, 0.5, 0.0])
    set_learning_rate(optimizer, config, 20, 0.1)
    assert {group["lr"] for group in optimizer.param_groups} == {1.0, 2.0}


def test_a_parent_rate_slows_down_all_but_the_layers_of_the_reward_condition():
    model = torch.nn.ModuleDict({"unet": tiny_models.reward_unet(), "text_encoder": torch.nn.Linear(2, 2)})
    optimizer = build_optimizer(model, TrainConfig(learning_rate=1.0, parent_rate=0.1, text_encoder_rate=2.0))
    rates = {id(parameter): group["rate"] for group in optimizer.param_groups for parameter in group["params"]}
    found = {name: rates[id(parameter)] for name, parameter in model.named_parameters()}
    assert {rate for name, rate in found.items() if name.startswith("unet.reward_")} == {1.0}
    assert {rate for name, rate in found.items() if name.startswith("unet.") and "reward_" not in name} == {0.1}
    assert found["text_encoder.weight"] == pytest.approx(0.2)
