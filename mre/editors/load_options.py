"""How the weights of an editor on this machine are loaded: number format, place, LoRAs, bits. Importing this loads no torch."""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

from mre.errors import SettingsError

DTYPES = ("auto", "float32", "bfloat16", "float16")
OFFLOADS = ("none", "model", "sequential", "group")
ANSWERS = ("forced", "greedy")
QUANTISED = ("bitsandbytes-4bit", "bitsandbytes-8bit", "torchao-int8", "quanto-int8")
MAX_SCALE = 10.0


@dataclass(frozen=True)
class Lora:
    """A LoRA: a file, a folder with one file, a hub id, or a file of a hub's repository (OWNER/NAME/FILE)."""

    source: str
    scale: float = 1.0
    model: str | None = None                # that it is for; None: for all

    @classmethod
    def parse(cls, text: str) -> Lora:
        """From PATH or HUB_ID, with MODEL= before it and :SCALE behind it where these are said. Raises SettingsError."""
        model, equals, rest = text.partition("=")
        if equals and not Path(text).exists():
            return replace(cls.parse(rest), model=model)
        source, colon, last = text.strip().rpartition(":")
        if not colon or Path(text).exists() or not (re.fullmatch(r"[-+]?[\d.]\S*|nan|inf", last) or Path(source).exists()):
            source, last = text.strip(), "1"
        try:
            scale = float(last)
        except ValueError:
            scale = math.nan
        if not source:
            raise SettingsError("--lora needs a file, a folder or a hub id")
        if not abs(scale) <= MAX_SCALE:             # NaN fails this too
            raise SettingsError(f"--lora {Path(source).name}: the scale must be a number between -{MAX_SCALE:g} and {MAX_SCALE:g}, "
                                f"got {last[:40]!r}")
        return cls(source, scale)

    @property
    def shown(self) -> str:
        """Without the folders that lead to it, and with its scale where that is not 1."""
        name = Path(self.source).name if Path(self.source).exists() or Path(self.source).is_absolute() else self.source
        return name if self.scale == 1 else f"{name}:{self.scale:g}"


@dataclass(frozen=True)
class LoadOptions:
    """What a command line may say of how weights are loaded; nothing said is each kind's own way. Raises SettingsError naming the flag."""

    dtype: str | None = None                # one of DTYPES; auto: the fastest that the chip computes
    offload: str = "none"                   # what lies in the machine's memory while an accelerator does not need it
    loras: tuple[Lora, ...] = ()
    quantise: str | None = None             # one of QUANTISED: weights in 4 or 8 bits, made while loading
    gguf: Path | None = None                # a file with the weights of the denoiser
    answer: str = "forced"                  # one of ANSWERS, of a SmartEdit's language model
    compile: bool = False                   # whether the denoiser is compiled on its first run

    def __post_init__(self) -> None:
        for flag, value, known in (("--dtype", self.dtype, DTYPES), ("--offload", self.offload, OFFLOADS),
                                   ("--quantise", self.quantise, QUANTISED), ("--answer", self.answer, ANSWERS)):
            if value is not None and value not in known:
                raise SettingsError(f"{flag} must be one of {', '.join(known)}, got {str(value)[:40]!r}")
        if self.quantise and self.gguf:
            raise SettingsError("--gguf: such a file is quantised already; leave out --quantise")
        if self.compile and self.offload != "none":
            raise SettingsError(f"--compile: with --offload {self.offload} weights come and go during a run; leave out one of the two")
        if self.gguf and not self.gguf.is_file():
            raise SettingsError(f"--gguf {self.gguf}: there is no such file")

    def of_model(self, name: str) -> LoadOptions:
        """What of it is for the model of this name."""
        return replace(self, loras=tuple(lora for lora in self.loras if lora.model in (None, name, Path(name).name)))

    @property
    def shown(self) -> str:
        """What is said, for a name of what was loaded; empty where nothing is."""
        said = [f"dtype {self.dtype}" if self.dtype else "", f"{self.quantise}" if self.quantise else "",
                f"gguf {self.gguf.name}" if self.gguf else "", "" if self.answer == "forced" else f"answer {self.answer}",
                "compiled" if self.compile else "",
                *(f"lora {lora.shown}" for lora in self.loras)]
        return ", ".join(filter(None, said))


OWN_WAY = LoadOptions()


def add_load_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of every command that loads editors."""
    group = parser.add_argument_group("weights of an editor on this machine")
    group.add_argument("--dtype", choices=DTYPES, help="number format; auto: the fastest that the chip computes (default: auto; for the "
                                                       "small models that ship float32)")
    group.add_argument("--offload", choices=OFFLOADS, default="none",
                       help="keep in the machine's memory what a GPU does not need just now: whole models, single layers, or groups of "
                            "blocks (default %(default)s)")
    group.add_argument("--lora", action="append", default=[], metavar="[MODEL=]FILE|HUB_ID[:SCALE]",
                       help="a LoRA, as diffusers reads it, for one of the models or for all; again for more")
    group.add_argument("--quantise", choices=QUANTISED, help="load the weights in 4 or 8 bits, with a package of this name")
    group.add_argument("--gguf", type=Path, metavar="FILE", help="the denoiser's weights from a GGUF file (needs the package gguf)")
    group.add_argument("--answer", choices=ANSWERS, default="forced",
                       help="of a SmartEdit, the sentence before its 32 image tokens: given to the language model as in its training, or "
                            "decoded by it, which takes one pass more a word (default %(default)s)")
    group.add_argument("--compile", action="store_true",
                       help="compile the denoiser by torch on its first run, which takes a minute or more; needs a compiler (no gain was "
                            "measured on a CPU)")


def load_options(args: argparse.Namespace) -> LoadOptions:
    """What the flags say. Raises SettingsError."""
    loras = tuple(map(Lora.parse, args.lora))
    models = [args.model] if isinstance(args.model, str) else args.model or []
    known = {*models, *(Path(model).name for model in models)}
    for lora in loras:
        if lora.model is not None and lora.model not in known:
            raise SettingsError(f"--lora {lora.model}={lora.shown}: no such model is named; there are {', '.join(models) or 'none'}")
    return LoadOptions(args.dtype, args.offload, loras, args.quantise, args.gguf, args.answer, args.compile)
