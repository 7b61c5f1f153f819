"""What the order of words says of a request: beside what a thing is to be, which colour is not wanted, and whether it is a question."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mre.embedded.words import CHINESE, words_of

SIDE = r"(?:(?:to|on|at)(?: (?:the|its))? )?(?P<side>left|right)(?: hand)?(?: side)?"
THING = r"(?:the|that|this|my|a) (?P<thing>\w+(?: \w+){0,2})"
NEAR = r"(?:next to|beside|besides|alongside|adjacent to|close to|near|by)"
RELATIONS = [re.compile(pattern) for pattern in
             (rf"\b{SIDE} of {THING}", rf"\b{NEAR} {THING.replace('{0,2}', '{0,2}?')} ?,? {SIDE}", rf"\b{SIDE} ?,? {NEAR} {THING}")]
RELATIONS_ZH = [re.compile(r"(?:在|到)?(?P<thing>[^，。,.在到]{1,6}?)的?(?P<side>左|右)(?:手?边|侧|面|方)")]
SIDES = {"左": "left", "右": "right"}
CONTRAST = re.compile(r"[ ,]+(?:and |but )?(?:not|instead of|rather than|as opposed to|no longer)(?: (?:the|a|in|being|it being|its))* "
                      r"(?P<word>\w+)(?: one)?(?: (?:any ?more|now|please|pls|thanks))*[ .!?]*$")
CONTRAST_ZH = re.compile(r"[，, ]?(?:而不是|而非|不是|不要|别用|代替)(?P<word>\w{1,4}?)的?[。！!]*$")
QUESTION = re.compile(r"(?:(?:what|which|whose) (?:\w+ )?(?:is|are|was|were|does|do|did)|where (?:is|are|was|were|did|does|do)"
                      r"|who(?:se)? \w+|when (?:is|are|was|were|did|does|do)|how (?:many|much|old|tall|far|big|large|long))\b[^?.!,;]*\??$")


@dataclass(frozen=True)
class Beside:
    """A text without its phrase of place, and what that says."""

    rest: str
    thing: str      # "red tree": the words of the other thing
    side: str       # left or right

    @property
    def removal(self) -> str:
        """A request about the other thing, by which it is named."""
        return f"去掉{self.thing}" if CHINESE.search(self.thing) else f"take away the {self.thing}"


def besides(text: str) -> Iterator[Beside]:
    """Each way to take a phrase such as "to the left of the red tree" out of a text, the shortest noun phrases first."""
    words = " ".join(words_of(text))
    if CHINESE.search(text):
        words = words.replace(" ", "")
    for pattern in RELATIONS_ZH if CHINESE.search(text) else RELATIONS:
        if found := pattern.search(words):
            thing = found["thing"].split(" ")
            for count in range(1, len(thing) + 1):
                after = " ".join(thing[count:])
                if after and found.end("thing") != found.end():
                    continue            # the side comes after the whole noun phrase
                rest = f"{words[:found.start()].strip()} {after} {words[found.end():].strip()}"
                yield Beside(" ".join(rest.split()).strip(" ,"), " ".join(thing[:count]), SIDES.get(found["side"], found["side"]))


def contrast(text: str) -> tuple[str, str] | None:
    """A text that ends as "... not yellow" or "... instead of red" does, without that end, and the last word of it."""
    found = CONTRAST.search(" ".join(words_of(text))) or CONTRAST_ZH.search(text)
    return (found.string[:found.start()], found["word"]) if found and found.start() else None


def is_question(text: str) -> bool:
    """Whether a text asks for an answer ("what colour is the ball?"), not for an edit ("what if it was blue?")."""
    return QUESTION.match(" ".join(words_of(text))) is not None
