"""The reference numbers of the released implementation, and how far ours are from them: for tests and for the parity table."""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, EulerAncestralDiscreteScheduler, PNDMScheduler
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from mre import Reward
from mre.models.condition import score_sinusoid
from mre.models.released import released_name
from mre.models.unet import RewardUNet2DConditionModel
from mre.pipeline import RewardEditPipeline

TOLERANCES = {
    "score_sinusoid": 1e-6, "time_emb": 1e-5, "aug_emb": 1e-5, "aug_emb2": 1e-5, "text_emb": 1e-5, "text_tok": 1e-5, "temb_total": 1e-5,
    "ca_kv_in": 1e-5, "conv_in_out": 3e-5, "ca_query_in": 3e-5, "ca_attn_map": 3e-5, "ca_out": 3e-5, "reward_encoder_out": 3e-5,
    "output": 2e-5,
    "negative_embeds": 1e-5, "prompt_embeds_3": 1e-5, "vae_mode_unscaled": 3e-5, "latents_at_step_0": 1e-5, "unet_in_step_0": 3e-5,
    "timesteps": 1e-3, "init_noise_sigma": 1e-5, "noise_pred_branches": 5e-5, "noise_pred_guided": 2e-4, "latents (DDIM)": 5e-4,
    "latents (Euler ancestral)": 3e-3, "decoded": 1e-4, "decoded_u8": 1.0,
}


@dataclass(frozen=True)
class Difference:
    """How far one of our tensors is from the reference's."""

    case: str
    quantity: str
    largest: float
    tolerance: float

    @property
    def holds(self) -> bool:
        return self.largest <= self.tolerance       # NaN does not


