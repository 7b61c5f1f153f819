"""Scenes whose instructions need looking: one exact answer each, found in another way than they are drawn."""

import re
from collections import Counter

import numpy as np
import pytest

from mre.data.scenes.looking import COUNTS, NEEDS, ORDINALS, SETS, draw_looking, draw_question, finds_right, is_held_out, looking_words
from mre.data.scenes.oracle import Oracle
from mre.data.scenes.world import COLOUR_NAMES, COLOURED_TEXTURES, KINDS, colours_of
from mre.errors import DataError

EACH = 20


def meant(things, text):
    """The things that an instruction means, read from its words."""
    row = sorted((thing for thing in things if not thing.in_sky), key=lambda thing: thing.x)
    words = re.findall(r"[a-z]+", text)
    kinds = [word.removesuffix("es") if word == "boxes" else word for word in words if word in KINDS]
    named = kinds + [word[:-1] for word in words if word[:-1] in KINDS and word not in KINDS]
    if "between" in words:
        ends = sorted(next(one.x for one in row if one.kind == kind) for kind in named)
        return {one for one in row if ends[0] < one.x < ends[1]}
    if "next" in words or "just" in words:
        side = "left" if "left" in words else "right"
        if named:
            anchor = next(one for one in row if one.kind == named[0])
        else:
            [anchor] = [one for one in row if one.colour == words[words.index("one") - 1]]
        return {row[row.index(anchor) + (1 if side == "right" else -1)]}
    if found := set(words) & {"largest", "biggest", "smallest", "tiniest"}:
        same = [one for one in row if one.kind == named[0]]
        return {(max if found & {"largest", "biggest"} else min)(same, key=lambda one: one.radius)}
    if found := [word for word in words if word in ORDINALS]:
        return {(row if "left" in words else row[::-1])[ORDINALS.index(found[0])]}
    for name, members in SETS.items():
        if name in text:
            return {one for one in things if one.kind in members}
    if "not" in words or "ones" in words:
        colour = next(words[place + 1 if word == "not" else place - 1] for place, word in enumerate(words) if word in ("not", "ones"))
        return {one for one in things if one.kind == named[0] and one.colour != colour}
    if "ground" in words:
        return {one for one in row if one.kind != named[0]}
    number = next(count for count, word in COUNTS.items() if word in words)
    counted = Counter(one.kind for one in things)
    return {one for one in things if counted[one.kind] == number}


@pytest.mark.parametrize("need", NEEDS)
@pytest.mark.parametrize("split", ["train", "heldout"])
def test_what_is_changed_is_what_the_words_mean_and_nothing_else(need, split):
    for index in range(EACH):
        edit = draw_looking(3, index, split, 32, need=need, spoiled=False).edit
        before, after = set(edit.before.things), set(edit.after.things)
        assert before - after == meant(edit.before.things, edit.instruction), edit.instruction
        assert before & after, edit.instruction            # something is left that could have been meant
        changed = after - before
        assert {one.colour for one in changed} == ({edit.asked} if changed else set())
        assert len(changed) in (0, len(before - after))
        assert edit.wrong not in (edit.before, edit.after)


def test_the_oracle_gives_the_right_thing_its_due_and_a_wrong_one_nothing():
    for index, need in enumerate(NEEDS):
        triplet = draw_looking(5, index, "heldout", 64, need=need, spoiled=False)
        oracle = Oracle(triplet)
        assert oracle.score(triplet.target).following == 5
        assert oracle.score(triplet.wrong).following <= 1
        assert finds_right(triplet, triplet.target)
        assert not finds_right(triplet, triplet.original)
        faint = (triplet.original.astype(np.float32) * 0.6 + triplet.target.astype(np.float32) * 0.4).astype(np.uint8)
        assert finds_right(triplet, faint)                 # the right thing, badly done


def test_another_thing_changed_is_not_the_right_one():
    for index in range(EACH):
        triplet = draw_looking(6, index, "heldout", 32, need="between", spoiled=False)
        before, after, wrong = (set(scene.things) for scene in (triplet.edit.before, triplet.edit.after, triplet.edit.wrong))
        if before - wrong != before - after:
            assert not finds_right(triplet, triplet.wrong)


@pytest.mark.parametrize("need", NEEDS)
def test_a_fifth_of_the_combinations_is_held_out(need):
    rng = np.random.default_rng(0)
    seen = {split: {draw_question(rng, split, need).combination for _ in range(150)} for split in ("train", "heldout")}
    assert not seen["train"] & seen["heldout"]
    assert seen["heldout"]
    every = {NEEDS[need](rng, "train").combination for _ in range(500)}
    assert 0.05 < sum(is_held_out(need, one) for one in every) / len(every) < 0.4


def test_things_of_a_split_have_its_colours():
    for index in range(EACH):
        for thing in draw_looking(0, index, "heldout", 32, spoiled=False).edit.before.things:
            assert thing.colour in colours_of(thing.kind, "heldout")
            assert thing.texture in COLOURED_TEXTURES


def test_a_triplet_is_a_function_of_its_seed_and_number_and_is_spoiled_as_others_are():
    one, same, other = (draw_looking(2, index, "train", 32) for index in (4, 4, 5))
    assert np.array_equal(one.edited, same.edited)
    assert one.instruction == same.instruction
    assert not np.array_equal(one.original, other.original)
    scores = [draw_looking(2, index, "train", 32).reward.scores for index in range(40)]
    assert {min(row) for row in scores} > {0.0, 5.0}
    assert all(draw_looking(2, index, "train", 32, spoiled=False).reward.scores == (5, 5, 5) for index in range(3))


def test_every_word_of_an_instruction_is_in_the_list():
    said = {word for index in range(80) for word in re.findall(r"[a-z]+", draw_looking(1, index, "train", 32, spoiled=False).instruction)}
    assert said <= looking_words()
    assert set(COLOUR_NAMES) <= looking_words()


def test_an_unknown_need_is_named():
    with pytest.raises(DataError, match=r"need must be one of between, beside, .* got 'telepathy'"):
        draw_looking(0, 0, need="telepathy")
