"""The reader: words as numbers, requests in slots, and its training."""

import numpy as np
import pytest
import torch

from mre.data.scenes.concepts import Asked
from mre.data.scenes.instructions import comparable, reserved
from mre.embedded import train_reader
from mre.embedded.reader import load_reader
from mre.embedded.reader_texts import Texts, own_wordings, request_of
from mre.embedded.request import OTHER, Request
from mre.embedded.words import MOST_WORDS, numbered, pieces_of, words_of

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


def test_texts_without_a_word_still_have_a_place_each():
    words, pieces = numbered(["", "red ball"], {"red": 2, "ball": 3})
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


def test_a_training_that_was_cut_goes_on_to_the_same_reader(tmp_path, monkeypatch):
    monkeypatch.setattr(train_reader, "SAVED_EVERY", 2)
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
