"""How the weights of a pipeline are read, and where they go: number format, bits, LoRAs, place. What fails is one line."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mre.compiling import check_compiler
from mre.device import is_zero_gpu
from mre.editors.load_options import LoadOptions, Lora
from mre.editors.repository import HUB_ID
from mre.errors import ModelError, SettingsError

if TYPE_CHECKING:
    import torch

log = logging.getLogger("mre.editors")
PACKAGES = {"bitsandbytes": "bitsandbytes", "torchao": "torchao", "quanto": "optimum-quanto"}
DENOISERS = ("transformer", "transformer_2", "unet")
QUANTISED_PART = re.compile(r"transformer(_\d)?|unet|text_encoder(_\d)?")
LORA_FILE = "pytorch_lora_weights.safetensors"
LORA_LAYER = re.compile(r"(lora_A|lora_down|lora\.down)(\.\w+)?\.weight$")


# ------------------------------------------------------------------------------------------------------------------ number formats

def computed_dtypes(device: str) -> tuple[str, ...]:
    """The number formats that a device computes in its own units, the fastest first."""
    import torch

    if device.startswith("cuda") and is_zero_gpu():         # this process must not ask; those that Spaces lend are of 2022 and newer
        return "bfloat16", "float16", "float32"
    if device.startswith("cuda"):
        return ("bfloat16", "float16", "float32") if torch.cuda.is_bf16_supported(including_emulation=False) else ("float16", "float32")
    if device.startswith("mps"):
        return "float16", "float32"
    if device != "cpu":
        return ("float32",)
    units = torch.cpu.get_capabilities()
    has = {"bfloat16": any(units.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16")),
           "float16": any(units.get(name) for name in ("avx512_fp16", "amx_fp16", "fp16", "arm_fp16"))}
    return *(name for name, there in has.items() if there), "float32"


def dtype_of(options: LoadOptions, device: str, own: str) -> str:
    """The number format asked for, `own` where nothing is: of either `auto` is the fastest that the device computes. Raises SettingsError
    for one that it does not compute."""
    asked = options.dtype or own
    if options.dtype is None and own != "auto":
        return own
    computed = computed_dtypes(device)
    if asked == "auto":
        return computed[0]
    if asked not in computed:
        raise SettingsError(f"--dtype {asked}: {device} has no units for it; take {' or '.join(computed)}, or auto")
    return asked


def torch_dtype(name: str) -> torch.dtype:
    import torch

    return getattr(torch, name)


# -------------------------------------------------------------------------------------------------------------------- place

def check_offload(options: LoadOptions, device: str) -> None:
    """Raises SettingsError where there is nothing to offload from."""
    if options.offload != "none" and device == "cpu":
        raise SettingsError(f"--offload {options.offload} keeps weights in the machine's memory until an accelerator needs them, and this "
                            "editor runs on the CPU; leave it out")


def put(pipeline: Any, device: str, offload: str) -> Any:
    """The pipeline where it is to work."""
    import torch

    if offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif offload == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    elif offload == "group":
        pipeline.enable_group_offload(onload_device=torch.device(device), offload_device=torch.device("cpu"), offload_type="block_level",
                                      num_blocks_per_group=1, use_stream=device.startswith("cuda"))
    else:
        pipeline = pipeline.to(device)
    return pipeline


def check_place(options: LoadOptions, device: str) -> None:
    """What a device and this machine do not bear of these options, before anything is loaded. Raises SettingsError."""
    check_offload(options, device)
    if options.compile:
        check_compiler(device.split(":")[0], "--compile")


def compiled(pipeline: Any, options: LoadOptions) -> Any:
    """The pipeline, its denoiser compiled on its first run where that is asked for. What hooks do around it stays as it is."""
    import torch

    denoisers = [getattr(pipeline, name, None) for name in DENOISERS] if options.compile else []
    for denoiser in filter(None, denoisers):
        denoiser.forward = torch.compile(denoiser.forward)
    return pipeline


# -------------------------------------------------------------------------------------------------------------------- bits

def quantised(options: LoadOptions, index: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """The argument of `from_pretrained` that quantises the denoiser and the text encoders, if that is asked for. Raises SettingsError for
    want of the package."""
    if options.quantise is None:
        return {}
    import diffusers
    import transformers

    backend = options.quantise.partition("-")[0]
    _want(PACKAGES[backend], f"--quantise {options.quantise}", {"quanto": "optimum.quanto"}.get(backend, backend))
    settings: dict[str, Any]
    if backend == "torchao":
        kind, settings = "TorchAoConfig", {"quant_type": import_module("torchao.quantization").Int8WeightOnlyConfig()}
    elif backend == "quanto":
        kind, settings = "QuantoConfig", {}
    elif options.quantise.endswith("4bit"):
        kind, settings = "BitsAndBytesConfig", {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4",
                                                "bnb_4bit_compute_dtype": torch_dtype(dtype)}
    else:
        kind, settings = "BitsAndBytesConfig", {"load_in_8bit": True}
    mapping = {}
    for part, value in index.items():
        if QUANTISED_PART.fullmatch(part) and isinstance(value, list) and value[0]:
            library = diffusers if value[0] == "diffusers" else transformers
            own = {"weights_dtype" if library is diffusers else "weights": "int8"} if backend == "quanto" else {}
            mapping[part] = getattr(library, kind)(**settings, **own)
    return {"quantization_config": diffusers.PipelineQuantizationConfig(quant_mapping=mapping)}


def gguf_part(options: LoadOptions, index: Mapping[str, Any], folder: Path, dtype: str) -> dict[str, Any]:
    """The denoiser from a GGUF file, for `from_pretrained`, if one is named; its settings are those in the pipeline's folder. Raises
    SettingsError."""
    if options.gguf is None:
        return {}
    import diffusers

    shown = f"--gguf {options.gguf.name}"
    with open(options.gguf, "rb") as file:
        if file.read(4) != b"GGUF":
            raise SettingsError(f"{shown}: this is no GGUF file")
    _want("gguf", shown)
    part = next((part for part in DENOISERS if isinstance(index.get(part), list) and index[part][0] == "diffusers"), None)
    cls = getattr(diffusers, str(index[part][1]), None) if part else None
    if part is None or cls is None or not hasattr(cls, "from_single_file"):
        raise SettingsError(f"{shown}: diffusers reads no such file for a {index.get('_class_name')}")
    try:
        model = cls.from_single_file(str(options.gguf), config=str(folder), subfolder=part, torch_dtype=torch_dtype(dtype),
                                     quantization_config=diffusers.GGUFQuantizationConfig(compute_dtype=torch_dtype(dtype)))
    except (OSError, ArithmeticError, ValueError, RuntimeError, LookupError, TypeError, AttributeError) as error:
        raise SettingsError(f"{shown}: cannot be read as the {cls.__name__} of this model: {first_line(error)}") from error
    if missing := [name for name, value in model.named_parameters() if value.is_meta]:
        raise SettingsError(f"{shown}: is of another model: {missing[0]} is missing")
    return {part: model}


def _want(package: str, what: str, module: str | None = None) -> None:
    try:
        there = find_spec(module or package) is not None
    except ModuleNotFoundError:             # the package around it
        there = False
    if not there:
        raise SettingsError(f"{what} needs the package {package}, which is not installed: python -m pip install {package}")


# -------------------------------------------------------------------------------------------------------------------- LoRA

def add_loras(pipeline: Any, loras: tuple[Lora, ...]) -> None:
    """Put LoRAs on the models of a pipeline. Raises ModelError for one that cannot be read or is of another model."""
    if not loras:
        return
    kind = type(pipeline).__name__
    if not hasattr(pipeline, "load_lora_weights"):
        raise ModelError(f"--lora {loras[0].shown}: a {kind} takes no LoRA")
    own = pipeline.get_active_adapters()            # of an editor that was trained as adapters
    names = []
    for number, lora in enumerate(loras):
        file, name = lora_file(lora.source), f"lora{number}"
        layers = _layers_in(file)
        try:
            pipeline.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=name, use_safetensors=True,
                                       local_files_only=True)
        except (ValueError, RuntimeError, LookupError, TypeError, OSError, ImportError, AttributeError) as error:
            raise ModelError(f"--lora {lora.shown}: is no LoRA of a {kind}: {first_line(error)}") from error
        loaded = sum(name in getattr(module, "lora_A", ()) for part in pipeline.components.values() if hasattr(part, "named_modules")
                     for _, module in part.named_modules())
        if not loaded:
            raise ModelError(f"--lora {lora.shown}: is of another model: none of its {layers} layers fits a {kind}")
        if loaded < layers:
            log.warning("--lora %s: %d of its %d layers fit this model; the others are left out", lora.shown, loaded, layers)
        names.append(name)
    pipeline.set_adapters([*own, *names], [1.0] * len(own) + [lora.scale for lora in loras])


def lora_file(source: str) -> Path:
    """The file of a LoRA, fetched from the hub where it is not on this machine. Raises ModelError."""
    path = Path(source).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        return path / _only([file.name for file in path.iterdir()], path.name)
    if path.is_absolute() or not HUB_ID.match(source):
        raise ModelError(f"--lora {path.name}: there is no such file or folder, and it is no hub id")
    owner, name, *inside = source.split("/")
    return _from_hub(f"{owner}/{name}", "/".join(inside), source)


def _from_hub(repository: str, file: str, source: str) -> Path:
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download

    try:
        if not file:
            try:
                there = Path(snapshot_download(repository, allow_patterns=[], local_files_only=True))
                file = _only([path.name for path in there.iterdir()], source)
            except (OSError, ValueError, ModelError):
                file = _only([one.rfilename for one in HfApi().model_info(repository).siblings or ()], source)
        return Path(hf_hub_download(repository, file, etag_timeout=5))
    except ModelError:
        raise
    except Exception as error:      # what the hub's library and those below it raise has no common class
        raise ModelError(f"--lora {source}: is not on this machine, and cannot be had from the hub: {first_line(error)}") from error


def _only(names: list[str], where: str) -> str:
    found = sorted(name for name in names if name.endswith(".safetensors"))
    if LORA_FILE in found:
        return LORA_FILE
    if len(found) != 1:
        several = f"holds several .safetensors files; name one, such as {found[0]}" if found else "holds no .safetensors file"
        raise ModelError(f"--lora {where}: {several}")
    return found[0]


def _layers_in(file: Path) -> int:
    """How many layers a LoRA's file is for. Raises ModelError for a file that holds none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as opened:
            layers = sum(LORA_LAYER.search(name) is not None for name in opened.keys())      # noqa: SIM118 - not a dictionary
    except (SafetensorError, OSError) as error:
        raise ModelError(f"--lora {file.name}: is no safetensors file, or is damaged") from error
    if not layers:
        raise ModelError(f"--lora {file.name}: holds no layers of a LoRA")
    return layers


def _digest(path: Path) -> str:
    """Twelve hexadecimal digits of the SHA-256 of a file."""
    there = path.stat()
    return _digest_of(path, there.st_mtime_ns, there.st_size)


@lru_cache(maxsize=64)
def _digest_of(path: Path, modified: int, size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def loaded_with(options: LoadOptions, dtype: str) -> dict[str, str]:
    """How weights are loaded, for recipes: the number format, and what else is not the usual way."""
    said = {"dtype": dtype, "offload": options.offload.replace("none", ""), "quantised": options.quantise or "",
            "gguf": f"{options.gguf.name} {_digest(options.gguf)}" if options.gguf else "",
            "answer": options.answer.replace("forced", ""),
            "compiled": "by torch" if options.compile else "",
            "lora": ", ".join(f"{lora.shown} {_digest(lora_file(lora.source))}" for lora in options.loras)[:300]}
    return {name: value for name, value in said.items() if value}


def first_line(error: Exception) -> str:
    return " ".join(next(iter(str(error).strip().splitlines()), type(error).__name__).split())[:200]
