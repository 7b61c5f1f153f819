"""Reading model folders: three layouts, no pickle, and nothing missing or left over without saying so.

A folder's index names classes; here they are looked up among the few that an editor can be made of, never imported by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

import mre
from mre.errors import ModelError
from mre.models import released
from mre.models.patch_autoencoder import PatchAutoencoder
from mre.models.quiet import quiet_libraries
from mre.models.unet import REWARD_SETTINGS, RewardUNet2DConditionModel

INDEX = "model_index.json"
COMPONENTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
SWITCHES = ("use_score", "use_text", "use_attention", "use_addition", "perspectives", "variant")
REWARD_LAYERS = ("reward_condition.", "reward_encoder.", "reward_terms.", "reward_of_the_whole.")
EDITING_PIPELINES = ("RewardEditPipeline", "StableDiffusionInstructPix2PixPipeline")
PLAIN_PIPELINES = ("StableDiffusionPipeline",)
DEFAULTS = ("default_steps", "default_guidance_scale", "default_image_guidance_scale", "native_size", "size_rule")
OLD_ATTENTION = re.compile(r"attentions\.\d+\.(query|key|value|proj_attn)\.")        # of autoencoders saved before 2023
OLD_ATTENTION_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
SHOWN = 3           # names listed of many


# ---------------------------------------------------------------------------------------------------------------- finding

def find_folder(name: str | Path, *, subfolder: str | None = None, revision: str | None = None, token: str | bool | None = None,
                cache_dir: str | Path | None = None, local_files_only: bool = False) -> Path:
    """The folder behind a path or a hub id. Only a hub id makes it look beyond this machine, and only for what is not cached.

    Raises ModelError for what is neither a folder nor a hub id, or neither cached nor reachable.
    """
    folder = Path(name).expanduser()
    if not str(name) or not folder.is_dir():
        if not HUB_ID.fullmatch(str(name)):
            raise ModelError(f"there is no model folder {name}")
        folder = _from_hub(str(name), subfolder, {"revision": revision, "token": token, "cache_dir": cache_dir}, local_files_only)
    folder = folder / subfolder if subfolder else folder
    if not folder.is_dir():
        raise ModelError(f"{name} has no folder {subfolder}")
    return folder


def _from_hub(name: str, subfolder: str | None, settings: dict[str, Any], local_only: bool) -> Path:
    prefix = f"{subfolder}/" if subfolder else ""
    parts = [f"{prefix}{part}/" for part in COMPONENTS] + [prefix]
    wanted = [part + pattern for part in parts for pattern in ("*.json", "*.txt")]
    wanted += [f"{prefix}{part}/{stem}{end}" for part, stem in WEIGHTS.items() for end in (".safetensors", "-?????-of-?????.safetensors")]
    wanted += [f"{prefix}{pattern}" for pattern in ("config.json", "diffusion_pytorch_model.safetensors")]        # a U-Net by itself
    try:
        folder = Path(snapshot_download(name, allow_patterns=wanted, local_files_only=True, **settings))
        if local_only or _absent_file(folder / prefix) is None:
            return folder
    except (OSError, ValueError):
        if local_only:
            raise ModelError(f"{name} is not on this machine, and nothing is fetched here") from None
    try:
        folder = Path(snapshot_download(name, allow_patterns=wanted, **settings))       # when offline: whatever there is of it
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{name} is neither on this machine nor reachable on the hub ({type(error).__name__})") from error
    if absent := _absent_file(folder / prefix):
        raise ModelError(f"{name}: {absent.relative_to(folder)} is neither on this machine nor on the hub, or the hub is not reachable")
    return folder


def _absent_file(folder: Path) -> Path | None:
    """A file of weights that a cached snapshot should have and has not: a cut download leaves some out."""
    parts = [(folder / part, stem) for part, stem in WEIGHTS.items()] if (folder / INDEX).is_file() else [(folder, WEIGHTS["unet"])]
    files = (file for part, stem in parts for file in (part / "config.json", *weight_files(part, stem)))
    return next((file for file in files if not file.is_file()), None)


# ---------------------------------------------------------------------------------------------------------------- reading

def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises ModelError that names the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path} is missing") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: it is damaged or no JSON") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} cannot be read: it must hold an object")
    return value


def weight_files(folder: Path, stem: str) -> list[Path]:
    """The safetensors file that a model's weights should be in, or the several that an index names."""
    whole, index = folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
    if whole.is_file() or not index.is_file():
        return [whole]
    return sorted({folder / Path(str(name)).name for name in read_json(index).get("weight_map", {}).values()})


