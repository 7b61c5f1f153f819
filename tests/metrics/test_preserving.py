"""Shift, zoom, drift and change outside the edit, against what was done to the pictures."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mre.data.scenes.triplets import draw_triplet
from mre.metrics.preserving import measure_preserving
from tests.metrics.drawn import cuts, photograph, with_patch


@pytest.mark.parametrize(("dx", "dy", "zoom"), [(0, 0, 1), (0.4, -0.7, 1), (11.3, -8.6, 1), (0, 0, 1.004), (-3.2, 5.1, 1.07),
                                                (14.0, 6.5, 0.94), (0, 0, 1.3), (-20.0, 12.0, 1.2)])
def test_shift_and_zoom_of_a_drawn_photograph_are_found_to_a_tenth_of_a_pixel(dx, dy, zoom):
    found = measure_preserving(*cuts(1, dx, dy, zoom))
    assert (found.dx, found.dy) == pytest.approx((dx, dy), abs=0.1)
    assert found.zoom == pytest.approx(zoom, rel=0.0005)


@pytest.mark.parametrize("cast", [(6, -4, 9), (-12, -12, -12), (0, 0, 3)])
def test_a_cast_is_found_within_a_level_while_half_of_the_picture_is_edited(cast):
    original, moved = cuts(2, 6.4, -3.1, 1.03, cast)
    found = measure_preserving(original, with_patch(moved, 9, (0, 0, 150, 240)))
    assert found.drift == pytest.approx(cast, abs=1)
    assert (found.dx, found.dy) == pytest.approx((6.4, -3.1), abs=0.3)
    assert found.zoom == pytest.approx(1.03, rel=0.002)
    assert found.changed == pytest.approx(0.5, abs=0.06)


def test_darkening_is_told_as_the_mean_change_of_levels():
    original, _ = cuts(3)
    darker = Image.fromarray((np.asarray(original) * 0.8).round().astype(np.uint8))
    change = np.asarray(darker, float) - np.asarray(original, float)
    found = measure_preserving(original, darker)
    assert found.drift == pytest.approx(change.mean(axis=(0, 1)), abs=0.5)
    assert found.changed == 0


def test_the_same_picture_is_kept_in_all_respects():
    original, _ = cuts(4)
    found = measure_preserving(original, original)
    assert (found.shift, found.zoom, found.colour_drift) == pytest.approx((0, 1, 0), abs=1e-3)
    assert (found.changed, found.outside_share, found.outside_size) == (0, 0, 0)


def test_an_edited_picture_of_another_size_is_measured_at_the_originals():
    original, moved = cuts(5, 5.0, 3.0, 1.02)
    larger = moved.resize((512, 416), Image.Resampling.LANCZOS)          # of another shape too, as editors round to multiples of 16
    found = measure_preserving(original, larger)
    assert (found.dx, found.dy) == pytest.approx((5, 3), abs=0.2)
    assert found.zoom == pytest.approx(1.02, rel=0.002)


def test_a_crop_that_stretched_one_direction_is_found():
    """A server that cuts 12 columns away and whose answer is scaled back to the photo's size."""
    original, _ = cuts(6)
    cropped = original.crop((6, 0, 294, 240)).resize(original.size, Image.Resampling.LANCZOS)
    place = measure_preserving(original, cropped).alignment
    assert place.zoom_x == pytest.approx(300 / 288, rel=0.001)
    assert place.zoom_y == pytest.approx(1, rel=0.001)


def test_change_outside_the_mask_is_measured_and_inside_it_is_not():
    original, _ = cuts(7)
    edited = np.array(original)
    edited[40:90, 30:100] = (250, 20, 20)                                # the edit
    edited[150:170, 200:240] = np.asarray(original)[150:170, 200:240] // 2          # and something else: 800 pixels
    mask = np.zeros((240, 300), bool)
    mask[40:90, 30:100] = True
    found = measure_preserving(original, Image.fromarray(edited), mask)
    outside = mask.size - mask.sum()
    away = np.abs(edited.astype(int) - np.asarray(original, int))
    assert found.outside_share == pytest.approx((away.max(axis=2) > 10)[~mask].sum() / outside)
    assert found.outside_size == pytest.approx(away[~mask].mean(), rel=1e-4)
    assert found.drift == pytest.approx((0, 0, 0), abs=0.1)


