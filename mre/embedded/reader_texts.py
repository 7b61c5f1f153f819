"""Texts that the reader is trained on: requests in the wordings of the table of concepts, several in one, requests for what is not known,
and texts that ask for nothing, of words far from every concept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from mre.data.scenes import requests
from mre.data.scenes.concepts import NOTHING, Asked, canonical, definite, indefinite, phrases, plural, table, with_article
from mre.data.scenes.instructions import comparable, reserved
from mre.data.scenes.looks import GLOBAL_LOOKS, LOOKS, OPPOSITES
from mre.data.scenes.world import BACKDROPS, COLOUR_NAMES, KINDS, SLOTS, TEXTURES, pick
from mre.embedded.chinese import ChineseLooks
from mre.embedded.request import NONE, OTHER, SEVERAL, Request, Wordings

VALUES = {"operation": ("recolour", "remove", "add", "texture", "background", *LOOKS), "kind": KINDS, "colour": COLOUR_NAMES,
          "texture": TEXTURES, "scene": BACKDROPS, "count": ("two",), "which": COLOUR_NAMES, "where": tuple(SLOTS), "anchor": KINDS}
# How often each sort of text is drawn.
SHARES = {"asked": 0.61, "unknown": 0.11, "nothing": 0.16, "refused": 0.03, "several": 0.09}
LISTED = 0.4                # share of unknown things that are those of the table, as people ask for them
CHINESE = 0.2              # share of texts in Chinese
# The highest cosine of a word that is far from every word that a concept of a section ends in. A synonym that the table lacks lies nearer.
FAR = {"kinds": 0.70, "colours": 0.62, "textures": 0.62, "backgrounds": 0.65, "looks": 0.62}
# The least cosine of a word that may stand for a word of a concept, where topic is meaning.
NEAR = {"kinds": 0.74, "backgrounds": 0.72}
MANY_SENSES = 2000          # the commonest words are near to many others
SWAPPED = 0.3               # share of requests with such a word
RARE = 2.0                  # 1: rare words of the list are drawn as often as common ones
GRAMMAR_WORDS = 150         # the commonest words, which belong to no concept
ENUMERATED = 0.35           # share of several requests in one that share a verb
USUAL_COLOURS = {"tree": "green", "moon": "yellow", "cloud": "white", "star": "yellow"}
JOINTS = (" and ", " and then ", ", ", " then ", ". ", " also ", "; ", " but ", ", and ", " and ", " plus ", ". then ")
JOINTS_ZH = ("，", "，然后", "，再", "、", "和", "。", "并且")
REFUSALS = ("don't {}", "do not {}", "never {}", "please don't {}", "you should not {}", "no need to {}", "i don't want you to {}",
            "dont {}", "do anything but {}")
CHATTER = ("hello", "hi there", "thanks", "what is this", "123", "yes", "ok", "lol", "please", "make it", "change it", "do something",
           "edit the photo", "make the picture better", "?", "more", "less", "again", "can you", "the picture", "make it nice", "remove it",
           "add something", "change the background", "change the colour", "another one", "in the middle", "on the left")


def own_wordings() -> Wordings:
    """The plainest wording of each request, as networks are trained on."""
    looks = {look: canonical(Asked(f"{'global' if look in GLOBAL_LOOKS else 'style'}:{look}")) for look in LOOKS}
    return Wordings(looks=looks, scenes={scene: phrases("backgrounds", scene, "noun")[0] for scene in BACKDROPS},
                    textures={texture: phrases("textures", texture, "adj")[0] for texture in TEXTURES}, colours=dict(USUAL_COLOURS))


def request_of(asked: Asked) -> Request:
    """What is asked of a scene, as the reader has it."""
    if asked.operation == NOTHING:
        return Request()
    operation = asked.value if asked.verb in ("global", "style") else asked.verb
    return Request(operation, kind=asked.kind or NONE, colour=asked.colour or NONE,
                   texture=asked.value if asked.verb == "texture" else NONE, scene=asked.value if asked.verb == "background" else NONE,
                   count="two" if asked.count == 2 else NONE,
                   which=asked.of_colour or NONE, where=asked.place or NONE, anchor=asked.beside or NONE)


class Texts:
    """Draws texts and what each asks for."""

    def __init__(self, words: Sequence[str], vectors: np.ndarray) -> None:
        """words and their vectors (W, D): the common words of the language, commonest first."""
        held_out = {word for text in requests.all_phrases(held_out=True) for word in re.findall(r"[a-z]+", text)}
        known = {word for text in requests.all_phrases(held_out=False) for word in re.findall(r"[a-z]+", text)} | held_out
        directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-6)
        places = {word: place for place, word in enumerate(words)}
        self.far: dict[str, list[str]] = {}
        self.near: dict[str, list[str]] = {}        # word of a concept -> words that are nearer to it than to the rest of its section
        for section, most in FAR.items():
            ends = [places[word] for word in last_words(section) if places.get(word, 0) >= GRAMMAR_WORDS]
            nearest = np.concatenate([(part @ directions[ends].T).max(axis=1) for part in np.array_split(directions, 20)])
            if section in NEAR:
                self._add_neighbours(words, directions, ends, known, NEAR[section])
            self.far[section] = [word for word, cosine in zip(words[GRAMMAR_WORDS:], nearest[GRAMMAR_WORDS:], strict=True)
                                 if cosine < most and len(word) > 2 and word not in known]
        everywhere = set.intersection(*map(set, self.far.values()))
        self.far["all"] = [word for word in words if word in everywhere]
        self.common = list(words[:GRAMMAR_WORDS])

    def draw(self, rng: np.random.Generator, split: str) -> tuple[str, Request]:
        """One text as people type it, and what it asks for. In training never one of the test instructions."""
        while True:
            sort = str(rng.choice(list(SHARES), p=list(SHARES.values())))
            text, request = getattr(self, f"_{sort}")(rng, split)
            if text and (split != "train" or comparable(text) not in reserved()):
                return text, request

    def _add_neighbours(self, words: Sequence[str], directions: np.ndarray, ends: list[int], known: set[str], least: float) -> None:
        """Words with a cosine of `least` to a word of a concept, under the one that they are nearest to."""
        for start in range(MANY_SENSES, len(words), 2000):
            cosines = directions[start:start + 2000] @ directions[ends].T                      # (2000, E)
            for word, nearest, cosine in zip(words[start:start + 2000], cosines.argmax(axis=1), cosines.max(axis=1), strict=True):
                if cosine >= least and word not in known and len(word) > 2:
                    self.near.setdefault(words[ends[int(nearest)]], []).append(word)

    def _asked(self, rng: np.random.Generator, split: str) -> tuple[str, Request]:
        drawn = requests.draw_request(rng, split, nothing=0.0, chinese=CHINESE)
        text = drawn.text
        swappable = [word for word in re.findall(r"[a-z]+", text) if word in self.near]
        if swappable and split == "train" and rng.random() < SWAPPED:
            word = pick(rng, swappable)
            text = re.sub(rf"\b{word}\b", pick(rng, self.near[word]), text)
        return text, request_of(drawn.asked)

    def _refused(self, rng: np.random.Generator, split: str) -> tuple[str, Request]:
        return requests.typed(rng, pick(rng, REFUSALS).format(canonical(requests.draw_asked(rng)))), Request()

    def _unknown(self, rng: np.random.Generator, split: str) -> tuple[str, Request]:
        """A request of a known sort for something that is not known."""
        asked = requests.draw_asked(rng)
        section = {"recolour": "colours", "texture": "textures", "background": "backgrounds", "global": "looks", "style": "looks"}
        about_thing = asked.verb in ("remove", "add") or (asked.verb in ("recolour", "texture") and rng.random() < 0.6)
        strange = self._strange(rng, "kinds" if about_thing else section[asked.verb])
        carrier = pick(rng, phrases("carriers", {"global": "look"}.get(asked.verb, asked.verb)))
        request = request_of(asked)
        a = with_article(strange) if rng.random() < 0.6 else strange
        gaps = {"noun": a, "adj": strange, "effect": a, "pattern": strange, "colour": asked.colour, "place": "", "scene": a,
                "where": f"in {a}"}
        if asked.verb in ("global", "style"):
            request = Request()
        elif asked.verb == "background":
            request = Request("background", scene=OTHER)
        elif not about_thing:
            gaps |= {"it": definite(asked), "colour": strange}
            request = replace(request, **{"colour" if asked.verb == "recolour" else "texture": OTHER})
        else:
            adj, pattern = (pick(rng, phrases("textures", asked.value, part)) for part in ("adj", "pattern")) if asked.value else ("", "")
            gaps |= {"it": definite(asked).replace(asked.kind, strange), "a": indefinite(asked).replace(asked.kind, strange), "adj": adj,
                     "pattern": pattern, "place": requests.american(_place_words(rng, asked))}
            request = replace(request, kind=OTHER)
        return requests.typed(rng, requests.smoothed(carrier.format(**gaps))), request

    def _strange(self, rng: np.random.Generator, section: str) -> str:
        """A word far from a section's concepts; common ones are drawn more often. Of things also those of the table."""
        if section == "kinds" and rng.random() < LISTED:
            return pick(rng, phrases("nothing", "things"))
        words = self.far[section]
        return words[int(len(words) * rng.random() ** RARE)]

    def _word(self, rng: np.random.Generator) -> str:
        return pick(rng, self.common) if rng.random() < 0.45 else self._strange(rng, "all")

    def _several(self, rng: np.random.Generator, split: str) -> tuple[str, Request]:
        if rng.random() < ENUMERATED:
            return requests.typed(rng, _enumerated(rng)), Request(SEVERAL)
        count = 2 if rng.random() < 0.6 else int(rng.integers(3, 7))
        chinese = float(rng.random() < CHINESE)
        parts: list[requests.Request] = []
        while len(parts) < count:
            part = requests.draw_request(rng, split, nothing=0.0, chinese=chinese)
            if all(part.asked != other.asked for other in parts):
                parts.append(part)
        return pick(rng, JOINTS_ZH if chinese else JOINTS).join(part.text.rstrip(".!。") for part in parts), Request(SEVERAL)

    def _nothing(self, rng: np.random.Generator, split: str) -> tuple[str, Request]:
        draw = rng.random()
        if draw < 0.50:
            return requests.draw_nothing(rng, split, chinese=CHINESE).text, Request()
        if draw < 0.56:
            return requests.typed(rng, pick(rng, CHATTER)), Request()
        if draw < 0.63:
            return requests.typed(rng, pick(rng, phrases("nothing", "foreign"))), Request()
        if draw < 0.71:
            return requests.typed(rng, _prompt(rng)), Request()
        if draw < 0.77:      # what stands around a request in letters
            alone = pick(rng, phrases("manner", pick(rng, ("context", "clauses", "after", "opening"))))
            return requests.typed(rng, re.sub(r"^\W+|[\s,:]+$", "", alone) or "please"), Request()
        if draw < 0.82:      # one thing, colour or place alone says nothing of what to do
            alone = pick(rng, (*COLOUR_NAMES, *(f"the {kind}" for kind in KINDS), *map(plural, KINDS)))
            return requests.typed(rng, alone), Request()
        count = int(rng.integers(1, 9))
        return requests.typed(rng, " ".join(self._word(rng) for _ in range(count))), Request()


