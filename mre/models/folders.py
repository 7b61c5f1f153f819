"""Reading model folders: three layouts, no pickle, and nothing missing or left over without saying so.

A folder's index names classes; here they are looked up among the few that an editor can be made of, never imported by name.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import diffusers
import torch
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from mre import families
from mre.errors import ModelError
from mre.models import released
from mre.models.condition import REWARD_SETTINGS, VARIANTS, is_conditioned
from mre.models.hub import HUB_SETTINGS, find_folder
from mre.models.loading import Loading
from mre.models.quiet import quiet_libraries
from mre.models.weight_files import (
    INDEX,
    WEIGHTS,
    file_names,
    model_variant,
    part_variants,
    read_object,
    read_tensors,
    tensor_names,
)

if TYPE_CHECKING:
    from mre.models.unet import RewardUNet2DConditionModel

SWITCHES = ("use_score", "use_text", "use_attention", "use_addition", "perspectives", "variant")
EDITING_PIPELINES = ("RewardEditPipeline", "StableDiffusionInstructPix2PixPipeline")
PLAIN_PIPELINES = ("StableDiffusionPipeline",)
DEFAULTS = ("default_steps", "default_guidance_scale", "default_image_guidance_scale", "native_size", "size_rule")
OLD_ATTENTION = re.compile(r"attentions\.\d+\.(query|key|value|proj_attn)\.")        # of autoencoders saved before 2023
OLD_ATTENTION_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
SHOWN = 3           # names listed of many


def reads_rewards(folder: Path) -> bool:
    """Whether the U-Net in a folder reads rewards: by its config, or by its tensors' names where the config is silent. Loads no weights."""
    config = read_object(folder / "config.json")
    if "variant" in config:
        return is_conditioned(config)
    return released.is_released(tensor_names(folder, WEIGHTS["unet"]))


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


def load_unet(cls: type, name: str | Path, *, subfolder: str | None = None, **given: Any) -> RewardUNet2DConditionModel:
    """A reward U-Net from a folder or hub id: `from_pretrained` with its usual arguments (those of `find_folder` and `Loading`), and
    settings of the reward condition as in `read_unet`. `variant` is that of the weights' files, such as fp16; "released" and "paper" are
    those of the condition.

    Raises TypeError for an argument that does not exist, before anything is read, else as `find_folder` and `read_unet`.
    """
    condition = {"variant": given.pop("variant")} if given.get("variant") in VARIANTS else {}
    _refuse_unknown(given, (*HUB_SETTINGS, *Loading.names(), *REWARD_SETTINGS, "widen"), cls)
    hub, loading, rest = _split(given)
    folder = find_folder(name, subfolder=subfolder, variant=loading.variant, parts=("unet",), **hub)
    if (folder / INDEX).is_file():
        raise ModelError(f"{name} is a whole editor; its U-Net alone is read with subfolder=\"unet\"")
    unet = read_unet(cls, folder, loading, **condition, **rest)
    return loading.placed(unet)


def read_unet(cls: type, folder: Path, loading: Loading | None = None, *, widen: bool = False,
              **condition: Any) -> RewardUNet2DConditionModel:
    """A reward U-Net from a folder in our layout, the released one, or that of a plain U-Net.

    condition: settings of the reward condition to give to a U-Net that has none: fine-tuning starts so. None given, it stays plain. With
               all of it switched off, a U-Net that has one loses it: a blind baseline starts so
    widen:     give a Stable Diffusion U-Net the input channels of an editor, the new ones zero: stage 1 starts so

    Raises ModelError for missing, unexpected or misshapen tensors, and for a condition other than the one that the U-Net has.
    """
    loading = loading or Loading()
    config = read_object(folder / "config.json")
    kind = model_variant(file_names(folder), loading.variant, str(folder))
    return make_unet(cls, config, read_tensors(folder, WEIGHTS["unet"], kind), folder, loading, widen=widen, **condition)


