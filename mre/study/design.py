"""What a study is: its settings, its items and methods. Values check themselves; a started study's are frozen."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any
from urllib.parse import quote, urlsplit

from mre.errors import StudyError
from mre.text import fault_of_text, storable

LANGUAGES = ("en", "zh")
SERVINGS = ("random", "informative", "mixed")
MAX_INSTRUCTION_CHARS = 4000
ORIGINAL = "original"               # what exports call the original when an attention check shows it as an edit
MAX_URL_CHARS = 500
# What held in studies that had begun before these fields were there: no rule ended a visit, and skipped screens earned the code too.
BEFORE_RULES = {"max_pair_skips": 0, "max_skip_share": 1.0, "max_failed_checks": 0, "min_median_seconds": 0.0, "completion_share": 0.0}


@dataclass(frozen=True)
class StudyDesign:
    """Settings of one study. Where the paper is silent (overlap, repeats, checks) the default is a plain choice of ours."""

    title: str = "Image editing study"      # what annotators see; the study's name may tell too much
    per_pair: int = 3                       # annotators who score each pair; the paper had 10
    repeats: float = 5.0                    # hidden repeats, per cent of an annotator's pairs
    repeat_gap: int = 10                    # screens between a pair and its repeat, at least
    checks: float = 2.0                     # attention checks, per cent of an annotator's pairs
    max_screens: int = 0                    # pairs for one annotator; 0: as many as there are
    lease_minutes: float = 30.0             # a screen left alone this long goes to somebody else
    min_seconds: float = 0.0                # a screen cannot be submitted earlier
    break_every: int = 50                   # screens after which the page suggests a break; 0: never
    seed: int = 0
    pairs: tuple[tuple[str, str], ...] = ()  # method pairs to compare; empty: all
    languages: tuple[str, ...] = LANGUAGES
    consent: str = ""                       # replaces the page's own consent text
    instructions: str = ""                  # is shown below the page's own instructions
    completion_code: str = ""               # empty: each annotator gets their own
    completion_share: float = 0.9           # of an annotator's screens, scored, earns the code; 0: all gone through, skipped ones too
    completion_url: str = ""                # where an annotator with a code goes on, such as https://service.example/done?cc={code}
    keep_recruiting_id: bool = False        # keep the id that a recruiting service gave the annotator, encrypted, to pay them
    max_pair_skips: int = 3                 # a pair that so many annotators skip is set aside; 0: never
    rules_after: int = 10                   # screens of an annotator before their share of skips and their pace are judged
    max_skip_share: float = 0.3             # of an annotator's screens; more skips end the visit; 1: never
    max_failed_checks: int = 3              # so many failed attention checks end the visit; 0: never
    min_median_seconds: float = 3.0         # of an annotator's latest scored screens; less ends the visit; 0: never
    allow_flip: bool = True
    allow_phone: bool = True
    serving: str = "random"                 # informative: pairs first whose ratings teach a judge most; mixed: to half of the annotators

    def __post_init__(self) -> None:
        for name, low, high in (("per_pair", 1, 1000), ("repeats", 0, 100), ("repeat_gap", 1, 10_000), ("checks", 0, 100),
                                ("max_screens", 0, 1_000_000), ("lease_minutes", 0.05, 7 * 24 * 60), ("min_seconds", 0, 600),
                                ("break_every", 0, 10_000), ("seed", 0, 2**53), ("completion_share", 0, 1), ("max_pair_skips", 0, 1000),
                                ("rules_after", 1, 10_000), ("max_skip_share", 0, 1), ("max_failed_checks", 0, 1000),
                                ("min_median_seconds", 0, 600)):
            value, whole = getattr(self, name), isinstance(getattr(StudyDesign, name), int)
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not low <= value <= high:
                raise StudyError(f"{name} must be a {'whole ' if whole else ''}number from {low} to {high}, got {value!r}")
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, str) and (fault := fault_of_text(value)):
                raise StudyError(f"{entry.name} holds {fault}")
        if not self.title.strip() or len(self.title) > 200:
            raise StudyError(f"title must have 1 to 200 characters, got {len(self.title)}")
        if not self.languages or not set(self.languages) <= set(LANGUAGES):
            raise StudyError(f"languages must be some of {', '.join(LANGUAGES)}, got {', '.join(self.languages) or 'none'}")
        if self.serving not in SERVINGS:
            raise StudyError(f"serving must be one of {', '.join(SERVINGS)}, got {self.serving!r}")
        for pair in self.pairs:
            if len(pair) != 2 or pair[0] == pair[1]:
                raise StudyError(f"pairs must be of two different methods, got {' and '.join(pair)}")
        if len(self.completion_code) > 40:
            raise StudyError("completion_code must have at most 40 characters")
        if self.completion_url:
            _check_url(self.completion_url)

    def completion_address(self, code: str) -> str | None:
        """Where an annotator with this code goes on; None when the study names no place."""
        return self.completion_url.replace("{code}", quote(code, safe="")) or None

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, *, begun: bool = False) -> StudyDesign:
        """The design as it was stored. In a study that has `begun`, rules that it does not name are those from before there were any:
        its annotators were told of no others."""
        data = json.loads(text)
        if begun:
            data = BEFORE_RULES | data
        known = {entry.name for entry in fields(cls)}
        told: dict[str, Any] = {name: storable(value) if isinstance(value, str) else value for name, value in data.items() if name in known}
        told["pairs"] = tuple(tuple(pair) for pair in told.get("pairs", ()))
        told["languages"] = tuple(told.get("languages", LANGUAGES))
        return cls(**told)


def has_rules(design_json: str) -> bool:
    """Whether a stored design names the rules of participation; designs from before there were any do not."""
    return "max_skip_share" in json.loads(design_json)


def _check_url(url: str) -> None:
    """Refuse what is no plain https address. Raises StudyError."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        parts = host = None
    if len(url) > MAX_URL_CHARS or not url.isascii() or not url.isprintable() or set(url) & set(" \"'<>\\`"):
        raise StudyError(f"completion_url must have at most {MAX_URL_CHARS} characters, without spaces, quotes and <>")
    if parts is None or parts.scheme != "https" or not host or not re.fullmatch(r"[a-z0-9.\-]+|[0-9a-f:.]+", host) or "@" in parts.netloc:
        raise StudyError(f"completion_url must be an https address such as https://service.example/done?cc={{code}}, got {url!r}")
    if re.search(r"[{}]", url.replace("{code}", "")):
        raise StudyError("completion_url can hold {code} and no other braces")