def _prompt(rng: np.random.Generator) -> str:
    """A description of a whole picture, as it is written for a text-to-image model: subject and tags."""
    subjects = phrases("nothing", "prompt_subjects")
    subject = pick(rng, subjects) if rng.random() < 0.7 else pick(rng, phrases("nothing", "things"))
    where = pick(rng, phrases("backgrounds", pick(rng, BACKDROPS), "where")) if rng.random() < 0.3 else ""
    tags = [pick(rng, phrases("nothing", "prompt_tags")) for _ in range(int(rng.integers(1, 6)))]
    return ", ".join([" ".join(part for part in (with_article(subject), where) if part), *tags])


def _enumerated(rng: np.random.Generator) -> str:
    """Two or three things asked for in one sentence without a second verb: "remove the tree and the car", "make it darker and foggy"."""
    count = 2 if rng.random() < 0.7 else 3
    kinds, colours, looks = ([pick(rng, known) for _ in range(count)] for known in (KINDS, COLOUR_NAMES, tuple(GLOBAL_LOOKS)))
    if min(len(set(kinds)), len(set(colours)), len(set(looks))) < count:
        return _enumerated(rng)
    things, new = [f"the {kind}" for kind in kinds], [with_article(f"{colour} {kind}") for colour, kind in zip(colours, kinds, strict=True)]
    adjectives = [pick(rng, phrases("looks", look, "adj")[:4]) for look in looks]
    effects = [pick(rng, phrases("looks", look, "effect")[:4]) for look in looks]
    whole, listed = pick(rng, (("remove {}", things), ("get rid of {}", things), ("{} should go", things), ("add {}", new),
                               ("put {} in", new), ("make {} " + colours[0], things), (f"make the {kinds[0]} {{}}", colours),
                               ("make it {}", adjectives), ("{}", adjectives), ("i want it {}", adjectives), ("add {}", effects)))
    joint = pick(rng, (" and ", ", ", " but also ", " plus ", " and also "))
    return whole.format(", ".join(listed[:-1]) + joint + listed[-1])


