"""The released layout of SmartEdit: four files of tensors, pickled, and no config; read without being held in memory as a whole.

    SmartEdit-7B/LLM-15000/adapter_model.bin                                     the language model, its adapters beside its weights
    SmartEdit-7B/LLM-15000/adapter_config.json                                   may also lie one level up, or be absent
    SmartEdit-7B/embeddings_qformer/checkpoint-15000_embeddings_qformer.bin      projector, Q-Former, language model's head
    SmartEdit-7B/modulate-15000/adapter_model.bin                                interaction module
    SmartEdit-7B/unet-15000/adapter_model.bin
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import LlamaConfig

from mre.errors import ModelError
from mre.models.smartedit.names import is_computed, our_name
from mre.models.smartedit.prompt import NEW_TOKENS
from mre.models.weight_files import read_object

PARTS = {"language_model": ("LLM-*", "adapter_model"), "embeddings": ("embeddings_qformer", "*embeddings_qformer"),
         "interaction": ("modulate-*", "adapter_model"), "unet": ("unet-*", "adapter_model")}
SUFFIXES = (".safetensors", ".bin")
NOT_NEEDED = re.compile(r"^lm_head\.weight$|(^|\.)embed_tokens\.weight$")       # of the embeddings' file: head, and stray embeddings
HEAD_NAME = "lm_head.weight"
LORA = re.compile(r"(.*)\.lora_([AB])\.default\.weight")
LORA_ALPHA = 16             # of the released adapters, where no config says otherwise
LLAVA_VOCABULARY = 32_003
HEAD = 128                  # width of one head of LLaMA, where no tensor tells
LLAMA = {"rms_norm_eps": 1e-6, "max_position_embeddings": 2048, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
         "hidden_act": "silu", "tie_word_embeddings": False}
QUERY_HEAD = 64             # width of one head of the Q-Former


@dataclass(frozen=True)
class Stored:
    """Tensors of a part, by our names within it; they are read from disk when they are used."""

    file: Path
    tensors: Mapping[str, Tensor]
    released: Mapping[str, str]             # our names -> the file's

    def shown(self, name: str) -> str:
        """The file's name of one of our tensors."""
        return self.released.get(name, name)


