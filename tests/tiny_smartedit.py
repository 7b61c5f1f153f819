"""A SmartEdit model in the released layout at small sizes, written from the key list of the released one, for tests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel

from tests.golden_smartedit import drawn
from tests.tiny_models import pipeline

WIDTH, QUERY, LANGUAGE, LAYERS = 32, 64, 32, 2
SIZES = {4096: LANGUAGE, 11008: 48, 32035: 595, 1024: WIDTH, 768: QUERY, 3072: 96, 2048: 48, 512: WIDTH // 2, 320: 32, 64: 4}
UNET = {"sample_size": 16, "in_channels": 8, "out_channels": 4, "block_out_channels": (32, 64, 96, 96), "cross_attention_dim": QUERY,
        "attention_head_dim": 8, "norm_num_groups": 32}
PARTS = {"LLM-15000/adapter_model": "llm", "embeddings_qformer/checkpoint-15000_embeddings_qformer": "embeddings",
         "modulate-15000/adapter_model": "bim", "unet-15000/adapter_model": "unet"}


def released_tensors(shared: Path) -> dict[str, dict[str, Tensor]]:
    """Files of the 7B model -> their tensors by released names, in small: all names of the list, but for layers beyond the second."""
    keys = json.loads((shared / "parity_smartedit" / "released_checkpoint_keys.json").read_text())
    layer = keys["7b"]["llm_layer0"]
    named = {"llm": [*keys["7b"]["llm_other"], *((name.replace("layers.0.", f"layers.{number}."), shape) for number in range(LAYERS)
                                                 for name, shape in layer)],
             "embeddings": [*keys["7b"]["qformer"], *keys["7b"]["embeddings_file_extra"]], "bim": keys["bim"]}
    rank = {"lora_A": 0, "lora_B": 1}
    tensors: dict[str, dict[str, Tensor]] = {}
    for file, some in named.items():
        tensors[file] = {}
        for name, shape in some:
            kept = next((axis for part, axis in rank.items() if part in name), None)
            small = [size if axis == kept or name.endswith("position_ids") else SIZES.get(size, size) for axis, size in enumerate(shape)]
            tensors[file][name] = torch.arange(512)[None] if name.endswith("position_ids") else drawn(name, small, 0.1)
    unet = UNet2DConditionModel(**UNET)
    tensors["unet"] = {f"unet.{name}": drawn(f"unet.{name}", value.shape, 0.1) for name, value in unet.state_dict().items()}
    assert set(tensors["unet"]) == {name for name, _ in keys["unet"]}
    return tensors


def write_released(root: Path, shared: Path, name: str = "SmartEdit-7B", suffix: str = ".bin",
                   tensors: dict[str, dict[str, Tensor]] | None = None) -> Path:
    """The folder, with what it needs beside it: an InstructPix2Pix model, CLIP, a tokenizer."""
    folder = root / name
    for place, part in PARTS.items():
        path = folder / (place + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        of_part: dict[str, Any] = (tensors or released_tensors(shared))[part]
        torch.save(of_part, path) if suffix == ".bin" else save_file(of_part, path)
    if not (root / "instruct-pix2pix").exists():
        pipeline(UNet2DConditionModel(**UNET), text_dim=QUERY).save_pretrained(root / "instruct-pix2pix")
        index = root / "instruct-pix2pix" / "model_index.json"
        index.write_text(index.read_text().replace("RewardEditPipeline", "StableDiffusionInstructPix2PixPipeline"))
        write_tower(root / "clip-vit-large-patch14")
        (root / "llm_tokenizer").mkdir()
        shutil.copyfile(shared / "parity_smartedit" / "tokenizer.model", root / "llm_tokenizer" / "tokenizer.model")
    return folder


def write_tower(folder: Path) -> None:
    """As CLIP as a whole is stored."""
    torch.manual_seed(6)
    config = CLIPVisionConfig(hidden_size=WIDTH, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, image_size=28,
                              patch_size=7)
    tower = CLIPVisionModel(config)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "clip", "vision_config": config.to_dict()}))
    save_file({f"vision_model.{name}": value for name, value in tower.state_dict().items()} | {"logit_scale": torch.ones(())},
              folder / "model.safetensors")
