"""Noise prediction: the training loss of a diffusion model, for every kind of prediction that its sampler may name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from diffusers import DDPMScheduler
from torch import Tensor

from mre.errors import SettingsError
from mre.training.objectives.objective import Objective, prediction_of

if TYPE_CHECKING:
    from mre.training.config import TrainConfig
    from mre.training.draws import Draws

PREDICTIONS = ("epsilon", "sample", "v_prediction")


class NoisePrediction(Objective):
    """The squared distance to the noise, to the picture itself or to the velocity between them, as the sampler's settings say."""

    def __init__(self, scheduler: Any, config: TrainConfig) -> None:
        super().__init__(config)
        self.prediction_type = prediction_of(scheduler)
        if self.prediction_type not in PREDICTIONS:
            raise SettingsError(f"objective noise trains models that predict {', '.join(PREDICTIONS)}, and this one predicts "
                                f"{self.prediction_type}; try --objective flow")
        self.scheduler = cast(Any, DDPMScheduler.from_config(scheduler.config))      # its annotations forget tensors of whole numbers
        self.num_timesteps = self.scheduler.config.num_train_timesteps

    def noisy(self, latents: Tensor, draws: Draws) -> Tensor:
        """sqrt(alpha) latents + sqrt(1 - alpha) noise."""
        return self.scheduler.add_noise(latents, draws.noise, draws.timesteps)

    def target(self, latents: Tensor, draws: Draws) -> Tensor:
        """The noise, the latents, or sqrt(alpha) noise - sqrt(1 - alpha) latents."""
        if self.prediction_type == "epsilon":
            return draws.noise
        if self.prediction_type == "sample":
            return latents
        return self.scheduler.get_velocity(latents, draws.noise, draws.timesteps)

    def weight(self, draws: Draws) -> Tensor | None:
        """min(SNR + 1, snr_cap), (B, 1, 1, 1)."""
        if not self.config.snr_cap:
            return None
        alpha = self.scheduler.alphas_cumprod.to(draws.timesteps.device)[draws.timesteps].float()
        return (1 / (1 - alpha)).clamp(max=self.config.snr_cap)[:, None, None, None]              # SNR + 1 = 1 / (1 - alpha)
