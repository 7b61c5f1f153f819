"""Flow matching along straight lines (rectified flow, arXiv 2209.03003): the U-Net learns the velocity from picture to noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diffusers import UniPCMultistepScheduler
from torch import Tensor

from mre.errors import SettingsError
from mre.training.objectives.objective import FLOW, Objective, prediction_of

if TYPE_CHECKING:
    from mre.training.config import TrainConfig
    from mre.training.draws import Draws


class FlowMatching(Objective):
    """x_s = (1 - s) x_0 + s noise for s in (0, 1], and the squared distance to noise - x_0, which is dx_s / ds everywhere on the line.

    The U-Net is told s * num_timesteps, so that one trained on noise levels can go on from what it knows of them.
    """

    prediction = "velocity"

    def __init__(self, scheduler: Any, config: TrainConfig) -> None:
        super().__init__(config)
        if prediction_of(scheduler) == "sample":
            raise SettingsError("objective flow needs a model that predicts noise or velocity; this one predicts the picture itself")
        if config.snr_cap:
            raise SettingsError("snr_cap weighs noise levels of objective noise; flow has none of them")
        self.num_timesteps = scheduler.config.num_train_timesteps

    def shares(self, draws: Draws) -> Tensor:
        """(B, 1, 1, 1): s, the share of noise."""
        return ((draws.timesteps.float() + 1) / self.num_timesteps)[:, None, None, None]

    def times(self, draws: Draws) -> Tensor:
        """(B,): s * num_timesteps."""
        return draws.timesteps + 1

    def noisy(self, latents: Tensor, draws: Draws) -> Tensor:
        """(1 - s) x_0 + s noise."""
        share = self.shares(draws)
        return (1 - share) * latents + share * draws.noise

    def target(self, latents: Tensor, draws: Draws) -> Tensor:
        """noise - x_0."""
        return draws.noise - latents

    def sampler(self, scheduler: Any) -> Any:
        """A solver of the flow's equation that the stock pipelines can drive."""
        if prediction_of(scheduler) == FLOW:
            return scheduler
        return UniPCMultistepScheduler(num_train_timesteps=self.num_timesteps, prediction_type=FLOW, use_flow_sigmas=True)