def read_tensors(folder: Path, stem: str) -> dict[str, Tensor]:
    """All tensors of a model's weights. Raises ModelError that names the file."""
    tensors: dict[str, Tensor] = {}
    for file in weight_files(folder, stem):
        if not file.is_file():
            pickled = next(iter([*folder.glob("*.bin"), *folder.glob("*.ckpt")]), None)
            raise ModelError(f"{file} is missing" + (f"; {pickled.name} is not read, since it may hold code" if pickled else ""))
        try:
            tensors |= {name: value.clone() for name, value in load_file(file).items()}      # copies: a file may change
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{file} is damaged: {error}") from error
    return tensors


def reads_rewards(folder: Path) -> bool:
    """Whether the U-Net in a folder reads rewards: by its config, or by its tensors' names where the config is silent. Loads no weights."""
    config = read_json(folder / "config.json")
    if "variant" in config:
        return RewardUNet2DConditionModel.is_conditioned(config)
    try:
        files = [safe_open(file, "pt") for file in folder.glob(f"{WEIGHTS['unet']}*.safetensors")]
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{folder}: its weights are damaged: {error}") from error
    return released.is_released(name for file in files for name in file.keys())          # noqa: SIM118 - not a dictionary


def fill(model: nn.Module, tensors: dict[str, Tensor], where: Path, *, but: tuple[str, ...] = (),
         shown: Callable[[str], str] = str) -> None:
    """Give a model its tensors, all of them and no others, except for those whose names begin with one of `but`.

    Raises ModelError that names, as `shown`, what is missing, left over, or of another shape.
    """
    expected = {name: value for name, value in model.state_dict().items() if not any(map(name.startswith, but))}
    report_names(map(shown, expected.keys() - tensors.keys()), map(shown, tensors.keys() - expected.keys()), where)
    for name, value in expected.items():
        if value.shape != tensors[name].shape:
            raise ModelError(f"{where}: tensor {shown(name)} must be {tuple(value.shape)}, it is {tuple(tensors[name].shape)}")
    model.load_state_dict(tensors, strict=False, assign=True)


def report_names(missing: Iterable[str], unexpected: Iterable[str], where: Path) -> None:
    """Raise ModelError that names missing or unexpected tensors, if there are any."""
    for kind, names in (("missing", sorted(missing)), ("unexpected", sorted(unexpected))):
        if names:
            rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            raise ModelError(f"{where}: {kind} tensor{'s' if len(names) > 1 else ''}: {', '.join(names[:SHOWN])}{rest}")


