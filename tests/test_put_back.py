"""Outside the region and its seam a put-back picture is the photo, bit for bit; inside it is the edit, back in its place."""

import numpy as np
import pytest
from PIL import Image

from mre.errors import ImageError
from mre.put_back import put_back, seam_width
from tests.metrics.drawn import cuts, photograph, with_patch

BOX = (90, 60, 190, 150)


def mask_of(box: tuple[int, int, int, int] = BOX, size: tuple[int, int] = (300, 240)) -> np.ndarray:
    mask = np.zeros(size[::-1], bool)
    mask[box[1]:box[3], box[0]:box[2]] = True
    return mask


def beyond(box: tuple[int, int, int, int], reach: int, size: tuple[int, int] = (300, 240)) -> np.ndarray:
    return ~mask_of((max(0, box[0] - reach), max(0, box[1] - reach), box[2] + reach, box[3] + reach), size)


@pytest.mark.parametrize("size", [(300, 240), (1200, 800), (61, 40)])
def test_beyond_mask_and_seam_every_pixel_is_the_photos(size):
    original = photograph(1).resize(size)
    edited = photograph(2).resize(size)
    box = tuple(round(value * side / 300) for value, side in zip((90, 90, 190, 190), (size[0], size[1]) * 2, strict=True))
    result = np.asarray(put_back(original, edited, mask_of(box, size)).image)
    outside = beyond(box, seam_width(size), size)
    assert outside.any()
    assert (result[outside] == np.asarray(original)[outside]).all()
    inside = mask_of(box, size)
    assert (result[inside] == np.asarray(edited)[inside]).all()


def test_the_seam_fades_without_a_step():
    """Between black and white, with nothing to align, the seam falls evenly over its width."""
    original, edited = Image.new("RGB", (400, 300), "black"), Image.new("RGB", (400, 300), "white")
    row = np.asarray(put_back(original, edited, mask_of((150, 100, 250, 200), (400, 300))).image)[150, :, 0].astype(int)
    steps = np.diff(row[240:270])
    assert (steps <= 0).all()
    assert np.abs(steps).max() <= 255 * 4 / seam_width((400, 300))
    assert row[250 + seam_width((400, 300))] == 0


def test_a_moved_and_enlarged_edit_is_put_back_in_its_place():
    original, moved = cuts(3, 9.0, -6.0, 1.05)
    still = with_patch(original, 4, BOX)
    x, y = 150, 120                                     # where the patch lands in the moved picture
    left, top = x + 9 + 1.05 * (BOX[0] - x), y - 6 + 1.05 * (BOX[1] - y)
    right, bottom = x + 9 + 1.05 * (BOX[2] - x), y - 6 + 1.05 * (BOX[3] - y)
    patch = photograph(4).crop((0, 0, 100, 90)).resize((round(right) - round(left), round(bottom) - round(top)), Image.Resampling.BICUBIC)
    edited = moved.copy()
    edited.paste(patch, (round(left), round(top)))
    result = put_back(original, edited, mask_of())
    inner = mask_of((BOX[0] + 4, BOX[1] + 4, BOX[2] - 4, BOX[3] - 4))
    away = np.abs(np.asarray(result.image, int) - np.asarray(still, int)).mean(axis=2)
    assert away[inner].mean() < 6                       # the paste is rounded to whole pixels
    assert np.abs(np.asarray(edited, int) - np.asarray(still, int)).mean(axis=2)[inner].mean() > 15
    assert (away[beyond(BOX, seam_width((300, 240)))] == 0).all()
    assert result.alignment.dx == pytest.approx(9, abs=0.3)


def test_without_a_mask_what_clearly_changed_stays_and_the_rest_is_put_back():
    original, moved = cuts(5, 4.0, 3.0, 1.0, cast=(5, 5, 2))
    edited = with_patch(moved, 6, (104, 73, 204, 163))
    result = put_back(original, edited)
    pixels = np.asarray(result.image)
    box = (100, 70, 200, 160)
    outside = beyond(box, seam_width((300, 240)) + 8)
    assert (pixels[outside] == np.asarray(original)[outside]).all()
    inner = mask_of((110, 80, 190, 150))
    assert (pixels[inner] == np.asarray(edited)[83 - 80 + np.nonzero(inner)[0], 114 - 110 + np.nonzero(inner)[1]]).mean() > 0.95
    assert 0.5 < result.kept < 0.9


def test_pixels_that_a_zoomed_edit_no_longer_has_are_the_photos():
    """The mask reaches the edge; the edited picture shows less than the photo there."""
    original, moved = cuts(7, 0, 0, 1.1)
    mask = mask_of((0, 0, 80, 240))
    pixels = np.asarray(put_back(original, moved, mask).image)
    assert (pixels[:, :10] == np.asarray(original)[:, :10]).all()
    assert np.abs(pixels.astype(int) - np.asarray(original, int)).mean() < 2


@pytest.mark.parametrize("edit", ["night", "another photograph", "nothing"])
def test_an_edit_of_the_whole_picture_stays_as_it_is(edit):
    original, _ = cuts(8)
    pixels = np.asarray(original, float)
    edited = {"night": Image.fromarray((pixels * 0.35).astype(np.uint8)), "another photograph": photograph(9).resize((300, 240)),
              "nothing": Image.fromarray((pixels + 2).clip(0, 255).astype(np.uint8))}[edit]
    result = put_back(original, edited)
    assert result.image.tobytes() == edited.tobytes()
    assert result.kept == 0


def test_an_edited_picture_of_another_size_is_brought_to_the_photos():
    original, _ = cuts(10)
    result = put_back(original, with_patch(original, 11, BOX).resize((512, 416), Image.Resampling.LANCZOS), mask_of())
    assert result.image.size == (300, 240)
    outside = beyond(BOX, seam_width((300, 240)))
    assert (np.asarray(result.image)[outside] == np.asarray(original)[outside]).all()


def test_the_same_pictures_give_the_same_bytes():
    original, moved = cuts(12, 3.0, 2.0, 1.02)
    edited = with_patch(moved, 13, BOX)
    assert put_back(original, edited).image.tobytes() == put_back(original.copy(), edited.copy()).image.tobytes()


@pytest.mark.parametrize(("mask", "message"), [
    (np.eye(20, 32, dtype=bool), "has 32 x 20 pixels, the photo 300 x 240"), (np.zeros((240, 300), bool), "marks nothing"),
    (np.ones((240, 300), bool), "marks the whole picture")])
def test_a_mask_of_another_size_or_of_nothing_or_of_everything_is_one_line(mask, message):
    original, _ = cuts(1)
    with pytest.raises(ImageError, match=message) as caught:
        put_back(original, original, mask)
    assert "\n" not in str(caught.value)
