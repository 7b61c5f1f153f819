"""The files that a model's weights are in: which there are, which are wanted, and why there are none.

The libraries name them STEM.safetensors; of a variant such as fp16, STEM.fp16.safetensors; in several parts
STEM.fp16-00001-of-00002.safetensors with an index beside them (older versions put the variant last).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from mre.errors import DataError, ModelError
from mre.files import read_json

INDEX = "model_index.json"
COMPONENTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
AVAILABLE = "*"             # as a variant: none, or where there are no such weights the first that there is
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".msgpack")
_PART = r"-\d{5}-of-\d{5}"


def variants(names: Collection[str], stem: str) -> dict[str | None, list[str]]:
    """The safetensors files of a folder by variant, None for those without."""
    pattern = re.compile(rf"{stem}(?:\.(\w+))?(?:{_PART})?(?:\.(\w+))?\.safetensors")
    found: dict[str | None, list[str]] = {}
    for name in sorted(names):
        if match := pattern.fullmatch(name):
            found.setdefault(match[1] or match[2], []).append(name)
    return found


def part_variants(names: Mapping[str, Collection[str]], variant: str | None, where: str) -> dict[str, str | None]:
    """For each part of a model, with the names of the files in its folder, which variant of its weights is read. As in diffusers, parts
    that have none of the variant asked for are read without it, if another has it.

    Raises ModelError that names the part without weights, and says what there is in their place.
    """
    found = {part: variants(files, WEIGHTS[part]) for part, files in names.items()}
    for part, of_part in found.items():
        if not of_part or (None not in of_part and variant not in (*of_part, AVAILABLE)):
            raise ModelError(_why_absent(names[part], WEIGHTS[part], variant, f"{where}/{part}"))
    if variant not in (None, AVAILABLE) and not any(variant in of_part for of_part in found.values()):
        raise ModelError(f"{where} has no weights of the variant {variant!r}, only {_listed(set().union(*found.values()))}")
    chosen: dict[str, str | None] = {}
    for part, of_part in found.items():
        chosen[part] = variant if variant in of_part else None if None in of_part else _first(of_part)
    return chosen


def model_variant(names: Collection[str], variant: str | None, where: str) -> str | None:
    """Which variant is read of the weights of a U-Net by itself. Raises ModelError that says what there is."""
    found = variants(names, WEIGHTS["unet"])
    if variant in found or (variant == AVAILABLE and found):
        return variant if variant in found else None if None in found else _first(found)
    raise ModelError(_why_absent(names, WEIGHTS["unet"], variant, where))


def _first(found: Iterable[str | None]) -> str:
    return min(variant for variant in found if variant is not None)


def weight_files(folder: Path, stem: str, variant: str | None = None) -> list[Path]:
    """The files of a variant's weights in a folder: the one, or the several that an index names. They need not be there."""
    middle = f".{variant}" if variant else ""
    whole = folder / f"{stem}{middle}.safetensors"
    if whole.is_file():
        return [whole]
    for index in (f"{stem}.safetensors.index{middle}.json", f"{stem}{middle}.safetensors.index.json"):
        if (folder / index).is_file():
            named = read_object(folder / index).get("weight_map")
            if not isinstance(named, dict) or not named:
                raise ModelError(f"{folder / index} names no files")
            return sorted({folder / Path(str(name)).name for name in named.values()})
    return [folder / name for name in variants(file_names(folder), stem).get(variant, [])] or [whole]


def file_names(folder: Path) -> list[str]:
    """Names of the files in a folder; none if there is no such folder."""
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a model. Raises ModelError that names the file."""
    if not path.exists():
        raise ModelError(f"{path} is missing")
    try:
        value = read_json(path)
    except DataError as error:
        raise ModelError(f"{path} cannot be read: it is damaged or no JSON") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} cannot be read: it must hold an object")
    return value


def read_tensors(folder: Path, stem: str, variant: str | None = None) -> dict[str, Tensor]:
    """All tensors of a model's weights. Raises ModelError that names the file."""
    tensors: dict[str, Tensor] = {}
    for file in weight_files(folder, stem, variant):
        if not file.is_file():
            raise ModelError(f"{file} is missing")
        try:
            tensors |= {name: value.clone() for name, value in load_file(file).items()}      # copies: a file may change
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{file} is damaged: {error}") from error
    return tensors


def tensor_names(folder: Path, stem: str) -> list[str]:
    """Names of the tensors in all files of a model's weights; reads no numbers. Raises ModelError that names the folder."""
    try:
        files = [safe_open(folder / name, "pt") for group in variants(file_names(folder), stem).values() for name in group]
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{folder}: its weights are damaged: {error}") from error
    return [name for file in files for name in file.keys()]          # noqa: SIM118 - not a dictionary


def _why_absent(names: Collection[str], stem: str, variant: str | None, where: str) -> str:
    missing = f"{where}/{stem}{'' if variant in (None, AVAILABLE) else f'.{variant}'}.safetensors is missing"
    if found := variants(names, stem):
        return f"{missing}; there are {_listed(found)}"
    pickled = sorted(name for name in names if name.endswith(PICKLES))
    return f"{missing}; {pickled[0]} is not read, since it may hold code: convert it to safetensors" if pickled else missing


def _listed(found: Collection[str | None]) -> str:
    """What to ask for in its place, such as: weights in half precision (variant="fp16")."""
    said = {None: "weights without a variant", "fp16": 'weights in half precision (variant="fp16")'}
    return " and ".join(said.get(name, f'weights of variant="{name}"') for name in sorted(found, key=str))
