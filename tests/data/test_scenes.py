"""Synthetic scenes: what is promised of the triplets."""

import re
from dataclasses import replace

import numpy as np
import pytest

from mre.data.scenes.defects import (
    CLEAN,
    FOLLOWING_TEXTS,
    GEOMETRIC,
    PHOTOMETRIC,
    PRESERVING_TEXTS,
    QUALITY_KINDS,
    QUALITY_TEXTS,
    WAYS,
    Form,
    draw_form,
    draw_spoiling,
    lower_quality,
    move,
    spoil_outside,
)
from mre.data.scenes.edits import draw_edit, twins
from mre.data.scenes.looks import LOOKS, OPPOSITES, grey
from mre.data.scenes.photos import read_photos
from mre.data.scenes.render import render
from mre.data.scenes.requests import all_phrases
from mre.data.scenes.triplets import draw_triplet, outside_of, spoil, to_bytes
from mre.data.scenes.world import HELDOUT_MOODS, KINDS, Backdrop, Scene, standard_thing
from mre.errors import DataError
from mre.rewards import EDIT_TYPES, NOTHING_WRONG
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def photos():
    return read_photos(ROOT / "mre" / "assets" / "photos")


def edits(split, count, photo=False, types=EDIT_TYPES):
    """Edits of a split, without drawing their pictures."""
    return [draw_edit(np.random.default_rng([77, index]), split, types[index % len(types)], photo) for index in range(count)]


def same(a, b):
    arrays = ("original", "target", "edited", "wrong", "target_mask", "edited_mask")
    return (a.instruction, a.reward) == (b.instruction, b.reward) and all(np.array_equal(getattr(a, n), getattr(b, n)) for n in arrays)


def test_a_triplet_depends_on_its_number_alone_and_not_on_what_was_drawn_before(photos):
    alone = draw_triplet(5, 17, "train", 64, photos)
    for index in (3, 900, 4):
        draw_triplet(5, index, "heldout", 64, photos)
    assert same(alone, draw_triplet(5, 17, "train", 64, photos))
    others = [draw_triplet(*number, 64, photos) for number in ((5, 18, "train"), (6, 17, "train"), (5, 17, "heldout"))]
    assert not any(np.array_equal(alone.original, other.original) for other in others)


@pytest.mark.parametrize("size", [32, 64, 100, 128, 256])
def test_pictures_and_masks_have_the_size_that_was_asked_for(size, photos):
    for index in range(4):
        triplet = draw_triplet(1, index, "train", size, photos)
        for name in ("original", "target", "edited", "wrong"):
            assert getattr(triplet, name).shape == (size, size, 3), name
            assert getattr(triplet, name).dtype == np.uint8, name
        assert triplet.target_mask.shape == triplet.edited_mask.shape == (size, size)


@pytest.mark.parametrize("edit_type", EDIT_TYPES)
def test_every_edit_changes_the_picture_and_the_mask_says_where(edit_type, photos):
    for index in range(25):
        triplet = draw_triplet(2, index, ("train", "heldout")[index % 2], 64, photos, edit_type=edit_type)
        assert triplet.edit_type == edit_type
        away = np.abs(triplet.original.astype(int) - triplet.target).max(axis=2)
        assert triplet.target_mask.sum() >= 4, triplet.instruction
        assert (away[triplet.target_mask] > 8).all(), triplet.instruction          # 0.04 of 255 is 10.2, less rounding
        assert (away[~triplet.target_mask] < 12).all(), triplet.instruction
        wrong = np.abs(triplet.wrong.astype(int) - triplet.target).max(axis=2)
        assert (wrong > 10).any(), triplet.instruction


def test_a_removed_thing_leaves_exactly_what_was_behind_it():
    thing, other = standard_thing("house", "red", "left"), standard_thing("balloon", "blue", "sky right")
    scene = Scene(Backdrop("beach"), (thing, other))
    empty = render(Scene(Backdrop("beach")), 128)
    assert np.array_equal(render(scene.without(thing, other), 128), empty)
    touched = np.abs(render(scene, 128) - empty).max(axis=2) > 0
    rows, columns = np.nonzero(touched)
    assert touched[80:, :50].any()
    assert touched[:45, 80:].any()
    assert not touched[:, 55:80].any()
    assert rows.size == columns.size > 400


