"""Requests as people write them: what is asked is what is said, held-out phrases and the test instructions stay out of training."""

import re
from collections import Counter

import numpy as np

from mre.data.scenes.concepts import NOTHING, OPERATIONS, Asked, canonical, phrases, table
from mre.data.scenes.instructions import GROUPS, comparable, instructions, reserved
from mre.data.scenes.requests import all_phrases, draw_absent, draw_nothing, draw_request, worded
from mre.rewards import EDIT_TYPES
from tests.bench.reading import HALVES, of_split

TRAIN = [draw_request(np.random.default_rng([1, number])) for number in range(5000)]
HELD_OUT = [draw_request(np.random.default_rng([2, number]), "heldout") for number in range(600)]


def whole_words(texts: frozenset[str]) -> re.Pattern:
    return re.compile(r"\b(" + "|".join(sorted(map(re.escape, texts), key=len, reverse=True)) + r")\b")


def test_no_training_draw_is_a_test_instruction_though_the_table_could_make_it():
    assert comparable(canonical(Asked("recolour", "ball", "red"))) in reserved(), "a plain wording is among the test instructions"
    plain = [worded(np.random.default_rng(number), Asked("recolour", "ball", "red")).text for number in range(800)]
    assert any(comparable(text).startswith("make the ball") for text in plain)
    assert not {comparable(text) for text in plain} & reserved()
    assert not {comparable(request.text) for request in TRAIN} & reserved()


def test_held_out_phrases_are_in_held_out_requests_alone():
    unseen = whole_words(all_phrases(held_out=True))
    assert [request.text for request in TRAIN if unseen.search(request.text.lower())] == []
    assert not any(request.held_out for request in TRAIN)
    assert all(request.held_out for request in HELD_OUT)
    assert sum(bool(unseen.search(request.text.lower())) for request in HELD_OUT if request.language == "en") > 200


def test_every_concept_has_many_names_in_english_some_in_chinese_and_some_kept_back():
    for section, fewest in (("looks", 60), ("backgrounds", 40), ("textures", 30), ("colours", 25), ("kinds", 20)):
        for concept, lists in table()[section].items():
            english = [text for name, texts in lists.items() if not name.endswith("zh") for text in texts]
            assert len(english) >= fewest, concept
            assert len(lists["zh"]) >= 12, concept
            chinese = {text.removeprefix("~") for text in lists["zh"]}
            assert len(chinese) == len(lists["zh"]), concept
            for name in (next(iter(lists)), "zh"):
                assert phrases(section, concept, name, held_out=True), concept


def test_draws_cover_every_operation_both_languages_and_requests_for_nothing():
    counts = Counter(request.asked.operation for request in TRAIN)
    assert set(counts) == set(OPERATIONS)
    assert 0.07 < counts[NOTHING] / len(TRAIN) < 0.13
    assert 0.10 < sum(request.language == "zh" for request in TRAIN) / len(TRAIN) < 0.20
    assert len({request.text for request in TRAIN}) > 0.9 * len(TRAIN)


def test_a_request_says_what_its_slots_hold():
    """Read another way: with the table's own phrases of each slot looked for in the text."""
    for request in TRAIN:
        asked, text = request.asked, request.text.lower().replace("color", "colour").replace("gray", "grey").replace("center", "centre")
        if request.language == "zh":
            if asked.kind:
                assert any(name in text for name in phrases("kinds", asked.kind, "zh")), request
            for colour in filter(None, (asked.colour, asked.of_colour)):
                assert any(name in text for name in phrases("colours", colour, "zh")), request
    typed = [request for request in TRAIN if request.language == "en" and request.asked.kind]
    named = [any(name.rstrip("y")[:-1] in request.text.lower() for name in phrases("kinds", request.asked.kind, "en")) for request in typed]
    assert np.mean(named) > 0.97            # the rest are slips of the keyboard


