"""What a text says is not to be done: what is to stay ("keep the car"), what there is to be less of ("not so dark", "clear the fog"), what
only an exception is made of ("all but the tree"), and one thing in another's place. A network that has learned requests hears the words
and seldom the "not"."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mre.embedded.words import CHINESE

# Between clauses, and before what only says how a request is not to be done.
BETWEEN = re.compile(r"(\s+(?:and then|and|or|then|but|also|plus)\s+|\s*[,.;:!?，。；：！？\n]\s*|然后|并且|但是?|可是|不过|而是|同时"
                     r"|\s+(?=(?:without|(?:while |but |and )?(?:keeping|leaving|preserving)(?! out))\b))", re.IGNORECASE)
AROUND = (r"^(?:(?:please|pls|plz|but|and|so|just|also|kindly|ok|okay|now|then|oh|well|you|u|still|always|hey|hi|hello|sorry|can you"
          r"|could you|would you) )*")
# "Don't know", "don't forget to", "don't want that star" hold nothing back, nor does "don't you think".
NO_COMMAND = (r"(?!you\b|mind|know|care|think|like|want|see|worry|forget|hesitate|understand|love|feel|believe|be afraid|say|look"
              r"|have (?!to)|need (?!to)|been|had|was)")
HELD_BACK = re.compile(
    AROUND + rf"(?:(?:don't|do not|never)(?: ever| you dare)? {NO_COMMAND}\w"
    r"|you (?:should|must|may|can|shall)(?:n't| not|not)\b|you cannot\b|must not\b|mustn't\b"
    r"|(?:i|we) (?:don't|do not|never) want(?:ed)? (?:you|u|anyone) to|i'd rather you didn't|(?:there is |there's )?no need to"
    r"|avoid \w+ing|refrain from|let's not|let us not|without \w+ing|(?:while )?(?:keeping|leaving|preserving)\b"
    r"|(?:keep|preserve|retain|maintain|protect|spare) (?!(?!everything|anything)\w+ing\b)"
    r"|leave (?:(?:the|that|this|my|your|all|any) \w+$|.*\b(?:alone|as|be|unchanged|untouched|there|intact|same)\b|.* in$)"
    r"|(?:change|touch|alter|edit|do) nothing"
    r"|(?:everything|all|nothing) else .*\b(?:stays?|remains?|same|unchanged|untouched|alone|changes?|as (?:it )?is)\b)")
HELD_BACK_ZH = re.compile(
    r"^(?:请|麻烦|你|您|千万|绝对|也|都|就)*(?:别|不用|不必|不许|不能|不可以|不准|禁止|勿|保留|保持|留着|留下"
    r"|不要(?:再|去|让|把|将|变|改|加|添|删|移|动|碰|弄|换|涂|画|做|搞|调|染|放|太|那么|这么))")
# By these a clause after another is held back, unless nothing else is asked for.
NOT_THAT = re.compile(AROUND + r"(?:not (?!.*\benough\b)|no |nor |without )")
NOT_THAT_ZH = re.compile(r"^(?:不要|没有|不是)")
# What such a clause goes on with: "keep the sky and the trees".
OF_THE_SAME = re.compile(AROUND + r"(?:the|a|an|my|your|our|his|her|its|this|that|these|those|both|all|any|or|nor)\b"
                         r"(?!.*\b(?:should|must|shall|needs?|is|are|to be|becomes?|has|have|into)\b)")
EXCEPTED = re.compile(r"\b(?:except(?:ing)?(?: for| that)?|excluding|(?:everything|anything|all|nothing)(?: else)? "
                      r"(?:but|besides|save|apart from|aside from|other than)(?! also)"
                      r"|everything .* (?:apart from|aside from|other than))\b"
                      r"|除了|除.{1,8}?(?:以外|之外)")


@dataclass(frozen=True)
class Wanted:
    """What a text asks for without what it holds back."""

    text: str               # empty: all of it is held back
    is_sure: bool           # else the whole text may be a request too, as "I want it without the tree"


def wanted(text: str) -> Wanted | None:
    """What a text asks for without its clauses that hold something back; None where there are none. A text is in lower case, with a blank
    between words, but for Chinese."""
    if found := EXCEPTED.search(text):
        before = text[:found.end()]
        if not (HELD_BACK.match(before) or HELD_BACK_ZH.match(before)) or text[:found.start()].strip() in ("keep", "leave"):
            return Wanted("", is_sure=True)
        text = f"{text[:found.start()]}, {text[found.end():]}"
    pieces = BETWEEN.split(text)
    kept, sure, is_held, joint, first = [], [], False, "", True
    for clause, following in zip(pieces[::2], [*pieces[1::2], ""], strict=True):
        said = clause.strip()
        if said:
            goes_on = is_held and joint.strip() in ("and", "or", ",", "，") and (
                OF_THE_SAME.match(said) or (joint.strip() in ("and", "or") and len(said.split()) == 1))
            held = HELD_BACK.match(said) or HELD_BACK_ZH.match(said) or goes_on
            softly = not held and not first and (NOT_THAT.match(said) or NOT_THAT_ZH.match(said))
            is_held = bool(held or softly)
            if is_held:
                sure.append(not softly)
            else:
                kept.append(joint + clause if kept else clause)
            first = False
        elif kept and not is_held:
            kept.append(joint + clause)
        joint = following
    return Wanted("".join(kept), is_sure=any(sure)) if sure else None


# What says that there is to be less, or none, of what follows, and what says the opposite of it: of looks alone, and of any request.
LESS_OF_LOOKS = [(re.compile(pattern), said) for pattern, said in (
    (r"^(?:no more|no|without|zero)\b", "more"), (r"\bwithout\b", "with"), (r"(?<!n't )(?<!not )\btoo much\b", "much"),
    (r"(?<!n't )(?<!not )\btoo\b", "very"), (r"[ -]free\b", ""),
    (r"^i (?:don't|do not|really don't) (?:like|love)|^i (?:hate|dislike)", "i like"),
    (r"^(?:(?:please|pls|plz|can you|could you|would you|just|now) )*(?:remove|delete|erase|clear(?: away| up| out| off)?|melt"
     r"|take (?:away|out|off)|get rid of|lose|stop|end|kill|drop|cut|eliminate|dispel|undo|reverse|cancel|(?:turn|switch) off)\b", "add"))]
LESS = [(re.compile(pattern), said) for pattern, said in (
    (r"\b(?:a (?:bit|little|touch) |a lot |much |far |way |slightly |somewhat )?(?:less|fewer)\b", "more"),
    (r"(?<!is )(?<!are )(?<!was )(?<!looks )\bnot (?:so|as|that|too|quite so)\b", "very"),
    (r"\b(should|must|shall|ought|need)(?: not|n't)\b", r"\1"), (r"\b(?:do|does)(?: not|n't) want\b", "want"),
    (r"\bstop (?=\w+ing\b)", ""), (r"\bno longer\b", ""))]
LESS_ZH = [(re.compile(pattern), said) for pattern, said in (
    (r"不要|不想要?|别|没那么|不那么|少(?:一点|一些|点)?|减少|消除|停止", ""), (r"太多", "多"), (r"太(?:大|重|浓|厚)", "大"),
    (r"去掉|去除|除去|移除|删除|清除|^去|^除", "加"))]
THAN_WANTED = re.compile(r"^((?:it|this|that|the \w+|my \w+|picture|photo|image)"
                         r"(?:'s| is| looks| came out| turned out| seems| was) .+?) than "
                         r"(?:i|we|it should|needed|wanted|necessary|desired|intended)\b")
LACKING_ZH = re.compile(r"^(?:这|那|张|个|照片|图片?|画面|天空|颜色|色彩|光线|有点|还)*"
                        r"(?:不够|没有够|不太|不是很|不是太|不怎么)([^，。！？]{1,4}?)[了啊呀吧。！!]*$")


def affirmed(text: str, of_look: bool) -> str | None:
    """A text that asks for less of something, or for none of it, with more of it instead: the two cannot ask for the same. None for any
    other text. of_look: whether it is read as asking for a look of the whole picture."""
    if found := THAN_WANTED.search(text):
        return found[1]
    for pattern, said in LESS_ZH if CHINESE.search(text) else [*LESS, *(LESS_OF_LOOKS if of_look else ())]:
        changed = pattern.sub(said, text, count=1)
        if changed != text:
            return " ".join(changed.split())
    return None


def clauses(text: str) -> list[str]:
    """The clauses of a text."""
    return [clause.strip() for clause in BETWEEN.split(text)[::2] if clause.strip()]


def lacking(text: str) -> str | None:
    """"不够亮" as a request for more of it, "再亮一点"; None for any other text."""
    found = LACKING_ZH.match(text)
    return f"再{found[1]}一点" if found else None


REPLACED = [re.compile(pattern) for pattern in (
    r"\b(?:replace|swap|exchange|substitute|switch)(?: out)? (?P<old>.+?) (?:with|by|for|to|into) (?P<new>.+)",
    r"\b(?:turn|change|transform|convert) (?P<old>.+?) (?:in)?to (?P<new>an? .+)", r"(?P<new>.+) (?:instead|in place) of (?P<old>.+)",
    r"(?:把|将)?(?P<old>.+?)(?:换成|替换成|替换为|换为|变成|改成)(?P<new>.+)")]


def replaced(text: str) -> tuple[str, str] | None:
    """What is to go and what is to come in its place, of "replace the ball with a star"; None for any other text."""
    found = next((found for pattern in REPLACED if (found := pattern.search(text))), None)
    return (found["old"].strip(" ,"), found["new"].strip(" ,.!")) if found else None


# Looks that words of the opposite are taken for, since words that are said of the same things have like vectors; and words of the look.
UNLIKE: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "night": (("day", "daytime", "daylight", "noon", "midday", "morning", "sunny", "白天", "白昼", "中午", "早晨"),
              ("night", "nighttime", "nite", "dark", "evening", "midnight", "moon", "stars", "夜", "晚")),
    "winter": (("summer", "summertime", "summery", "spring", "springtime", "sunny", "夏", "春"),
               ("winter", "wintry", "wintertime", "snow", "snowy", "ice", "icy", "frost", "frozen", "christmas", "冬", "雪", "冰")),
    "autumn": (("summer", "summertime", "summery", "spring", "springtime", "夏", "春"), ("autumn", "autumnal", "fall", "leaves", "october",
                                                                                         "november", "秋", "落叶"))}
LACK_OF = {"black_and_white": re.compile(r"\bcolou?rs?\b|\bsaturation\b|[颜彩]色")}      # what such a look is without
ASIDE = re.compile(r"\b(?:not|instead of|rather than|no longer)(?: (?:the|a|in|being))* \w+|(?:而不是|不是|不要)\w{1,3}")


def is_lack(text: str, look: str) -> bool:
    """Whether a text speaks of what a look lacks, so that none of it asks for that look."""
    return look in LACK_OF and bool(LACK_OF[look].search(text))


def is_unlike(text: str, look: str) -> bool:
    """Whether a text asks for the opposite of a look: of the words of both, the last one that is wanted is the opposite's."""
    opposed, own = UNLIKE.get(look, ((), ()))
    said = ASIDE.sub(" ", text)
    return _last(said, opposed) > _last(said, own)


def is_barred(text: str, *words: str) -> bool:
    """Whether one of some words is what something is not to be, or is not, in a text: "the tree that is not green"."""
    return any(re.search(rf"(?:\bnot|n't|\bnon|\bother than)(?: be)?(?: (?:a|an|the))? {re.escape(word)}\b", text) for word in words)


def _last(text: str, words: Sequence[str]) -> int:
    """Where the last of some words begins; -1 where there is none."""
    places = [found.start() for word in words for found in re.finditer(word if CHINESE.search(word) else rf"\b{word}\b", text)]
    return max(places, default=-1)
