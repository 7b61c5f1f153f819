"""How weights are read and where they go: the usual arguments of `from_pretrained`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from mre.errors import ModelError
from mre.models.quiet import quiet_libraries
from mre.models.weight_files import AVAILABLE, COMPONENTS

Model = TypeVar("Model", bound=nn.Module)
DTypes = torch.dtype | str | None
OWN_FORMAT = ("language_model",)        # parts that keep the format they are stored in unless one is asked for by their names
PLACED_BY_ACCELERATE = ("auto", "balanced", "balanced_low_0", "sequential")


@dataclass(frozen=True)
class Loading:
    """The usual arguments, checked before anything is read. Raises ModelError that names the argument.

    dtype, torch_dtype      of the weights once read: a floating torch.dtype, its name, "auto" (as they are stored), or one for each part:
                            {"unet": torch.float16, "default": torch.float32}; none means float32
    variant                 of the weights' files, such as fp16; AVAILABLE for whatever there is
    use_safetensors         may be true or none: no pickle is read
    low_cpu_mem_usage       may be either: weights are never held twice
    device_map              one device; for a U-Net by itself also "auto", "balanced", "sequential" or a device for each module, which
    max_memory              accelerate heeds, and
    offload_folder          puts what is to be on "disk" in
    """

    dtype: DTypes | Mapping[str, DTypes] = None
    torch_dtype: DTypes | Mapping[str, DTypes] = None
    variant: str | None = None
    use_safetensors: bool | None = None
    low_cpu_mem_usage: bool | None = None
    device_map: Any = None
    max_memory: dict[int | str, int | str] | None = None
    offload_folder: str | Path | None = None

    def __post_init__(self) -> None:
        if self.dtype is not None and self.torch_dtype is not None and self.dtype != self.torch_dtype:
            raise ModelError(f"dtype and torch_dtype are one thing: {self.dtype} and {self.torch_dtype} cannot both hold")
        asked = self._asked
        for part, value in asked.items() if isinstance(asked, Mapping) else (("default", asked),):
            if part not in (*COMPONENTS, *OWN_FORMAT, "default"):
                raise ModelError(f"dtype: {part!r} is no part of an editor; it must be one of {', '.join((*COMPONENTS, *OWN_FORMAT))}, or "
                                 "default")
            _checked_dtype(value)
        if self.variant is not None and self.variant != AVAILABLE and not re.fullmatch(r"\w+", str(self.variant)):
            raise ModelError(f"variant must be the middle of a file's name, such as fp16; got {self.variant!r}")
        if self.use_safetensors not in (None, True):
            raise ModelError("use_safetensors must be true: pickles are not read, since they may hold code")
        if self.low_cpu_mem_usage not in (None, True, False):
            raise ModelError(f"low_cpu_mem_usage must be true or false, got {self.low_cpu_mem_usage!r}")
        if self.device_map is None and (self.max_memory is not None or self.offload_folder is not None):
            raise ModelError("max_memory and offload_folder need a device_map")
        if self._is_one_device:
            self.one_device()
        elif not isinstance(self.device_map, Mapping) and self.device_map not in (None, *PLACED_BY_ACCELERATE):
            raise ModelError(f"device_map must be a device, one for each module, or one of {', '.join(PLACED_BY_ACCELERATE)}; "
                             f"got {self.device_map!r}")

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The arguments."""
        return tuple(field.name for field in fields(cls))

    def of(self, variant: str | None) -> Loading:
        """The same for a part whose weights are in files of this variant."""
        return replace(self, variant=variant)

    def dtype_of(self, part: str, stored: Iterable[Tensor]) -> torch.dtype:
        """The number format of a part whose weights are stored as these."""
        asked = self._asked
        if isinstance(asked, Mapping):
            asked = asked.get(part, asked.get("default"))
        if asked == "auto":
            return next((tensor.dtype for tensor in stored if tensor.is_floating_point()), torch.float32)
        return _checked_dtype(asked) or torch.float32

    def language_model_format(self) -> torch.dtype | None:
        """The number format asked for by name for a part that else keeps the one it is stored in; none where there was no such word."""
        asked = self._asked
        return _checked_dtype(asked["language_model"]) if isinstance(asked, Mapping) and "language_model" in asked else None

    def cast(self, model: Model, part: str) -> Model:
        """The model in the number format asked for, ready for use."""
        with quiet_libraries():
            return model.to(self.dtype_of(part, model.state_dict().values())).eval()

    def one_device(self) -> torch.device | None:
        """The device that everything goes to; none if none was named. Raises ModelError where there are several, or none such here."""
        if self.device_map is None:
            return None
        if not self._is_one_device:
            raise ModelError(f"device_map of a pipeline must be one device, such as cuda, got {self.device_map!r}; parts come and go by "
                             "enable_model_cpu_offload, enable_sequential_cpu_offload or enable_group_offload")
        asked = self.device_map[""] if isinstance(self.device_map, Mapping) else self.device_map
        try:
            device = torch.device(asked)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError, TypeError) as error:
            raise ModelError(f"device_map: {asked!r} is no device of this machine: {str(error).splitlines()[0]}") from error
        return device

    def placed(self, unet: Model) -> Model:
        """The U-Net where the device map wants it."""
        if self.device_map is None:
            return unet
        if self._is_one_device:
            return unet.to(self.one_device())
        from accelerate import dispatch_model, infer_auto_device_map
        from accelerate.utils import get_balanced_memory, offload_state_dict

        places = self.device_map
        if not isinstance(places, Mapping):
            whole, memory = cast(Any, unet)._no_split_modules, self.max_memory
            if places != "sequential":
                memory = get_balanced_memory(unet, memory, whole, low_zero=places == "balanced_low_0")
            places = infer_auto_device_map(unet, memory, whole)
        on_disk = {name: value for name, value in unet.state_dict().items() if _place(name, places) == "disk"}
        if on_disk and self.offload_folder is None:
            raise ModelError("device_map puts a part of the model on disk, which needs an offload_folder")
        try:
            if on_disk and self.offload_folder is not None:     # accelerate alone takes what it finds there, another model's weights too
                offload_state_dict(self.offload_folder, on_disk)
            return cast(Model, dispatch_model(unet, dict(places), offload_dir=self.offload_folder, force_hooks=True))
        except (ValueError, OSError) as error:
            raise ModelError(f"device_map: {' '.join(str(error).split())}") from error

    @property
    def _asked(self) -> DTypes | Mapping[str, DTypes]:
        return self.dtype if self.torch_dtype is None else self.torch_dtype

    @property
    def _is_one_device(self) -> bool:
        asked = self.device_map
        if isinstance(asked, Mapping):
            return asked.keys() == {""} and asked[""] != "disk"
        return isinstance(asked, (torch.device, int)) or (isinstance(asked, str) and asked not in PLACED_BY_ACCELERATE)


def _place(name: str, places: Mapping[str, Any]) -> Any:
    """Where a tensor of this name goes: where the nearest of the modules around it does."""
    around = [module for module in places if module in ("", name) or name.startswith(f"{module}.")]
    return places[max(around, key=len)] if around else None


def _checked_dtype(asked: DTypes) -> torch.dtype | None:
    if asked is None or asked == "auto":
        return None
    dtype = getattr(torch, asked.removeprefix("torch."), None) if isinstance(asked, str) else asked
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ModelError(f"dtype must be a floating torch.dtype, its name, or auto; got {asked!r}")
    return dtype
