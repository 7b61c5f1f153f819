"""What reads picture and instruction for SmartEdit, as models: from the released layout, or from a converted folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaModel
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from mre.errors import ModelError
from mre.families import layout_of
from mre.machine import free_memory
from mre.models.folders import fill, report_names
from mre.models.known import KNOWN
from mre.models.quiet import quiet_libraries
from mre.models.smartedit.connector import LanguageHead, SmartEditConnector, VisionProjector
from mre.models.smartedit.instruction import Readers
from mre.models.smartedit.prompt import read_tokenizer
from mre.models.smartedit.released import (
    HEAD_NAME,
    ReleasedFolder,
    Stored,
    check_vocabulary,
    connector_config,
    llama_config,
    opened,
    shape_of,
)
from mre.models.weight_files import read_object, read_tensors, weight_files

LANGUAGE_FORMAT = torch.bfloat16        # of a released language model: float16 may overflow in it
HEAD_FOLDER = "language_head"
PREFIX = "vision_model."                # of a vision tower's tensors in files of CLIP as a whole
BITS = {"bitsandbytes-8bit": 0.5, "bitsandbytes-4bit": 0.3}        # --quantise -> the language model's size against bfloat16
READER_PLACES = ("LLM-*/*", "embeddings_qformer/*", "modulate-*/*", "language_model/*", "projector/*", "connector/*", "vision_tower/*")


# ------------------------------------------------------------------------------------------------------- the released layout

def check_released(files: ReleasedFolder, stored: Mapping[str, Stored]) -> None:
    """Raise ModelError for a tensor of the readers that is missing, left over or of another shape. Reads no numbers."""
    config = llama_config(stored["language_model"], opened(files.files["language_model"]))
    settings = connector_config(stored["connector"])
    with torch.device("meta"):
        check_shapes(LlamaModel(config), stored["language_model"])
        check_shapes(VisionProjector(settings["vision_width"], config.hidden_size), stored["projector"])
        check_shapes(SmartEditConnector(**settings), stored["connector"])


def check_shapes(model: nn.Module, stored: Stored) -> None:
    """Raise ModelError that names, as the file does, what is missing, left over, or of another shape."""
    expected = model.state_dict()
    report_names(expected.keys() - stored.tensors.keys(), map(stored.shown, stored.tensors.keys() - expected.keys()), stored.file)
    for name, value in expected.items():
        if tuple(value.shape) != shape_of(stored.tensors, name):
            raise ModelError(f"{stored.file}: tensor {stored.shown(name)} must be {tuple(value.shape)}, it is "
                             f"{shape_of(stored.tensors, name)}")


def released_readers(files: ReleasedFolder, tower: Path, tokenizer: Path, dtype: torch.dtype = LANGUAGE_FORMAT) -> Readers:
    """The readers of a folder in the released layout; `dtype` is the language model's, the others are float32."""
    stored = files.read()
    config, settings = llama_config(stored["language_model"], opened(files.files["language_model"])), connector_config(stored["connector"])
    llm_tokenizer = read_tokenizer(tokenizer)
    check_vocabulary(config.vocab_size, llm_tokenizer, files.files["language_model"])
    with torch.device("meta"):
        projector, connector = VisionProjector(settings["vision_width"], config.hidden_size), SmartEditConnector(**settings)
    fill(projector, copied(stored["projector"], torch.float32), stored["projector"].file, shown=stored["projector"].shown)
    fill(connector, copied(stored["connector"], torch.float32), stored["connector"].file, shown=stored["connector"].shown)
    return Readers(read_tower(tower), projector.eval(), filled_llama(config, stored["language_model"], dtype), llm_tokenizer,
                   connector.eval())


def released_head(files: ReleasedFolder, dtype: torch.dtype = LANGUAGE_FORMAT) -> LanguageHead | None:
    """The language model's head, where the folder holds one. Raises ModelError for another model's."""
    weight = files.language_head()
    if weight is None:
        return None
    config = llama_config(files.read()["language_model"], opened(files.files["language_model"]))
    expected = config.vocab_size, config.hidden_size
    if tuple(weight.shape) != expected:
        raise ModelError(f"{files.files['embeddings']}: tensor {HEAD_NAME} must be {expected}, it is {tuple(weight.shape)}")
    with torch.device("meta"):
        head = LanguageHead(config.hidden_size, config.vocab_size)
    head.load_state_dict({"linear.weight": weight.to(dtype, copy=True)}, assign=True)
    return head.eval()


