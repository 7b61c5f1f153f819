"""The reference numbers of SmartEdit's modules, and how far ours are from them: for tests and for the parity table."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDPMScheduler, EulerAncestralDiscreteScheduler, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaModel

from mre.models.released import RELEASED_TO_OURS
from mre.models.smartedit.connector import SmartEditConnector, VisionProjector
from mre.models.smartedit.instruction import LlavaInstructionEncoder, Readers
from mre.models.smartedit.interaction import BidirectionalInteraction
from mre.models.smartedit.names import is_computed, our_name
from mre.models.smartedit.prompt import read_tokenizer
from mre.models.smartedit.qformer import QFormer
from mre.models.smartedit.released import adapters_of, stored_language_model
from mre.models.unet import RewardUNet2DConditionModel, join_residual
from mre.smartedit_pipeline import SmartEditPipeline
from mre.training.draws import dropped
from tests.golden import Difference

TOLERANCES = {"bim_tiny": 2e-6, "bim_tiny_loud": 3e-5, "qformer_tiny": 5e-6, "qformer_tiny_loud": 3e-5, "zeroconv_unet_tiny": 5e-6,
              "zeroconv_unet_tiny_loud": 2e-5, "reward_zeroconv_unet_tiny": 5e-5, "smartedit_e2e_tiny": 2e-4, "losses": 1e-5,
              "pipeline latents": 1e-3, "pipeline image": 5e-5}

NO_REWARD = dict.fromkeys(("use_score", "use_text", "use_attention", "use_addition"), False)


def drawn(name: str, shape: Iterable[int], scale: float) -> Tensor:
    """The reference's weight of a released name: each is drawn from it."""
    x = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(tuple(shape))
    if name.endswith("positional_encoding_gaussian_matrix"):
        pass
    elif name.endswith(".bias"):
        x = 0.02 * x
    else:
        x = 1 + 0.02 * x if name.endswith(".weight") and x.ndim == 1 else scale * x
    return torch.from_numpy(x.astype(np.float32))


def reward_name(name: str) -> str:
    """Our name of a tensor of a released reward U-Net."""
    return next((ours + name.removeprefix(theirs) for theirs, ours in RELEASED_TO_OURS.items() if name.startswith(theirs)), name)


def fill(model: nn.Module, weights: Mapping[str, Tensor], part: str) -> nn.Module:
    """Give a model those of the weights, by released names, whose names of ours begin with `part`."""
    ours = {our_name(name): value for name, value in weights.items()}
    model.load_state_dict({reward_name(name.removeprefix(part)): value for name, value in ours.items() if name.startswith(part)},
                          assign=True)
    return model.eval()


