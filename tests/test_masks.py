"""Masks from files and texts, and what is refused in one line."""

import io

import numpy as np
import pytest
from PIL import Image

from mre.errors import ImageError
from mre.masks import Mask


def painted(size: tuple[int, int] = (300, 240)) -> np.ndarray:
    inside = np.zeros(size[::-1], bool)
    inside[60:150, 90:190] = True
    return inside


def saved(path, inside: np.ndarray):
    Image.fromarray(inside.astype(np.uint8) * 255).save(path)
    return path


def test_a_mask_is_read_from_its_file_and_named_when_it_does_not_fit(tmp_path):
    mask = Mask.read(saved(tmp_path / "mask.png", painted()))
    assert (mask.fitting((300, 240)) == painted()).all()
    with pytest.raises(ImageError, match=r"mask.png: has 300 x 240 pixels, the photo 240 x 300"):
        mask.fitting((240, 300))
    with pytest.raises(ImageError, match="no such file"):
        Mask.read(tmp_path / "none.png")


@pytest.mark.parametrize(("inside", "message"), [(np.zeros((20, 32), bool), "black.png: marks nothing"),
                                                 (np.ones((20, 32), bool), "black.png: marks the whole picture")])
def test_a_mask_of_nothing_or_everything_is_one_line(tmp_path, inside, message):
    with pytest.raises(ImageError, match=message) as caught:
        Mask.read(saved(tmp_path / "black.png", inside))
    assert "\n" not in str(caught.value)


def test_a_mask_with_transparency_is_refused_and_one_that_is_opaque_throughout_is_read(tmp_path):
    grey = Image.fromarray(painted().astype(np.uint8) * 255)
    Image.merge("LA", (grey, grey)).save(tmp_path / "clear.png")
    Image.merge("LA", (grey, Image.new("L", grey.size, 255))).save(tmp_path / "opaque.png")
    with pytest.raises(ImageError, match=r"clear.png: has transparency"):
        Mask.read(tmp_path / "clear.png")
    assert (Mask.read(tmp_path / "opaque.png").inside == painted()).all()


def test_grey_counts_from_the_half_on():
    grey = np.full((240, 300), 127, np.uint8)
    grey[0, :5] = 128
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    assert Mask.read(file.getvalue()).inside.sum() == 5


def test_a_mask_travels_as_text_and_equal_masks_are_equal():
    mask = Mask.of(painted())
    assert Mask.from_text(mask.text) == mask
    assert mask != Mask.of(painted() ^ np.eye(240, 300, dtype=bool))


@pytest.mark.parametrize("text", ["", "!", "AAAA", Mask.of(painted()).text[:60]])
def test_a_text_that_is_no_mask_is_one_line(text):
    with pytest.raises(ImageError):
        Mask.from_text(text)


def test_a_mask_too_detailed_to_travel_is_refused():
    noise = np.random.default_rng(0).random((1600, 1600)) > 0.5
    with pytest.raises(ImageError, match="too detailed"):
        Mask.of(noise)


def test_a_mask_painted_on_a_view_of_the_photo_marks_the_same_place_on_the_whole_of_it():
    whole = Mask.of(painted()).scaled((1200, 960))
    assert whole.size == (1200, 960)
    rows, columns = np.nonzero(whole.inside)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == pytest.approx((240, 600, 360, 760), abs=2)
    assert Mask.of(painted()).scaled((300, 240)) == Mask.of(painted())


@pytest.mark.parametrize("photo", [(4032, 3024), (4031, 3025), (1023, 767)])
def test_a_view_of_rounded_sides_still_fits_its_photo(photo):
    scale = 1024 / max(photo)
    view = round(photo[0] * scale), round(photo[1] * scale)
    assert Mask.of(painted(view)).scaled(photo).size == photo


def test_a_mask_of_another_shape_is_refused_with_both_sizes():
    with pytest.raises(ImageError, match=r"the mask: has 300 x 240 pixels, the photo 640 x 480; both need one size"):
        Mask.of(painted()).scaled((640, 480))
