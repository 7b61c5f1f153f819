"""What the order of words says of a request."""

import pytest

from mre.embedded.reader import SHIPPED, load_reader
from mre.embedded.structure import Beside, besides, contrast, is_question


@pytest.fixture(scope="module")
def shipped():
    return load_reader(SHIPPED)


@pytest.mark.parametrize(("text", "found"), [
    ("put a white house to the left of the tree", Beside("put a white house", "tree", "left")),
    ("To the right of my car, add a ball", Beside("add a ball", "car", "right")),
    ("stick a balloon next to the house on its right side", Beside("stick a balloon", "house", "right")),
    ("在房子右边加一棵树", Beside("加一棵树", "房子", "right"))])
def test_a_place_beside_another_thing_is_taken_out_of_a_text(text, found):
    assert next(besides(text)) == found


def test_a_side_of_the_picture_is_no_place_beside_a_thing():
    assert list(besides("put a ball on the left")) == []


def test_a_colour_that_is_not_wanted_is_taken_off_the_end():
    assert contrast("the star should be purple, not yellow") == ("the star should be purple", "yellow")
    assert contrast("make the ball blue instead of red please") == ("make the ball blue", "red")
    assert contrast("把车变成蓝色，不要红色") == ("把车变成蓝色", "红色")
    assert contrast("make it not so dark, it is for a card") is None


def test_a_question_asks_for_an_answer_and_a_polite_request_does_not():
    assert is_question("what colour is the ball?")
    assert is_question("How many trees are there")
    for text in ("what if the ball was blue", "can you make it foggy?", "where is the snow? i want snow on everything",
                 "what would it look like in winter"):
        assert not is_question(text)


@pytest.mark.parametrize(("text", "understood"), [
    ("draw a moon to the left of the car", "add a yellow moon to the left of the car"),
    ("在蘑菇左边放一个红球", "add a red ball to the left of the mushroom"),
    ("the car must be green not red", "make the car green"), ("how many balls are there", ""),
    ("remove the cone top right please", "remove the right cone"), ("make my balloon white, would you", "make the balloon white"),
    ("put a dog to the left of the tree", ""), ("add a ball to the left of the dog", ""),
    ("add a ball to the left of the tree and make it foggy", "")])
def test_requests_are_read_by_their_structure(shipped, text, understood):
    assert shipped.read(text).understood == understood