def test_the_thing_that_a_request_names_is_the_one_that_changes():
    """Slots are read here by other code than fills them: kind, colour and place must leave exactly the edited things."""
    found = 0
    for edit in [e for split in ("train", "heldout") for e in edits(split, 1400) if e.operation in ("recolour", "remove")]:
        asked = edit.request
        changed = [thing for thing in edit.before.things if thing not in edit.after.things]
        fitting = [thing for thing in edit.before.things if thing.kind == asked.kind and asked.of_colour in ("", thing.colour)]
        if asked.place in ("left", "right") and len(fitting) > 1:
            fitting = [{"left": min, "right": max}[asked.place](fitting, key=lambda thing: thing.x)]
        elif asked.place == "middle" and len(fitting) > 1:
            fitting = [sorted(fitting, key=lambda thing: thing.x)[1]]
        assert fitting == changed, (edit.instruction, edit.before)
        found += 1
    assert found > 300


def combinations(scenes):
    """Kind and colour, kind and texture of all things in scenes; a plain texture is no combination."""
    things = [thing for scene in scenes for thing in scene.things]
    return {(t.kind, t.colour) for t in things}, {(t.kind, t.texture) for t in things if t.texture != "plain"}


def test_training_never_shows_the_combinations_that_are_held_out():
    train, heldout = edits("train", 2000), edits("heldout", 2000)
    seen = combinations(scene for e in train for scene in (e.before, e.after, e.wrong, e.half or e.after))
    kept = combinations(scene for e in heldout for scene in (e.before, e.after))
    for name, shown, held in zip(("colour", "texture"), seen, kept, strict=True):
        assert not shown & held, name
        assert len(held) >= len(KINDS), name
    assert len(seen[0]) == 7 * len(KINDS)
    assert len(kept[0]) == 2 * len(KINDS)


def test_training_never_recolours_another_thing_into_a_combination_that_is_held_out():
    from mre.data.scenes.defects import damaged

    held = combinations(scene for e in edits("heldout", 1000) for scene in (e.before, e.after))[0]
    hit = 0
    for number, edit in enumerate(edits("train", 1500, types=("local", "remove", "add", "texture"))):
        spoiling = draw_spoiling(tuple(np.random.default_rng([number, k]) for k in range(3)), edit)
        if spoiling.other:
            hit += 1
            assert not combinations([damaged(edit.before, spoiling), damaged(edit.after, spoiling)])[0] & held
    assert hit > 30


def test_backdrops_of_the_held_out_split_are_never_drawn_in_training():
    low, high = HELDOUT_MOODS
    train, heldout = ({e.before.backdrop for e in edits(split, 1500)} for split in ("train", "heldout"))
    assert all(not low <= backdrop.mood < high for backdrop in train)
    assert all(low <= backdrop.mood < high for backdrop in heldout)
    assert not train & heldout
    assert len(train) > 1000


def test_instructions_are_worded_by_their_split_and_say_what_is_edited():
    unseen = re.compile(r"\b(" + "|".join(sorted(map(re.escape, all_phrases(held_out=True)), key=len, reverse=True)) + r")\b")
    train, heldout = edits("train", 1400), edits("heldout", 700)
    assert not [edit.instruction for edit in train if unseen.search(edit.instruction.lower())]
    assert np.mean([bool(unseen.search(edit.instruction.lower())) for edit in heldout]) > 0.3
    assert len({edit.instruction for edit in train}) > 1200
    for edit in train + heldout:
        verb = "recolour" if edit.edit_type == "local" else edit.edit_type
        assert edit.request.verb == verb
        assert edit.request.value == (edit.operation if verb in ("texture", "background", "global", "style") else "")


def test_two_of_a_kind_stand_in_equally_many_scenes_of_both_splits():
    shares = [np.mean([bool(twins(edit.before)) for edit in edits(split, 1200, types=("local", "remove", "texture"))])
              for split in ("train", "heldout")]
    assert abs(shares[0] - shares[1]) < 0.07          # four times its error
    assert min(shares) > 0.25