def test_without_a_mask_the_changed_regions_are_the_edit_and_the_rest_is_outside():
    original, _ = cuts(7)
    edited = with_patch(original, 8, (60, 50, 160, 150))
    found = measure_preserving(original, edited)
    assert found.changed == pytest.approx(100 * 100 / (300 * 240), abs=0.01)
    assert found.outside_size < 0.05


@pytest.mark.parametrize("edited", ["another photograph", "one colour", "stripes", "noise"])
def test_pictures_without_anything_in_common_are_not_measurable(edited):
    original, _ = cuts(10)
    rng = np.random.default_rng(0)
    pixels = {"another photograph": np.asarray(cuts(11)[0]), "one colour": np.full((240, 300, 3), 90),
              "noise": rng.integers(0, 256, (240, 300, 3)),
              "stripes": np.broadcast_to((np.arange(240) // 6 % 2 * 200)[:, None, None], (240, 300, 3))}[edited]
    found = measure_preserving(original, Image.fromarray(pixels.astype(np.uint8)))
    assert (found.dx, found.dy, found.zoom, found.shift, found.alignment) == (None,) * 5


def test_a_picture_of_stripes_has_no_shift_along_them():
    stripes = Image.fromarray(np.broadcast_to((np.arange(240) // 7 % 2 * 150 + 40)[:, None, None], (240, 300, 3)).astype(np.uint8))
    assert measure_preserving(stripes, stripes).shift is None


def test_a_flat_picture_has_a_drift_and_no_shift():
    found = measure_preserving(Image.new("RGB", (200, 150), (120, 130, 140)), Image.new("RGB", (200, 150), (123, 130, 136)))
    assert found.shift is None
    assert found.drift == pytest.approx((3, 0, -4), abs=0.1)


def test_an_edit_of_the_whole_picture_has_no_outside():
    found = measure_preserving(cuts(12)[0], photograph(13).resize((300, 240)))
    assert (found.outside_share, found.outside_size) == (None, None)


@pytest.mark.parametrize(("kind", "dx", "dy", "zoom"), [("shifted", 6, 0, 1), ("zoomed", 0, 0, 1.23)])
def test_flat_synthetic_scenes_that_were_spoiled_show_how(kind, dx, dy, zoom):
    """The oracle's own defects at the strength that costs three or four points, on scenes with little texture."""
    from mre.data.scenes.defects import move

    errors = []
    for index in range(12):
        triplet = draw_triplet(5, index, "heldout", 128, edit_type="local", spoiled=False)
        spoiled = move(triplet.target.astype(np.float32), kind, 3 if kind == "shifted" else 4)
        found = measure_preserving(Image.fromarray(triplet.original), Image.fromarray(spoiled.clip(0, 255).astype(np.uint8)))
        errors.append(None if found.shift is None else max(abs(found.dx - dx), abs(found.dy - dy), 64 * abs(found.zoom - zoom)))
    assert sum(error is not None for error in errors) >= 10
    assert max(error for error in errors if error is not None) < 0.7


def test_a_mask_of_another_size_is_refused():
    original, _ = cuts(1)
    with pytest.raises(ValueError, match="has 10 x 12 pixels, the picture 300 x 240"):
        measure_preserving(original, original, np.ones((12, 10), bool))


def test_small_pictures_are_measured():
    original, moved = cuts(14, 1.5, -1.0, 1.0, size=(64, 48))
    found = measure_preserving(original, moved)
    assert (found.dx, found.dy) == pytest.approx((1.5, -1.0), abs=0.2)


def test_the_smallest_pictures_do_not_fail():
    picture = Image.new("RGB", (16, 16), "red")
    ImageDraw.Draw(picture).rectangle((4, 4, 9, 9), fill="blue")
    assert measure_preserving(picture, picture).changed == 0