def test_canonical_wordings_are_the_plainest():
    expected = {
        Asked("recolour", "ball", "blue", of_colour="red", place="left"): "make the left red ball blue",
        Asked("recolour", "ball", "blue", count=2): "make both balls blue",
        Asked("remove", "tree"): "remove the tree", Asked("add", "star", "orange"): "add an orange star",
        Asked("add", "car", "red", place="right", beside="house"): "add a red car to the right of the house",
        Asked("add", "ball", "red", count=2): "add two red balls", Asked("texture:wooden", "house"): "make the house wooden",
        Asked("background:beach"): "change the background to a beach", Asked("global:foggy"): "make it foggy",
        Asked("style:sketch"): "turn it into a sketch", Asked(): ""}
    assert {asked: canonical(asked) for asked in expected} == expected


def test_who_says_what_is_wrong_with_a_picture_asks_for_the_opposite_look():
    said = {request.text for request in TRAIN if request.asked == Asked("global:brighter")}
    assert sum(re.search(r"(too|so|very|less|rather) (dark|dim|gloomy|black)", text.lower()) is not None for text in said) > 5
    assert not any(re.search(r"too (bright|light)\b", text.lower()) for text in said)
    assert any("too bright" in request.text.lower() for request in TRAIN if request.asked == Asked("global:darker"))


def test_a_request_for_nothing_and_one_for_an_absent_thing():
    for number in range(200):
        rng = np.random.default_rng(number)
        assert draw_nothing(rng).asked == Asked()
        assert draw_absent(rng, Asked("remove", "ball"), ["ball", "tree"]).asked.kind not in ("ball", "tree")


def test_the_instructions_for_development_are_others_than_those_of_the_test():
    rows = instructions("development")
    assert len({comparable(one.text) for one in rows}) == len(rows) >= 200
    assert Counter(one.group for one in rows).keys() == set(GROUPS) - {"absent"}
    in_both = {comparable(one.text) for one in rows} & {comparable(one.text) for one in instructions()}
    assert not in_both
    assert {comparable(one.text) for one in rows} <= reserved()
    for one in rows:
        for operation in one.operations:
            for colour in one.colours:
                Asked(operation, one.kind, colour, one.of_colour, one.place, one.beside, one.count)


def test_the_test_instructions_are_many_of_every_kind_and_each_asks_for_something_that_there_is():
    rows = instructions()
    assert len(rows) >= 400
    assert len({comparable(one.text) for one in rows}) == len(rows)
    assert Counter(one.group for one in rows).keys() == set(GROUPS)
    for one in rows:
        for operation in one.operations:
            for colour in one.colours:
                Asked(operation, one.kind, colour, one.of_colour, one.place, one.beside, one.count)
    verbs = Counter(operation.partition(":")[0] for one in rows for operation in one.operations if one.group == "known")
    assert set(verbs) == {"recolour", *EDIT_TYPES} - {"local"}
    assert min(verbs.values()) >= 40
    assert sum(one.language == "zh" for one in rows) >= 45
    assert all(one.operations == (NOTHING,) for one in rows if one.group in ("unknown", "meaningless", "several"))
    assert {operation for one in rows for operation in one.operations} == set(OPERATIONS)


def test_the_instructions_that_reading_is_checked_by_are_in_no_other_list_and_name_what_there_is():
    halves = [of_split(name) for name in HALVES]
    texts = [comparable(one.text) for half in halves for one in half]
    assert len(set(texts)) == len(texts) >= 350
    assert not set(texts) & reserved()
    for half in halves:
        verbs = {operation.partition(":")[0] for one in half for operation in one.operations}
        assert verbs == {"recolour", *EDIT_TYPES, NOTHING} - {"local"}
        for one in half:
            for operation in one.operations:
                for place in one.place.split("|"):
                    for colour in (*one.colours, *one.of_colour.split("|")):
                        Asked(operation, one.kind, colour, "", place, one.beside, one.count)