class Golden:
    """Everything under `parity/`, and our models filled with its weights."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.numbers = json.loads((folder / "golden.json").read_text())
        self.rules = json.loads((folder / "rules.json").read_text())

    def fill(self, model: nn.Module, component: str) -> nn.Module:
        """The reference's weights: each is drawn from its own name."""
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                name = released_name(name) if component == "unet" else name.removeprefix("text_model.")
                key = [self.numbers["seed"], zlib.crc32(f"{component}.{name}".encode())]
                x = np.random.Generator(np.random.PCG64(key)).standard_normal(tuple(parameter.shape))
                if parameter.ndim >= 2:
                    x = x / np.sqrt(np.prod(parameter.shape[1:]))
                else:
                    x = 0.05 * x if name.endswith(".bias") else 1 + 0.1 * x
                parameter.copy_(torch.from_numpy(x.astype(np.float32)))
        return model.eval()

    @cached_property
    def unet(self) -> RewardUNet2DConditionModel:
        return self.fill(RewardUNet2DConditionModel(**self.numbers["unet"]["config"]), "unet")

    @cached_property
    def parts(self) -> dict[str, object]:
        """Tokenizer, text encoder and autoencoder of the pipeline cases."""
        numbers = self.numbers["pipeline"]
        return {
            "vae": self.fill(AutoencoderKL(**numbers["vae_config"]), "vae"),
            "text_encoder": self.fill(CLIPTextModel(CLIPTextConfig(**numbers["text_encoder_config"])), "text_encoder"),
            "tokenizer": CLIPTokenizer.from_pretrained(self.folder / "tiny_tokenizer"),
        }

    def scheduler(self, kind: str):
        numbers = self.numbers["pipeline"]["scheduler_config"]
        common = {name: value for name, value in numbers.items() if not isinstance(value, dict)}
        if kind == "ddim":
            return DDIMScheduler(**common, **numbers["ddim_extra"])
        return EulerAncestralDiscreteScheduler(**common, **numbers["euler_extra"])

    # ------------------------------------------------------------------------------------------------------- differences

    def unet_differences(self) -> Iterator[Difference]:
        """All U-Net cases: what the reward part computes on the way, and the prediction."""
        tensors = load_file(self.folder / "unet_cases.safetensors")
        sinusoid = score_sinusoid(tensors["score_table/scores"][:, None], 256)
        yield self._difference("score_table", "score_sinusoid", sinusoid, tensors["score_table/sinusoid"])
        for case in self.numbers["unet"]["cases"]:
            known = {name.removeprefix(f"{case}/"): value for name, value in tensors.items() if name.startswith(f"{case}/")}
            inputs = {name.removeprefix("in."): known.pop(name) for name in [*known] if name.startswith("in.")}
            del known["output_f64"]
            with torch.no_grad():
                ours = unet_stages(self.unet, **inputs)
            for name, expected in known.items():
                quantity = next(quantity for quantity in ours if name == quantity or name.startswith(f"{quantity}_ch"))
                value = ours[quantity]
                if value.shape != expected.shape:                    # large cases keep the first channels only
                    value = value[:, :expected.shape[1]]
                yield self._difference(case, quantity, value, expected)

    def pipeline_differences(self) -> Iterator[Difference]:
        """All end-to-end cases: every step of every branch, and the picture."""
        tensors = load_file(self.folder / "pipeline_cases.safetensors")
        for case, settings in self.numbers["pipeline"]["cases"].items():
            expected = {name.removeprefix(f"{case}/"): value for name, value in tensors.items() if name.startswith(f"{case}/")}
            ours = self._edit(settings, expected)
            expected |= {name: tensors[f"text/{key}"] for name, key in
                         (("negative_embeds", f"{case}/negative_embeds"), ("prompt_embeds_3", "prompt_embeds_3"))}
            mode = "vae_mode_unscaled"
            expected[mode], ours[mode] = _stored_mode(expected[mode], ours[mode])
            for name, value in ours.items():
                latents = "latents (DDIM)" if settings["scheduler"] == "ddim" else "latents (Euler ancestral)"
                quantity = latents if name in ("latents_after_step", "final_latents") else name
                yield self._difference(case, quantity, value, expected[name])

    def _edit(self, settings: dict, given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """One case, run by our pipeline while its parts are listened to."""
        pipeline = RewardEditPipeline(unet=self.unet, scheduler=self.scheduler(settings["scheduler"]), **self.parts)
        pipeline.set_progress_bar_config(disable=True)
        self._cut_as_released(pipeline, settings)
        heard: dict[str, list] = {"in": [], "branches": [], "guided": [], "after": [], "decoded": [], "reward": [], "text": []}

        def hear_unet(module, args, kwargs, output):
            heard["in"].append(args[0])
            heard["branches"].append(output[0])
            heard["reward"].append(kwargs["cross_attention_kwargs"]["reward"]["reward_text"])
            heard["text"].append(kwargs["encoder_hidden_states"])

        step = pipeline.scheduler.step

        @functools.wraps(step)                                       # the pipeline looks at its signature
        def hear_step(model_output, *args, **kwargs):
            heard["guided"].append(model_output)
            output = step(model_output, *args, **kwargs)
            heard["after"].append(output[0])
            return output

        pipeline.scheduler.step = hear_step
        decode = pipeline.vae.decode
        pipeline.vae.decode = lambda *args, **kwargs: (heard["decoded"].append(decode(*args, **kwargs)[0]), (heard["decoded"][-1],))[1]
        hook = self.unet.register_forward_hook(hear_unet, with_kwargs=True)
        try:
            seed = settings["generator_seed"]
            image = pipeline(
                settings["prompt"], Image.fromarray(given["image_u8"].numpy()),
                reward=Reward.of(settings["scores"], settings["reward_text"].split("; ")),
                num_inference_steps=settings["steps"], guidance_scale=settings["guidance_scale"],
                image_guidance_scale=settings["image_guidance_scale"], latents=given.get("latents_given"),
                generator=None if seed is None else torch.Generator().manual_seed(seed)).images[0]
        finally:
            hook.remove()
            pipeline.vae.decode = decode
        first = heard["in"][0]
        sigma = float(pipeline.scheduler.init_noise_sigma)
        return {
            "negative_embeds": heard["reward"][0][:1], "prompt_embeds_3": heard["text"][0], "vae_mode_unscaled": first[:1, 4:],
            "unet_in_step_0": first, "timesteps": pipeline.scheduler.timesteps.float(),
            "init_noise_sigma": torch.tensor(sigma), "noise_pred_branches": torch.stack(heard["branches"]),
            "noise_pred_guided": torch.stack(heard["guided"]), "latents_after_step": torch.stack(heard["after"]),
            "final_latents": heard["after"][-1], "decoded": heard["decoded"][0], "decoded_u8": torch.from_numpy(np.array(image)).float(),
        }

    def _cut_as_released(self, pipeline: RewardEditPipeline, settings: dict) -> None:
        """The reference cuts a reward text that is too long at its end, where ours shortens the longest of the three: in the one case that
        has such a text, the pipeline is given what the reference's own tokens encode to."""
        tokens = pipeline.tokenizer(settings["reward_text"], padding="max_length", truncation=True, return_tensors="pt")
        if len(pipeline.tokenizer(settings["reward_text"]).input_ids) <= pipeline.tokenizer.model_max_length:
            return
        with torch.no_grad():
            pooled = pipeline.text_encoder(tokens.input_ids).pooler_output
        encode = pipeline.encode_rewards
        pipeline.encode_rewards = lambda rewards: encode(rewards) | {"reward_text": pooled.expand(len(rewards), -1)}

    def scheduler_differences(self) -> Iterator[Difference]:
        """Timesteps of the evaluation's sampler, built from the two forms of a checkpoint's own scheduler config."""
        common = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
                  "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1}
        resaved = {**common, "timestep_spacing": "leading", "prediction_type": "epsilon"}
        for case, config in (("from_sd15_pndm_config", common), ("from_config_resaved_by_diffusers_0.29", resaved)):
            scheduler = EulerAncestralDiscreteScheduler.from_config(PNDMScheduler.from_config(config).config)
            scheduler.set_timesteps(30)
            known = self.rules["eval_scheduler"][case]
            yield self._difference(case, "timesteps", scheduler.timesteps.float(), torch.tensor(known["timesteps_30"]))
            yield self._difference(case, "init_noise_sigma", torch.tensor(float(scheduler.init_noise_sigma)),
                                   torch.tensor(known["init_noise_sigma"]))

    @staticmethod
    def _difference(case: str, quantity: str, ours: torch.Tensor, expected: torch.Tensor) -> Difference:
        assert ours.shape == expected.shape, (case, quantity, ours.shape, expected.shape)
        return Difference(case, quantity, float((ours.double() - expected.double()).abs().max()), TOLERANCES[quantity])


def unet_stages(unet: RewardUNet2DConditionModel, sample, timestep, encoder_hidden_states, reward_scores,
                negative_embeds) -> dict[str, torch.Tensor]:
    """What the reference's table calls the stages of one forward pass."""
    condition, encoder = unet.reward_condition, unet.reward_encoder
    conditions = {"reward_scores": reward_scores, "reward_text": negative_embeds}
    signal = unet.reward_signal(sample, conditions)
    sinusoid = score_sinusoid(reward_scores, unet.config.reward_sinusoid_channels)
    time_emb = unet.time_embedding(unet.get_time_embed(sample, timestep))
    hidden = unet.conv_in(sample)
    queries = encoder.proj_in(encoder.norm(hidden)).flatten(2).transpose(1, 2)
    return {
        "score_sinusoid": sinusoid, "time_emb": time_emb, "aug_emb": condition.score_time(sinusoid),
        "aug_emb2": condition.score_token(sinusoid), "text_emb": condition.text_time(negative_embeds),
        "text_tok": condition.text_token(negative_embeds),
        "temb_total": time_emb + unet.get_aug_embed(time_emb, encoder_hidden_states, {"reward_signal": signal}),
        "conv_in_out": hidden, "ca_query_in": queries, "ca_kv_in": signal.tokens,
        "ca_attn_map": encoder.attention.weights(queries, signal.tokens), "ca_out": encoder.block(queries, signal.tokens),
        "reward_encoder_out": unet.latent_in(sample, signal, {}),
        "output": unet(sample, timestep, encoder_hidden_states, added_cond_kwargs=conditions).sample,
    }


def _stored_mode(stored: torch.Tensor, ours: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`vae_mode_unscaled` was written as raw memory: of mean and log variance, pixel by pixel, as far as the mean alone is long. So it
    holds half of the pixels, beside their log variances. The stored half and ours, (pixels, channels); `unet_in_step_0` has all."""
    channels = stored.shape[1]
    stored = stored.flatten().reshape(-1, 2 * channels)[:, :channels]
    return stored, ours[0].permute(1, 2, 0).reshape(-1, channels)[:len(stored)]