def complaints() -> dict[str, tuple[str, str]]:
    """What a picture can have too much of, in both languages -> the look that mends it, and the one that the word would be taken for."""
    return {wrong: (look, OPPOSITES[look]) for look, lists in table()["looks"].items() for name in ("wrong", "wrong_zh") if name in lists
            for wrong in phrases("looks", look, name)}


def chinese_looks() -> ChineseLooks:
    """Looks in Chinese by the phrases of training; those that a landscape shares are left to the network."""
    landscapes = {phrase for scene in table()["backgrounds"] for phrase in phrases("backgrounds", scene, "zh")}
    said = {phrase: look for look in table()["looks"] for phrase in phrases("looks", look, "zh") if phrase not in landscapes}
    return ChineseLooks(said, list(phrases("carriers_zh", "look")))


@cache
def concept_words() -> frozenset[str]:
    """The English words by which concepts go that are one word: colours, things, looks as adjectives, landscapes."""
    texts = [text for section in ("colours", "kinds", "textures", "backgrounds", "looks") for concept, lists in table()[section].items()
             for name in lists if name not in ("zh", "whole", "where", "wrong_zh") for text in phrases(section, concept, name)]
    short = [text for text in texts if len(text.split()) <= 2]
    return frozenset(word for text in short for word in re.findall(r"[a-z]+", f"{text} {requests.american(text)}"))


