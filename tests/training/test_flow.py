"""Flow matching: lines from noise to picture, trained by the same loop and sampled by the same pipeline."""

import dataclasses

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from PIL import Image

from mre.errors import SettingsError
from mre.models.zoo import load_pipeline
from mre.training.config import TrainConfig
from mre.training.draws import Draws
from mre.training.objectives import open_objective
from mre.training.objectives.objective import Batch
from tests.training.conftest import log_of


class Exact(torch.nn.Module):
    """Knows the one picture there is, and so the velocity at every point: (x - x_0) / s."""

    def __init__(self, picture):
        super().__init__()
        self.picture, self.calls = picture, []

    def forward(self, model_input, times, text, added_cond_kwargs):
        self.calls.append((model_input, times))
        noisy = model_input[:, :self.picture.shape[1]]
        return type("Output", (), {"sample": (noisy - self.picture) / (times.float() / 1000)[:, None, None, None]})


def test_the_velocity_of_a_straight_line_has_no_loss_at_any_time():
    latents, image, noise = torch.randn(3, 3, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    ones = torch.ones(3)
    draws = Draws(torch.tensor([0, 499, 999]), ones, ones, ones, noise, torch.zeros_like(noise))
    flow = open_objective("flow", DDIMScheduler(), TrainConfig())
    model = Exact(latents)
    losses = flow(model, Batch(latents, image, torch.zeros(3, 3, 8), {}), draws)
    assert losses["loss"].item() == losses["velocity"].item() == pytest.approx(0, abs=1e-6)
    [(model_input, times)] = model.calls
    assert times.tolist() == [1, 500, 1000]
    torch.testing.assert_close(model_input[1, :4], (latents[1] + noise[1]) / 2)
    torch.testing.assert_close(model_input[2, :4], noise[2])
    torch.testing.assert_close(model_input[:, 4:], image)


@pytest.mark.parametrize("steps", [4, 20])
def test_the_sampler_follows_the_line_from_noise_to_the_picture(steps):
    picture = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    sampler = open_objective("flow", DDIMScheduler(), TrainConfig()).sampler(DDIMScheduler())
    sampler.set_timesteps(steps)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2)) * sampler.init_noise_sigma
    model = Exact(picture)
    for time in sampler.timesteps:
        velocity = model(sampler.scale_model_input(latents, time), time[None], None, None).sample
        latents = sampler.step(velocity, time, latents).prev_sample
    torch.testing.assert_close(latents, picture, atol=2e-2, rtol=0)


def test_an_editor_trained_on_flow_keeps_its_sampler_and_trains_on_with_flow_alone(config, train, tmp_path):
    first = train(dataclasses.replace(config, objective="flow", max_steps=2, out=str(tmp_path / "flow")))
    assert all(row["velocity"] and "denoise" not in row for row in log_of(first.out))
    editor = load_pipeline(str(tmp_path / "flow" / "pipeline"), device="cpu")
    assert editor.scheduler.config.prediction_type == "flow_prediction"
    editor.set_progress_bar_config(disable=True)
    edits = [editor("red", Image.new("RGB", (16, 16), "green"), num_inference_steps=steps,
                    generator=torch.Generator().manual_seed(0)).images[0] for steps in (2, 3)]
    assert np.ptp(np.asarray(edits[0])) > 0
    assert edits[0] != edits[1]
    again = dataclasses.replace(config, init_from=str(tmp_path / "flow" / "pipeline"), max_steps=1)
    with pytest.raises(SettingsError, match=r"objective noise trains models that predict .*; try --objective flow"):
        train(again)
    train(again, objective="flow")


@pytest.mark.parametrize(("changes", "says"), [
    ({"init_from": "tiny-baseline"}, "predicts the picture itself"), ({"snr_cap": 2.0}, "snr_cap weighs noise levels")])
def test_what_flow_cannot_train_is_refused_before_anything_is_trained(config, train, changes, says):
    plain = {"use_score": False, "use_text": False, "rewards": ""} if "init_from" in changes else {}
    with pytest.raises(SettingsError, match=says):
        train(config, objective="flow", **plain, **changes)
