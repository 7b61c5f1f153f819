"""Low-rank adapters (LoRA) on a network's attention, through peft: trained in place of its weights, saved in diffusers' format."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from mre.errors import SettingsError

if TYPE_CHECKING:
    from mre.training.config import TrainConfig

# Attention, as diffusers' training scripts name its layers: of U-Nets; of transformers, for the text's side and for fused layers too.
TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out", "to_qkv_mlp_proj", "attn.to_out")


def add_adapters(unet: Any, config: TrainConfig, new_layers: tuple[str, ...]) -> None:
    """Freeze a network but for fresh adapters of `lora_rank` on its `lora_layers`, and for layers that are new in this run.

    new_layers: how names of parameters begin that nothing was trained of yet. Raises SettingsError where peft is missing, and for names
    of layers that the network does not have.
    """
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise SettingsError("lora_rank needs the package peft; pip install peft") from error
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=config.lora_rank, lora_alpha=config.lora_rank, init_lora_weights="gaussian",
                                target_modules=adapted_layers(unet, config.lora_layers)))
    for name, parameter in unet.named_parameters():
        if name.startswith(new_layers):
            parameter.requires_grad_(True)


def adapted_layers(network: Any, wanted: tuple[str, ...] = ()) -> list[str]:
    """Names of the linear layers that end in one of `wanted`, or are of attention; those of the reward condition are trained as they are.
    Raises SettingsError for an end that no layer has."""
    own = getattr(network, "reward_layers", ())
    layers = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear) and not name.startswith(own)]
    for end in wanted:
        if not any(f".{name}".endswith(f".{end}") for name in layers):
            raise SettingsError(f"lora_layers: no linear layer's name ends in {end!r}; the model has, for example, {layers[-1]}")
    return [name for name in layers if any(f".{name}".endswith(f".{end}") for end in wanted or TARGETS)]


def has_adapters(unet: Any) -> bool:
    """Whether there are adapters on it."""
    return bool(getattr(unet, "peft_config", None))


@contextmanager
def merged_adapters(pipeline: Any) -> Iterator[None]:
    """Inside, the pipeline's U-Net is a copy with the adapters added to its weights, under their usual names; without adapters itself."""
    unet = pipeline.unet
    if has_adapters(unet):
        merged = copy.deepcopy(unet)
        merged.fuse_lora()
        merged.unload_lora()
        pipeline.unet = merged
    try:
        yield
    finally:
        pipeline.unet = unet


def save_adapters(pipeline: Any, folder: Path) -> None:
    """The adapters alone, as `pytorch_lora_weights.safetensors`, which `load_lora_weights` of diffusers reads."""
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft.utils import get_peft_model_state_dict

    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(pipeline.unet))
    pipeline.save_lora_weights(folder, unet_lora_layers=layers)