def read_unet(cls: type, folder: Path, *, dtype: torch.dtype | None = None, torch_dtype: torch.dtype | None = None, widen: bool = False,
              **condition: Any) -> RewardUNet2DConditionModel:
    """A reward U-Net from a folder in our layout, the released one, or that of a plain U-Net. float32 unless told otherwise.

    condition: settings of the reward condition to give to a U-Net that has none: fine-tuning starts so. None given, it stays plain.
    widen:     give a Stable Diffusion U-Net the input channels of an editor, the new ones zero: stage 1 starts so

    Raises ModelError for missing, unexpected or misshapen tensors, and for a condition other than the one that the U-Net has.
    """
    if unknown := sorted(condition.keys() - set(REWARD_SETTINGS)):
        raise TypeError(f"{unknown[0]} is not a setting of the reward condition")
    config, tensors, shown = read_json(folder / "config.json"), read_tensors(folder, WEIGHTS["unet"]), str
    cls = _unet_class(cls, config, folder)
    if released.is_released(tensors):
        try:
            config |= released.implied_settings(tensors)
        except ModelError as error:
            raise ModelError(f"{folder}: {error}") from None
        tensors, shown = {released.our_name(name): value for name, value in tensors.items()}, released.released_name
    if config.get("use_score") is None and config.get("variant") is None:       # the stock class's: it has no reward condition
        config |= dict.fromkeys(SWITCHES[:4], False)
    elif "reward_term_pooling" not in config:                                   # saved before there was a choice
        config["reward_term_pooling"] = "tokens"
    fresh = not cls.is_conditioned(config) and not any(name.startswith(REWARD_LAYERS) for name in tensors)
    if fresh:
        text_dim = config.get("cross_attention_dim")
        config |= ({"reward_text_dim": text_dim} if isinstance(text_dim, int) else {}) | condition
    else:
        _check_same(config, condition, folder)
    if widen:
        _widen(config, tensors)
    with quiet_libraries(), torch.device("meta"):
        try:
            unet = cls.from_config(config)
        except (TypeError, ValueError, KeyError) as error:
            raise ModelError(f"{folder / 'config.json'}: {error}") from error
    fill(unet, tensors, folder, but=REWARD_LAYERS if fresh else (), shown=shown)
    if fresh:
        unet.reset_reward_layers()
    return _cast(unet, _dtype(dtype, torch_dtype))


def read_pipeline(cls: type, name: str | Path, *, subfolder: str | None = None, revision: str | None = None,
                  token: str | bool | None = None, cache_dir: str | Path | None = None, local_files_only: bool = False,
                  dtype: torch.dtype | None = None, torch_dtype: torch.dtype | None = None, widen: bool = False,
                  condition: Mapping[str, Any] | None = None, **given: Any):
    """An editing pipeline from a folder or hub id, part by part. `given` parts (unet=, scheduler=, ...) replace the folder's.

    A folder in the released layout, which diffusers cannot read since its index names a private module, is read like our own. Weights in
    half precision become float32 unless `dtype` says otherwise. A safety checker is used only when given. `condition` and `widen` as in
    `read_unet`. Raises ModelError that names the file or tensor at fault.
    """
    folder = find_folder(name, subfolder=subfolder, revision=revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only)
    index, dtype = read_json(folder / INDEX), _dtype(dtype, torch_dtype)
    known = (*EDITING_PIPELINES, *(PLAIN_PIPELINES if widen else ()))
    if index.get("_class_name") not in known:
        raise ModelError(f"{folder / INDEX}: {index.get('_class_name')} is not an editor; it must be one of {', '.join(known)}")
    parts = dict(given)
    for part, read in (("vae", _read_vae), ("text_encoder", _read_text_encoder), ("tokenizer", _read_tokenizer),
                       ("scheduler", _read_scheduler)):
        if part not in parts:
            parts[part] = read(folder / part, _named_class(index, part, folder), dtype)
    if "unet" not in parts:
        latents = parts["vae"].config.latent_channels
        unet = parts["unet"] = read_unet(RewardUNet2DConditionModel, folder / "unet", dtype=dtype, widen=widen, **(condition or {}))
        if unet.config.in_channels != 2 * latents:
            raise ModelError(f"{folder / 'unet'}: the U-Net of an editor must have {2 * latents} input channels, "
                             f"this one has {unet.config.in_channels}")
    defaults = {key: index[key] for key in DEFAULTS if key in index}
    with quiet_libraries():
        return cls(**{**defaults, **parts})


# ------------------------------------------------------------------------------------------------------------------ parts

def _named_class(index: Mapping[str, Any], part: str, folder: Path) -> str:
    entry = index.get(part)
    if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[1], str):
        raise ModelError(f"{folder / INDEX} names no class for {part}")
    return entry[1]