def test_a_background_is_any_of_many_landscapes_and_a_look_is_held_out_on_some_of_them():
    targets = [e.after.backdrop for e in edits("train", 200, types=("background",))]
    assert len(set(targets)) == len(targets)
    shown, held = ({(e.operation, e.before.backdrop.kind) for e in edits(split, 1400, types=("global", "style"))}
                   for split in ("train", "heldout"))
    assert not shown & held
    assert len(held) == 2 * len(LOOKS)
    assert len(shown) == 6 * len(LOOKS)


def test_a_request_without_an_answer_leaves_the_picture_as_it_is_and_names_nothing_that_is_there(photos):
    seen = set()
    for index in range(80):
        triplet = draw_triplet(6, index, "train", 32, photos, unanswerable=1.0, spoiled=False)
        assert np.array_equal(triplet.target, triplet.original)
        assert not triplet.target_mask.any()
        assert triplet.edit.request.kind not in {thing.kind for thing in triplet.edit.before.things}
        seen.add(triplet.edit.operation)
    assert seen == {"absent", "nothing"}
    share = np.mean([draw_triplet(6, index, "train", 32, unanswerable=0.25, spoiled=False).edit.nothing for index in range(200)])
    assert 0.15 < share < 0.35


# -- spoiling

def test_two_of_five_edits_follow_and_look_as_they_should_one_of_five_keeps_the_rest_and_the_three_draws_are_independent():
    edit = edits("train", 1)[0]
    scores = np.array([draw_spoiling(tuple(np.random.default_rng([index, k]) for k in range(3)), edit).scores for index in range(8000)])
    for column, flawless in zip(scores.T, (0.4, 0.2, 0.4), strict=True):
        shares = np.bincount(column, minlength=6) / len(column)
        assert abs(shares[5] - flawless) < 0.02
        assert np.abs(shares[:5] - (1 - flawless) / 5).max() < 0.02
    for first, second in ((0, 1), (0, 2), (1, 2)):
        table = np.histogram2d(scores[:, first], scores[:, second], bins=(np.arange(7) - 0.5,) * 2)[0]
        expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
        assert ((table - expected) ** 2 / expected).sum() < 52        # chi squared, 25 degrees of freedom: 0.1 % of fair draws exceed it


def test_texts_name_what_is_wrong_and_say_none_when_nothing_is():
    tables = {0: FOLLOWING_TEXTS, 1: PRESERVING_TEXTS, 2: QUALITY_TEXTS}
    for table in tables.values():
        texts = [text for group in table.values() for text in group]
        assert len(texts) == len(set(texts))         # no text stands for two kinds
    for number, edit in enumerate(edits("train", 700)):
        spoiling = draw_spoiling(tuple(np.random.default_rng([number, k]) for k in range(3)), edit)
        for k, (score, kind, text) in enumerate(zip(spoiling.scores, spoiling.kinds, spoiling.texts, strict=True)):
            assert (score == 5) == (text == NOTHING_WRONG) == (kind == "")
            assert ";" not in text
            assert "{" not in text
            if kind and k:
                assert any(reads_as_text(template).match(text) for template in tables[k][kind]), (kind, text)


def test_colours_are_spoiled_where_an_edit_leaves_some_alone_and_the_whole_picture_is_moved_where_none_is_left():
    found = {True: set(), False: set()}
    for number, edit in enumerate(edits("train", 1400)):
        _, preserving, _ = draw_spoiling(tuple(np.random.default_rng([number, k]) for k in range(3)), edit).kinds
        found[edit.edit_type in ("global", "style")].add(preserving)
    whole, part = ({kind for kind in found[key] if kind not in ("", "recoloured", "removed")} for key in (True, False))
    assert whole == set(GEOMETRIC)
    assert part == set(PHOTOMETRIC)


def reads_as_text(template):
    return re.compile(re.sub(r"\{[a-z]+\}", "[a-z ]+", template))


