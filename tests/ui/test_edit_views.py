"""Large photos: views as large as a screen, the rest when somebody looks; progress that says what goes on and is never full too early."""

import html
import io
import re

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from mre.editors.device_queue import DeviceQueue
from mre.errors import SettingsError
from mre.imaging import open_image
from mre.metrics.preserving import measure_preserving
from tests.fake_editing import fake_editor
from tests.metrics.drawn import cuts, photograph, with_patch
from tests.ui.serving import browser, served
from ui.app import build_app
from ui.edit.form import settings_of
from ui.edit.run import run_edit
from ui.edit.views import SCALE, VIEW_SIDE, colour_of, difference_map, in_words, measure, view_of
from ui.edit.visit import EditVisit
from ui.studio import Studio, StudioSettings

ASKED = {"instruction": "make it blue", "following": 5, "preserving": 5, "quality": 5, "steps": 2}


def grainy(size: tuple[int, int]) -> Image.Image:
    pixels = np.random.default_rng(4).integers(0, 256, (size[1] // 20, size[0] // 20, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "large.jpg"
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    grainy((2400, 1600)).save(path, quality=90, exif=exif)
    return path


def test_two_pictures_are_measured_pixel_by_pixel():
    first = grainy((300, 600))
    second = np.array(first)
    second[100:200, :100] = np.where(second[100:200, :100] > 127, 0, 255)
    second[300, 7, 1] ^= 2                                       # by no more than is counted
    change = measure(first, Image.fromarray(second))
    away = np.abs(np.asarray(first, int) - second.astype(int)).max(axis=2)
    assert change.share == pytest.approx((away > 2).mean())
    assert change.top == away.max()
    assert (measure(first, first).share, measure(first, first).top) == (0, 32)
    shown = np.asarray(difference_map(first, Image.fromarray(second)).convert("RGB"))
    for row, column in ((0, 0), (150, 50), (500, 200)):
        assert tuple(shown[row, column]) == colour_of(away[row, column] / change.top)
    assert (colour_of(0.0), colour_of(1.0)) == (SCALE[0], SCALE[-1])


@pytest.mark.parametrize(("language", "said"), [
    ("en", ("moved by 5.0 pixels and scaled by +0.0 %", "drifted by +9, +9, -6 levels", "% clearly changed", "levels on average.")),
    ("zh", ("移动 5.0 像素，缩放 +0.0 %", "颜色偏移 +9, +9, -6 级", "明显变化", "级。"))])
def test_what_moved_and_drifted_is_said_in_the_visitors_language(language, said):
    original, moved = cuts(1, 3.0, 4.0, cast=(9, 9, -6))
    sentence = in_words(measure_preserving(original, with_patch(moved, 2, (100, 60, 180, 130))), language)
    assert all(part in sentence for part in said), sentence


def test_two_pictures_with_nothing_in_common_are_said_not_to_be_measurable():
    sentence = in_words(measure_preserving(cuts(1)[0], photograph(9).resize((300, 240))), "en")
    assert sentence == "Too little in common to measure shift, zoom or colours."


def test_a_view_is_lossless_where_it_can_be_and_small_where_it_must():
    small, big = grainy((800, 600)), grainy((2400, 1800))
    data, name = view_of(small)
    assert (name, np.array_equal(np.asarray(open_image(data)), np.asarray(small))) == ("view.png", True)
    data, name = view_of(big)
    assert (name, open_image(data).size) == ("view.jpg", (1600, 1200))


def told(studio, visit, photo, editor="quick") -> list[tuple[str, float | None]]:
    """What a run says and how full its bar is, step by step."""
    news = []
    for progress, _ in run_edit(studio, visit, "en", str(photo), editor, settings_of(**ASKED), previews=False):
        share = re.search(r'aria-valuenow="(\d+)"', progress)
        news.append((re.sub(r" · .*", "", html.unescape(re.sub("<[^>]*>", "", progress))), int(share[1]) if share else None))
    return news


def test_progress_says_what_goes_on_and_is_full_only_at_the_end(large):
    queue = DeviceQueue()
    studio = Studio(StudioSettings(), {"quick": fake_editor("quick", 0.01, queue)})
    studio.editor().pipeline()
    news = told(studio, EditVisit(studio.shelf), large)
    words = list(dict.fromkeys(said for said, _ in news))
    assert words[:-1] == ["Reading the photo…", "Step 0 of 2", "Step 1 of 2", "Step 2 of 2", "Restoring the photo's detail…",
                          "Writing the picture…"]
    assert words[-1].startswith("Done in ")
    shares = [share for _, share in news[:-1]]
    assert shares == sorted(shares)
    assert shares[-1] < 100


def test_a_bad_setting_of_the_form_is_refused_by_its_name():
    with pytest.raises(SettingsError, match="steps must be"):
        settings_of(**ASKED | {"steps": 300})
    with pytest.raises(SettingsError, match="no_wish must be some of following, preserving, quality, got beauty"):
        settings_of(**ASKED | {"no_wish": ["beauty"]})


def test_a_score_without_a_wish_is_none_whatever_its_slider_says():
    assert settings_of(**ASKED | {"no_wish": ["quality"]}).reward.wishes == (5, 5, None)


def test_the_files_of_a_large_edit_go_with_the_visit(large):
    studio = Studio(StudioSettings(), {"quick": fake_editor("quick")})
    visit = EditVisit(studio.shelf)
    told(studio, visit, large)
    entry = visit.entries[0]
    assert all(studio.shelf.get(token) for token in entry.tokens)
    assert studio.shelf.path(entry.photo.token).read_bytes() == large.read_bytes(), "the photo is kept as it was sent, not encoded anew"
    assert studio.shelf.get(entry.photo.view).size < 2_000_000
    visit.close()
    assert studio.shelf.bytes_used == 0


@pytest.fixture
def page(chromium, tmp_path):
    app = build_app(StudioSettings(data=tmp_path), {"quick": fake_editor("quick", 0.0, DeviceQueue())})
    with served(app) as url, browser(chromium) as chrome:
        tab = chrome.new_page(viewport={"width": 1280, "height": 900}, locale="en-US")
        tab.set_default_timeout(45_000)
        tab.goto(url)
        tab.wait_for_selector("#examples .shot")
        tab.studio = app.state.studio
        yield tab


def test_the_whole_of_a_large_picture_is_sent_on_zooming_in_and_the_difference_on_looking(page, large):
    asked = []
    page.on("request", lambda request: asked.append(re.sub(r"[A-Za-z0-9_-]{32}", "TOKEN", request.url.partition("/views/")[2]))
            if "/views/" in request.url else None)
    page.set_input_files("#photo input[type=file]", large)
    page.wait_for_selector("#seen >> text=2400 × 1600")
    page.fill("#instruction textarea, #instruction input", "make it blue")
    page.click("#run")
    page.wait_for_selector("#look .mre-viewer")
    before = page.locator("#look .pane.one .before")
    expect(before).to_have_js_property("naturalWidth", VIEW_SIDE)
    assert asked == []
    page.click("#look [data-mode=difference]")
    expect(page.locator("#look .difference")).to_have_js_property("naturalWidth", VIEW_SIDE)
    expect(page.locator("#look .measured")).to_contain_text("moved by 0.0 pixels and scaled by +0.0 %")
    assert sorted(asked) == ["TOKEN/TOKEN/difference.png", "TOKEN/TOKEN/preserving.txt?language=en"]
    page.click("#look [data-mode=slide]")
    page.locator("#look .pane.one").scroll_into_view_if_needed()
    box = page.locator("#look .pane.one").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 60)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -700)
    page.keyboard.up("Control")
    expect(before).to_have_js_property("naturalWidth", 2400)
    expect(page.locator("#look .pane.one .after")).to_have_js_property("naturalWidth", 2400)
    own = page.request                                           # with the browser's cookies: nobody else is shown these
    whole = own.get(before.evaluate("image => image.src")).body()
    assert np.array_equal(np.asarray(open_image(whole)), np.asarray(open_image(large)))
    assert b"home" not in whole
    token = next(iter(page.studio.visits.values())).entries[0].photo.token
    address = page.url + f"views/{token}/whole.png"
    assert open_image(io.BytesIO(own.get(address).body())).size == (2400, 1600)
    assert httpx.get(address).status_code == 404, "a stranger's"
    assert own.get(page.url + "views/nothing/whole.png").status == 404
    assert own.get(page.url + f"views/{token}/nothing/difference.png").status == 404
    assert own.get(page.url + f"views/{token}/nothing/preserving.txt").status == 404
    for visit in list(page.studio.visits.values()):
        visit.close()
    assert own.get(address).status == 404, "what was made goes with the visit"
    assert page.studio.shelf.bytes_used == 0
