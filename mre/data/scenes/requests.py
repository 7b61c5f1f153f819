"""Requests as people write them: one of what is asked in many wordings, in English and Chinese, and requests that ask for nothing known.

`draw_request` draws a request without a scene, to train a reader of text; `worded` words what a scene's edit asks for. Held-out requests
use at least one phrase of the table that training never shows; training never draws one of the hand-written test instructions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mre.data.scenes.concepts import (
    MEASURES,
    NOTHING,
    OPERATIONS,
    REFERENCES,
    Asked,
    canonical,
    phrases,
    plural,
    table,
    with_article,
)
from mre.data.scenes.instructions import comparable, reserved
from mre.data.scenes.world import COLOUR_NAMES, GROUND_KINDS, GROUND_SLOTS, KINDS, SKY_KINDS, SKY_SLOTS, pick

TYPO, TYPOS, NO_ARTICLES, SIZE = 0.12, 0.06, 0.10, 0.06                           # how often a request has each; TYPOS: in many words
OPENING, CONTEXT, BEFORE, AFTER, CLAUSE = 0.10, 0.06, 0.22, 0.16, 0.08
MISTYPED = 0.4                # share of words of a text with many slips
COMPLAINT = 0.25              # share of requests for a look that say what is wrong instead
PLAIN, UNSEEN = 0.4, 0.5      # how often a word is the plainest one; how often a held-out request takes each phrase from the held-out ones
TWO = ("two {}", "2 {}", "a pair of {}", "two new {}")
BOTH = ("both {}", "both {}", "all the {}", "the two {}", "all {}", "both of the {}")
BESIDE = (" to the {} of the {kind}", " {} of the {kind}", " beside the {kind}, on the {}", " next to the {kind} on the {}")
SIZES = ("big", "small", "little", "tiny", "huge", "cute", "nice", "pretty", "lovely", "beautiful", "large", "silly", "stupid", "new")
NOT_AFTER_PLEASE = ("i ", "i'", "it ", "it'", "the ", "there ", "no ", "with", "as ", "at ", "in ", "on ", "we ", "how ", "let", "like ",
                    "this ", "that ", "more ", "can ", "could ", "what ", "why ", "who ", "want ", "need", "my ")
VERB_WEIGHTS = {"recolour": 5.0, "remove": 5.0, "add": 5.0, "texture": 6.0, "background": 5.0, "global": 6.0, "style": 6.0}


@dataclass(frozen=True)
class Request:
    """A request in words, and what it asks for. `held_out`: it uses a phrase or a form that training never shows."""

    text: str
    asked: Asked
    held_out: bool
    language: str = "en"      # or "zh"


def draw_request(rng: np.random.Generator, split: str = "train", *, nothing: float = 0.1, chinese: float = 0.15) -> Request:
    """A request without a scene. `nothing`: how often it asks for nothing that scenes have; `chinese`: how often it is in Chinese."""
    if rng.random() < nothing:
        return draw_nothing(rng, split, chinese=chinese)
    return worded(rng, draw_asked(rng), split, chinese=chinese)


def draw_asked(rng: np.random.Generator) -> Asked:
    """What might be asked of some scene."""
    verbs = list(VERB_WEIGHTS)
    odds = np.cumsum([VERB_WEIGHTS[verb] for verb in verbs])
    verb = verbs[int(np.searchsorted(odds, rng.random() * odds[-1], side="right"))]
    operation = pick(rng, [name for name in OPERATIONS if name.partition(":")[0] == verb])
    if verb in ("background", "global", "style"):
        return Asked(operation)
    kind = pick(rng, KINDS)
    if verb == "add":
        colour = pick(rng, COLOUR_NAMES) if rng.random() < 0.8 else ""
        if rng.random() < 0.2:
            return Asked(operation, kind, colour, count=2)
        slots = list(SKY_SLOTS) if kind in SKY_KINDS else list(GROUND_SLOTS)
        place, beside = (pick(rng, slots) if rng.random() < 0.65 else ""), ""
        if place in ("left", "right") and rng.random() < 0.25:
            beside = pick(rng, GROUND_KINDS)
        return Asked(operation, kind, colour, place=place, beside=beside)
    colour = pick(rng, COLOUR_NAMES) if verb == "recolour" else ""
    draw = rng.random()
    if draw < 0.15:
        return Asked(operation, kind, colour, count=2)
    if draw < 0.45:
        return Asked(operation, kind, colour, of_colour=pick(rng, [name for name in COLOUR_NAMES if name != colour]))
    return Asked(operation, kind, colour, place=pick(rng, REFERENCES) if draw < 0.8 else "")


def worded(rng: np.random.Generator, asked: Asked, split: str = "train", *, chinese: float = 0.0) -> Request:
    """What is asked, in one of many wordings of the split. Every wording says all of it, so that the request's slots are those given."""
    draw = _chinese if rng.random() < chinese else _english
    return _unreserved(lambda: draw(_Words(rng, split), asked), split, asked)