def drawn_until(wanted, photos=None, count=4000, **how):
    for index in range(count):
        triplet = draw_triplet(31, index, "train", 64, photos, **how)
        if wanted(triplet):
            return triplet
    raise AssertionError("no such triplet was drawn")


def test_an_edit_that_was_not_made_leaves_the_original_and_a_clean_one_is_the_target(photos):
    missing = drawn_until(lambda t: t.reward.scores == (0, 5, 5), photos)
    assert np.array_equal(missing.edited, missing.original)
    assert not missing.edited_mask.any()
    clean = drawn_until(lambda t: t.reward.scores == (5, 5, 5), photos)
    assert np.array_equal(clean.edited, clean.target)
    assert np.array_equal(clean.edited_mask, clean.target_mask)
    unspoiled = draw_triplet(31, 8, "train", 64, photos, spoiled=False)
    assert unspoiled.reward.scores == (5, 5, 5)
    assert np.array_equal(unspoiled.edited, unspoiled.target)


def test_a_weak_edit_is_a_known_blend_and_a_wrong_one_is_the_wrong_picture():
    looks = [("global", *row) for row in ((2, 0.35), (3, 0.55), (4, 0.78))]
    for edit_type, score, amount in [*looks, *(("remove", *row) for row in ((2, 0.50), (3, 0.75), (4, 0.90)))]:
        triplet = draw_triplet(31, 5, "train", 64, edit_type=edit_type, spoiled=False)
        edit = triplet.edit
        pictures = [render(scene, 64) for scene in (edit.before, edit.after, edit.wrong)]
        for kind, faults in (("weak", score), ("wrong", 1)):
            spoiling = replace(CLEAN, scores=(faults, 5, 5), kinds=(kind, "", ""))
            made = to_bytes(spoil(edit, spoiling, *pictures, triplet.target_mask, None, np.random.default_rng(0)))
            blend = triplet.original + (triplet.target.astype(float) - triplet.original) * amount
            assert np.abs((blend if kind == "weak" else triplet.wrong) - made).max() <= 1.01


def test_half_of_an_edit_of_two_things_does_one_of_them():
    triplet = drawn_until(lambda t: (t.kinds, t.edit.operation) == (("half", "", ""), "add two"), edit_type="add")
    assert triplet.reward.scores == (3, 5, 5)
    middle = np.nonzero(triplet.target_mask)[1].mean()
    columns = np.arange(64)[None, :] * np.ones((64, 1))
    halves = [triplet.target_mask & (columns < middle), triplet.target_mask & (columns >= middle)]
    done = [np.array_equal(triplet.edited[half], triplet.target[half]) for half in halves]
    left = [np.array_equal(triplet.edited[half], triplet.original[half]) for half in halves]
    assert sorted(done) == [False, True]
    assert done != left


@pytest.mark.parametrize("kind", PHOTOMETRIC)
def test_what_happens_to_the_colours_spares_the_edit_and_has_the_effect_of_its_score_in_every_form(kind):
    triplet = draw_triplet(4, 3, "train", 64, edit_type="local", spoiled=False)
    picture, outside = triplet.target / np.float32(255), outside_of(triplet.target_mask)
    for number in range(8):
        form = draw_form(np.random.default_rng(number), ("train", "heldout")[number % 2])
        levels = np.arange(1, 6 if form.part == "everywhere" and kind in ("tinted", "darkened") else 3)
        away = [spoil_outside(picture, kind, level, outside, form) - picture for level in levels]
        assert all((step[triplet.target_mask] == 0).all() for step in away)
        sizes = [np.abs(step.reshape(32, 2, 32, 2, 3).mean((1, 3))).mean() / outside.mean() for step in away]
        assert np.allclose(sizes, levels * 0.042, rtol=0.03), form