@dataclass(frozen=True)
class Picture:
    """A picture rebuilt from pixels: nothing of its file is left but the digest of what it was made from."""

    digest: str                 # of size and pixels
    width: int
    height: int
    png: bytes = field(repr=False)
    source: str = ""            # where it came from; stays on the server
    source_digest: str = ""

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height


@dataclass(frozen=True)
class Item:
    """One original with its instruction, and one edit per method, all of one size."""

    name: str
    edit_type: str
    instruction: str
    original: Picture
    edits: dict[str, Picture]
    details: dict[str, dict[str, str]] = field(default_factory=dict)     # per method: seed, model, seconds

    def __post_init__(self) -> None:
        if not self.instruction.strip():
            raise StudyError(f"item {self.name}: instruction is empty")
        if len(self.instruction) > MAX_INSTRUCTION_CHARS:
            raise StudyError(f"item {self.name}: instruction has {len(self.instruction)} characters, at most {MAX_INSTRUCTION_CHARS}")
        sizes = {picture.size for picture in (self.original, *self.edits.values())}
        if len(sizes) != 1:
            shown = ", ".join(f"{width}x{height}" for width, height in sorted(sizes))
            raise StudyError(f"item {self.name}: pictures differ in size ({shown})")


def content_digest(design: StudyDesign, items: list[tuple], edits: list[tuple]) -> str:
    """SHA-256 over everything that decides what annotators see: two studies with one digest are the same study."""
    text = json.dumps([design.to_json(), sorted(items), sorted(edits)], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def checked_name(name: str) -> str:
    """A study's name: letters, digits, `-`, `_`, `.`. Raises StudyError."""
    if not re.fullmatch(r"[\w][\w.\-]{0,99}", name):
        raise StudyError(f"a study's name is letters, digits, '-', '_' or '.', at most 100; got {name!r}")
    return name
