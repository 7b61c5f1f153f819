"""Everything needed to make a picture again, as one JSON text chunk named `mre` inside its PNG.

What comes out of a dropped PNG is as untrusted as any upload: it is read without being decoded as a picture, within a small limit, and
every value passes the same checks as one typed into the page. A model is only ever named by a recipe, never opened because of it.
"""

from __future__ import annotations

import io
import json
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, PngImagePlugin

from mre import files
from mre.errors import MreError
from mre.masks import Mask
from mre.rewards import PERSPECTIVES, Reward
from mre.version import __version__

FORMAT_VERSION = 3           # of a recipe with a guidance interval
PUT_BACK_VERSION = 2         # of one without, that puts something back
PLAIN_VERSION = 1            # of one that does neither: versions before read it, and its bytes are theirs
CHUNK = "mre"
MAX_RECIPE_BYTES = 400_000   # a mask takes up to 342 kB of it
MAX_CHUNKS = 100_000
MAX_NOTE = 300               # characters of one text of `made_with`
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class RecipeError(MreError):
    """A recipe that is not there, or cannot be read."""


@dataclass(frozen=True)
class Recipe:
    """One edit: the settings, and what they were used with. `made_with` holds what must be equal for equal bytes."""

    instruction: str
    reward: Reward
    seed: int
    steps: int
    guidance_scale: float
    image_guidance_scale: float
    scheduler: str
    negative_reward: Reward | None = None
    way_back: str = "guided"
    made_with: dict[str, str] = field(default_factory=dict)     # model, weights, input, size, device, code, torch, dtype, reading
    mask: Mask | None = None
    put_back: bool = False
    guidance_interval: tuple[float, float] | None = None

    def to_json(self) -> str:
        """The chunk's text: keys sorted, so that equal recipes are equal bytes."""
        values = {name: getattr(self, name) for name in SCALARS} | {
            "recipe": PLAIN_VERSION, "reward": _reward_out(self.reward), "made_with": dict(self.made_with),
            "negative_reward": self.negative_reward and _reward_out(self.negative_reward)}
        if self.put_back or self.guidance_interval:
            values |= {"recipe": PUT_BACK_VERSION, "put_back": self.put_back, "mask": self.mask and self.mask.text}
        if self.guidance_interval:
            values |= {"recipe": FORMAT_VERSION, "guidance_interval": list(self.guidance_interval)}
        return json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """A recipe from a chunk's text. Raises RecipeError that names the field."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RecipeError("the recipe in this picture is not valid JSON") from error
        if not isinstance(values, dict):
            raise RecipeError("the recipe in this picture is not a JSON object")
        version = values.get("recipe")
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise RecipeError(f"this picture's recipe is of a newer form ({version}) than this version of MRE Studio reads "
                              f"({FORMAT_VERSION}); update to use it")
        if version not in (PLAIN_VERSION, PUT_BACK_VERSION, FORMAT_VERSION) or isinstance(version, bool):
            raise RecipeError("the recipe in this picture has no known version")
        scalars = {name: _scalar(values, name, kind) for name, kind in SCALARS.items()}
        negative = values.get("negative_reward")
        made_with = values.get("made_with", {})
        if not isinstance(made_with, dict) or not all(isinstance(v, str) and len(v) <= MAX_NOTE for v in made_with.values()):
            raise RecipeError("recipe field made_with must hold short texts")
        return cls(**scalars, reward=_reward_in(values.get("reward"), "reward"), made_with=made_with,
                   negative_reward=None if negative is None else _reward_in(negative, "negative_reward"),
                   **(_put_back_in(values) if version >= PUT_BACK_VERSION else {}),
                   guidance_interval=_interval_in(values.get("guidance_interval")) if version == FORMAT_VERSION else None)

    def differences(self, here: Recipe, silent_dtype: str = "float32") -> list[str]:
        """What stands in the way of equal bytes, a line each: this recipe as it was made against `here`, the same settings now.

        silent_dtype: the number format of a recipe that tells none, as those of before do not
        """
        then, now = ({"dtype": silent_dtype, "autoencoder": "in one piece", "compiled": "no", **made.made_with} for made in (self, here))
        names = {"model": "model", "weights": "weights of the model", "input": "input picture", "size": "size at which the model works",
                 "reading": "reading of the instruction", "device": "kind of device", "code": "version of MRE Studio",
                 "torch": "version of torch", "server": "server",
                 "dtype": "number format", "lora": "LoRA", "quantised": "quantisation", "gguf": "GGUF file", "compiled": "compiled",
                 "answer": "answer of the language model", "reward_words": "scores as words",
                 "autoencoder": "way through the autoencoder"}
        lines = [f"{label}: {_short(then.get(name))} then, {_short(now.get(name))} now"
                 for name, label in names.items() if then.get(name) != now.get(name)]
        settings = [name for name in (*SCALARS, "reward", "negative_reward", "put_back", "mask", "guidance_interval")
                    if getattr(self, name) != getattr(here, name)]
        return lines + [f"{name.replace('_', ' ')}: {getattr(self, name)} then, {getattr(here, name)} now" for name in settings]


SCALARS = {"instruction": str, "seed": int, "steps": int, "guidance_scale": float, "image_guidance_scale": float, "scheduler": str,
           "way_back": str}


def circumstances(*, model: str, weights: str, input_digest: str, size: tuple[int, int], device: str) -> dict[str, str]:
    """`made_with` of a recipe made by this code, here and now."""
    import torch
    return {"model": model, "weights": weights, "input": input_digest, "size": f"{size[0]}x{size[1]}", "device": device,
            "code": __version__, "torch": torch.__version__}


def png_bytes(image: Image.Image, recipe: Recipe | None = None) -> bytes:
    """A lossless PNG of the pixels, with the recipe inside or, without one, with nothing but the pixels. Same in, same bytes out."""
    info = PngImagePlugin.PngInfo()
    if recipe is not None:
        info.add_itxt(CHUNK, recipe.to_json())
    return files.png_bytes(image, files.QUICK, info)


def read_recipe(source: str | os.PathLike | bytes | BinaryIO, *, name: str = "this picture") -> Recipe:
    """The recipe inside a PNG. The picture itself is not decoded. Raises RecipeError."""
    try:
        if isinstance(source, str | os.PathLike):
            with Path(source).open("rb") as file:
                text = _find_chunk(file, name)
        else:
            text = _find_chunk(io.BytesIO(source) if isinstance(source, bytes) else source, name)
    except OSError as error:
        raise RecipeError(f"{name}: cannot be read ({error.strerror})") from error
    return Recipe.from_json(text)


def _find_chunk(file: BinaryIO, name: str) -> str:
    if file.read(8) != PNG_SIGNATURE:
        raise RecipeError(f"{name} is not a PNG; recipes travel only inside the PNGs that this studio makes")
    for _ in range(MAX_CHUNKS):
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            break
        length, kind = struct.unpack(">I4s", head)
        if kind == b"iTXt" and (keyword := file.read(min(length, len(CHUNK) + 5))).startswith(CHUNK.encode() + b"\0"):
            if length > MAX_RECIPE_BYTES:
                raise RecipeError(f"{name}: its recipe is larger than {MAX_RECIPE_BYTES // 1000} kB, which no recipe of this studio is")
            body = keyword + file.read(length - len(keyword))
            if len(body) < length or not body.startswith(b"\0", len(CHUNK) + 1):      # cut off, or compressed: this studio writes neither
                break
            try:
                return body[len(CHUNK) + 3:].split(b"\0", 2)[2].decode()
            except (IndexError, UnicodeDecodeError) as error:
                raise RecipeError(f"{name}: its recipe is damaged") from error
        elif kind == b"iTXt":
            file.seek(length - len(keyword) + 4, os.SEEK_CUR)
        else:
            file.seek(length + 4, os.SEEK_CUR)
    raise RecipeError(f"{name} holds no recipe of this studio")


def _reward_out(reward: Reward) -> dict[str, Any]:
    return {name: reward.wishes[place] for place, name in enumerate(PERSPECTIVES)} | {"texts": list(reward.texts)}


def _reward_in(value: Any, name: str) -> Reward:
    if not isinstance(value, dict) or not isinstance(value.get("texts"), list) or not value.keys() >= {*PERSPECTIVES}:
        raise RecipeError(f"recipe field {name} must hold three scores and three texts")
    try:
        return Reward.of((value[perspective] for perspective in PERSPECTIVES), value["texts"])      # null: no wish
    except MreError as error:
        raise RecipeError(f"recipe field {name}: {error}") from error


def _put_back_in(values: dict[str, Any]) -> dict[str, Any]:
    put_back, mask = values.get("put_back"), values.get("mask")
    if not isinstance(put_back, bool) or not isinstance(mask, str | None):
        raise RecipeError("recipe field put_back must be true or false, and mask a text")
    try:
        return {"put_back": put_back, "mask": None if mask is None else Mask.from_text(mask, "the recipe's mask")}
    except MreError as error:
        raise RecipeError(f"recipe field mask: {error}") from error


def _interval_in(value: Any) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(end, int | float) and 0 <= end <= 1 for end in value):
        raise RecipeError("recipe field guidance_interval must hold two numbers from 0 to 1")
    return float(value[0]), float(value[1])


def _scalar(values: dict[str, Any], name: str, kind: type) -> Any:
    value = values.get(name)
    if value is None or isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
        raise RecipeError(f"recipe field {name} must be {'a text' if kind is str else 'a number'}")
    try:
        return kind(value)
    except OverflowError as error:
        raise RecipeError(f"recipe field {name} is too large a number") from error


def _short(value: str | None) -> str:
    return "unknown" if not value else value if len(value) <= 24 or " " in value else value[:12] + "…"      # a digest is cut