def draw_nothing(rng: np.random.Generator, split: str = "train", *, chinese: float = 0.15) -> Request:
    """A request whose right answer is the untouched picture: unknown things or verbs, small talk, letters without a meaning."""
    zh = rng.random() < chinese
    return _unreserved(lambda: _nothing(_Words(rng, split), zh), split, Asked())


def draw_absent(rng: np.random.Generator, asked: Asked, kinds: Sequence[str], split: str = "train", *, chinese: float = 0.0) -> Request:
    """What is asked, of a kind of thing that is not in a scene with these kinds."""
    return worded(rng, replace(asked, kind=pick(rng, [kind for kind in KINDS if kind not in kinds])), split, chinese=chinese)


def _unreserved(draw: Callable[[], Request], split: str, asked: Asked) -> Request:
    """A request that is none of the hand-written ones, where it is for training; one with something held out, where it is not."""
    for _ in range(60):
        request = draw()
        if split == "train" and comparable(request.text) in reserved():
            continue
        if split == "train" or request.held_out:
            return request
    return Request(f"please {canonical(asked)}" if asked.operation != NOTHING else "nothing to be done", asked, False)


class _Words:
    """Phrases of one request; remembers whether a held-out one was taken."""

    def __init__(self, rng: np.random.Generator, split: str) -> None:
        self.rng, self.split, self.held_out = rng, split, False

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def any_of(self, *path: str, plain: float = 0.0) -> str:
        """A phrase at a place of the table; the first with probability `plain`."""
        if self.split == "heldout" and self.chance(UNSEEN) and (unseen := phrases(*path, held_out=True)):
            self.held_out = True
            return pick(self.rng, unseen)
        seen = phrases(*path)
        return seen[0] if plain and self.chance(plain) else pick(self.rng, seen)

    def request(self, text: str, asked: Asked, language: str) -> Request:
        return Request(text, asked, self.held_out, language)


# -- English

def _english(words: _Words, asked: Asked) -> Request:
    verb, rng = asked.verb, words.rng
    whole = words.chance(0.35) if verb in ("global", "style") else False
    if _complains(words, asked):
        text = _filled(words, words.any_of("carriers", "complaint"), asked)
    elif whole:
        text = words.any_of("looks", asked.value, "whole")
    elif verb == "texture" and asked.value == "plain" and words.chance(0.3):
        pattern = words.any_of("textures", pick(rng, ("striped", "dotted", "checkered")), "pattern", plain=PLAIN)
        text = words.any_of("carriers", "untexture").format(it=_it(words, asked), pattern=re.sub(r"^(a|an|some) ", "", pattern))
    else:
        text = _filled(words, words.any_of("carriers", "look" if verb == "global" else verb), asked)
    return words.request(_manner(words, smoothed(text)), asked, "en")


def _complains(words: _Words, asked: Asked) -> bool:
    """Whether to say what is wrong with the picture ("it is too dark") in place of what is wanted, where the look has words for it."""
    return asked.verb == "global" and "wrong" in table()["looks"][asked.value] and words.chance(COMPLAINT)


def _filled(words: _Words, carrier: str, asked: Asked) -> str:
    """A carrier with its gaps filled."""
    values: dict[str, str] = {}
    for gap in re.findall(r"\{(\w+)\}", carrier):
        if gap == "it":
            values[gap] = _it(words, asked)
        elif gap == "a":
            values[gap] = _a(words, asked)
        elif gap == "place":
            values[gap] = _place(words, asked)
        elif gap == "colour":
            values[gap] = words.any_of("colours", asked.colour, "en", plain=PLAIN)
        elif gap in ("scene", "where"):
            values[gap] = words.any_of("backgrounds", asked.value, "noun" if gap == "scene" else "where")
        else:
            values[gap] = words.any_of("textures" if asked.verb == "texture" else "looks", asked.value, gap)
    return carrier.format(**values)


