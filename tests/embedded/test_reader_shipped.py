"""The reader that ships: what it understands, and what it leaves alone."""

import pytest

from mre.data.scenes.concepts import HELD_OUT, table
from mre.data.scenes.instructions import instructions
from mre.embedded.reader import SHIPPED, load_reader
from tests.bench.reading import table_of


@pytest.fixture(scope="module")
def shipped():
    return load_reader(SHIPPED)


def test_what_ships_is_small():
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 3e6
    assert {file.name for file in SHIPPED.iterdir()} == {"reader.json", "reader.safetensors", "words.txt", "lexicon.txt", "README.md",
                                                           "finder.json", "finder.safetensors"}


def test_every_plain_wording_is_read_as_itself(shipped):
    for look, text in shipped.wordings.looks.items():
        assert shipped.read(text).understood == text, look
    for text in ("make the ball red", "make the red ball blue",
                 "remove the left tree", "change the background to a beach", "make the cube wooden",
                 "add a yellow star in the sky"):
        assert shipped.read(text).understood == text


def test_the_hand_written_instructions_are_read_as_well_as_the_card_says(shipped):
    """Never trained on. The card of the reader has the figures; these are a little below them."""
    figures = table_of(shipped, instructions())
    assert figures["real requests"] > 300
    assert figures["right"] >= 0.89
    assert figures["right, looks alone"] >= 0.92
    assert figures["left alone"] >= 0.9
    assert figures["taken for nothing"] <= 0.05
    assert figures["acted on wrongly"] <= 0.06


@pytest.mark.parametrize(("text", "look"), [("it is far too dark", "brighter"), ("way too bright for me", "darker"), ("太暗了", "brighter"),
                                            ("photo is too warm", "cooler"), ("it looks too cold", "warmer"), ("make it darker", "darker"),
                                            ("the sky is too boring, make it sunset", "sunset")])
def test_a_complaint_asks_for_the_opposite_of_what_it_names(shipped, text, look):
    assert shipped.read(text).understood == shipped.wordings.looks[look]


@pytest.mark.parametrize(("text", "look"), [
    ("Bump the exposure by about a stop", "brighter"), ("exposure is too high", "darker"), ("there's too much light in here", "darker"),
    ("turn the brightness down a notch", "darker"), ("more saturation please", "vivid"),
    ("亮度调高一点", "brighter"), ("把色温降低", "cooler")])
def test_more_or_less_of_what_photographs_have_is_the_look_that_it_makes(shipped, text, look):
    assert shipped.read(text).understood == shipped.wordings.looks[look]


@pytest.mark.parametrize("text", ["reduce the saturation", "remove the lights", "raise the balloon", "less contrast"])
def test_less_of_what_no_look_takes_away_is_left_alone(shipped, text):
    assert shipped.read(text).understood not in shipped.wordings.looks.values()


@pytest.mark.parametrize(("text", "understood"), [
    ("add red ball", "add a red ball"), ("make ball red", "make the ball red"), ("remove red ball", "remove the red ball"),
    ("make star golden", "make the star golden"), ("+ yellow moon", "add a yellow moon"), ("- balloon", "remove the balloon"),
    ("- make it darker", "make it darker"), ("make foggy", "make it foggy")])
def test_telegraphic_requests_and_signs_before_them_are_read_as_with_their_articles(shipped, text, understood):
    assert shipped.read(text).understood == understood


def test_a_slip_that_may_be_several_words_is_read_as_the_one_that_makes_sense(shipped):
    assert shipped.spelling.mend("wite") != "white"
    assert shipped.read("the flwoer shoud be wite").understood == "make the flower white"


@pytest.mark.parametrize("text", ["make it darker, but not too dark", "darken the photo, but don't make it too dark",
                                  "调暗一点，但别太暗"])
def test_a_bound_that_is_set_to_a_request_is_no_complaint(shipped, text):
    assert shipped.read(text).understood in ("", shipped.wordings.looks["darker"])


@pytest.mark.parametrize("text", ["🎉🎉", "???", "...", "👍 👎"])
def test_an_instruction_of_signs_alone_holds_no_words(shipped, text):
    reading = shipped.read(text)
    assert reading.fault == "wordless"
    assert reading.line == f"no words in '{text}'"


@pytest.mark.parametrize("text", ["сделай ярче", "اجعلها ضبابية", "もっと明るくして", "asdf qwer zxcv", "x" * 900, "word " * 150,
                                  "remove the giraffe", "DROP TABLE edits", "<script>alert(1)</script>", "don't make it foggy"])
def test_other_scripts_nonsense_and_unknown_things_are_left_alone_in_one_line(shipped, text):
    reading = shipped.read(text)
    assert not reading.understood
    assert "\n" not in reading.line
    assert len(reading.line) < 400


def test_looks_in_the_tables_chinese_are_read_as_what_they_are(shipped):
    for look, words in table()["looks"].items():
        for text in words["zh"]:
            if not text.startswith(HELD_OUT):
                assert shipped.read(text).understood == shipped.wordings.looks[look], text


@pytest.mark.parametrize(("text", "look"), [
    ("色调暖一点", "warmer"), ("请把照片的颜色调暖一点。", "warmer"), ("畫面冷一點", "cooler"), ("太暖了", "cooler"),
    ("把图片变成夜景吧", "night")])
def test_what_is_to_look_so_may_stand_before_a_chinese_look(shipped, text, look):
    assert shipped.read(text).understood == shipped.wordings.looks[look]


def test_slips_politeness_letters_and_traditional_chinese_are_understood(shipped):
    for text, understood in (("remvoe the tree", "remove the tree"), ("put evrything on teh beahc", "change the background to a beach"),
                             ("please remove the tree", "remove the tree"), ("the photo is much too yellow", "make it cooler"),
                             ("變成黑白照片", "turn it into black and white"), ("soooo foggyyyy please", "make it foggy"),
                             ("Dear editor, I hope that you are well. Please turn the picture into a pencil drawing for the invitation. "
                              "Many thanks, Margaret", "turn it into a sketch")):
        assert shipped.read(text).understood == understood, text


@pytest.mark.parametrize("text", ["a beautiful castle on a hill, highly detailed, 8k, trending on artstation", "please please please",
                                  "portrait of an old man, 85mm, cinematic lighting", "mach es bitte heller", "thank you so much"])
def test_prompts_of_other_programs_politeness_alone_and_other_languages_ask_for_nothing(shipped, text):
    assert not shipped.read(text).understood


@pytest.mark.parametrize("text", ["make it foggy and then turn it into a sketch and remove the tree",
                                  "make it darker and make it brighter"])
def test_several_requests_in_one_are_named_as_such(shipped, text):
    assert shipped.read(text).fault == "several"
