"""Make the reader's lexicon from WordNet 3.0: `python -m mre.embedded.make_lexicon WORDNET OUT`.

WORDNET is the folder of its database (data.noun, index.verb, cntlist.rev, ...; Debian's package wordnet-base has it in
/usr/share/wordnet), OUT the file to write. What stands for a concept is named by senses in senses.toml, and
their words come from WordNet; thesaurus.toml has what it lacks.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from mre.data.scenes import requests
from mre.data.scenes.concepts import phrases, plural, table
from mre.embedded.lexicon import AGAIN, VERB, WORD, Entry, write_lexicon
from mre.embedded.reader_texts import training_words
from mre.embedded.train_reader import public_words
from mre.embedded.words import words_of

COMMON, COMMON_IN_PHRASE = 60_000, 30_000       # words of the public list that entries are made of
LEAST_SHARE = 0.4           # of a word's occurrences, in WordNet's counts, that have the sense
PARTS_OF = {"verbs": VERB, "again": AGAIN}
SHORTEST = 3                # letters of a word of WordNet
THESAURUS, SENSES = Path(__file__).with_name("thesaurus.toml"), Path(__file__).with_name("senses.toml")
PARTS = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}


@dataclass
class WordNet:
    """Senses by their place in the files: words, what is below, what is similar; how often a word was counted in each."""

    words: dict[str, list[str]] = field(default_factory=dict)
    below: dict[str, list[str]] = field(default_factory=dict)
    similar: dict[str, list[str]] = field(default_factory=dict)
    senses: dict[tuple[str, str], list[str]] = field(default_factory=dict)             # (word, part) -> senses, commonest first
    counts: dict[tuple[str, str], dict[int, int]] = field(default_factory=lambda: defaultdict(dict))

    def sense(self, name: str) -> str:
        """Of "ball.n.3". Raises KeyError."""
        word, part, number = name.rsplit(".", 2)
        return self.senses[word.replace("_", " "), part][int(number) - 1]

    def meant(self, spec: str) -> Iterator[str]:
        """The senses of "ball.n.1+ cube.n.1"."""
        for name in spec.split():
            waiting, seen = [self.sense(name.rstrip("+&"))], set[str]()
            while waiting:
                sense = waiting.pop()
                if sense not in seen:
                    seen.add(sense)
                    waiting += self.below[sense] if name.endswith("+") else self.similar[sense] if name.endswith("&") else []
                    yield sense

    def is_main(self, word: str, sense: str) -> bool:
        """Whether a word mostly means this: by counts, where there are any, else because no other sense comes first."""
        part = sense[0]
        counted = {(each, number): count for each in PARTS for number, count in self.counts.get((word, each), {}).items()}
        number = self.senses[word, part].index(sense) + 1
        if total := sum(counted.values()):
            return counted.get((part, number), 0) >= LEAST_SHARE * total
        return number == 1


def read_wordnet(folder: Path) -> WordNet:
    """Raises OSError where a file is missing."""
    net = WordNet()
    for part, name in PARTS.items():
        for line in _lines(folder / f"data.{name}"):
            fields = line.partition("|")[0].split()
            sense, count = part + fields[0], int(fields[3], 16)
            net.words[sense] = [re.sub(r"\(\w+\)$", "", word).replace("_", " ") for word in fields[4:4 + 2 * count:2]]
            pointers = fields[5 + 2 * count:5 + 2 * count + 4 * int(fields[4 + 2 * count])]
            to = [(sign, where.replace("s", "a") + place)
                  for sign, place, where in zip(pointers[::4], pointers[1::4], pointers[2::4], strict=True)]
            net.below[sense] = [place for sign, place in to if sign in ("~", "~i")]
            net.similar[sense] = [place for sign, place in to if sign == "&"]
        for line in _lines(folder / f"index.{name}"):
            fields = line.split()
            net.senses[fields[0].replace("_", " "), part] = [part + place for place in fields[-int(fields[2]):]]
    for line in _lines(folder / "cntlist.rev"):
        key, number, count = line.split()
        word, _, rest = key.partition("%")
        part = "nvara"[int(rest[0]) - 1]
        net.counts[word.replace("_", " "), part][int(number)] = int(count)
    return net


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="latin-1") as lines:
        yield from (line for line in lines if not line.startswith("  "))


def entries(net: WordNet, common: Sequence[str], senses: Mapping[str, Mapping[str, str]]) -> dict[str, list[Entry]]:
    """Words and phrases that training does not ask with -> what they may be read as: those of the thesaurus, then those of WordNet whose
    words are common. common: words of the language, commonest first. senses: as in senses.toml."""
    found: dict[str, list[Entry]] = {}

    def add(word: str, target: str, part: str) -> None:
        entry = Entry(tuple(words_of(target)), part)
        if entry not in found.setdefault(word, []):
            found[word].append(entry)
    phrases_of_training = known_phrases()
    for section, part, target, word in of_thesaurus():
        if word not in phrases_of_training or part != WORD:
            for form, read_as in _forms(word, target, section):
                if form in phrases_of_training and part != AGAIN:
                    add(form, form, part)           # what training knows of it, or
                if form == word or form not in phrases_of_training:
                    add(form, read_as, part if form == word else WORD)
    written = set(found)
    alone, in_phrase = frozenset(common[:COMMON]), frozenset(common[:COMMON_IN_PHRASE])
    for section, by_target in senses.items():
        for target, spec in by_target.items():
            for sense in net.meant(spec):
                for name in net.words[sense]:
                    word = name.lower().replace("-", " ")
                    parts = word.split()
                    if not set(parts) <= (in_phrase if len(parts) > 1 else alone) or not net.is_main(name.lower(), sense):
                        continue
                    if word in phrases_of_training or word in written or (len(parts) > 1 and parts[-1] in found):
                        continue
                    if len(word) >= SHORTEST and word.replace(" ", "").isascii() and word.replace(" ", "").isalpha():
                        for form, read_as in _forms(word, target, section):
                            add(form, read_as, VERB if section == "verbs" and form == word else WORD)
    for phrase in _chinese_of_training():              # which hold signs that are entries by themselves
        found[_bare(phrase)] = [Entry(tuple(words_of(phrase)))]
    return found


def known_phrases() -> frozenset[str]:
    """Words and phrases that training asks with, which are read as they are."""
    return requests.all_phrases(held_out=False) | training_words() | {_bare(phrase) for phrase in _chinese_of_training()}


def of_thesaurus() -> Iterator[tuple[str, str, str, str]]:
    """(section, part, what it is read as, word). Raises ValueError for a target that training does not show."""
    for section, by_target in tomllib.loads(THESAURUS.read_text(encoding="utf-8")).items():
        for target, words in by_target.items():
            unknown = set(words_of(target)) - training_words() if section != "zh" else {target} - _chinese_of_training()
            if unknown:
                raise ValueError(f"{THESAURUS.name}: training does not ask with {', '.join(unknown)}")
            for word in re.split(r",\s*|，", words):
                if len(word) > 1:
                    yield section, PARTS_OF.get(section, WORD), _bare(target), _bare(word)


def _bare(phrase: str) -> str:
    """Without an article, its words with one blank between."""
    return " ".join(words_of(re.sub(r"^(a|an|the) ", "", phrase)))


def _forms(word: str, target: str, section: str) -> list[tuple[str, str]]:
    """A word and what it is read as, and the same in the plural, or as other forms of a verb."""
    forms = [(word, target)]
    if section == "things" and plural(word) != word:
        forms.append((plural(word), plural(target)))
    if section == "verbs":
        first, _, rest = word.partition(" ")
        for ending in ("ing", "ed"):
            forms.append((" ".join([inflected(first, ending), *rest.split()]), inflected(target.split()[0], ending)))
    return forms


def inflected(verb: str, ending: str) -> str:
    """"bin", "ing": "binning"; "erase", "ed": "erased"."""
    if verb.endswith("e"):
        return verb[:-1] + ending
    doubled = len(verb) <= 4 and re.search(r"[^aeiou][aeiou][bdgklmnprtz]$", " " + verb)
    return verb + (verb[-1] if doubled else "") + ending


@cache
def _chinese_of_training() -> frozenset[str]:
    """The Chinese phrases of concepts and what is said around them."""
    found = {phrase for section in ("colours", "kinds", "textures", "backgrounds", "looks", "places") for concept in table()[section]
             for phrase in phrases(section, concept, "zh")}
    around = [text for name in table()["carriers_zh"] for text in phrases("carriers_zh", name)]
    return frozenset(found | {part for text in around for part in re.split(r"\{\w+\}|，", text) if len(part) > 1})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wordnet", type=Path, help="folder of WordNet's database")
    parser.add_argument("out", type=Path, help="file to write")
    args = parser.parse_args()
    made = entries(read_wordnet(args.wordnet), public_words(), tomllib.loads(SENSES.read_text(encoding="utf-8")))
    write_lexicon(made, args.out)
    print(f"{args.out}: {len(made)} words and phrases")


if __name__ == "__main__":
    main()