def _read_vae(folder: Path, kind: str, dtype: torch.dtype) -> nn.Module:
    classes = {"AutoencoderKL": diffusers.AutoencoderKL, "PatchAutoencoder": PatchAutoencoder}
    if kind not in classes:
        raise ModelError(f"{folder}: an editor's autoencoder must be one of {', '.join(classes)}, not {kind}")
    config, tensors = read_json(folder / "config.json"), read_tensors(folder, WEIGHTS["vae"])
    for old, new in OLD_ATTENTION_NAMES.items():
        tensors = {OLD_ATTENTION.sub(lambda match, old=old, new=new: match[0].replace(old, new), name): value
                   for name, value in tensors.items()}
    with quiet_libraries(), torch.device("meta"):
        try:
            vae = classes[kind].from_config(config)
        except (TypeError, ValueError) as error:
            raise ModelError(f"{folder / 'config.json'}: {error}") from error
    fill(vae, tensors, folder)
    return _cast(vae, dtype)


def _read_text_encoder(folder: Path, kind: str, dtype: torch.dtype) -> nn.Module:
    if kind != "CLIPTextModel":
        raise ModelError(f"{folder}: an editor's text encoder must be a CLIPTextModel, not {kind}")
    read_json(folder / "config.json")
    read_tensors(folder, WEIGHTS["text_encoder"])        # for its messages: the library's are about other things
    with quiet_libraries():
        try:
            encoder, report = CLIPTextModel.from_pretrained(folder, dtype=dtype, local_files_only=True, use_safetensors=True,
                                                            output_loading_info=True)
        except (OSError, ValueError, RuntimeError, TypeError) as error:
            raise ModelError(f"{folder} cannot be read: {str(error).splitlines()[0]}") from error
    report_names(report["missing_keys"], report["unexpected_keys"], folder)
    return encoder.eval()


def _read_tokenizer(folder: Path, kind: str, dtype: torch.dtype) -> CLIPTokenizer:
    if kind not in ("CLIPTokenizer", "CLIPTokenizerFast"):
        raise ModelError(f"{folder}: an editor's tokenizer must be a CLIPTokenizer, not {kind}")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise ModelError(f"{folder / 'tokenizer.json'} is missing")
    with quiet_libraries():
        try:
            return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:               # the tokenizer's own library raises bare Exceptions for a damaged file
            raise ModelError(f"{folder} cannot be read: {str(error).splitlines()[0]}") from error


def _read_scheduler(folder: Path, kind: str, dtype: torch.dtype) -> diffusers.SchedulerMixin:
    found = getattr(diffusers, kind, None) if kind.endswith("Scheduler") else None
    if not (isinstance(found, type) and issubclass(found, diffusers.SchedulerMixin)):
        raise ModelError(f"{folder}: {kind} is not a scheduler")
    config = read_json(folder / "scheduler_config.json")
    with quiet_libraries():
        try:
            return found.from_config(config)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ModelError(f"{folder / 'scheduler_config.json'}: {error}") from error


def _unet_class(cls: type, config: Mapping[str, Any], folder: Path) -> type:
    name = config.get("_class_name")
    if name == "UNet2DConditionModel":
        return cls
    found = getattr(mre, name) if name in mre.__all__ else None
    if not (isinstance(found, type) and issubclass(found, RewardUNet2DConditionModel)):
        raise ModelError(f"{folder / 'config.json'}: {name} is not the U-Net of an editor")
    return found


def _check_same(config: Mapping[str, Any], condition: Mapping[str, Any], folder: Path) -> None:
    for name in SWITCHES:
        has, asked = (tuple(v) if isinstance(v, (list, tuple)) else v for v in (config.get(name), condition.get(name, config.get(name))))
        if has != asked:
            raise ModelError(f"{folder}: this U-Net was trained with {name} {has}; it cannot be given {asked}")


def _widen(config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """conv_in for twice the channels, if it is the one of a text-to-image model: as many more for the original, at first zero."""
    weight = tensors.get("conv_in.weight")
    if weight is not None and weight.shape[1] == config.get("out_channels"):
        tensors["conv_in.weight"] = torch.cat([weight, torch.zeros_like(weight)], dim=1)
        config["in_channels"] = 2 * weight.shape[1]


def _cast(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    with quiet_libraries():
        return model.to(dtype).eval()


def _dtype(*asked: torch.dtype | None) -> torch.dtype:
    return next((dtype for dtype in asked if dtype is not None), torch.float32)