class SmartEditGolden:
    """Everything under `parity_smartedit/`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def config(self, case: str) -> dict[str, Any]:
        return json.loads((self.folder / f"{case}.config.json").read_text())

    def tensors(self, case: str) -> dict[str, Tensor]:
        return load_file(self.folder / f"{case}.safetensors")

    def weights(self, case: str) -> dict[str, Tensor]:
        """By released names."""
        scale = self.config(case)["param_scale"]
        return {one["name"]: drawn(one["name"], one["shape"], scale)
                for one in json.loads((self.folder / f"{case}.keys.json").read_text()) if not is_computed(one["name"])}

    def filled(self, model: nn.Module, case: str, part: str) -> nn.Module:
        """A model with the weights of a case whose names, ours, begin with `part`."""
        return fill(model, self.weights(case), part)

    # ------------------------------------------------------------------------------------------------------- differences

    @torch.no_grad()
    def interaction_differences(self) -> Iterator[Difference]:
        """Position code, what both sides are after the exchange, and what the U-Net gets."""
        for case in ("bim_tiny", "bim_tiny_loud"):
            config, known = self.config(case), self.tensors(case)
            model = self.filled(BidirectionalInteraction(
                width=config["embedding_dim"], query_width=config["query_dim"], unet_channels=config["unet_channels"],
                heads=config["num_heads"], hidden=config["mlp_dim"], depth=config["depth"]), case, "connector.interaction.")
            queries, image = known["in.query_output"], known["in.clip_features"]
            tokens, seen = model.exchange(queries, image)
            context, residual = model(queries, image)
            ours = {"mid.point_embedding": model.token_in(queries), "mid.tokens": tokens, "mid.image": seen, "out.context": context,
                    "mid.position_encoding": model.position_code(config["grid"]).T.unflatten(1, (config["grid"], config["grid"])),
                    "out.context_delta": 2 * (context - queries),
                    "out.latent_residual": join_residual(torch.zeros(known["out.latent_residual"].shape), residual)}
            yield from self._differences(case, ours, known)

    @torch.no_grad()
    def qformer_differences(self) -> Iterator[Difference]:
        """With all of the source and with a part of it, masked as well as chosen."""
        for case in ("qformer_tiny", "qformer_tiny_loud"):
            config, known = self.config(case), self.tensors(case)
            model = self.filled(QFormer(
                queries=config["num_queries"], width=config["hidden_size"], heads=config["num_attention_heads"],
                hidden=config["intermediate_size"], layers=config["num_hidden_layers"], source_width=config["encoder_width"],
                cross_every=config["cross_attention_freq"], eps=config["layer_norm_eps"]), case, "connector.qformer.")
            source, mask = known["in.encoder_hidden_states"], known["in.encoder_mask"].bool()
            yield from self._differences(case, {"out.unmasked": model(source), "out.masked": model(source, mask)}, known)
            for row in range(len(source)):
                chosen = model(source[row:row + 1, mask[row]])
                yield from self._differences(case, {"out.masked": chosen}, {"out.masked": known["out.masked"][row:row + 1]})

    @torch.no_grad()
    def unet_differences(self) -> Iterator[Difference]:
        """The prediction with a residual, with one of zeros, and with none."""
        for case in ("zeroconv_unet_tiny", "zeroconv_unet_tiny_loud"):
            known = self.tensors(case)
            settings = {name: value for name, value in self.config(case).items() if name not in ("param_scale", "note_attention_head_dim")}
            unet = self.filled(RewardUNet2DConditionModel(**settings, **NO_REWARD), case, "unet.")
            given = known["in.sample"], known["in.timestep"], known["in.encoder_hidden_states"]
            yield from self._differences(case, {
                "out.sample": unet(*given, added_cond_kwargs={"latent_residual": known["in.latent_residual"]}).sample,
                "out.sample_zero_residual": unet(*given, cross_attention_kwargs={
                    "latent_residual": torch.zeros_like(known["in.latent_residual"])}).sample}, known)
            yield from self._differences(case, {"out.sample_zero_residual": unet(*given).sample}, known)

    @torch.no_grad()
    def reward_unet_differences(self) -> Iterator[Difference]:
        """The residual joins before the reward encoder."""
        case = "reward_zeroconv_unet_tiny"
        known, unet = self.tensors(case), self.reward_unet
        given = known["in.sample"], known["in.timestep"], known["in.encoder_hidden_states"]
        reward = {"reward_scores": known["in.reward_scores"], "reward_text": known["in.reward_text_pooled"]}
        yield from self._differences(case, {
            "out.sample": unet(*given, added_cond_kwargs=reward | {"latent_residual": known["in.latent_residual"]}).sample,
            "out.sample_no_residual": unet(*given, added_cond_kwargs=reward).sample}, known)

    @cached_property
    def reward_unet(self) -> UNet2DConditionModel:
        case = "reward_zeroconv_unet_tiny"
        return self.filled(RewardUNet2DConditionModel(**self.config(case)["unet"]), case, "unet.")

    @torch.no_grad()
    def training_differences(self) -> Iterator[Difference]:
        """The reference's forward pass in training, from pixels and ids to both losses."""
        case = "smartedit_e2e_tiny"
        config, known, weights = self.config(case), self.tensors(case), self.weights(case)
        encoder = self.encoder(config, weights)
        ids = [row[row != 0].tolist() for row in known["in.input_ids"]]
        features = encoder.look(known["in.pixel_values"].float())
        states = encoder.read(ids, features)
        chosen = encoder.image_tokens(ids, states)
        connector = encoder.readers.connector
        context, residual = connector(chosen, features)
        text_dropped, image_dropped = dropped(known["in.random_p"], config["cfg_dropout_p"])
        context = torch.where(text_dropped[:, None, None], known["in.null_text_embeddings"], context)
        latents, noise = known["in.target_latents_raw"] * config["vae_scaling_factor"], known["in.noise"]
        scheduler = DDPMScheduler(**config["scheduler"])
        noisy = scheduler.add_noise(latents, noise, known["in.timesteps"])
        original = known["in.image_latents_raw"] * ~image_dropped[:, None, None, None]
        with torch.device("meta"):
            unet = RewardUNet2DConditionModel(**config["unet"], **NO_REWARD)
        fill(unet, weights, "unet.")
        predicted = unet(torch.cat([noisy, original], dim=1), known["in.timesteps"], context,
                         added_cond_kwargs={"latent_residual": residual}).sample
        error = (predicted - noise).square() * known["in.is_editing_task"][:, :, None, None]
        losses = {"out.sd_loss": error.mean()[None], "out.lm_loss": self._language_loss(ids, states, known["in.labels"], weights)[None]}
        losses["out.loss"] = losses["out.sd_loss"] + losses["out.lm_loss"]
        yield from self._differences(case, {
            "mid.clip_features_s0": features[:1], "mid.img_token_states": chosen, "mid.qformer_out": connector.qformer(chosen),
            "mid.context_after_bim_and_dropout": context, "out.model_pred": predicted,
            "mid.latent_residual_s0": join_residual(torch.zeros(1, 320, 32, 32), residual[:1])}, known)
        yield from self._differences("losses", losses, known)

    def pipeline_differences(self) -> Iterator[Difference]:
        """The reference's loop of denoising: three branches, with the residual in all of them, and its own noise at each step."""
        case = "smartedit_pipeline_tiny"
        config, known, weights = self.config(case), self.tensors(case), self.weights(case)
        with torch.device("meta"):
            unet, vae = RewardUNet2DConditionModel(**config["unet"], **NO_REWARD), AutoencoderKL(**config["vae"])
        fill(unet, weights, "unet.")
        vae.load_state_dict({name.removeprefix("vae."): value for name, value in weights.items() if name.startswith("vae.")}, assign=True)
        sampler = EulerAncestralDiscreteScheduler(**config["scheduler"])
        pipeline = SmartEditPipeline(vae.eval(), cast(Any, None), cast(Any, None), unet, sampler)
        pipeline.set_progress_bar_config(disable=True)
        predicted, after, noise = [], [], iter(known["in.step_noise"])
        hook = unet.register_forward_hook(lambda module, given, output: predicted.append(output[0]))

        def note(pipe: Any, step: int, timestep: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
            after.append(values["latents"])
            return values

        with patch("diffusers.schedulers.scheduling_euler_ancestral_discrete.randn_tensor", lambda *args, **kwargs: next(noise)[None]):
            image = pipeline(image=Image.fromarray(known["in.image_uint8"].numpy()), prompt_embeds=known["in.context"],
                             negative_prompt_embeds=known["in.null_context"], latents=known["in.init_noise"],
                             num_inference_steps=config["num_inference_steps"], guidance_scale=config["guidance_scale"],
                             image_guidance_scale=config["image_guidance_scale"], output_type="np", callback_on_step_end=note,
                             cross_attention_kwargs={"latent_residual": known["in.latent_residual"].repeat(3, 1, 1, 1)}).images
        hook.remove()
        yield from self._differences("pipeline latents", {"mid.latents_after_step": torch.cat(after),
                                                          "mid.unet_out_steps": torch.stack(predicted)}, known)
        yield from self._differences("pipeline image", {"out.image": torch.from_numpy(image)}, known)
        yield from self._differences("losses", {"out.timesteps": pipeline.scheduler.timesteps.float(),
                                                "out.sigmas": pipeline.scheduler.sigmas.float()}, known)

    @staticmethod
    def _language_loss(ids: list[list[int]], states: Tensor, labels: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy of the answer's tokens, each told by the state before it."""
        beside = states.shape[1] - max(map(len, ids))
        rows, places = (labels != -100).nonzero(as_tuple=True)
        return F.cross_entropy(states[rows, places + beside - 1] @ weights["lm_head.weight"].T, labels[rows, places].long())

    def encoder(self, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> LlavaInstructionEncoder:
        """Ours, with the weights of a case."""
        llama, clip, qformer, bim = (config[name] for name in ("llama", "clip_vision", "qformer", "bim"))
        language_model = LlamaModel(LlamaConfig(
            vocab_size=llama["vocab_size"], num_key_value_heads=llama["num_attention_heads"],
            **{name: llama[name] for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                                              "max_position_embeddings", "rms_norm_eps")}))
        tensors = {name: value for name, value in weights.items() if name.startswith("model.base_model.")}
        lora = llama["lora"]
        merged = stored_language_model(Path("llm"), tensors, adapters_of(tensors, Path("llm")), lora["alpha"] / lora["r"])
        language_model.load_state_dict(dict(merged.tensors))
        tower = CLIPVisionModel(CLIPVisionConfig(**{name: clip[name] for name in clip if name not in ("select_layer", "drop_cls")}))
        with torch.device("meta"):
            connector = SmartEditConnector(
                language_width=llama["hidden_size"], vision_width=clip["hidden_size"], queries=qformer["num_queries"],
                query_width=qformer["hidden_size"], query_heads=qformer["num_attention_heads"], query_hidden=qformer["intermediate_size"],
                query_layers=qformer["num_hidden_layers"], unet_channels=bim["unet_channels"], interaction_heads=bim["num_heads"],
                interaction_hidden=bim["mlp_dim"], interaction_depth=bim["depth"])
        projector = VisionProjector(clip["hidden_size"], llama["hidden_size"])
        for model, part in ((tower, "vision_tower."), (projector, "projector."), (connector, "connector.")):
            fill(model, weights, part)
        readers = Readers(tower, projector, language_model.eval(), self.tokenizer, connector)
        return LlavaInstructionEncoder(readers, cast(Any, None))

    @cached_property
    def tokenizer(self) -> Any:
        return read_tokenizer(self.folder)

    @property
    def kinds(self) -> dict[str, Callable[[], Iterator[Difference]]]:
        """What the table calls them."""
        return {"interaction module": self.interaction_differences, "Q-Former": self.qformer_differences, "U-Net": self.unet_differences,
                "reward U-Net": self.reward_unet_differences, "forward pass in training": self.training_differences,
                "denoising": self.pipeline_differences}

    @staticmethod
    def _differences(case: str, ours: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> Iterator[Difference]:
        for name, value in ours.items():
            expected = known[name]
            assert value.shape == expected.shape, (case, name, value.shape, expected.shape)
            yield Difference(case, name.partition(".")[2], float((value.double() - expected.double()).abs().max()), TOLERANCES[case])
