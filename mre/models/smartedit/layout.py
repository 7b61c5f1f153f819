"""SmartEdit's released layout, for those that read models: where its files are, and a pipeline of them.

Beside the files that were released stand four things that they were trained with: an InstructPix2Pix model (autoencoder, null text,
sampler, the U-Net's config), CLIP ViT-L/14, and the tokenizer of LLaMA or Vicuna. They are looked for in the folder and beside it, then
on the hub.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mre.errors import ModelError
from mre.families import named
from mre.models.smartedit.settings import DEFAULTS as DEFAULTS

BASE, TOWER, TOKENIZER = "timbrooks/instruct-pix2pix", "openai/clip-vit-large-patch14", "hf-internal-testing/llama-tokenizer"
RELEASED_FILES = ("LLM-*/adapter_model.*", "LLM-*/adapter_config.json", "adapter_config.json",
                  "embeddings_qformer/*embeddings_qformer.*", "modulate-*/adapter_model.*", "unet-*/adapter_model.*")
FOLDERS = ("LLM-*", "modulate-*", "embeddings_qformer")
TOKENIZER_FILES = ("tokenizer.model", "tokenizer.json")


def holds(folder: Path) -> bool:
    """Whether a folder is in this layout, whole or not."""
    return not (folder / "model_index.json").exists() and any(any(folder.glob(place)) for place in FOLDERS)


def find(hub_id: str, local_files_only: bool = False) -> Path:
    """The folder of a released model on the hub. Raises ModelError where it is not to be had."""
    from mre.models.hub import find_files

    return find_files(hub_id, RELEASED_FILES, local_files_only=local_files_only)


def load(folder: Path, dtype: Any = None, condition: Mapping[str, Any] | None = None) -> Any:
    """A SmartEditPipeline of a folder in this layout; `condition` holds settings of a reward condition that its U-Net shall have. Its
    readers are read when they are asked for. Raises ModelError that names the file or tensor at fault."""
    for find_part in (find_tower, find_tokenizer):      # said at once where one is not to be had
        find_part(folder)
    return named("mre.models.smartedit.released_pipeline:released_pipeline")(folder, find_base(folder), dtype, condition)


def find_base(folder: Path) -> Path:
    """The folder of an InstructPix2Pix model."""
    from mre.models.hub import find_folder
    from mre.models.weight_files import AVAILABLE

    return beside(folder, ("instruct-pix2pix",), ("model_index.json",)) or \
        needed(lambda: find_folder(BASE, variant=AVAILABLE, parts=("vae", "text_encoder")), folder, BASE)


def find_tower(folder: Path) -> Path:
    """The folder of CLIP ViT-L/14."""
    from mre.models.hub import find_files

    return beside(folder, ("clip-vit-large-patch14",), ("config.json",)) or \
        needed(lambda: find_files(TOWER, ("config.json", "model.safetensors")), folder, TOWER)


def find_tokenizer(folder: Path) -> Path:
    """The folder of a tokenizer of LLaMA or Vicuna."""
    from mre.models.hub import find_files

    if any((folder / name).is_file() for name in TOKENIZER_FILES):
        return folder
    return beside(folder, ("llm_tokenizer", "*vicuna*", "*llama*", "*LLaVA*"), TOKENIZER_FILES) or \
        needed(lambda: find_files(TOKENIZER, TOKENIZER_FILES[:1]), folder, TOKENIZER)


def beside(folder: Path, names: Sequence[str], files: Sequence[str]) -> Path | None:
    """The first folder of one of these names, in a folder or beside it, that holds one of these files."""
    places = (place for around in (folder, folder.resolve().parent) for name in names for place in sorted(around.glob(name)))
    return next((place for place in places if any((place / file).is_file() for file in files)), None)


def needed(find: Any, folder: Path, name: str) -> Path:
    """What is not beside the folder, from the hub. Raises ModelError that says what it is for."""
    try:
        return find()
    except ModelError as error:
        raise ModelError(f"{folder}: needs {name} beside it, in a folder {name.rpartition('/')[2]}: {error}") from error
