"""The reader: words as numbers, requests in slots, and its training."""

import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mre.data.scenes.concepts import Asked, phrases, table
from mre.data.scenes.instructions import comparable, reserved
from mre.data.scenes.requests import all_phrases
from mre.embedded import train_reader
from mre.embedded.reader import SETTINGS, WEIGHTS, ReaderSize, fresh_reader, load_reader
from mre.embedded.reader_texts import VALUES, Texts, own_wordings, request_of, training_words
from mre.embedded.request import OTHER, Request
from mre.embedded.words import MOST_WORDS, Spelling, in_another_script, numbered, pieces_of, words_of

COMMON, BATCH = 2000, 12


@pytest.fixture(scope="module")
def texts():
    words, vectors = train_reader.public_vectors(COMMON)
    return Texts(words, vectors.numpy())


def test_words_are_lower_case_and_chinese_signs_and_symbols_stand_alone():
    assert words_of("Make it FOGGY, don’t!") == ["make", "it", "foggy", ",", "don't", "!"]
    assert words_of("把球变红 🎉") == ["把", "球", "变", "红", "🎉"]
    assert words_of("") == []
    assert len(words_of("word " * 100)) == MOST_WORDS


def test_a_word_with_a_typing_error_shares_pieces_with_the_right_one():
    assert len(set(pieces_of("background")) & set(pieces_of("backgruond"))) >= 4
    assert not set(pieces_of("night")) & set(pieces_of("mushroom"))
    assert all(piece >= 1 for piece in pieces_of("a"))


def test_slips_of_the_keyboard_are_mended_to_words_that_people_ask_with_and_known_words_are_left_alone():
    spelling = Spelling(("snow", "background", "change", "remove", "striped", "house"), known=("show", "horse", "the"))
    mended = {"snwo": "snow", "bakgruond": "background", "chnage": "change", "remvoe": "remove", "strpied": "striped", "hosue": "house"}
    assert {word: spelling.mend(word) for word in mended} == mended
    assert Spelling(("yellow", "white", "below", "what", "left")).mend("yelow") == "yellow", "the first letter is seldom missed"
    assert Spelling(("white", "what")).mend("whit") == "white", "of two that are as near, the first of the list"
    assert [spelling.mend(word) for word in ("teh", "dont", "hous")] == ["the", "don't", "house"]
    for word in ("show", "horse", "the", "hs", "sn0w", "雪", "xylophone", "café"):
        assert spelling.mend(word) == word


def test_letters_that_are_drawn_out_are_read_as_two():
    assert words_of("soooo foggyyyy") == ["soo", "foggyy"]
    assert words_of("see the book 1000") == ["see", "the", "book", "1000"]


def test_traditional_chinese_is_read_as_simplified():
    assert words_of("轉換背景") == ["转", "换", "背", "景"]


@pytest.mark.parametrize(("text", "other"), [("сделай ярче", True), ("もっと明るく", True), ("더 밝게", True), ("ให้สว่าง", True),
                                             ("make it foggy", False), ("把球变红", False), ("café ☕ 50 %", False), ("", False),
                                             ("the Пётр filter on my photo", False)])
def test_a_text_in_a_script_that_is_neither_latin_nor_chinese_is_told_apart(text, other):
    assert in_another_script(text) is other


def test_no_held_out_word_is_in_a_training_text(texts):
    """English: words of the phrases that are held out which no phrase of training has, in texts that ask for something; Chinese: the
    phrases."""
    trained = {word for phrase in all_phrases(held_out=False) for word in re.findall(r"[a-z]+", phrase)} | training_words()
    unseen = {word for phrase in all_phrases(held_out=True) for word in re.findall(r"[a-z]+", phrase) if len(word) > 4} - trained
    assert {"toadstool", "cerulean", "firmament", "gouache"} <= unseen
    rng = np.random.default_rng(5)
    drawn = [text.lower() for text, request in (texts.draw(rng, "train") for _ in range(4000)) if request != Request()]
    found = {word for text in drawn for word in re.findall(r"[a-z]+", text)} & unseen
    assert len(found) <= 2, found            # a slip of the keyboard may make one
    chinese = {phrase for section in ("colours", "kinds", "textures", "backgrounds", "looks") for concept in table()[section]
               for phrase in phrases(section, concept, "zh", held_out=True)}
    assert not {phrase for phrase in chinese if any(phrase in text for text in drawn)}