def _thing(words: _Words, asked: Asked, colour: str) -> str:
    """The kind with a colour before it: "red ball", "orbs"."""
    kind = words.any_of("kinds", asked.kind, "en", plain=1.3 * PLAIN)
    kind = plural(kind) if asked.count == 2 else kind
    if words.chance(SIZE):
        kind = f"{pick(words.rng, SIZES)} {kind}"
    return f"{words.any_of('colours', colour, 'en', plain=1.7 * PLAIN)} {kind}" if colour else kind


def _it(words: _Words, asked: Asked) -> str:
    thing = _thing(words, asked, asked.of_colour)
    if asked.count == 2:
        return pick(words.rng, BOTH).format(thing)
    if asked.place:
        return words.any_of("places", asked.place, "it").format(thing)
    return pick(words.rng, ("the {}", "the {}", "the {}", "the {}", "that {}", "this {}", "my {}")).format(thing)


def _a(words: _Words, asked: Asked) -> str:
    thing = _thing(words, asked, asked.colour)
    if asked.count == 2:
        return pick(words.rng, TWO).format(thing)
    draw = words.rng.random()
    return f"another {thing}" if draw < 0.06 else f"one {thing}" if draw < 0.12 else with_article(thing)


def _place(words: _Words, asked: Asked) -> str:
    if asked.beside:
        other = words.any_of("kinds", asked.beside, "en", plain=1.7 * PLAIN)
        return pick(words.rng, BESIDE).format(asked.place, kind=other)
    if asked.place:
        return words.any_of("places", asked.place, "en")
    return pick(words.rng, ("", "", "", " in the picture", " in the scene", " somewhere"))


def smoothed(text: str) -> str:
    """Mend what filling "look like winter" into "it should be ..." or "make it look ..." leaves, and a place first that is not said."""
    text = re.sub(r"^[ ,]+", "", text)
    text = re.sub(r"\b(?:be|to|look|render it|turn it|is) look\b", "look", text)
    return re.sub(r"\bi (want|need) it look\b", r"i \1 it to look", text)


def _manner(words: _Words, text: str) -> str:
    """Politeness, what letters say around a request, slips of the keyboard, articles left out, capitals, a stop, American spelling."""
    rng = words.rng
    if words.chance(NO_ARTICLES):
        text = re.sub(r"\b(the|a|an) ", "", text)
    if words.chance(BEFORE):
        before = words.any_of("manner", "before")
        text = text if text.startswith(NOT_AFTER_PLEASE) else before + text
    if words.chance(CONTEXT):
        text = f"{words.any_of('manner', 'context')} {text}"
    if words.chance(OPENING):
        text = words.any_of("manner", "opening") + text
    if words.chance(CLAUSE):
        text += words.any_of("manner", "clauses")
    if words.chance(AFTER):
        text += words.any_of("manner", "after")
    draw = rng.random()
    if draw < TYPO:
        text = mistyped(rng, text)
    elif draw < TYPO + TYPOS:
        text = " ".join(mistyped(rng, word) if words.chance(MISTYPED) else word for word in text.split(" "))
    if words.chance(0.5):
        text = american(text)
    return typed(rng, text)


def typed(rng: np.random.Generator, text: str) -> str:
    """As people type: mostly lower case without a full stop, some with capital and stop."""
    draw = rng.random()
    if draw < 0.72:
        return text
    if draw > 0.985:
        return text.upper()
    text = text[0].upper() + text[1:].replace(" i ", " I ")
    return text if draw < 0.82 or text[-1] in ".!?)" else text + "."


def mistyped(rng: np.random.Generator, text: str) -> str:
    """One word of at least three letters with two letters swapped, or one left out, doubled or wrong."""
    places = [match.span() for match in re.finditer(r"[a-z]{3,}", text)]
    if not places:
        return text
    start, end = pick(rng, places)
    at = start + 1 + int(rng.random() * (end - start - 2))
    one, two = text[at], text[at + 1]
    slip = pick(rng, (two + one, two, one + one + two, pick(rng, "etaoinsr") + two))
    return text[:at] + slip + text[at + 2:]


