"""A folder in SmartEdit's released layout, written anew as a folder of safetensors like any other model's: no pickles, adapters merged.

Tensors go from file to file, a shard at a time, so that no more than one shard is in memory however large the model is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors.torch import save_file
from torch import Tensor

from mre.errors import ModelError
from mre.models.quiet import quiet_libraries
from mre.models.smartedit.assembly import HEAD_FOLDER, LANGUAGE_FORMAT, check_released, copied, read_tower, released_head
from mre.models.smartedit.connector import SmartEditConnector, VisionProjector
from mre.models.smartedit.layout import find_base, find_tokenizer, find_tower
from mre.models.smartedit.prompt import read_tokenizer
from mre.models.smartedit.released import ReleasedFolder, Stored, check_vocabulary, connector_config, llama_config, opened
from mre.models.smartedit.settings import DEFAULTS
from mre.models.weight_files import INDEX, read_object

SHARD_BYTES = 1_000_000_000
BASE_PARTS = ("vae", "text_encoder", "tokenizer", "scheduler")
READ_FILES = (".json", ".txt", ".safetensors")              # of the base: pickles stay behind
CLASSES = {"vision_tower": ("transformers", "CLIPVisionModel"), "language_model": ("transformers", "LlamaModel"),
           "llm_tokenizer": ("transformers", "LlamaTokenizer"), "projector": ("mre.models.smartedit.connector", "VisionProjector"),
           "connector": ("mre.models.smartedit.connector", "SmartEditConnector"),
           HEAD_FOLDER: ("mre.models.smartedit.connector", "LanguageHead"),
           "unet": ("mre.models.unet", "RewardUNet2DConditionModel"), "scheduler": ("diffusers", "EulerAncestralDiscreteScheduler")}


def convert(source: Path, out: Path, *, dtype: torch.dtype = LANGUAGE_FORMAT, native_size: int = DEFAULTS["native_size"],
            shard_bytes: int = SHARD_BYTES) -> None:
    """Write the model of `source` into the folder `out`, which is there and empty; `dtype` is the language model's.

    Raises ModelError that names the file or tensor at fault, before anything is written.
    """
    files = ReleasedFolder(source)
    stored = files.read()
    check_released(files, stored)
    base, tower, tokenizer = find_base(source), find_tower(source), read_tokenizer(find_tokenizer(source))
    config, settings = llama_config(stored["language_model"], opened(files.files["language_model"])), connector_config(stored["connector"])
    check_vocabulary(config.vocab_size, tokenizer, files.files["language_model"])
    vision = read_tower(tower)
    index = read_object(base / INDEX)
    unet_config = read_object(base / "unet" / "config.json")
    with quiet_libraries():
        for part in BASE_PARTS:
            copy_part(base / part, out / part)
        sampler: Any = diffusers.EulerAncestralDiscreteScheduler.from_config(read_object(base / "scheduler" / "scheduler_config.json"))
        sampler.save_pretrained(out / "scheduler")
        vision.save_pretrained(out / "vision_tower")
        tokenizer.save_pretrained(out / "llm_tokenizer")
        config.dtype = dtype
        config.architectures = ["LlamaModel"]
        config.save_pretrained(out / "language_model")
        write_shards(stored["language_model"], out / "language_model", "model", shard_bytes, dtype)
        with torch.device("meta"):
            small = {"projector": VisionProjector(settings["vision_width"], config.hidden_size),
                     "connector": SmartEditConnector(**settings)}
        for part, model in small.items():
            model.load_state_dict(copied(stored[part], torch.float32), assign=True)
            model.save_pretrained(out / part)
        head = released_head(files, dtype)
        if head is not None:
            head.save_pretrained(out / HEAD_FOLDER)
    (out / "unet").mkdir()
    write_json(out / "unet" / "config.json", {**unet_config, "_class_name": "UNet2DConditionModel"})
    write_shards(stored["unet"], out / "unet", "diffusion_pytorch_model", shard_bytes)
    classes = {part: list(index[part]) for part in BASE_PARTS if part in index} | {part: list(name) for part, name in CLASSES.items()
                                                                                      if (out / part).is_dir()}
    write_json(out / INDEX, {"_class_name": "SmartEditPipeline", "_diffusers_version": diffusers.__version__, **classes, **DEFAULTS,
                             "native_size": native_size})


def copy_part(source: Path, target: Path) -> None:
    """Copy what is read of a part of the base. Raises ModelError where there is nothing."""
    chosen = [file for file in source.iterdir() if file.suffix in READ_FILES] if source.is_dir() else []
    if not chosen:
        raise ModelError(f"{source} holds nothing that can be read")
    target.mkdir()
    for file in chosen:
        shutil.copyfile(file, target / file.name)


def write_shards(stored: Stored, folder: Path, stem: str, shard_bytes: int, dtype: torch.dtype | None = None) -> None:
    """All tensors of a part as STEM.safetensors or, where they are more than `shard_bytes`, in several files and an index."""
    shards: list[list[str]] = []
    waiting: dict[str, Tensor] = {}
    total = size = 0

    def flush() -> None:
        nonlocal size
        save_file(waiting, folder / f"{stem}-{len(shards):05d}.partial", {"format": "pt"})
        shards.append(list(waiting))
        waiting.clear()
        size = 0

    for name in stored.tensors:
        tensor = stored.tensors[name].to(dtype or stored.tensors[name].dtype, copy=True).contiguous()
        total += tensor.nbytes
        if waiting and size + tensor.nbytes > shard_bytes:
            flush()
        waiting[name] = tensor
        size += tensor.nbytes
    flush()
    if len(shards) == 1:
        (folder / f"{stem}-00000.partial").rename(folder / f"{stem}.safetensors")
        return
    places: dict[str, str] = {}
    for number, names in enumerate(shards):
        file = f"{stem}-{number + 1:05d}-of-{len(shards):05d}.safetensors"
        (folder / f"{stem}-{number:05d}.partial").rename(folder / file)
        places |= dict.fromkeys(names, file)
    write_json(folder / f"{stem}.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": places})


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """An object as indented JSON."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
