"""What the order of words says of a request: beside what a thing is to be, which colour is not wanted, of what there is to be more or
less, which article is left out, and whether it is a question."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

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
# What photographs have more or less of, and the looks that more and less of it are. "Saturation down" is none that is known.
# None where less of it is asked for in other words too, as "drop the colour" is black and white.
AMOUNTS: dict[str, tuple[str, str | None]] = {
    "exposure|brightness|luminance|luminosity|lights?|lighting|illumination": ("brighter", "darker"),
    "darkness": ("darker", "brighter"),
    "saturation|vibrance|vibrancy|chroma|colou?r intensity|colou?r strength": ("vivid", ""),
    "colou?rs?": ("vivid", None),
    "warmth|colou?r temperature|temperature|white balance": ("warmer", "cooler"),
    "fog|haze|mist": ("foggy", "")}
AMOUNTS_ZH: dict[str, tuple[str, str | None]] = {
    "曝光度?|亮度|光线|光照|光": ("brighter", "darker"), "(?:色彩)?饱和度": ("vivid", ""), "色温": ("warmer", "cooler"),
    "雾": ("foggy", "")}
# Each for more and for less: what stands before the name, and what behind it.
BEFORE = (r"increase|raise|lift|bump(?: up)?|boost|push(?: up)?|up|turn up|crank(?: up)?|bring up|pump up|dial up|pull up|put up"
          r"|bring back|restore"
          r"|add(?: more| some)?|(?:give (?:it|me|us) )?more|not enough|too little"
          r"|(?:(?:it|this) )?(?:needs|lacks|wants|could use)(?: more| some)?",
          r"decrease|lower|reduce|drop|cut(?: down)?|turn down|bring down|pull down|take down|dial down|tone down|knock down|lessen|tame"
          r"|less|(?:there(?:'s| is) )?(?:far |way |a bit )?too much|excessive")
BEHIND = (r"up|higher|stronger|is too (?:low|weak)|(?:is|seems|looks) (?:low|lacking)", r"down|lower|weaker|is too (?:high|strong|much)")
MOVING = r"(?:turn|bring|crank|dial|pull|push|take|put)"
WAYS_ZH = "提高|增加|加强|加大|调高|增强|提升|拉高|多一点|多一些", "降低|减少|减弱|减小|调低|压低|拉低|少一点|少一些"
ASKING = r"(?:(?:please|pls|can you|could you|would you|just|slightly|gently|kindly|maybe|i would|i'd|like to|want to) )*"
BETWEEN = r"(?: (?:the|its|this|that|of|overall|a|an|bit|little|touch|some|more|picture's|image's|photo's|general|global))*"
HOW_MUCH = (r"(?: (?:up|down|a|an|the|bit|touch|little|lot|notch|slightly|please|pls|more|in|on|of|here|this|picture|photo|image|shot|it"
            r"|by|about|half|one|two|three|thirds?|quarter|stops?|percent|points?|ev|some|for|me|thanks|and|bring|pull|take|turn|,|[0-9]+))*")
POLITE = re.compile(r"^(?:(?:please|pls|plz|can you|could you|would you)[ ,]+)+|(?:[ ,]+(?:please|pls|plz|thanks|thank you))+(?=[ .!?]*$)")
# Telegraphic requests, "add red ball", "make ball red": after these verbs an article is left out where the text has no determiner.
ADDS = frozenset({"add", "put", "insert", "place", "include", "draw", "drop", "stick"})
CHANGES = frozenset({"make", "paint", "turn", "colour", "color", "recolour", "recolor", "dye", "tint", "remove", "delete", "erase",
                     "drop", "cut", "lose", "hide", "change", "wipe"})
DETERMINERS = frozenset({"a", "an", "the", "my", "our", "your", "his", "her", "its", "their", "this", "that", "these", "those", "some",
                         "any", "all", "both", "every", "each", "another", "one", "two", "three", "it", "everything", "them", "more",
                         "less", "no"})


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


def amount(text: str) -> tuple[str, str] | None:
    """Of a text that asks for more or less of something that photographs have much or little of ("lift the exposure by a third of a stop",
    "too much light, bring it down", "亮度调高"), the look that it asks for, "" where that is none that is known, and its opposite."""
    words, chinese = " ".join(words_of(text)).strip(" .!?,"), bool(CHINESE.search(text))
    if chinese:
        words = words.replace(" ", "")
    return next((looks for pattern, looks in _amount_patterns(chinese) if pattern.fullmatch(words)), None)


@cache
def _amount_patterns(chinese: bool) -> list[tuple[re.Pattern[str], tuple[str, str]]]:
    """What asks for more and for less of each thing, and the look that it asks for with its opposite."""
    found = []
    for name, (more, less) in (AMOUNTS_ZH if chinese else AMOUNTS).items():
        for way, looks in enumerate([(more, less or ""), (less, more)]):
            if looks[0] is None:
                continue
            if chinese:
                said = rf"(?:(?:{WAYS_ZH[way]})(?:一下|一点|一些|点)?(?:{name})|(?:{name})(?:再|要)?(?:{WAYS_ZH[way]}))"
                pattern = rf"请?(?:把|将)?(?:画面|照片|图片)?的?{said}(?:一下|一点|一些|点|吧|了)*"
            else:
                behind = rf"(?:{MOVING}{BETWEEN} |(?:the|its) )?(?:{name})(?: a bit| slightly| a touch)? (?:{BEHIND[way]})"
                pattern = rf"{ASKING}(?:(?:{BEFORE[way]}){BETWEEN} (?:{name})|{behind}){HOW_MUCH}"
            found.append((re.compile(pattern), looks))
    return found


def with_article(words: Sequence[str]) -> list[str] | None:
    """The words of a telegraphic request with the article that it leaves out; none for any other text."""
    if DETERMINERS.isdisjoint(words):
        for place, word in enumerate(words[:-1]):
            if word in ADDS | CHANGES:
                article = ("an" if words[place + 1][0] in "aeiou" else "a") if word in ADDS else "the"
                return [*words[:place + 1], article, *words[place + 1:]]
    return None


def plain(text: str) -> str:
    """A text in lower case without politeness, doubled blanks and a stop at its end."""
    return POLITE.sub("", " ".join(text.lower().split())).strip(" .,!?")


def is_question(text: str) -> bool:
    """Whether a text asks for an answer ("what colour is the ball?"), not for an edit ("what if it was blue?")."""
    return QUESTION.match(" ".join(words_of(text))) is not None
