"""What a text says is not to be done is not done."""

import pytest

from mre.embedded.negation import affirmed, is_unlike, lacking, replaced, wanted
from mre.embedded.reader import SHIPPED, load_reader


@pytest.fixture(scope="module")
def shipped():
    return load_reader(SHIPPED)


@pytest.mark.parametrize(("text", "rest"), [
    ("keep the red ball , remove the blue ball", "remove the blue ball"), ("remove the house but keep the tree", "remove the house"),
    ("don't add any stars and make it night", "make it night"), ("make it darker without changing the ball", "make it darker"),
    ("don't make it dark and foggy", ""), ("keep the ball and the tree", ""), ("change nothing", ""), ("never make it night", ""),
    ("remove everything except the tree", ""), ("keep everything except make the ball blue", "make the ball blue"),
    ("加一棵树，不要房子", "加一棵树"), ("不要变成夜晚", ""), ("除了树都删掉", "")])
def test_what_is_to_stay_is_taken_out_of_a_text(text, rest):
    assert wanted(text).text.strip(" ,") == rest


@pytest.mark.parametrize("text", ["don't you think it's too dark", "don't forget to add a ball", "leave out the tree", "不要这棵树",
                                  "i don't want that star in my picture", "not bright enough", "make it dark and foggy",
                                  "make it black and white"])
def test_a_text_that_holds_nothing_back_is_left_whole(text):
    assert wanted(text) is None


def test_a_text_against_something_has_an_opposite():
    assert affirmed("make it less warm", True) == "make it more warm"
    assert affirmed("clear the fog", True) == "add the fog"
    assert affirmed("it's darker than i want", True) == "it's darker"
    assert affirmed("the star is too red , make it blue", False) is None
    assert affirmed("if it isn't too much to ask , make it foggy", True) is None
    assert lacking("画面不够亮") == "再亮一点"
    assert replaced("replace the red ball with a star") == ("the red ball", "a star")
    assert is_unlike("turn night into day", "night")
    assert not is_unlike("turn day into night", "night")
    assert not is_unlike("make it look like winter instead of summer", "winter")


@pytest.mark.parametrize(("text", "understood"), [
    ("keep the red ball, remove the blue ball", "remove the blue ball"), ("not so dark please", "make it brighter"),
    ("make it less warm", "make it cooler"), ("make it bright but not too bright", "make it brighter"),
    ("it's darker than I want", "make it brighter"), ("不够亮", "make it brighter"), ("turn day into night", "make it night"),
    ("add colour", "make it more colourful"), ("cut the flower out", "remove the flower"),
    ("the star is too red, make it blue", "make the red star blue"),
    ("get the tree out, leave the house in", "remove the tree"),
    ("the sky is too boring, make it sunset", "make it sunset"), ("the photo is much too yellow", "make it cooler")])
def test_a_request_is_read_by_what_it_wants(shipped, text, understood):
    assert shipped.read(text).understood == understood


@pytest.mark.parametrize("text", [
    "remove everything except the tree", "less snow", "clear the fog", "too foggy", "keep the tree", "it shouldn't be night",
    "the ball should not be red", "make it summer", "turn night into day", "it's night, I want day",
    "remove the tree that is not green", "add a ball that isn't red",
    "别下雪", "不要变成夜晚", "保留树", "去雾"])
def test_the_opposite_of_what_is_asked_is_never_done(shipped, text):
    assert not shipped.read(text).understood


def test_a_thing_in_the_place_of_another_is_two_requests(shipped):
    reading = shipped.read("swap the red ball with a blue star")
    assert (reading.fault, reading.nearest) == ("several", ("remove the red ball", "add a blue star"))
    assert shipped.read("replace the red ball with a blue one").understood == "make the red ball blue"


@pytest.mark.parametrize(("text", "understood"), [
    ("remove all colour", "turn it into black and white"), ("去掉所有颜色", "turn it into black and white"), ("not black and white", "")])
def test_none_of_what_a_look_lacks_asks_for_that_look(shipped, text, understood):
    assert shipped.read(text).understood == understood
