"""The reader: a small network that says what an instruction asks for, slot by slot, with probabilities.

Whole words come in as public word vectors (GloVe), so that a synonym that training never saw lies near one that it did; beside them the
pieces of each word's spelling, which know typing errors and Chinese. It is trained on texts alone (`mre.embedded.train_reader`). Words that
a lexicon has are read as words that training asks with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import islice, product
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mre.editors.reading import Reading
from mre.embedded.chinese import ChineseLooks
from mre.embedded.lexicon import Lexicon, read_lexicon, write_lexicon
from mre.embedded.negation import affirmed, clauses, is_barred, is_lack, is_unlike, lacking, replaced, wanted
from mre.embedded.request import (
    ALLOWED,
    NEEDED,
    NONE,
    OTHER,
    SEVERAL,
    SLOTS,
    Request,
    Wordings,
    all_values,
    likeliest,
    with_operation,
    without_several,
)
from mre.embedded.structure import ADDS, CHANGES, amount, besides, contrast, is_question, plain, with_article
from mre.embedded.words import BUCKETS, CHINESE, FIRST_WORD, MOST_WORDS, PAD, Spelling, in_another_script, numbered, words_of
from mre.files import write_whole

WEIGHTS, WORDS, SETTINGS, LEXICON = "reader.safetensors", "words.txt", "reader.json", "lexicon.txt"
SHIPPED = Path(__file__).resolve().parent.parent / "assets" / "tiny-reader"
MOST_NEAREST = 3
SCALE = "vectors_scale"
LIKELY = 0.06           # probability of an operation that is worth offering
JOINTS = re.compile(r"\s+(?:and then|and|then|but|also|plus)\s+|[,.;!?，。；、！？\n]|然后|并且", re.IGNORECASE)       # between clauses
LINKS = re.compile(JOINTS.pattern + r"|[&+/→和再又并跟]|\b(?:and|but|also|plus|with)\b", re.IGNORECASE)       # in several
MOST_CLAUSES = 12
OLD_TEXTS = 32          # words that readers read which do not say how many
FEWEST_WORDS = 3        # of a clause that is a request by itself
LETTER = 15             # words of a text that is long enough for one request with much around it
CERTAIN = 0.7           # confidence in each of several requests
HEARD = 0.4             # confidence in a request of a clause that is not certain enough to be one of several, and yet asks for something
BOUND = re.compile(r"(\bnot |n't (make|get|let|be|become|turn|go)( \w+){0,3} |[别不要])$")       # a request's, before "too dark"
TOO = ("too ", "is so ", "is it so ", "is this so ", "'s so ", "太")     # before what a picture has too much of
CHANGED = ("recolour", "remove", "texture")         # operations on what is there
SIGN = re.compile(r"^\s*([-+−–])\s*(?=([^\W\d_]+))")     # before what is to come or go, "+ yellow moon", or an item of a list
SIGNS = {"+": "add ", "-": "remove ", "−": "remove ", "–": "remove "}
MOST_MENDED = 9         # ways to mend a text's slips
SURE_ONE = 0.9          # confidence in one request where several are heard that cannot be told apart
LEAST = 0.5             # confidence: below it nothing is understood


@dataclass(frozen=True)
class ReaderSize:
    """Widths of a reader."""

    word: int = 50          # of a word's public vector
    piece: int = 48
    width: int = 96
    heads: int = 4
    layers: int = 2
    texts: int = MOST_WORDS     # words of a text that are read


class RequestReader(nn.Module):
    """Numbers of words and pieces -> scores of each slot's values, and a state of the whole text for who is conditioned on it."""

    def __init__(self, words: int, values: Mapping[str, Sequence[str]], size: ReaderSize) -> None:
        """words: how many there are; their vectors are loaded or set. values: of each slot, as `all_values` orders them."""
        super().__init__()
        self.values = {slot: tuple(values[slot]) for slot in SLOTS}
        self.vectors: Tensor
        self.register_buffer("vectors", torch.zeros(words + FIRST_WORD, size.word))          # frozen
        self.unknown = nn.Parameter(torch.zeros(size.word))
        self.pieces = nn.Embedding(BUCKETS, size.piece, padding_idx=0)
        self.inward = nn.Linear(size.word + size.piece, size.width)
        self.places = nn.Parameter(torch.randn(size.texts, size.width) * 0.02)
        layer = nn.TransformerEncoderLayer(size.width, size.heads, 2 * size.width, dropout=0.1, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, size.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(size.width)
        self.asks = nn.Linear(size.width, len(SLOTS))                                          # how much each slot looks at each word
        self.heads = nn.ModuleDict({slot: nn.Linear(size.width, len(self.values[slot])) for slot in SLOTS})
        nn.init.zeros_(self.pieces.weight)

    def states(self, words: Tensor, pieces: Tensor, blurred: float = 0.0, dropped: float = 0.0) -> tuple[Tensor, Tensor]:
        """(B, T) and (B, T, P) numbers -> (B, T, D) states of the words and (B, S, D) of the slots.

        blurred: noise on the public vectors, relative to their length, and dropped: share of words that are seen by one of their two
        sides alone, in training
        """
        known = (words >= FIRST_WORD)[..., None]
        vectors = torch.where(known, self.vectors[words].to(self.unknown), self.unknown)                  # (B, T, word)
        spelt = self.pieces(pieces).sum(dim=2) / (pieces > 0).sum(dim=2, keepdim=True).clamp(min=1)       # (B, T, piece)
        if blurred:
            vectors = vectors + torch.randn_like(vectors) * blurred * vectors.norm(dim=-1, keepdim=True) / vectors.shape[-1]**0.5
        if dropped:
            draw = torch.rand(words.shape, device=words.device)[..., None]
            vectors = torch.where(draw < dropped, self.unknown, vectors)
            spelt = torch.where(draw > 1 - 2 * dropped, 0.0, spelt)
        hidden = self.inward(torch.cat([vectors, spelt], dim=-1)) + self.places[:words.shape[1]]
        nothing = words == PAD
        nothing = nothing & ~nothing.all(dim=1, keepdim=True)              # an empty text still has a word to look at
        hidden = self.norm(self.layers(hidden, src_key_padding_mask=nothing))                             # (B, T, D)
        looks = self.asks(hidden).masked_fill(nothing[..., None], -torch.inf).softmax(dim=1)              # (B, T, S)
        return hidden, torch.einsum("bts,btd->bsd", looks, hidden)

    def forward(self, words: Tensor, pieces: Tensor, blurred: float = 0.0, dropped: float = 0.0) -> dict[str, Tensor]:
        """(B, T) and (B, T, P) numbers -> scores (B, values) of each slot."""
        _, slots = self.states(words, pieces, blurred, dropped)
        return {slot: self.heads[slot](slots[:, place]) for place, slot in enumerate(SLOTS)}


@dataclass(frozen=True)
class Reader:
    """A trained reader, its words and its way to say a request."""

    network: RequestReader
    words: tuple[str, ...]
    wordings: Wordings
    size: ReaderSize
    least: float            # confidence below which nothing is understood
    asked_with: tuple[str, ...] = ()        # words of its training's requests, of concepts first: slips are mended to them
    complaints: Mapping[str, Sequence[str]] = field(default_factory=dict)       # "dark": the look that mends it, and the one that is dark
    lexicon: Lexicon = field(default_factory=lambda: Lexicon({}))
    chinese: ChineseLooks = field(default_factory=ChineseLooks)

    @cached_property
    def index(self) -> dict[str, int]:
        """The number of each word."""
        return {word: place for place, word in enumerate(self.words, FIRST_WORD)}

    @cached_property
    def spelling(self) -> Spelling:
        return Spelling(self.asked_with, self.index.keys() | self.lexicon.words)

    @cached_property
    def own(self) -> dict[str, Request]:
        """The requests in the model's own words, which it offers: they are understood as they are."""
        known = {slot: [value for value in values if value not in (NONE, OTHER)] for slot, values in self.network.values.items()}
        requests = [Request(look) for look in known["operation"] if look in self.wordings.looks]
        for operation, needed in NEEDED.items():
            for said in product(*(known[slot] for slot in needed)):
                asked = Request(operation, **dict(zip(needed, said, strict=True)))
                more = [asked, *(replace(asked, **{slot: value}) for slot in ALLOWED[operation] if slot != "anchor"
                                 for value in known[slot])]
                if operation == "add":
                    more += [replace(asked, colour=colour, where=where) for colour in known["colour"] for where in known["where"]]
                requests += more
        return {plain(self.wordings.of(request)): request for request in requests if request.is_whole}

    def numbered(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """(B, T) and (B, T, P) numbers of words and pieces, as the network takes them."""
        words, pieces = (torch.from_numpy(part) for part in numbered(list(texts), self.index, self.spelling))
        return words[:, :self.size.texts], pieces[:, :self.size.texts]

    @torch.inference_mode()
    def probabilities(self, texts: Sequence[str]) -> list[dict[str, dict[str, float]]]:
        """For each text: slot -> value -> probability."""
        if not texts:
            return []
        scores = {slot: each.softmax(dim=-1).tolist() for slot, each in self.network(*self.numbered(texts)).items()}
        values = self.network.values
        found = [{slot: dict(zip(values[slot], scores[slot][row], strict=True)) for slot in SLOTS} for row in range(len(texts))]
        for text, each in zip(texts, found, strict=True):
            if not LINKS.search(text):          # one part asks for one thing at most
                each |= without_several(each)
        return found

    def requests(self, texts: Sequence[str]) -> list[tuple[Request, float]]:
        """The likeliest request of each text, and how likely all that it says is: of its own words, certain."""
        read = [self._meant(text, *likeliest(found)) for text, found in zip(texts, self.probabilities(texts), strict=True)]
        known = [self._known(plain(text)) for text in texts]
        return [(request, 1.0) if request else each for request, each in zip(known, read, strict=True)]

    def _known(self, text: str) -> Request | None:
        """The request that a text is word by word: in the model's own words, or in Chinese phrases of the concepts."""
        look = self.chinese.look("".join(words_of(text))) if CHINESE.search(text) else ""
        return Request(look) if look in self.wordings.looks else self.own.get(text)

    def _meant(self, text: str, request: Request, confidence: float) -> tuple[Request, float]:
        """"It is too dark" names what is wrong: the look that it would be taken for is the opposite of what is asked. "Darker, but not too
        dark" does not."""
        said = text.lower()
        for wrong, (mended, taken_for) in self.complaints.items():
            places = (said.find(f"{too}{wrong}") for too in TOO)
            if request.operation == taken_for and any(place >= 0 and not BOUND.search(said[:place]) for place in places):
                return Request(mended), confidence
        return request, confidence

    def read(self, text: str) -> Reading:
        """What this instruction asks for."""
        return self.reading(text)[0]

    def thing_changed(self, wording: str) -> str:
        """The kind of thing that a request in the network's own words changes, which must be in the picture; empty for other requests."""
        request = self.own.get(plain(wording), Request())
        return request.kind if request.operation in CHANGED else ""

    def reading(self, text: str) -> tuple[Reading, Request]:
        """What this instruction asks for, in words and as a request: the likeliest, also where it is not understood."""
        if not any(sign.isalnum() for sign in text):
            return Reading(text, fault="wordless", nearest=()), Request()
        if in_another_script(text):
            return Reading(text, fault="script", nearest=()), Request()
        if known := self._known(plain(text)):
            return Reading(text, self.wordings.of(known)), known
        typed = SIGN.sub(lambda found: "" if found[2].lower() in ADDS | CHANGES else SIGNS[found[1]], text)
        asked = wanted(self._in_lower_case(typed))
        if asked is None:
            reading, request = self._read(typed)
        elif not asked.text:
            reading, request = Reading(text, fault="unknown"), Request()
        else:
            reading, request = self._read(asked.text)
            if not (reading.understood or asked.is_sure):
                reading, request = self._read(typed)
        return replace(reading, instruction=text), request

    def _in_lower_case(self, text: str) -> str:
        """A text as what looks for negation takes it, its slips mended."""
        words = words_of(text)
        if CHINESE.search(text):
            return "".join(words) if not re.search("[a-z]", text, re.IGNORECASE) else text.lower()
        return " ".join(map(self.spelling.mend, words)) if len(words) < MOST_WORDS else text.lower()

    def _read(self, typed: str) -> tuple[Reading, Request]:
        """A text that holds nothing back."""
        words = [self.spelling.mend(word) for word in words_of(typed)]
        reading, request = self._surest(self._variants(words), self._in_known_words(typed))
        if reading.fault == "unknown":
            reading, request = self._surest(self._variants(words, again=True), (reading, request))
        if reading.fault == "unknown":
            reading, request = self._mended_otherwise(typed) or (reading, request)
        return reading, request

    def _variants(self, words: list[str], again: bool = False) -> list[list[str]]:
        """The words in the lexicon's words, and of a telegraphic request also with the article that it leaves out."""
        variants = self.lexicon.variants(words, again)
        whole = [each for each in map(with_article, [words, *variants]) if each]
        return [*variants, *whole, words] if whole else variants

    def _mended_otherwise(self, text: str) -> tuple[Reading, Request] | None:
        """The first reading that is clear, of the text with its slips mended in another way than the likeliest."""
        for words in islice(product(*map(self.spelling.meant_by, words_of(text))), 1, MOST_MENDED):
            reading, request = self._in_known_words(" ".join(words))
            if reading.understood:
                return reading, request
        return None

    def _surest(self, variants: Sequence[Sequence[str]], typed: tuple[Reading, Request]) -> tuple[Reading, Request]:
        """The surest reading of the variants of a text; as it was typed where there are none, or none is clear."""
        read = [self._in_known_words(" ".join(words)) for words in variants]
        clear = [each for each in read if each[0].understood or each[0].fault == "several"]
        return max(clear, key=lambda each: each[0].confidence, default=typed)

    def _in_known_words(self, text: str) -> tuple[Reading, Request]:
        """A text as `reading` has it, without the lexicon."""
        if own := self._known(plain(text if CHINESE.search(text) else " ".join(map(self.spelling.mend, words_of(text))))):
            return Reading(text, self.wordings.of(own)), own
        looks = amount(text)
        if is_question(text) or (looks and not looks[0]):           # less of what no look takes away
            return Reading(text, fault="unknown", nearest=()), Request()
        for shorter in (looks and self._amount(text, looks), self._beside(text), self._contrasted(text)):
            if shorter and shorter[1] >= self.least:
                return Reading(text, self.wordings.of(shorter[0]), confidence=shorter[1]), shorter[0]
        said = self._in_lower_case(text)
        return self._unless_denied(said, *self._as_it_stands(lacking(said) or text))

    def _unless_denied(self, said: str, reading: Reading, request: Request) -> tuple[Reading, Request]:
        """A reading, unless it is of what the text is against: then the opposite look is asked for, or nothing that is known."""
        if not reading.understood:
            return reading, request
        nothing = Reading(said, fault="unknown", confidence=reading.confidence), Request()
        if is_unlike(said, request.operation) or is_barred(said, request.colour, request.which):
            return nothing
        if self._is_denied(said, request):
            look = self.opposites.get(request.operation)
            return (replace(reading, understood=self.wordings.looks[look]), Request(look)) if look else nothing
        if (parts := replaced(said)) and request.operation in ("add", "remove", "recolour", "texture"):
            return self._replacement(*parts) or (reading, request)
        return reading, request

    def _is_denied(self, said: str, request: Request) -> bool:
        """Whether a text that says "less", "no" or the like is read as what it would ask for with "more" instead, and no clause without
        such a word asks for that."""
        is_look = request.operation in self.wordings.looks
        is_of_lack = request.operation == "remove" or request.texture == "plain" or is_lack(said, request.operation)
        if is_of_lack or not (more := affirmed(said, is_look)):
            return False
        if any(f"too {wrong}" in said and request.operation == mended for wrong, (mended, _) in self.complaints.items()):
            return False
        others = [clause for clause in clauses(said) if not affirmed(clause, is_look)]
        return self.requests([more])[0][0] == request and request not in (other for other, _ in self.requests(others))

    def _replacement(self, old: str, new: str) -> tuple[Reading, Request] | None:
        """One kind of thing in another's place is two requests; None where two kinds are not named."""
        away, there = ("去掉", "加一个") if CHINESE.search(old) else ("remove ", "add ")
        read = self.requests([away + old, there + new])
        if any(not request.is_whole or confidence < LEAST for request, confidence in read) or read[0][0].kind == read[1][0].kind:
            return None
        nearest = tuple(self.wordings.of(request) for request, _ in read)
        return Reading(f"{old} {new}", fault="several", nearest=nearest), Request(SEVERAL)

    @cached_property
    def opposites(self) -> dict[str, str]:
        """The look that is the opposite of another, of those that come in pairs."""
        mended = {taken_for: look for look, taken_for in self.complaints.values()}
        return {look: other for look, other in mended.items() if mended.get(other) == look}

    def _amount(self, text: str, looks: tuple[str, str]) -> tuple[Request, float] | None:
        """The first of two opposite looks, by more or less of what makes it, unless the text is surely read as something else."""
        [(request, confidence)] = self.requests([text])
        other = request.operation not in (NONE, *looks) and confidence >= CERTAIN
        return None if other else (Request(looks[0]), 1.0)

    def _beside(self, text: str) -> tuple[Request, float] | None:
        """Something that is to be added beside another thing, read in two parts: what, and beside what."""
        for each in besides(text):
            (reading, request), [thing] = self._as_it_stands(each.rest), self.probabilities([each.removal])
            other = max(thing["kind"], key=lambda kind: thing["kind"][kind])
            if reading.understood and request.operation == "add" and thing["kind"][other] >= CERTAIN and other not in (NONE, OTHER):
                return replace(request, where=each.side, anchor=other), reading.confidence
        return None

    def _contrasted(self, text: str) -> tuple[Request, float] | None:
        """A request by what stands before "not yellow" or "instead of red"."""
        if not (found := contrast(text)):
            return None
        rest, word = found
        [(request, confidence), (other, its_confidence)] = self.requests([rest, f"make the ball {word}"])
        is_colour = other.operation == "recolour" and other.is_whole and its_confidence >= CERTAIN
        return (request, confidence) if is_colour and request.is_whole and request.colour not in (NONE, other.colour) else None

    def _as_it_stands(self, text: str) -> tuple[Reading, Request]:
        """A text as the network has it, and if it has clauses by them."""
        [found] = self.probabilities([text])
        request, confidence = self._meant(text, *likeliest(found))
        parts, rest_is_silent = self._parts(text)
        if request.operation == SEVERAL and len(parts) < 2:
            alone, its_confidence = likeliest(without_several(found))
            if alone.is_whole and its_confidence >= SURE_ONE:
                request, confidence = self._meant(text, alone, its_confidence)
        is_letter = len(parts) == 1 and rest_is_silent and len(words_of(text)) >= LETTER
        if len(parts) > 1 or (request.operation == SEVERAL and confidence >= self.least and not is_letter):
            each = tuple(map(self.wordings.of, parts))[:MOST_NEAREST]
            return Reading(text, fault="several", nearest=each, confidence=confidence), request
        if is_letter:          # of which one sentence asks for something
            [(alone, its_confidence)] = parts.items()
            if its_confidence > confidence or not request.is_whole:
                request, confidence = alone, its_confidence
        if request.is_whole and confidence >= self.least:
            return Reading(text, self.wordings.of(request), confidence=confidence), request
        return Reading(text, fault="unknown", nearest=self._nearest(found), confidence=confidence), request

    def _parts(self, text: str) -> tuple[dict[Request, float], bool]:
        """Different requests that a text's clauses make, each a certain one by itself, with their confidence, and whether all other
        clauses ask for nothing; none where it has no clauses."""
        clauses = [clause for clause in JOINTS.split(text)[:MOST_CLAUSES] if words_of(clause)]
        if len(clauses) < 2:
            return {}, False
        parts: dict[str, tuple[Request, float]] = {}            # by their wording: two requests may be one
        rest_is_silent = True
        for clause, (request, confidence) in zip(clauses, self.requests(clauses), strict=True):
            if len(words_of(clause)) < FEWEST_WORDS:
                continue
            if request.is_whole and confidence >= CERTAIN:
                parts.setdefault(self.wordings.of(request), (request, confidence))
            elif request.operation != NONE and confidence >= HEARD:
                rest_is_silent = False
        return dict(parts.values()), rest_is_silent

    def _nearest(self, found: Mapping[str, Mapping[str, float]]) -> tuple[str, ...]:
        """The likeliest requests that can be done, the unknown in them replaced by the likeliest that is known."""
        likely = [value for value, probability in found["operation"].items() if value not in (NONE, SEVERAL) and probability >= LIKELY]
        likely.sort(key=lambda value: -found["operation"][value])
        return tuple(dict.fromkeys(self.wordings.of(with_operation(found, value, known_only=True)) for value in likely[:MOST_NEAREST]))

    def save(self, folder: Path) -> None:
        """Weights in half precision, words' vectors in bytes, words and settings."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.half().contiguous() for name, value in self.network.state_dict().items()}
        weights |= _in_bytes(self.network.vectors)
        save_file(weights, folder / WEIGHTS)
        write_whole(folder / WORDS, "".join(f"{word}\n" for word in self.words))
        if self.lexicon.entries:
            write_lexicon(self.lexicon.entries, folder / LEXICON)
        settings = {"size": asdict(self.size), "least": self.least, "wordings": asdict(self.wordings),
                    "asked_with": " ".join(self.asked_with), "complaints": self.complaints, "chinese": asdict(self.chinese),
                    "values": {slot: list(values) for slot, values in self.network.values.items()}}
        write_whole(folder / SETTINGS, json.dumps(settings, indent=1, ensure_ascii=False) + "\n")


def _in_bytes(vectors: Tensor) -> dict[str, Tensor]:
    """Vectors (W, D) as whole numbers of 8 bits, and what each row is to be multiplied by."""
    scale = vectors.abs().amax(dim=1, keepdim=True).clamp(min=1e-6) / 127
    return {"vectors": (vectors / scale).round().to(torch.int8), SCALE: scale.half()}


def _from_file(path: Path) -> dict[str, Tensor]:
    """Weights in full precision. Files of before have no vectors in bytes."""
    weights = {name: value.float() for name, value in load_file(path).items()}
    if SCALE in weights:
        weights["vectors"] = weights["vectors"] * weights.pop(SCALE)
    return weights


def fresh_reader(words: Sequence[str], vectors: Tensor, values: Mapping[str, Sequence[str]], wordings: Wordings,
                 size: ReaderSize | None = None, least: float = LEAST, asked_with: Sequence[str] = (),
                 complaints: Mapping[str, Sequence[str]] | None = None, chinese: ChineseLooks | None = None) -> Reader:
    """An untrained reader. vectors: (words, size.word), public vectors of the words, brought to a mean length of 1."""
    size = size or ReaderSize(word=vectors.shape[1])
    network = RequestReader(len(words), all_values(values), size)
    network.vectors[FIRST_WORD:] = vectors
    return Reader(network, tuple(words), wordings, size, least, tuple(asked_with), complaints or {}, chinese=chinese or ChineseLooks())


@lru_cache(maxsize=2)
def load_reader(folder: Path) -> Reader:
    """The reader in a folder. Raises OSError, ValueError, KeyError for one that is not whole."""
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    words = tuple((folder / WORDS).read_text(encoding="utf-8").split("\n")[:-1])
    size = ReaderSize(**({"texts": OLD_TEXTS} | settings["size"]))
    network = RequestReader(len(words), settings["values"], size)
    network.load_state_dict(_from_file(folder / WEIGHTS))
    asked_with = tuple(settings.get("asked_with", "").split())
    lexicon = Lexicon(read_lexicon(folder / LEXICON) if (folder / LEXICON).is_file() else {})
    return Reader(network.eval(), words, Wordings(**settings["wordings"]), size, settings["least"], asked_with,
                  settings.get("complaints", {}), lexicon, ChineseLooks(**settings.get("chinese", {})))