def test_the_reader_reads_a_letter_by_its_one_request_and_leaves_short_texts_with_an_unknown_part_alone():
    """With the clauses' readings given: what `_parts` makes of them."""
    said = {"please remove the car": (Request("remove", "car"), 0.9), "remove the dog now": (Request("remove", OTHER), 0.6),
            "make it very foggy": (Request("foggy"), 0.9)}
    size = ReaderSize(word=4, piece=8, width=16, heads=2, layers=1)
    made = fresh_reader(("foggy",), torch.zeros(1, 4), VALUES, own_wordings(), size=size)

    class Given(type(made)):
        def requests(self, texts):
            return [said.get(text.strip().lower(), (Request(), 0.9)) for text in texts]
    given = Given(made.network, made.words, made.wordings, made.size, made.least)
    letter = "Dear team, I hope that you are well. Please remove the car. Nobody here wants to see it any more, with kind regards"
    assert given.read(letter).understood == "remove the car"
    assert given.read("Please remove the car. Make it very foggy").fault == "several"
    assert given.read(letter + ". Make it very foggy").nearest == ("remove the car", "make it foggy")
    assert not given.read(letter + ". Remove the dog now").understood


def test_texts_without_a_word_still_have_a_place_each():
    words, pieces = numbered(["", "red ball"], {"red": 2, "ball": 3}, Spelling(()))
    assert words.tolist() == [[0, 0], [2, 3]]
    assert pieces.shape[:2] == (2, 2)


def test_a_request_is_put_into_the_wording_that_networks_are_trained_on():
    ours = own_wordings()
    for request, text in ((Request("foggy"), "make it foggy"), (Request("sepia"), "turn it into sepia"),
                          (Request("recolour", "ball", "blue", which="red"), "make the red ball blue"),
                          (Request("remove", "tree", where="left"), "remove the left tree"),
                          (Request("remove", "star", count="two"), "remove both stars"),
                          (Request("add", "moon", where="sky"), "add a yellow moon in the sky"),
                          (Request("add", "ball", "orange", where="left", anchor="tree"), "add an orange ball to the left of the tree"),
                          (Request("add", "cube", "red", count="two"), "add two red cubes"),
                          (Request("texture", "cube", texture="wooden"), "make the cube wooden"),
                          (Request("background", scene="beach"), "change the background to a beach")):
        assert request.is_whole
        assert ours.of(request) == text


def test_a_request_that_lacks_what_it_needs_is_not_whole_and_has_no_wording():
    for request in (Request(), Request("recolour", "ball"), Request("remove", OTHER), Request("background"), Request("several"),
                    Request("add", "ball", OTHER), Request("texture", "ball")):
        assert not request.is_whole
        with pytest.raises(ValueError, match="not a whole request"):
            own_wordings().of(request)


def test_training_never_draws_a_test_instruction(texts):
    rng = np.random.default_rng(0)
    drawn = [texts.draw(rng, "train")[0] for _ in range(3000)]
    assert not {comparable(text) for text in drawn} & reserved()


def test_texts_that_ask_for_nothing_are_made_of_words_far_from_every_concept(texts):
    assert len(texts.far["all"]) > 100
    assert not {"red", "foggy", "beach", "ball", "bright", "snow"} & set(texts.far["all"])
    assert {"governor", "parliament"} <= set(texts.far["kinds"])
    assert "house" not in texts.far["kinds"]


