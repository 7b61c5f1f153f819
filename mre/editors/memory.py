"""Whether weights fit into memory, told from the headers of their files before any is read, and what would fit where they do not."""

from __future__ import annotations

import json
import re
import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mre.editors.load_options import LoadOptions
from mre.errors import ModelError
from mre.machine import free_memory

WEIGHTS = re.compile(r"(model|diffusion_pytorch_model)(-\d+-of-\d+)?\.safetensors")
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
QUANTISED_BYTES = {"bitsandbytes-4bit": 0.56, "bitsandbytes-8bit": 1.0, "torchao-int8": 1.0, "quanto-int8": 1.0}       # with their scales
FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}      # bytes as stored
SMALLER = "a smaller model, such as FLUX.2 klein 4B"
MOST_HEADER = 100_000_000           # bytes, as safetensors allows


@dataclass(frozen=True)
class Part:
    """One model of a pipeline: how many numbers there are in its files, of which others are kept as they are stored."""

    numbers: int
    kept_bytes: int
    stored_bytes: int | None = None     # of the numbers, where they keep the format that they are stored in
    quantisable: bool = True            # whether `--quantise` is for it

    def size(self, dtype: str, quantise: str | None) -> int:
        """Bytes in memory."""
        if quantise and self.quantisable:
            return round(self.numbers * QUANTISED_BYTES[quantise]) + self.kept_bytes
        return (self.numbers * BYTES[dtype] if self.stored_bytes is None else self.stored_bytes) + self.kept_bytes


def parts_of(folder: Path) -> dict[str, Part]:
    """The models in a pipeline's folder, by name. Files that cannot be read are left to whoever loads them."""
    return parts_from((file.parent.name, stored_in(file)) for file in sorted(folder.glob("*/*.safetensors"))
                      if WEIGHTS.fullmatch(file.name))


def parts_from(files: Iterable[tuple[str, Counter[str]]]) -> dict[str, Part]:
    """The models of a pipeline from what is stored in their files (see `stored_in`), each with the name of its model."""
    found: dict[str, Part] = {}
    for name, stored in files:
        before = found.get(name, Part(0, 0))
        found[name] = Part(before.numbers + sum(stored[kind] for kind in FLOATS), before.kept_bytes + stored["kept"])
    return found


def stored_in(file: Path) -> Counter[str]:
    """Of a safetensors file how many numbers of each floating format there are, and the bytes of all else as `kept`."""
    counted: Counter[str] = Counter()
    try:
        with open(file, "rb") as handle:
            length, = struct.unpack("<Q", handle.read(8))
            header = json.loads(handle.read(min(length, MOST_HEADER)))
        for name, tensor in header.items():
            if name != "__metadata__":
                start, end = tensor["data_offsets"]
                kind = tensor["dtype"]
                counted[kind if kind in FLOATS else "kept"] += (end - start) // FLOATS.get(kind, 1)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        return Counter(kept=file.stat().st_size if file.exists() else 0)
    return counted


def check_memory(parts: dict[str, Part], device: str, dtype: str, options: LoadOptions, name: str, computed: tuple[str, ...],
                 quantised: tuple[str, ...] = ("torchao-int8", "bitsandbytes-4bit")) -> None:
    """Raises ModelError, before anything is read, for weights that are larger than the memory that is free, with what would fit.

    computed:  the number formats that the device computes, the fastest first
    quantised: of QUANTISED_BYTES those that may be proposed
    """
    if options.gguf:
        parts = parts | {"transformer": Part(0, options.gguf.stat().st_size)}
    if not parts:
        return
    free = {"cpu": free_memory("cpu"), device: free_memory(device)}

    def fits(dtype: str, offload: str, quantise: str | None) -> bool:
        taken = needed(parts, device, dtype, offload, quantise)
        return all((have := free[place]) is None or size <= have for place, size in taken.items())
    if fits(dtype, options.offload, options.quantise):
        return
    taken = needed(parts, device, dtype, options.offload, options.quantise)
    place = next(place for place, size in taken.items() if (have := free[place]) is not None and size > have)
    said = [f"--dtype {other}" for other in computed if BYTES[other] < BYTES[dtype] and fits(other, options.offload, options.quantise)]
    if device != "cpu":
        said += [f"--offload {way}" for way in ("model", "group", "sequential") if way != options.offload
                 and fits(dtype, way, options.quantise)]
    if not options.gguf and any(part.quantisable for part in parts.values()):
        said += [f"--quantise {way}" for way in quantised if options.quantise is None and fits(dtype, options.offload, way)]
    billions = sum(part.numbers for part in parts.values()) / 1e9
    raise ModelError(f"the model {name} has {billions:.3g} billion weights, {taken[place] / 1e9:.3g} GB as {options.quantise or dtype}, "
                     f"and {(free[place] or 0) / 1e9:.3g} GB of memory are free on {place}; "
                     + (f"what would fit: {' or '.join(said)}" if said else f"nothing makes it fit here: take {SMALLER}"))


def needed(parts: dict[str, Part], device: str, dtype: str, offload: str, quantise: str | None) -> dict[str, int]:
    """Bytes that the weights take at each place. Offloaded, all lie in the machine's memory, and in the device's what is used at once: the
    largest model, or about a twentieth of it where its layers or blocks come and go."""
    sizes = [part.size(dtype, quantise) for part in parts.values()]
    if offload == "none" or device == "cpu":
        return {device: sum(sizes)}
    return {"cpu": sum(sizes), device: max(sizes) if offload == "model" else max(sizes) // 20}
