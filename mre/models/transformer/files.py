"""Reads and writes editors with a reward condition: what diffusers reads, and a file of ours beside it (see `about`)."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from mre.errors import ModelError
from mre.models.transformer.about import ABOUT, ADAPTERS, WEIGHTS, ConditionFile, read_about
from mre.models.transformer.models import REWARD_LAYERS, SETTINGS
from mre.models.transformer.pipeline import TransformerPipeline
from mre.models.weight_files import read_tensors


def add_condition(stock: Any, folder: Path) -> TransformerPipeline:
    """The condition, and the adapters where there are any, of a folder, on the pipeline that they belong to. Raises ModelError."""
    about = read_about(folder)
    try:
        pipeline = TransformerPipeline(stock, **about.condition)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{folder.name}/{ABOUT}: {error}") from error
    if (folder / ADAPTERS).is_file():
        try:
            stock.load_lora_weights(folder, weight_name=ADAPTERS, local_files_only=True)
        except (ValueError, RuntimeError, LookupError, OSError) as error:
            raise ModelError(f"{folder.name}/{ADAPTERS} does not fit {about.base or folder.name}: {first_line(error)}") from error
        if not getattr(pipeline.unet, "peft_config", None):
            raise ModelError(f"{folder.name}/{ADAPTERS} is of another model than {about.base or folder.name}")
    own = condition_tensors(pipeline.unet)
    tensors = read_tensors(folder, WEIGHTS) if own else {}
    if wrong := sorted(own.keys() ^ tensors.keys()) or [name for name in own if own[name].shape != tensors[name].shape]:
        raise ModelError(f"{folder.name}/{WEIGHTS}.safetensors does not fit its settings: see {wrong[0]}")
    pipeline.unet.load_state_dict(tensors, strict=False)
    return pipeline


def write_editor(pipeline: TransformerPipeline, folder: Path, base: Path, name: str, resolution: int, half: bool) -> None:
    """The trained editor as files in a folder, which exists.

    base: the folder of the editor that training began with; name: what that is called
    half: weights in bfloat16
    """
    transformer = pipeline.unet
    dtype = torch.bfloat16 if half else None
    adapted = bool(getattr(transformer, "peft_config", None))
    settings = {key: transformer.config[key] for key in SETTINGS}
    about = ConditionFile(name if adapted else "", resolution, settings)
    (folder / ABOUT).write_text(json.dumps(asdict(about), indent=1) + "\n", encoding="utf-8")
    save_file({key: value.to(dtype or value.dtype).cpu().contiguous() for key, value in condition_tensors(transformer).items()},
              folder / f"{WEIGHTS}.safetensors")
    if adapted:
        from peft.utils import get_peft_model_state_dict

        layers = {key: value.to(dtype or value.dtype) for key, value in get_peft_model_state_dict(transformer).items()}
        pipeline.stock.save_lora_weights(folder, transformer_lora_layers=layers)
        return
    own_files = (ABOUT, f"{WEIGHTS}.safetensors", ADAPTERS)
    shutil.copytree(base, folder, dirs_exist_ok=True,
                    ignore=lambda place, names: {one for one in names if Path(place) == base and one in ("transformer", *own_files)})
    plain: Any = copy.deepcopy(stock_of(transformer)).to(dtype) if dtype else stock_of(transformer)
    plain.save_pretrained(folder / "transformer")


def condition_tensors(transformer: nn.Module) -> dict[str, torch.Tensor]:
    """The weights of the reward condition."""
    return {name: value for name, value in transformer.state_dict().items() if name.startswith(REWARD_LAYERS)}


def stock_of(transformer: Any) -> nn.Module:
    """The stock transformer inside one with a reward condition: the same layers, so that changing one changes both."""
    settings = {name: value for name, value in transformer.config.items() if name not in SETTINGS and not name.startswith("_")}
    with torch.device("meta"):
        plain = transformer.stock(**settings)
    for name, part in transformer.named_children():
        if f"{name}." not in REWARD_LAYERS:
            setattr(plain, name, part)
    return plain


def first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
