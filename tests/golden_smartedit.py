"""The reference numbers of SmartEdit's modules, and how far ours are from them: for tests and for the parity table."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor, nn

from mre.models.released import RELEASED_TO_OURS
from mre.models.smartedit.interaction import BidirectionalInteraction
from mre.models.smartedit.names import is_computed, our_name
from mre.models.smartedit.qformer import QFormer
from mre.models.unet import RewardUNet2DConditionModel, join_residual
from tests.golden import Difference

TOLERANCES = {"bim_tiny": 2e-6, "bim_tiny_loud": 3e-5, "qformer_tiny": 5e-6, "qformer_tiny_loud": 3e-5, "zeroconv_unet_tiny": 5e-6,
              "zeroconv_unet_tiny_loud": 2e-5, "reward_zeroconv_unet_tiny": 5e-5}


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
        ours = {our_name(name): value for name, value in self.weights(case).items()}
        model.load_state_dict({reward_name(name.removeprefix(part)): value for name, value in ours.items() if name.startswith(part)})
        return model.eval()

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
            switches = dict.fromkeys(("use_score", "use_text", "use_attention", "use_addition"), False)
            unet = self.filled(RewardUNet2DConditionModel(**settings, **switches), case, "unet.")
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

    def differences(self) -> Iterator[Difference]:
        """All of them."""
        for some in (self.interaction_differences, self.qformer_differences, self.unet_differences, self.reward_unet_differences):
            yield from some()

    @staticmethod
    def _differences(case: str, ours: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> Iterator[Difference]:
        for name, value in ours.items():
            expected = known[name]
            assert value.shape == expected.shape, (case, name, value.shape, expected.shape)
            yield Difference(case, name.partition(".")[2], float((value.double() - expected.double()).abs().max()), TOLERANCES[case])
