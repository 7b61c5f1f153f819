"""The layout of the public weights: which of their tensors is which of ours, what their silent config leaves out, and the way back.

A released U-Net holds 34 tensors more than the stock one, under names of its own, and its config says nothing of them; its pipeline's
index names a module that exists in the reference code alone.
"""

from __future__ import annotations

import inspect
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor

from mre.errors import ModelError
from mre.files import read_json
from mre.rewards import PERSPECTIVES

if TYPE_CHECKING:
    from mre.models.unet import RewardUNet2DConditionModel

OURS_TO_RELEASED = {
    "reward_condition.score_time.": "add_embedding.",
    "reward_condition.score_token.": "add_embedding2.",
    "reward_condition.text_time.": "text_linear2.",
    "reward_condition.text_token.": "text_linear.",
    "reward_encoder.norm.": "proj_deal.norm.",
    "reward_encoder.proj_in.": "proj_deal.proj_in.",
    "reward_encoder.proj_out.": "proj_deal.proj_out.",
    "reward_encoder.attention.query.": "ca.attention.self.query.",
    "reward_encoder.attention.key.": "ca.attention.self.key.",
    "reward_encoder.attention.value.": "ca.attention.self.value.",
    "reward_encoder.attention.out.": "ca.attention.output.dense.",
    "reward_encoder.attention_norm.": "ca.attention.output.LayerNorm.",
    "reward_encoder.hidden.": "ca.hidden_intermediate.dense.",
    "reward_encoder.out.": "ca.output.dense.",
    "reward_encoder.out_norm.": "ca.output.LayerNorm.",
}
RELEASED_TO_OURS = {theirs: ours for ours, theirs in OURS_TO_RELEASED.items()}
ONLY_RELEASED = ("add_embedding2.", "text_linear2.", "text_linear.", "proj_deal.", "ca.")    # no stock model has tensors of these names
HEADS = 8                                           # a literal of the reference code, like the sizes below
SIZES = {"reward_sinusoid_channels": 256, "reward_text_dim": 768, "reward_num_heads": HEADS}
WIDTH, TIME_WIDTH = 320, 1280

MODEL_INDEX = {
    "_class_name": "StableDiffusionInstructPix2PixPipeline", "_diffusers_version": "0.29.0",
    "feature_extractor": [None, None], "image_encoder": [None, None], "requires_safety_checker": False, "safety_checker": [None, None],
    "scheduler": ["diffusers", ""], "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["Unet2DConditionModel", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
}


def released_name(name: str) -> str:
    """The released name of one of our tensors; stock names stay as they are."""
    return _renamed(name, OURS_TO_RELEASED)


def our_name(name: str) -> str:
    """Our name of a tensor of the released weights; stock names stay as they are."""
    return _renamed(name, RELEASED_TO_OURS)


def is_released(names: Iterable[str]) -> bool:
    """Whether weights of these names are in the released layout."""
    return any(name.startswith(ONLY_RELEASED) for name in names)


def implied_settings(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The settings that released weights imply. Raises ModelError that names a tensor without which they cannot be told."""
    score, text = "add_embedding.linear_1.weight", "text_linear2.weight"
    for name in (score, text):
        if name not in tensors:
            raise ModelError(f"missing tensor: {name}")
    return {"variant": "released", "use_score": True, "use_text": True, "use_attention": True, "use_addition": True,
            "perspectives": PERSPECTIVES, "reward_sinusoid_channels": tensors[score].shape[1] // len(PERSPECTIVES),
            "reward_text_dim": tensors[text].shape[1], "reward_num_heads": HEADS,
            "addition_embed_type": None, "addition_time_embed_dim": None, "projection_class_embeddings_input_dim": None}


def export_released(pipeline: Any, folder: str | Path) -> Path:
    """Write a pipeline in the released layout, which the reference code reads. Returns the folder, which must not exist or be empty.

    Raises ModelError for a model that the layout cannot hold: another variant, switches that are off, other sizes than its literals.
    """
    folder = Path(folder)
    unet = pipeline.unet
    _check_exportable(unet)
    if folder.exists() and any(folder.iterdir()):
        raise ModelError(f"{folder} exists and is not empty")
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        _write_unet(unet, part / "unet")
        pipeline.scheduler.save_pretrained(part / "scheduler")
        _write_text_encoder(pipeline.text_encoder, part / "text_encoder")
        pipeline.vae.save_pretrained(part / "vae")
        _write_tokenizer(pipeline.tokenizer, part / "tokenizer")
        _write_json(part / "model_index.json", MODEL_INDEX | {"scheduler": ["diffusers", type(pipeline.scheduler).__name__]})
        if folder.exists():
            folder.rmdir()
        os.replace(part, folder)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise ModelError(f"{folder} could not be written: {error.strerror or error}") from error
    return folder


def released_tensors(unet: RewardUNet2DConditionModel) -> dict[str, Tensor]:
    """The U-Net's tensors under their released names."""
    return {released_name(name): value.detach().cpu().contiguous() for name, value in unet.state_dict().items()}


def _renamed(name: str, prefixes: dict[str, str]) -> str:
    for old, new in prefixes.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def _check_exportable(unet: Any) -> None:
    if type(unet).__name__ != "RewardUNet2DConditionModel":
        raise ModelError(f"the released layout holds a RewardUNet2DConditionModel, not a {type(unet).__name__}")
    config = unet.config
    wanted = {"variant": "released", "use_score": True, "use_text": True, "use_attention": True, "use_addition": True} | SIZES
    for name, value in wanted.items():
        if config[name] != value:
            raise ModelError(f"the released layout cannot hold this model: {name} must be {value}, it is {config[name]}")
    if tuple(config.perspectives) != PERSPECTIVES:
        raise ModelError("the released layout cannot hold this model: it must read all perspectives, it reads "
                         + ", ".join(config.perspectives))
    widths = config.block_out_channels[0], unet.time_embedding.linear_2.out_features
    if widths != (WIDTH, TIME_WIDTH):
        raise ModelError(f"the released layout cannot hold this model: its first block must be {WIDTH} and its time embedding {TIME_WIDTH} "
                         f"wide, they are {widths[0]} and {widths[1]}")


def _write_unet(unet: RewardUNet2DConditionModel, folder: Path) -> None:
    folder.mkdir(parents=True)
    stock = inspect.signature(UNet2DConditionModel.__init__).parameters
    config = {"_class_name": "UNet2DConditionModel", "_diffusers_version": MODEL_INDEX["_diffusers_version"]}
    _write_json(folder / "config.json", config | {name: unet.config[name] for name in stock if name != "self"})
    save_file(released_tensors(unet), folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})


def _write_text_encoder(encoder: Any, folder: Path) -> None:
    """Under the names of the library's older versions, which put `text_model.` in front of each."""
    encoder.config.save_pretrained(folder)
    tensors = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in encoder.state_dict().items()}
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, folder / "model.safetensors",
              metadata={"format": "pt"})


def _write_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Vocabulary and merges as two files of their own: the reference code's library cannot read them from one."""
    tokenizer.save_pretrained(folder)
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    _write_json(folder / "vocab.json", dict(sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])))
    merges = (merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"])
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
    _write_json(folder / "special_tokens_map.json", {name: str(token) for name, token in tokenizer.special_tokens_map.items()})
    settings = read_json(folder / "tokenizer_config.json")
    _write_json(folder / "tokenizer_config.json", settings | {"tokenizer_class": "CLIPTokenizer"})


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