class ReleasedFolder:
    """A folder in the released layout. Raises ModelError that names the file or tensor at fault, before anything is read of the others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = {part: find_file(folder, part) for part in PARTS}
        self._scale: float | None = None

    def read(self) -> dict[str, Stored]:
        """Components of a pipeline -> their tensors: language_model, projector, connector, unet."""
        tensors: dict[str, dict[str, Tensor]] = {"projector": {}, "connector": {}, "unet": {}}
        names: dict[str, dict[str, str]] = {component: {} for component in tensors}
        files = {"projector": self.files["embeddings"], "connector": self.files["interaction"], "unet": self.files["unet"]}
        for part in ("embeddings", "interaction", "unet"):
            file = self.files[part]
            for name, tensor in opened(file).items():
                if is_computed(name) or (part == "embeddings" and NOT_NEEDED.search(name)):
                    continue
                component, _, ours = our_name(name).partition(".")
                if component not in tensors or not ours:
                    raise ModelError(f"{file}: unexpected tensor: {name}")
                tensors[component][ours], names[component][ours] = tensor, name
        return {"language_model": self._language_model(),
                **{component: Stored(files[component], tensors[component], names[component]) for component in tensors}}

    def language_head(self) -> Tensor | None:
        """(V, W), where it was released too: only an answer that is decoded needs it."""
        return opened(self.files["embeddings"]).get(HEAD_NAME)

    def _language_model(self) -> Stored:
        file = self.files["language_model"]
        tensors = opened(file)
        embeddings = next((value for name, value in tensors.items() if name.endswith("embed_tokens.weight")), None)
        if embeddings is None:
            raise ModelError(f"{file}: missing tensor: model.base_model.model.embed_tokens.weight")
        if len(embeddings) == LLAVA_VOCABULARY:
            raise ModelError(f"{file}: the embedding has 32003 rows, LLaVA's, where SmartEdit has 32035; files published before "
                             "2024-04-28 have this fault: download the folder anew")
        norm = next((value for name, value in tensors.items() if name.endswith("model.norm.weight")), None)
        if norm is not None and norm.float().abs().mean() < 0.05:
            raise ModelError(f"{file}: its norms are near 0, so these are delta weights, to be added to LLaMA's; SmartEdit's own file "
                             "holds whole ones")
        adapters = adapters_of(tensors, file)
        return stored_language_model(file, tensors, adapters, self._adapter_scale(adapters))

    def _adapter_scale(self, adapters: Mapping[str, tuple[Tensor, Tensor]]) -> float:
        """alpha / r: from the tensors, and from the config where there is one."""
        ranks = {a.shape[0] for a, _ in adapters.values()}
        if len(ranks) > 1:
            raise ModelError(f"{self.files['language_model']}: its adapters have several ranks: {sorted(ranks)}")
        if not ranks:
            return 0.0
        [rank] = ranks
        place = self.files["language_model"].parent
        for path in (place / "adapter_config.json", place.parent / "adapter_config.json"):
            if path.is_file():
                config = read_object(path)
                alpha, said = config.get("lora_alpha", LORA_ALPHA), config.get("r", rank)
                if said != rank:
                    raise ModelError(f"{path}: says rank {said}, and the adapters beside it have {rank}")
                if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or alpha <= 0:
                    raise ModelError(f"{path}: lora_alpha must be a number above 0, got {alpha!r}")
                targets = {module.rpartition(".")[2] for module in adapters}
                if set(config.get("target_modules", targets)) != targets:
                    raise ModelError(f"{path}: says adapters of {', '.join(sorted(config['target_modules']))}, and the file holds those "
                                     f"of {', '.join(sorted(targets))}")
                return alpha / rank
        return LORA_ALPHA / rank


class LazyMerge(Mapping[str, Tensor]):
    """Weights with their adapters added, in float32, each at the moment when it is asked for."""

    def __init__(self, names: Mapping[str, str], tensors: Mapping[str, Tensor], adapters: Mapping[str, tuple[Tensor, Tensor]],
                 scale: float) -> None:
        """names: ours -> the file's"""
        self.names, self.tensors, self.adapters, self.scale = names, tensors, adapters, scale

    def __getitem__(self, name: str) -> Tensor:
        stored = self.names[name]
        weight, adapter = self.tensors[stored], self.adapters.get(stored.removesuffix(".weight"))
        if adapter is None:
            return weight
        a, b = adapter
        return torch.addmm(weight.float(), b.float(), a.float(), alpha=self.scale)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of one, without making it."""
        return tuple(self.tensors[self.names[name]].shape)


def stored_language_model(file: Path, tensors: Mapping[str, Tensor], adapters: Mapping[str, tuple[Tensor, Tensor]],
                          scale: float) -> Stored:
    """The tensors of a language model's file, by our names, adapters merged."""
    names = {our_name(name).removeprefix("language_model."): name for name in tensors if not is_computed(name) and not LORA.fullmatch(name)}
    return Stored(file, LazyMerge(names, tensors, adapters, scale), names)