def filled_llama(config: LlamaConfig, stored: Stored, dtype: torch.dtype) -> LlamaModel:
    """The language model, its tensors read one by one, so that it is not in memory twice."""
    with torch.device("meta"):
        model = LlamaModel(config)
    check_shapes(model, stored)
    for name in stored.tensors:
        module, _, last = name.rpartition(".")
        setattr(model.get_submodule(module), last, nn.Parameter(stored.tensors[name].to(dtype, copy=True), requires_grad=False))
    model.rotary_emb = LlamaRotaryEmbedding(config)         # of no file: computed
    return cast(LlamaModel, model.eval())


def copied(stored: Stored, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """All tensors of a part, apart from the file, which may change."""
    return {name: value.to(dtype or value.dtype, copy=True) for name, value in stored.tensors.items()}


def read_tower(folder: Path) -> CLIPVisionModel:
    """CLIP's vision tower, in float32, from a folder of it alone or of CLIP as a whole. Raises ModelError."""
    config = read_object(folder / "config.json")
    tensors = {name.removeprefix(PREFIX): value.float() for name, value in read_tensors(folder, "model").items()
               if name.startswith(PREFIX) or config.get("model_type") == "clip_vision_model"}
    tensors = {name: value for name, value in tensors.items() if not name.endswith("position_ids")}
    with quiet_libraries():
        try:
            tower = CLIPVisionModel(CLIPVisionConfig(**config.get("vision_config", config)))
        except (TypeError, ValueError) as error:
            raise ModelError(f"{folder / 'config.json'}: {error}") from error
    fill(tower, tensors, folder)
    return cast(CLIPVisionModel, tower.eval())


# ------------------------------------------------------------------------------------------------------- a converted folder

def folder_readers(folder: Path, dtype: torch.dtype | None = None, quantise: str | None = None) -> Readers:
    """The readers of a folder that `save_pretrained` or the converter wrote, the language model in `dtype` (none = as it is stored), or
    in 8 or 4 bits. Raises ModelError that names the file."""
    tokenizer = read_tokenizer(folder / "llm_tokenizer")
    language_model = read_llama(folder / "language_model", dtype, quantise)
    check_vocabulary(language_model.config.vocab_size, tokenizer, folder / "language_model")
    projector, connector = (read_part(kind, folder / name).float()
                            for name, kind in (("projector", VisionProjector), ("connector", SmartEditConnector)))
    return Readers(read_tower(folder / "vision_tower"), projector, language_model, tokenizer, connector)


def read_part(kind: Any, folder: Path) -> nn.Module:
    """A module of ours from its folder. Raises ModelError that names the file."""
    config = read_object(folder / "config.json")
    tensors = read_tensors(folder, "diffusion_pytorch_model")
    with quiet_libraries(), torch.device("meta"):
        try:
            model = cast(nn.Module, kind.from_config(config))
        except (TypeError, ValueError) as error:
            raise ModelError(f"{folder / 'config.json'}: {error}") from error
    fill(model, tensors, folder)
    return model.eval()


def read_llama(folder: Path, dtype: torch.dtype | None = None, quantise: str | None = None) -> LlamaModel:
    """The language model from a folder of safetensors. Raises ModelError."""
    settings: dict[str, Any] = {"quantization_config": quantization(quantise)} if quantise else {}
    read_object(folder / "config.json")
    for file in weight_files(folder, "model"):
        if not file.is_file():
            raise ModelError(f"{file} is missing")
    with quiet_libraries():
        try:
            loaded = LlamaModel.from_pretrained(folder, dtype=dtype or "auto", local_files_only=True, use_safetensors=True,
                                                output_loading_info=True, **settings)
        except (OSError, ValueError, RuntimeError, TypeError, ImportError) as error:
            raise ModelError(f"{folder} cannot be read: {str(error).splitlines()[0]}") from error
    model, report = cast(tuple[LlamaModel, dict[str, Any]], loaded)
    report_names(report["missing_keys"], report["unexpected_keys"], folder)
    return model.eval()


def quantization(kind: str) -> Any:
    """Settings of bitsandbytes. Raises ModelError where it is not installed, or for a kind that it does not have."""
    from importlib.util import find_spec

    from transformers import BitsAndBytesConfig

    if kind not in BITS:
        raise ModelError(f"--quantise {kind}: a SmartEdit's language model is read in fewer bits by {' or '.join(BITS)}")
    if find_spec("bitsandbytes") is None:
        raise ModelError(f"--quantise {kind} needs the package bitsandbytes, which is not installed: python -m pip install bitsandbytes")
    if kind == "bitsandbytes-8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
                              bnb_4bit_compute_dtype=torch.bfloat16)