def make_unet(cls: type, config: dict[str, Any], tensors: dict[str, Tensor], folder: Path, loading: Loading, *, widen: bool = False,
              shown: Callable[[str], str] = str, **condition: Any) -> RewardUNet2DConditionModel:
    """The U-Net of these settings and tensors, which come from `folder`. The rest, and what it raises, as in `read_unet`."""
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
    if is_conditioned(config) and condition and not is_conditioned({**config, **condition}):
        tensors = {name: value for name, value in tensors.items() if not name.startswith(cls.reward_layers)}
        config |= dict.fromkeys(SWITCHES[:4], False)
    fresh = not is_conditioned(config) and not any(name.startswith(cls.reward_layers) for name in tensors)
    if fresh:
        text_dim = config.get("cross_attention_dim")
        config |= ({"reward_text_dim": text_dim} if isinstance(text_dim, int) else {}) | {"reward_term_pooling": "kinds"} | condition
    else:
        _check_same(config, condition, folder)
    if widen:
        _widen(config, tensors)
    with quiet_libraries(), torch.device("meta"):
        try:
            unet = cls.from_config(config)
        except (TypeError, ValueError, KeyError) as error:
            raise ModelError(f"{folder / 'config.json'}: {error}") from error
    fill(unet, tensors, folder, but=cls.reward_layers if fresh else (), shown=shown)
    if fresh:
        unet.reset_reward_layers()
    return loading.cast(unet, "unet")


def load_pipeline(cls: type, name: str | Path, *, subfolder: str | None = None, widen: bool = False,
                  condition: Mapping[str, Any] | None = None, **given: Any) -> Any:
    """An editing pipeline from a folder or hub id: `from_pretrained` with its usual arguments (those of `find_folder` and `Loading`).
    Parts and settings that are given (unet=, scheduler=, default_steps=, ...) replace the folder's.

    A folder in the released layout, which diffusers cannot read since its index names a private module, is read like our own. Weights in
    half precision become float32 unless `dtype` says otherwise. A safety checker is used only when given. `condition` and `widen` as in
    `read_unet`. Raises TypeError for an argument that does not exist, before anything is read, and ModelError that names the file or tensor
    at fault.
    """
    own = tuple(inspect.signature(cls.__init__).parameters)[1:]
    _refuse_unknown(given, (*HUB_SETTINGS, *Loading.names(), *own), cls)
    hub, loading, parts = _split(given)
    device = loading.one_device()
    needed = [part for part in WEIGHTS if part not in parts]
    folder = find_folder(name, subfolder=subfolder, variant=loading.variant, parts=needed, **hub)
    index = read_object(folder / INDEX)
    cls = families.pipeline_class(index.get("_class_name")) or cls
    known = (*EDITING_PIPELINES, *families.pipeline_names(), *(PLAIN_PIPELINES if widen else ()))
    if index.get("_class_name") not in known:
        raise ModelError(f"{folder / INDEX}: {index.get('_class_name')} is not an editor; it must be one of {', '.join(known)}")
    kinds = part_variants({part: file_names(folder / part) for part in needed}, loading.variant, str(folder))
    for part, read in (("vae", _read_vae), ("text_encoder", _read_text_encoder), ("tokenizer", _read_tokenizer),
                       ("scheduler", _read_scheduler)):
        if part not in parts:
            parts[part] = read(folder / part, _named_class(index, part, folder), loading.of(kinds.get(part)))
    if "unet" not in parts:
        latents = parts["vae"].config.latent_channels
        unet = parts["unet"] = read_unet(cls.unet_class, folder / "unet", loading.of(kinds["unet"]), widen=widen,
                                         **(condition or {}))
        if unet.config.in_channels != 2 * latents:
            raise ModelError(f"{folder / 'unet'}: the U-Net of an editor must have {2 * latents} input channels, "
                             f"this one has {unet.config.in_channels}")
    defaults = {key: index[key] for key in (*DEFAULTS, *cls.more_settings) if key in index}
    with quiet_libraries():
        pipeline = cls(**{**defaults, **parts})
        pipeline.keep_place(folder, loading)
        if condition is None:                   # of an editor that is used at once
            pipeline.load_readers()
        return pipeline if device is None else pipeline.to(device)


def _split(given: Mapping[str, Any]) -> tuple[dict[str, Any], Loading, dict[str, Any]]:
    """The hub's settings, those of loading, and the rest."""
    hub = {name: value for name, value in given.items() if name in HUB_SETTINGS}
    loading = {name: value for name, value in given.items() if name in Loading.names()}
    return hub, Loading(**loading), {name: value for name, value in given.items() if name not in hub | loading}