def test_what_is_asked_of_a_scene_is_the_same_request():
    assert request_of(Asked("global:foggy")) == Request("foggy")
    both = Asked("texture:striped", "ball", of_colour="red", count=2)
    assert request_of(both) == Request("texture", "ball", texture="striped", which="red", count="two")
    beside = Asked("add", "ball", "red", place="left", beside="tree")
    assert request_of(beside) == Request("add", "ball", "red", where="left", anchor="tree")
    assert request_of(Asked()) == Request()


class Sure:
    """A reader that is as sure of making it foggy as a text says."""

    def requests(self, drawn):
        return [(Request("foggy"), float(text)) for text in drawn]


def test_the_confidence_below_which_nothing_is_done_leaves_nine_of_ten_texts_alone_that_ask_for_nothing():
    class Drawn:
        def draw(self, rng, split):
            assert split == "heldout"
            return (str(rng.uniform(0, 0.8)), Request()) if rng.random() < 0.5 else ("0.99", Request("foggy"))
    assert train_reader.calibrated(Sure(), Drawn(), np.random.default_rng(0)) == pytest.approx(0.72, abs=0.02)


def test_a_training_that_was_cut_goes_on_to_the_same_reader(tmp_path, monkeypatch):
    monkeypatch.setattr(train_reader, "SAVED_EVERY", 2)
    monkeypatch.setattr(train_reader, "CALIBRATED_ON", 40)
    settings = {"seed": 3, "batch": BATCH, "common_words": COMMON}
    whole = train_reader.train_reader(tmp_path / "whole", steps=4, **settings)

    def cut(step, steps, rate=train_reader.rate_at):
        if step == 3:
            raise KeyboardInterrupt
        return rate(step, steps)
    with monkeypatch.context() as patched:
        patched.setattr(train_reader, "rate_at", cut)
        with pytest.raises(KeyboardInterrupt):
            train_reader.train_reader(tmp_path / "cut", steps=4, **settings)
    again = train_reader.train_reader(tmp_path / "cut", steps=4, **settings)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name]), name
    read = load_reader(tmp_path / "cut")
    found, same = (reader.probabilities(["make it foggy"])[0]["operation"] for reader in (again, read))
    assert found == pytest.approx(same, abs=2e-3)      # half precision


def test_a_reader_of_the_version_before_is_read_as_before(tmp_path):
    """Its file has vectors in half precision and neither words to mend to nor how many words of a text it reads: 32."""
    size = ReaderSize(word=4, piece=8, width=16, heads=2, layers=1, texts=32)
    torch.manual_seed(0)
    made = fresh_reader(("foggy", "make"), torch.randn(2, 4), VALUES, own_wordings(), size=size)
    made.network.eval()
    made.save(tmp_path)
    save_file({name: value.half().contiguous() for name, value in made.network.state_dict().items()}, tmp_path / WEIGHTS)
    settings = json.loads((tmp_path / SETTINGS).read_text())
    del settings["asked_with"], settings["size"]["texts"]
    (tmp_path / SETTINGS).write_text(json.dumps(settings))
    read = load_reader.__wrapped__(tmp_path)
    found, same = (each.probabilities(["make it foggy " * 20])[0]["operation"] for each in (read, made))
    assert found == pytest.approx(same, abs=2e-3)


def test_vectors_are_kept_in_bytes_to_a_hundredth_of_their_length(tmp_path):
    torch.manual_seed(1)
    vectors = torch.randn(40, 50)
    made = fresh_reader([f"w{number}" for number in range(40)], vectors, VALUES, own_wordings(), asked_with=("foggy", "winter"))
    made.save(tmp_path)
    read = load_reader(tmp_path)
    assert read.asked_with == ("foggy", "winter")
    assert ((read.network.vectors[2:] - vectors).norm(dim=1) / vectors.norm(dim=1)).max() < 0.01