def adapters_of(tensors: Mapping[str, Tensor], file: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Module -> A (r, in) and B (out, r). Raises ModelError for one that is not whole."""
    halves: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if found := LORA.fullmatch(name):
            halves.setdefault(found[1], {})[found[2]] = value
    for module, pair in halves.items():
        weight = tensors.get(f"{module}.weight")
        if pair.keys() != {"A", "B"} or weight is None:
            raise ModelError(f"{file}: the adapter of {module} is not whole")
        a, b = pair["A"], pair["B"]
        if a.shape[0] != b.shape[1] or (b.shape[0], a.shape[1]) != tuple(weight.shape):
            raise ModelError(f"{file}: the adapter of {module} is {tuple(b.shape)} and {tuple(a.shape)}, which does not fit its weight "
                             f"{tuple(weight.shape)}")
    return {module: (pair["A"], pair["B"]) for module, pair in halves.items()}


def find_file(folder: Path, part: str) -> Path:
    """The file of a part; of several numbers of steps, the highest. Raises ModelError that says what is there in its place."""
    place, stem = PARTS[part]
    folders = sorted(folder.glob(place), key=lambda path: int("0" + "".join(re.findall(r"\d+", path.name)[-1:])))
    for inside in reversed(folders):
        for suffix in SUFFIXES:
            if found := sorted(inside.glob(stem + suffix)):
                return found[-1]
    there = sorted(path.name for inside in folders for path in inside.iterdir() if path.suffix in SUFFIXES)
    hint = f"; there is {there[0]}, of another version or of another model" if there else ""
    where = folders[-1] if folders else folder / place.replace("*", "15000")
    raise ModelError(f"{where / (stem.replace('*', 'checkpoint-15000_') + '.bin')} is missing{hint}")


def opened(file: Path) -> dict[str, Tensor]:
    """The tensors of a file, mapped into memory. Raises ModelError for a file that is damaged, or that holds anything but tensors."""
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, "pt") as stored:
                return {name: stored.get_tensor(name) for name in stored.keys()}         # noqa: SIM118 - not a dictionary
        try:
            tensors = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
        except RuntimeError as error:
            if "mmap" not in str(error):
                raise
            tensors = torch.load(file, map_location="cpu", weights_only=True)           # of before 2020: as a whole
    except pickle.UnpicklingError as error:
        raise ModelError(f"{file} holds more than tensors, and is not read, since it may hold code: convert it to safetensors") from error
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
        raise ModelError(f"{file} is damaged: {str(error).splitlines()[0][:160]}") from error
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ModelError(f"{file} holds more than tensors by name")
    return tensors


def shape_of(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    """Of a stored tensor, without reading or merging it."""
    return tensors.shape(name) if isinstance(tensors, LazyMerge) else tuple(tensors[name].shape)


def llama_config(stored: Stored, tensors: Mapping[str, Tensor]) -> LlamaConfig:
    """The language model's settings, as its tensors (and, in `tensors`, all of the file) tell them."""
    needed = "embed_tokens.weight", "layers.0.mlp.gate_proj.weight", "layers.0.self_attn.q_proj.weight"
    for name in needed:
        if name not in stored.tensors:
            raise ModelError(f"{stored.file}: missing tensor: {stored.shown(name)}")
    (rows, width), (hidden, _) = (shape_of(stored.tensors, name) for name in needed[:2])
    layers = 1 + max(int(found[1]) for name in stored.tensors if (found := re.match(r"layers\.(\d+)\.", name)))
    frequencies = next((value for name, value in tensors.items() if name.endswith("rotary_emb.inv_freq")), None)
    head = HEAD if frequencies is None else 2 * len(frequencies)
    if width % head:
        raise ModelError(f"{stored.file}: a width of {width} is no multiple of {head}, the width of a head")
    return LlamaConfig(vocab_size=rows, hidden_size=width, intermediate_size=hidden, num_hidden_layers=layers,
                       num_attention_heads=width // head, num_key_value_heads=width // head, **LLAMA)


def connector_config(stored: Stored) -> dict[str, Any]:
    """The connector's settings, as its tensors tell them."""
    def shape(name: str) -> tuple[int, ...]:
        if name not in stored.tensors:
            raise ModelError(f"{stored.file}: missing tensor of the connector: {name}")
        return shape_of(stored.tensors, name)

    def count(start: str) -> int:
        return 1 + max((int(found[1]) for name in stored.tensors if (found := re.match(rf"{start}\.(\d+)\.", name))), default=-1)

    _, queries, width = shape("qformer.queries")
    hidden, _ = shape("qformer.layers.0.hidden.weight")
    channels, vision = shape("interaction.residual_out.weight")[:2]
    return {"language_width": shape("qformer.layers.0.cross_attention.key.weight")[1], "vision_width": vision, "queries": queries,
            "query_width": width, "query_heads": max(1, width // QUERY_HEAD), "query_hidden": hidden,
            "query_layers": count(r"qformer\.layers"), "unet_channels": channels,
            "interaction_hidden": shape("interaction.layers.0.hidden.weight")[0],
            "interaction_depth": count(r"interaction\.layers")}


def check_vocabulary(rows: int, tokenizer: Any, where: Path) -> None:
    """Raise ModelError where the language model has other rows than its tokenizer has tokens."""
    if rows != len(tokenizer):
        raise ModelError(f"{where}: the embedding has {rows} rows, and the tokenizer {len(tokenizer)} tokens, {len(NEW_TOKENS)} of them "
                         "SmartEdit's own")