def american(text: str) -> str:
    return text.replace("colour", "color").replace("grey", "gray").replace("centre", "center").replace("watercolour", "watercolor")


# -- Chinese

def _chinese(words: _Words, asked: Asked) -> Request:
    verb = asked.verb
    complains = _complains(words, asked)
    carrier = words.any_of("carriers_zh", "complaint" if complains else "look" if verb in ("global", "style") else verb)
    values: dict[str, str] = {}
    for gap in re.findall(r"\{(\w+)\}", carrier):
        if gap in ("it", "a"):
            values[gap] = _thing_zh(words, asked, new=gap == "a")
        elif gap == "place":
            other = words.any_of("kinds", asked.beside, "zh", plain=PLAIN) if asked.beside else ""
            values[gap] = other + (words.any_of("places", asked.place, "zh") if asked.place else "")
        elif gap == "colour":
            values[gap] = words.any_of("colours", asked.colour, "zh", plain=PLAIN)
        elif gap == "scene":
            values[gap] = words.any_of("backgrounds", asked.value, "zh")
        elif gap == "wrong":
            values[gap] = words.any_of("looks", asked.value, "wrong_zh")
        else:
            values[gap] = words.any_of("textures" if verb == "texture" else "looks", asked.value, "zh")
    text = carrier.format(**values).replace("在画", "画").replace("在放", "放").replace("在看到", "看到").replace("在插入", "插入")
    if words.chance(BEFORE):
        text = words.any_of("manner", "before_zh") + text
    if words.chance(AFTER):
        text += words.any_of("manner", "after_zh")
    return words.request(text, asked, "zh")


def _thing_zh(words: _Words, asked: Asked, new: bool) -> str:
    kind = words.any_of("kinds", asked.kind, "zh", plain=PLAIN)
    colour = asked.colour if new else asked.of_colour
    parts = words.any_of("colours", colour, "zh", plain=PLAIN) + "的" if colour else ""
    measure = MEASURES.get(asked.kind, "个")
    if asked.count == 2:
        return f"两{measure}{parts}{kind}"
    if new:
        return pick(words.rng, (f"一{measure}", "")) + parts + kind
    place = words.any_of("places", asked.place, "zh") + "的" if asked.place else ""
    return place + parts + kind


# -- nothing

def _nothing(words: _Words, zh: bool) -> Request:
    rng = words.rng
    if zh:
        return words.request(words.any_of("nothing", "zh"), Asked(), "zh")
    draw = rng.random()
    if draw < 0.10:
        return words.request(_letters(words), Asked(), "en")
    if draw < 0.40:
        return words.request(typed(rng, words.any_of("nothing", "whole")), Asked(), "en")
    thing = words.any_of("nothing", "things")
    if draw < 0.70:
        known = draw < 0.55          # a thing or the picture itself, with a verb that nobody knows
        it = pick(rng, ("it", "the picture", f"the {pick(rng, KINDS)}", "the background")) if known else f"the {thing}"
        text = words.any_of("nothing", "verbs").format(it=it)
    else:
        text = words.any_of("nothing", "known").format(it=f"{pick(rng, ('the', 'the', 'a', 'my'))} {thing}")
    return words.request(_manner(words, text), Asked(), "en")


def _letters(words: _Words) -> str:
    """Letters or signs without a meaning. The held-out ones are longer."""
    rng = words.rng
    words.held_out = words.split == "heldout"
    count = (3, 5, 7)[int(rng.random() * 3)] + (3 if words.held_out else 0)
    signs = pick(rng, ("bcdfghjklmnpqrstvwxz", "asdfghjkl", "0123456789", "?!.,-#", "🙂🎉🚗🐶🌈✨"))
    return " ".join("".join(pick(rng, signs) for _ in range(count)) for _ in range(1 + int(rng.random() * 3)))


def all_phrases(held_out: bool) -> frozenset[str]:
    """Every English phrase of the concepts themselves (no carriers), of training or held out."""
    found: set[str] = set()
    for section in ("colours", "kinds", "textures", "backgrounds", "looks"):
        for concept, lists in table()[section].items():
            for name in lists:
                if not name.endswith("zh"):
                    found.update(phrases(section, concept, name, held_out=held_out))
    return frozenset(found)