@dataclass(frozen=True)
class ReadersSource:
    """Where the readers are, in either layout, and how they are read."""

    folder: Path
    dtype: torch.dtype | None = None            # of the language model; none = as it is stored, or bfloat16 in the released layout
    quantise: str | None = None                 # one of BITS, of a converted folder

    def read(self) -> Readers:
        """Raises ModelError that names the file or tensor at fault, or says that memory is short before anything is read."""
        layout = layout_of("", self.folder)
        self.check_memory()
        if layout is None:
            return folder_readers(self.folder, self.dtype, self.quantise)
        if self.quantise:
            raise ModelError(f"{self.folder}: --quantise {self.quantise} needs a converted folder: python -m mre convert {self.folder} "
                             "--out NEW")
        return released_readers(ReleasedFolder(self.folder), layout.find_tower(self.folder), layout.find_tokenizer(self.folder),
                                self.dtype or LANGUAGE_FORMAT)

    def read_head(self) -> LanguageHead:
        """The language model's head. Raises ModelError where there is none, or another model's."""
        head: nn.Module | None = None
        if layout_of("", self.folder) is not None:
            head = released_head(ReleasedFolder(self.folder), self.dtype or LANGUAGE_FORMAT)
        elif (self.folder / HEAD_FOLDER).is_dir():
            head = read_part(LanguageHead, self.folder / HEAD_FOLDER).to(self.dtype)
        if head is None:
            raise ModelError(f"{self.folder}: holds no language model's head, which an answer is decoded with; a folder that was converted "
                             "without it is converted anew")
        return cast(LanguageHead, head)

    def check_memory(self) -> None:
        """Raise ModelError where the readers are larger than the memory that is free, with what would fit."""
        share = BITS.get(self.quantise or "", 1)
        sizes = {path: path.stat().st_size for path in self._files()}
        language = sum(size for path, size in sizes.items() if path.parent.name.startswith(("LLM-", "language_model")))
        others, free = sum(sizes.values()) - language, free_memory()
        if free is None or language * share + others <= free:
            return
        smaller = " or ".join(f"--quantise {kind} of a converted folder ({(language * part + others) / 1e9:.0f} GB)"
                              for kind, part in BITS.items() if language * part + others <= free)
        raise ModelError(f"{self.folder}: what reads instructions needs {(language * share + others) / 1e9:.1f} GB of memory, and "
                         f"{free / 1e9:.1f} GB are free; {smaller or 'nothing of it'} would fit")

    def _files(self) -> list[Path]:
        """The readers' weights, in order."""
        return sorted({path for place in READER_PLACES for path in self.folder.glob(place) if path.suffix in (".safetensors", ".bin")})

    def fingerprint(self) -> str:
        """SHA-256 over names and sizes of the readers' files and the first and last megabyte of each: nobody waits for all of them."""
        digest = hashlib.sha256()
        for path in self._files():
            size = path.stat().st_size
            digest.update(f"{path.relative_to(self.folder)} {size}\n".encode())
            with path.open("rb") as file:
                digest.update(file.read(1 << 20))
                file.seek(max(0, size - (1 << 20)))
                digest.update(file.read(1 << 20))
        return digest.hexdigest()


def find_readers(folder: Path, readers_from: str | None, dtype: torch.dtype | None = None, quantise: str | None = None) -> ReadersSource:
    """The readers of a folder, or, where it was kept without them, of the model that it names. Raises ModelError where that is not here."""
    if readers_from is None or (folder / "language_model").is_dir():
        return ReadersSource(folder, dtype, quantise)
    known, layout = KNOWN.get(readers_from), layout_of(readers_from)
    place = layout.find(known.hub_id) if known is not None and layout is not None else Path(readers_from).expanduser()
    if not place.is_dir():
        raise ModelError(f"{folder}: its readers are those of {readers_from}, which is not here")
    return ReadersSource(place, dtype, quantise)