def test_a_shift_goes_where_its_form_says_and_grows_as_the_score_falls():
    picture = np.zeros((128, 128, 3), np.float32)
    picture[50:70, 55:75] = 1
    ways = {"right": (0, 1), "down": (1, 0), "left": (0, -1), "up": (-1, 0), "up right": (-1, 1), "down left": (1, -1)}
    for name, (down, right) in ways.items():
        form = Form(way=WAYS.index(name))
        places = [np.argwhere(move(picture, "shifted", level, form)[..., 0] > 0.5).mean(axis=0) for level in range(6)]
        assert np.allclose(places[0], (59.5, 64.5))
        lengths = [(place - places[0]) @ (down, right) / np.hypot(down, right) for place in places]
        assert (np.diff(lengths) > 0.5).all(), name
        assert np.allclose(np.sign(np.round(places[5] - places[0])), (down, right)), name
    zooms = [(move(picture, "zoomed", level)[..., 0] > 0.5).sum() for level in range(6)]
    assert (np.diff(zooms) > 0).all()


@pytest.mark.parametrize("kind", QUALITY_KINDS)
def test_artefacts_grow_as_the_score_falls(kind, photos):
    picture = draw_triplet(4, 3, "train", 128, photos, photo_share=1.0).original / np.float32(255)
    away = [np.abs(lower_quality(picture, kind, level, np.random.default_rng(0)) - picture).mean() for level in range(1, 6)]
    assert np.all(np.diff(away) > 0)


def test_forms_of_held_out_defects_are_never_drawn_in_training():
    train, heldout = ([draw_form(np.random.default_rng([number, 1]), split) for number in range(400)] for split in ("train", "heldout"))
    for name in ("hue", "way", "blotch"):
        shown, held = ({getattr(form, name) for form in forms} for forms in (train, heldout))
        assert not shown & held, name
        assert len(held) >= 2, name
    assert "bottom" not in {form.part for form in train}
    assert len({form.hue for form in train}) == 6


def test_spoiling_never_depends_on_the_size_of_the_picture():
    for index in range(30):
        small, large = (draw_triplet(12, index, "train", size) for size in (64, 128))
        assert (small.instruction, small.reward, small.kinds) == (large.instruction, large.reward, large.kinds)


# -- looks

def test_looks_are_what_their_names_say(photos):
    picture = draw_triplet(4, 6, "train", 128, photos, photo_share=1.0, edit_type="global").original / np.float32(255)
    made = {name: look(picture) for name, look in LOOKS.items()}
    for name, image in made.items():
        assert (image.shape, image.dtype) == (picture.shape, np.float32), name
        assert np.array_equal(np.clip(image, 0, 1), image), name
        assert np.abs(image - picture).mean() > 0.015, name
    light, (red, _, blue) = grey(picture).mean(), picture.mean((0, 1))
    assert grey(made["brighter"]).mean() > light > grey(made["darker"]).mean() > grey(made["night"]).mean()
    for warm in ("warmer", "sunset", "sepia", "vintage", "autumn"):
        assert made[warm].mean((0, 1))[0] - made[warm].mean((0, 1))[2] > red - blue, warm
    assert made["cooler"].mean((0, 1))[2] - made["cooler"].mean((0, 1))[0] > blue - red
    assert np.ptp(made["black_and_white"], axis=2).max() < 1e-6
    assert np.ptp(made["sketch"], axis=2).max() < 0.05
    assert np.allclose(LOOKS["negative"](made["negative"]), picture, atol=1e-6)
    assert len(np.unique(made["poster"])) <= 4
    assert np.std(made["foggy"]) < np.std(picture) < np.std(made["vivid"]) * 1.2
    assert set(OPPOSITES) == set(LOOKS)
    assert all(name != other for name, other in OPPOSITES.items())


# -- bad input

@pytest.mark.parametrize(("wrong", "named"), [({"split": "test"}, "split"), ({"size": 8}, "size"), ({"edit_type": "blur"}, "edit type"),
                                              ({"seed": -1}, "seed")])
def test_what_cannot_be_drawn_is_refused_by_name(wrong, named):
    with pytest.raises(DataError, match=named):
        draw_triplet(**({"seed": 0, "index": 0} | wrong))


def test_a_thing_changed_keeps_its_place():
    scene = Scene(Backdrop("snow"), (standard_thing("ball", "red", "left"), standard_thing("cube", "red", "right")))
    changed = scene.with_changed(scene.things[0], colour="blue")
    assert changed.things[0] == replace(scene.things[0], colour="blue")
    assert changed.things[1] == scene.things[1]
