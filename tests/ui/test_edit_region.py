"""Where an edit may change the photo, marked on the page."""

import numpy as np
import pytest
from PIL import Image

from mre.editors.settings import EditSettings
from mre.imaging import open_image
from mre.masks import Mask
from mre.recipes import read_recipe
from tests.ui.edit_page import choose, digest, download, fill, run, tool


def tools(page) -> None:
    """Open the tools that mark a region, and wait until the photo lies under them."""
    page.click("#region button.label-wrap, #region > button")
    page.wait_for_selector("#region-tools [data-region-tool=brush]")


def dragged(page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Press at one place of the photo, go to another, and let go; in shares of its sides."""
    page.evaluate("document.querySelector('#photo').scrollIntoView()")
    box = page.locator("#region-overlay").bounding_box()
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.mouse.move(*at[0])
    page.mouse.down()
    page.mouse.move(*at[1], steps=4)
    page.mouse.up()


def sent(page) -> None:
    """Wait until what was painted is on the server: no run begins before."""
    page.wait_for_function("!document.querySelector('.uploading')")


def test_what_is_painted_on_the_photo_is_where_the_edit_may_change_it(page, photo, studio):
    choose(page, "quick")
    fill(page, photo)
    tools(page)
    page.click("[data-region-tool=box]")
    page.wait_for_selector("#region-overlay[data-active]")
    dragged(page, (0.25, 0.25), (0.5, 0.75))
    page.wait_for_selector("#region-tools >> text=/may change 1[23] % of the picture/")
    page.click("[data-region-tool=brush]")
    dragged(page, (0.7, 0.5), (0.8, 0.5))
    page.click("[data-region-do=undo]")
    page.wait_for_selector("#region-tools >> text=/may change 1[23] % of the picture/")
    sent(page)
    run(page)
    made = download(page, "#download")
    rows, columns = np.nonzero(read_recipe(made).mask.inside)
    assert (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1) == pytest.approx((60, 120, 40, 120), abs=2)
    settings = EditSettings("make it look like sunset", mask=read_recipe(made).mask)
    assert digest(made) == digest(studio.state.studio.editor("quick").edit(open_image(photo), settings).png())
    page.click("[data-region-do=clear]")
    page.wait_for_selector("#region-tools >> text=may change the whole picture")
    sent(page)
    run(page)
    assert read_recipe(download(page, "#download")).mask is None


def test_a_region_is_marked_without_a_mouse_and_goes_with_its_photo(page, photo):
    choose(page, "quick")
    fill(page, photo)
    tools(page)
    page.click("#region-tools summary")
    page.locator("[data-region-half=left]").press("Enter")
    page.wait_for_selector("#region-tools >> text=may change 50 % of the picture")
    page.click("[data-region-do=clear]")
    for side, value in (("left", "10"), ("top", "0"), ("right", "30"), ("bottom", "50")):
        page.fill(f"[data-region-side={side}]", value)
    page.locator("[data-region-do=mark]").press("Enter")
    page.wait_for_selector("#region-tools >> text=may change 10 % of the picture")
    page.locator("[data-region-half=invert]").press("Enter")
    page.wait_for_selector("#region-tools >> text=may change 90 % of the picture")
    sent(page)
    run(page)
    assert read_recipe(download(page, "#download")).mask.inside.mean() == pytest.approx(0.9, abs=0.01)
    page.click("#examples .shot >> text=make the ball red")
    page.wait_for_selector("#seen >> text=512 × 512")
    page.wait_for_selector("#region-tools >> text=may change the whole picture")


def test_a_recipe_that_puts_back_brings_its_region_and_gives_the_same_bytes(page, photo, studio, tmp_path):
    inside = np.zeros((160, 240), bool)
    inside[40:80, 60:120] = True
    settings = EditSettings("make the sky pink", mask=Mask.of(inside))
    editor = studio.state.studio.editor("tiny-untrained")
    made = editor.edit(open_image(photo), settings).png()
    (tmp_path / "masked.png").write_bytes(made)
    page.set_input_files("#photo input[type=file]", str(photo))
    page.wait_for_selector("#seen >> text=240")
    tools(page)
    tool(page, "Recipe")
    page.set_input_files("#recipe-file input[type=file]", str(tmp_path / "masked.png"))
    page.wait_for_selector("#recipe-answer >> text=same bytes")
    page.wait_for_selector("#region-tools >> text=may change 6 % of the picture")
    tool(page, "History")
    run(page)
    assert digest(download(page, "#download")) == digest(made)


def test_a_mask_from_a_file_that_does_not_fit_is_one_line(page, photo, tmp_path):
    choose(page, "quick")
    fill(page, photo)
    tools(page)
    for size, box, said in (((240, 100), (0, 0, 50, 50), "has 240 x 100 pixels, the photo 240 x 160"),
                            ((240, 160), (0, 0, 0, 0), "marks nothing")):
        mask = Image.new("L", size)
        mask.paste(255, box)
        mask.save(tmp_path / "mask.png")
        with page.expect_file_chooser() as chosen:
            page.click("[data-region-do=file]")
        chosen.value.set_files(tmp_path / "mask.png")
        page.wait_for_function("!document.querySelector('.uploading')")
        page.click("#run")
        page.wait_for_selector(f"#progress >> text={said}")