@cache
def training_words() -> frozenset[str]:
    """The English words that requests of the train split are made of: of the concepts' phrases, and of what is said around them."""
    around = [text for section in ("carriers", "manner") for name in table()[section] for text in phrases(section, name)]
    places = [text for place in table()["places"] for name in ("en", "it") for text in phrases("places", place, name)]
    texts = [re.sub(r"\{\w*\}", " ", text) for text in (*around, *places)] + [*requests.all_phrases(held_out=False)]
    singular = {word for text in texts for word in re.findall(r"[a-z]+", f"{text} {requests.american(text)}".lower())}
    kinds = {text.split()[-1] for kind in KINDS for text in phrases("kinds", kind, "en")}
    return frozenset(singular | {plural(kind) for kind in kinds})


def last_words(section: str) -> set[str]:
    """The words in which the English phrases of a section of the table end: of a noun phrase, what it is."""
    aside = ("zh", "it", "whole", "wrong", "wrong_zh")
    lists = {concept: [name for name in lists if name not in aside] for concept, lists in table()[section].items()}
    return {text.split()[-1] for concept, names in lists.items() for name in names for text in phrases(section, concept, name)}


def _place_words(rng: np.random.Generator, asked: Asked) -> str:
    return pick(rng, phrases("places", asked.place, "en")) if asked.place and not asked.beside else ""
