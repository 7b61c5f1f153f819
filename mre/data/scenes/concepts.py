"""What can be asked of a scene: the operations, their slots, and the phrases of concepts.toml by which people name them.

A request asks for one operation ("recolour", "remove", "add", or one with its value, such as "texture:striped" or "global:foggy"), or for
nothing that a scene has ("none"). What else it says is in the slots of `Asked`.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mre.data.scenes.looks import GLOBAL_LOOKS, STYLE_LOOKS
from mre.data.scenes.world import BACKDROPS, COLOUR_NAMES, GROUND_SLOTS, KINDS, SLOTS, TEXTURES

TABLE = Path(__file__).with_name("concepts.toml")
HELD_OUT = "~"            # before a phrase of the table: requests of the train split never use it
NOTHING = "none"
MEASURES = {"tree": "棵", "car": "辆", "house": "座", "flower": "朵", "cloud": "朵", "star": "颗", "heart": "颗"}       # measure words
THING_OPERATIONS = ("recolour", "remove", "add", *(f"texture:{name}" for name in TEXTURES))       # those that name a thing
OPERATIONS = (NOTHING, *THING_OPERATIONS, *(f"background:{name}" for name in BACKDROPS), *(f"global:{name}" for name in GLOBAL_LOOKS),
              *(f"style:{name}" for name in STYLE_LOOKS))


@dataclass(frozen=True)
class Asked:
    """What a request asks for. "" where it does not say."""

    operation: str = NOTHING      # of OPERATIONS
    kind: str = ""                # of KINDS: the thing that is changed, removed or added
    colour: str = ""              # of COLOUR_NAMES: what it becomes, or what is added is
    of_colour: str = ""           # the colour by which the thing is referred to
    place: str = ""               # of SLOTS: where the thing is, or is to be; beside another thing: "left" or "right" of it
    beside: str = ""              # the kind of that other thing
    count: int = 1                # 2: both, or two

    def __post_init__(self) -> None:
        for name, known in (("operation", OPERATIONS), ("kind", ("", *KINDS)), ("colour", ("", *COLOUR_NAMES)),
                            ("of_colour", ("", *COLOUR_NAMES)), ("place", ("", *SLOTS)), ("beside", ("", *KINDS)), ("count", (1, 2))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(map(str, known))}, got {getattr(self, name)!r}")

    @property
    def verb(self) -> str:
        """The operation without its value: "recolour", "remove", "add", "texture", "background", "global", "style" or "none"."""
        return self.operation.partition(":")[0]

    @property
    def value(self) -> str:
        """What an operation with a value makes of it: "striped", "beach", "foggy"; else ""."""
        return self.operation.partition(":")[2]


REFERENCES = ("", *GROUND_SLOTS, "sky")       # places by which a thing is referred to


@cache
def table() -> dict[str, Any]:
    """concepts.toml as it stands, with the marks of held-out phrases."""
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


@cache
def phrases(*path: str, held_out: bool = False) -> tuple[str, ...]:
    """The phrases at a place of the table, such as `phrases("looks", "foggy", "adj")`: those of training, or the held-out ones."""
    place: Any = table()
    for name in path:
        place = place[name]
    return tuple(text.removeprefix(HELD_OUT) for text in place if text.startswith(HELD_OUT) == held_out)


def canonical(asked: Asked) -> str:
    """The plainest wording of what is asked, "" for nothing: "make the red ball on the left blue", "make it foggy"."""
    verb, value = asked.verb, asked.value
    if verb == NOTHING:
        return ""
    if verb == "background":
        return _first("carriers", verb).format(scene=_first("backgrounds", value, "noun"))
    if verb == "global":
        return _first("carriers", "look").format(adj=_first("looks", value, "adj"))
    if verb == "style":
        return _first("carriers", verb).format(noun=_first("looks", value, "noun"))
    if verb == "add":
        return _first("carriers", verb).format(a=indefinite(asked), place=where(asked))
    adj = _first("textures", value, "adj") if value else ""
    return _first("carriers", verb).format(it=definite(asked), colour=asked.colour, adj=adj)


def canonical_chinese(asked: Asked) -> str:
    """The plainest wording of what is asked in Chinese, "" for nothing: "把左边的红色的球变成蓝色"."""
    verb, value = asked.verb, asked.value
    if verb == NOTHING:
        return ""
    carrier = _first("carriers_zh", "look" if verb in ("global", "style") else verb)
    colour = asked.colour if verb == "add" else asked.of_colour
    measure = MEASURES.get(asked.kind, "个")
    thing = (f"{_first('colours', colour, 'zh')}的" if colour else "") + (_first("kinds", asked.kind, "zh") if asked.kind else "东西")
    place = _first("places", asked.place, "zh") if asked.place else ""
    beside = _first("kinds", asked.beside, "zh") if asked.beside else ""
    it = f"两{measure}{thing}" if asked.count == 2 else f"{place}的{thing}" if place else thing
    section = {"texture": "textures", "background": "backgrounds"}.get(verb, "looks")
    said = _first(section, value, "zh") if value else ""
    return carrier.format(it=it, a=f"{'两' if asked.count == 2 else '一'}{measure}{thing}", place=beside + place, scene=said, adj=said,
                          colour=_first("colours", asked.colour, "zh") if asked.colour else "")


def _first(*path: str) -> str:
    return phrases(*path)[0]


def definite(asked: Asked) -> str:
    """The thing that is there already, in the plainest words: "the red ball on the left", "both balls"."""
    thing = " ".join(part for part in (asked.of_colour, asked.kind or "thing") if part)
    if asked.count == 2:
        return f"both {plural(thing)}"
    return _first("places", asked.place, "it").format(thing) if asked.place else f"the {thing}"


def indefinite(asked: Asked) -> str:
    """What is to be added, in the plainest words: "a red ball", "two red balls"."""
    thing = " ".join(part for part in (asked.colour, asked.kind or "thing") if part)
    return f"two {plural(thing)}" if asked.count == 2 else with_article(thing)


def where(asked: Asked) -> str:
    """Where it is to be added, with a blank before it, or ""."""
    if asked.beside:
        return f" to the {asked.place} of the {asked.beside}"
    return _first("places", asked.place, "en") if asked.place else ""


def with_article(thing: str) -> str:
    return ("an " if thing[0] in "aeiou" else "a ") + thing


def plural(thing: str) -> str:
    if thing.endswith("y") and thing[-2] not in "aeiou":
        return thing[:-1] + "ies"
    return thing + ("es" if thing.endswith(("s", "x", "ch", "sh")) else "s")
