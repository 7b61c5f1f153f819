"""The bodies of both contracts, read and checked: base64 pictures are untrusted, bounded in number and in pixels before they are decoded.

Flow-Factory: {"prompt": [text], "image": [base64], "condition_images": [[base64]]}, an item each.
UniRL: {"requests": [{"history": [{"text", "image_b64"}, {"text", "image_b64"}], "required_rewards": [name]}]}: the original, then its edit.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from mre.errors import ImageError, MreError
from mre.imaging import open_image
from mre.judge.verdicts import Ask
from mre.text import fault_of_text

MAX_EDITS = 256                 # of one request
MAX_PIXELS = 16_000_000         # of one picture: what is decoded takes three bytes a pixel
MAX_REQUEST_PIXELS = 128_000_000        # of all pictures of a request together
MAX_INSTRUCTION = 4000          # characters


class BadRequest(MreError):
    """A body that is not what the contract says. The message names the place in it."""


@dataclass(frozen=True)
class ScoreRequest:
    """One request of UniRL's: an edit and the rewards that are asked for, or why there is no edit."""

    names: tuple[str, ...]
    ask: Ask | None
    fault: str = ""


class _Pictures:
    """Opens the pictures of one request within its limits."""

    def __init__(self) -> None:
        self.pixels = 0

    def open(self, value: Any, place: str) -> Image.Image:
        if not isinstance(value, str) or not value:
            raise BadRequest(f"{place} must be a picture in base64")
        _, comma, rest = value[:100].partition(",")
        content = value[len(value[:100]) - len(rest):] if comma and value.startswith("data:") else value
        try:
            data = base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadRequest(f"{place} is not base64") from error
        try:
            image = open_image(data, name=place, max_pixels=min(MAX_PIXELS, MAX_REQUEST_PIXELS - self.pixels))
        except ImageError as error:
            raise BadRequest(str(error)) from error
        self.pixels += image.width * image.height
        return image


def flow_factory_asks(body: Any) -> list[Ask]:
    """The edits of a `POST /compute`. Raises BadRequest."""
    body = _object(body, "the body")
    prompts, images, conditions = (_list(body.get(name), name) for name in ("prompt", "image", "condition_images"))
    if not len(prompts) == len(images) == len(conditions):
        raise BadRequest(f"prompt, image and condition_images must be equally long, got {len(prompts)}, {len(images)}, {len(conditions)}")
    pictures = _Pictures()
    asks = []
    for number, (prompt, image, originals) in enumerate(zip(prompts, images, conditions, strict=True)):
        place = f"condition_images[{number}]"
        if len(_list(originals, place)) != 1:
            raise BadRequest(f"{place} must hold one picture, the original of the edit, got {len(originals)}")
        asks.append(Ask(str(number), _instruction(prompt, f"prompt[{number}]"), pictures.open(originals[0], f"{place}[0]"),
                        pictures.open(image, f"image[{number}]")))
    return asks


def unirl_requests(body: Any, known: Sequence[str]) -> list[ScoreRequest]:
    """The requests of a `POST /score`; one with a fault of its own does not fail the others. Raises BadRequest for the rest."""
    pictures = _Pictures()
    found = []
    for number, request in enumerate(_list(_object(body, "the body").get("requests"), "requests")):
        place = f"requests[{number}]"
        names = _list(_object(request, place).get("required_rewards"), f"{place}.required_rewards")
        for name in names:
            if name not in known:
                raise BadRequest(f"{place}.required_rewards: {name!r} is none of {', '.join(known)}")
        try:
            found.append(ScoreRequest(tuple(names), _unirl_ask(request, place, pictures)))
        except BadRequest as error:
            found.append(ScoreRequest(tuple(names), None, str(error)))
    return found


def _unirl_ask(request: dict[str, Any], place: str, pictures: _Pictures) -> Ask:
    history = _list(request.get("history"), f"{place}.history")
    if len(history) != 2:
        raise BadRequest(f"{place}.history must hold two turns, the original and its edit, got {len(history)}")
    original, edited = (_object(turn, f"{place}.history[{turn_number}]") for turn_number, turn in enumerate(history))
    instruction = _instruction(edited.get("text") or original.get("text"), f"{place}.history[1].text")
    return Ask(place, instruction, pictures.open(original.get("image_b64"), f"{place}.history[0].image_b64"),
               pictures.open(edited.get("image_b64"), f"{place}.history[1].image_b64"))


def _object(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadRequest(f"{place} must be a JSON object")
    return value


def _list(value: Any, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadRequest(f"{place} must be a list")
    if not 1 <= len(value) <= MAX_EDITS:
        raise BadRequest(f"{place} must hold 1 to {MAX_EDITS}, got {len(value)}")
    return value


def _instruction(value: Any, place: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise BadRequest(f"{place} must be an instruction")
    if len(value) > MAX_INSTRUCTION:
        raise BadRequest(f"{place} must have at most {MAX_INSTRUCTION} characters, got {len(value)}")
    if fault := fault_of_text(value):
        raise BadRequest(f"{place} holds {fault}")
    return value.strip()
