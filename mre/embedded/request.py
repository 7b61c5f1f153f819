"""What can be asked of the embedded editor, as slots, and the wording that its network was trained on. No torch, nothing of the renderer:
which values there are, and how they are worded, comes with the trained reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

NONE, OTHER, SEVERAL = "none", "other", "several"
SLOTS = ("operation", "kind", "colour", "texture", "scene", "count", "which", "where", "anchor")
# What an operation on a thing or the background cannot do without; every other operation is a look of the whole picture.
NEEDED = {"recolour": ("kind", "colour"), "remove": ("kind",), "add": ("kind",), "texture": ("kind", "texture"), "background": ("scene",)}
# And what it may say beside that.
ALLOWED = {"recolour": ("count", "which", "where"), "remove": ("count", "which", "where"), "add": ("colour", "count", "where", "anchor"),
           "texture": ("count", "which", "where"), "background": ()}


@dataclass(frozen=True)
class Request:
    """One request. `none` is nothing said; `other` is something said that is not known."""

    operation: str = NONE       # of NEEDED, a look, `none` (nothing that can be done) or `several`
    kind: str = NONE            # of the thing meant or added
    colour: str = NONE          # that it is to have
    texture: str = NONE
    scene: str = NONE           # the landscape that the background is to be
    count: str = NONE           # "two": both, or two to add
    which: str = NONE           # colour of the thing meant, as it is
    where: str = NONE           # left, middle, right, sky, sky left, sky right
    anchor: str = NONE          # kind of the thing beside which one is added; `where` is the side

    @property
    def is_whole(self) -> bool:
        """Whether it is one request with all that it needs, of things that are known."""
        if self.operation in (NONE, SEVERAL):
            return False
        return all(getattr(self, slot) not in (NONE, OTHER) for slot in NEEDED.get(self.operation, ())) and \
            all(getattr(self, slot) != OTHER for slot in ALLOWED.get(self.operation, ()))

    def slots_said(self) -> tuple[str, ...]:
        """The slots that its wording depends on."""
        return ("operation", *NEEDED.get(self.operation, ()), *ALLOWED.get(self.operation, ()))


@dataclass(frozen=True)
class Wordings:
    """How requests are put into the words of the network's training."""

    looks: Mapping[str, str]                # look -> whole instruction
    scenes: Mapping[str, str]               # landscape -> noun phrase
    textures: Mapping[str, str]             # texture -> adjective
    colours: Mapping[str, str]              # kind -> the colour of a new one where none is named

    def of(self, request: Request) -> str:
        """The request in the network's own words. It must be whole."""
        if not request.is_whole:
            raise ValueError(f"not a whole request: {request}")
        match request.operation:
            case "recolour":
                return f"make {thing_meant(request)} {request.colour}"
            case "remove":
                return f"remove {thing_meant(request)}"
            case "texture":
                return f"make {thing_meant(request)} {self.textures[request.texture]}"
            case "background":
                return f"change the background to {self.scenes[request.scene]}"
            case "add":
                return f"add {self._new(request)}{_beside(request)}"
            case look:
                return self.looks[look]

    def _new(self, request: Request) -> str:
        colour = self.colours.get(request.kind, "red") if request.colour == NONE else request.colour
        if request.count == "two":
            return f"two {colour} {plural(request.kind)}"
        return ("an " if colour[0] in "aeiou" else "a ") + f"{colour} {request.kind}"


def thing_meant(request: Request) -> str:
    """The phrase for the thing that a request is about, such as "the left ball"."""
    if request.count == "two":
        return f"both {plural(request.kind)}"
    if request.where != NONE:
        side = request.where.removeprefix("sky ")
        return f"the {request.kind} in the {side}" if side in ("middle", "sky") else f"the {side} {request.kind}"
    return f"the {request.kind}" if request.which == NONE else f"the {request.which} {request.kind}"


def _beside(request: Request) -> str:
    if request.where == NONE:
        return ""
    if request.anchor not in (NONE, OTHER) and request.where in ("left", "right"):
        return f" to the {request.where} of the {request.anchor}"
    return {"left": " on the left", "right": " on the right", "middle": " in the middle", "sky": " in the sky",
            "sky left": " in the sky on the left", "sky right": " in the sky on the right"}.get(request.where, "")


def plural(noun: str) -> str:
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def all_values(values: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Values of each slot in the order in which a network gives their probabilities: `none` and, of what can be unknown, `other` first."""
    unknown_too = ("kind", "colour", "texture", "scene")
    return {slot: ((NONE, SEVERAL) if slot == "operation" else (NONE, OTHER) if slot in unknown_too else (NONE,)) + tuple(values[slot])
            for slot in SLOTS}


def without_several(found: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Probabilities of slots if there is one request at most."""
    rest = 1 - found["operation"][SEVERAL]
    operation = {value: probability / max(rest, 1e-9) for value, probability in found["operation"].items() if value != SEVERAL}
    return {**found, "operation": operation | {SEVERAL: 0.0}}


def likeliest(found: Mapping[str, Mapping[str, float]]) -> tuple[Request, float]:
    """The likeliest request by probabilities of slots, and the product of those that it depends on."""
    request = with_operation(found, max(found["operation"], key=lambda value: found["operation"][value]))
    confidence = 1.0
    for slot in request.slots_said():
        confidence *= found[slot][getattr(request, slot)]
    if request.operation == "recolour" and request.which == request.colour:         # the colour that it is to have, heard twice
        confidence *= 1 + found["which"][NONE] / found["which"][request.which]
        request = replace(request, which=NONE)
    return request, confidence


def with_operation(found: Mapping[str, Mapping[str, float]], operation: str, known_only: bool = False) -> Request:
    """The likeliest request with this operation; `known_only`: made of known things alone."""
    needed, allowed = NEEDED.get(operation, ()), ALLOWED.get(operation, ())
    said: dict[str, Any] = {}
    for slot in (*needed, *allowed):
        barred = ({NONE, OTHER} if slot in needed else {OTHER}) if known_only else set()
        said[slot] = max((value for value in found[slot] if value not in barred), key=lambda value, slot=slot: found[slot][value])
    return Request(operation, **said)
