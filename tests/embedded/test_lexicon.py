"""The lexicon: words that the reader's training never shows are read as words that it does."""

import pytest

from mre.embedded.lexicon import VERB, Entry, Lexicon, read_lexicon, write_lexicon
from mre.embedded.make_lexicon import entries, inflected, known_phrases, of_thesaurus, read_wordnet
from mre.embedded.reader import LEXICON, SHIPPED, load_reader
from mre.embedded.words import words_of

LIST = Lexicon({"orb": [Entry(("ball",))], "plum": [Entry(("tree",)), Entry(("purple",))], "plum tree": [Entry(("tree",))],
                "bin": [Entry(("remove",), VERB)]})


@pytest.fixture(scope="module")
def shipped():
    return load_reader(SHIPPED)


def variants(text: str) -> list[str]:
    return [" ".join(words) for words in LIST.variants(words_of(text))]


def test_a_word_is_read_in_each_way_that_it_may_be_and_the_longest_phrase_first():
    assert variants("remove the orb") == ["remove the ball"]
    assert variants("make the orb plum") == ["make the ball tree", "make the ball purple"]
    assert variants("a plum tree") == ["a tree"]
    assert variants("remove the ball") == []


def test_a_verb_of_the_lexicon_is_one_only_where_it_says_what_to_do():
    assert variants("please bin the ball") == ["please remove the ball"]
    assert variants("Bin it") == ["remove it"]
    assert variants("put a bin on the left") == []


def test_the_ways_to_read_a_text_of_many_such_words_are_few():
    assert len(LIST.variants(["plum"] * 40)) == 8


def test_a_lexicon_is_read_as_it_was_written(tmp_path):
    write_lexicon(LIST.entries, tmp_path / "list.txt")
    assert read_lexicon(tmp_path / "list.txt") == LIST.entries
    (tmp_path / "list.txt").write_text("orb ball\n")
    with pytest.raises(ValueError, match="values to unpack"):
        read_lexicon(tmp_path / "list.txt")


WORDNET = {
    # sense, lexicographer's file, part, count of words in base 16, words, count of pointers, pointers
    "data.noun": "00000001 20 n 01 tree 0 001 ~ 00000002 n 0000 | a tall plant\n"
                 "00000002 20 n 02 tamarack 0 plane 0 000 | a kind of tree\n00000003 06 n 01 plane 0 000 | it flies\n",
    "index.noun": "tree n 1 1 ~ 1 1 00000001\ntamarack n 1 0 1 0 00000002\nplane n 2 0 2 1 00000003 00000002\n",
    "data.verb": "00000004 30 v 02 extirpate 0 root_out 0 000 01 + 08 00 | delete\n",
    "index.verb": "extirpate v 1 0 1 0 00000004\nroot_out v 1 0 1 0 00000004\n",
    "data.adj": "", "index.adj": "", "data.adv": "", "index.adv": "", "cntlist.rev": "plane%1:06:01:: 1 9\n"}


def test_words_below_a_sense_that_mostly_mean_it_are_entries_and_so_are_their_forms(tmp_path):
    for name, text in WORDNET.items():
        (tmp_path / name).write_text("  1 a licence\n" + text)
    common = ["tamarack", "plane", "extirpate", "root", "out", "tree"]
    made = entries(read_wordnet(tmp_path), common, {"things": {"tree": "tree.n.1+"}, "verbs": {"remove": "extirpate.v.1"}})
    assert made["tamarack"] == [Entry(("tree",))]
    assert made["tamaracks"] == [Entry(("trees",))]
    assert "plane" not in made, "it mostly flies"
    assert "tree" not in made, "training asks with it"
    assert made["extirpate"] == [Entry(("remove",), VERB)]
    assert made["extirpating"] == [Entry(("removing",))]


def test_forms_of_verbs_are_spelt_as_they_are():
    assert [inflected("bin", "ing"), inflected("erase", "ed"), inflected("toss", "ed"), inflected("clean", "ing")] == \
        ["binning", "erased", "tossed", "cleaning"]


def test_what_ships_holds_every_word_of_the_thesaurus():
    held = read_lexicon(SHIPPED / LEXICON)
    assert not {word for _, _, _, word in of_thesaurus()} - known_phrases() - held.keys()
    assert len(held) > 5000


@pytest.mark.parametrize(("text", "understood"), [
    ("please nuke the jalopy", "remove the car"), ("paint the cottage vermillion", "make the house red"),
    ("put me at the cove", "change the background to a beach"), ("give the orb some tiger stripes", "make the ball striped"),
    ("转成炭笔画", "turn it into a sketch"), ("小船变成湛蓝", ""),
    ("purge both sycamores", "remove both trees"), ("remove the kangaroo", "")])
def test_words_that_training_never_shows_are_understood_and_unknown_things_are_not(shipped, text, understood):
    assert shipped.read(text).understood == understood
    assert shipped.read(text).instruction == text


def test_a_saved_reader_keeps_its_lexicon(shipped, tmp_path):
    shipped.save(tmp_path)
    assert (tmp_path / LEXICON).read_bytes() == (SHIPPED / LEXICON).read_bytes()