def _refuse_unknown(given: Collection[str], known: Collection[str], cls: type) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise TypeError(f"{cls.__name__}.from_pretrained has no argument {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


# ------------------------------------------------------------------------------------------------------------------ parts

def _named_class(index: Mapping[str, Any], part: str, folder: Path) -> str:
    entry = index.get(part)
    if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[1], str):
        raise ModelError(f"{folder / INDEX} names no class for {part}")
    return entry[1]


def _read_vae(folder: Path, kind: str, loading: Loading) -> nn.Module:
    classes = {"AutoencoderKL": diffusers.AutoencoderKL, **families.part_classes("vae")}
    if kind not in classes:
        raise ModelError(f"{folder}: an editor's autoencoder must be one of {', '.join(classes)}, not {kind}")
    config, tensors = read_object(folder / "config.json"), read_tensors(folder, WEIGHTS["vae"], loading.variant)
    for old, new in OLD_ATTENTION_NAMES.items():
        tensors = {OLD_ATTENTION.sub(lambda match, old=old, new=new: match[0].replace(old, new), name): value
                   for name, value in tensors.items()}
    with quiet_libraries(), torch.device("meta"):
        try:
            vae = classes[kind].from_config(config)
        except (TypeError, ValueError) as error:
            raise ModelError(f"{folder / 'config.json'}: {error}") from error
    fill(vae, tensors, folder)
    return loading.cast(vae, "vae")


def _read_text_encoder(folder: Path, kind: str, loading: Loading) -> nn.Module:
    if kind != "CLIPTextModel":
        raise ModelError(f"{folder}: an editor's text encoder must be a CLIPTextModel, not {kind}")
    read_object(folder / "config.json")
    tensors = read_tensors(folder, WEIGHTS["text_encoder"], loading.variant)     # for its messages: the library's are about other things
    dtype = loading.dtype_of("text_encoder", tensors.values())
    with quiet_libraries():
        try:
            loaded = CLIPTextModel.from_pretrained(folder, dtype=dtype, local_files_only=True, use_safetensors=True,
                                                   variant=loading.variant, output_loading_info=True)
        except (OSError, ValueError, RuntimeError, TypeError) as error:
            raise ModelError(f"{folder} cannot be read: {str(error).splitlines()[0]}") from error
    encoder, report = cast(tuple[CLIPTextModel, dict[str, Any]], loaded)        # with `output_loading_info`, which its annotation forgets
    report_names(report["missing_keys"], report["unexpected_keys"], folder)
    return encoder.eval()


def _read_tokenizer(folder: Path, kind: str, loading: Loading) -> CLIPTokenizer:
    if kind not in ("CLIPTokenizer", "CLIPTokenizerFast"):
        raise ModelError(f"{folder}: an editor's tokenizer must be a CLIPTokenizer, not {kind}")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise ModelError(f"{folder / 'tokenizer.json'} is missing")
    with quiet_libraries():
        try:
            return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:               # the tokenizer's own library raises bare Exceptions for a damaged file
            raise ModelError(f"{folder} cannot be read: {str(error).splitlines()[0]}") from error


def _read_scheduler(folder: Path, kind: str, loading: Loading) -> diffusers.SchedulerMixin:
    found = getattr(diffusers, kind, None) if kind.endswith("Scheduler") else None
    if not (isinstance(found, type) and issubclass(found, diffusers.SchedulerMixin) and issubclass(found, diffusers.ConfigMixin)):
        raise ModelError(f"{folder}: {kind} is not a scheduler")
    config = read_object(folder / "scheduler_config.json")
    with quiet_libraries():
        try:
            return cast(diffusers.SchedulerMixin, found.from_config(config))
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ModelError(f"{folder / 'scheduler_config.json'}: {error}") from error


def _unet_class(cls: type, config: Mapping[str, Any], folder: Path) -> type:
    name = config.get("_class_name")
    if name == "UNet2DConditionModel":
        return cls
    own = {kind.__name__: kind for kind in cls.__mro__ if hasattr(kind, "reward_layers")}
    found = (own | families.part_classes("unet")).get(str(name))
    if found is None:
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
