"""Edits that are there already: the history, recipes brought back, and what a judge says."""

import base64

from PIL import Image
from playwright.sync_api import expect

from mre.editors.settings import EditSettings
from mre.imaging import open_image
from mre.recipes import Recipe, png_bytes
from mre.rewards import Reward
from tests.ui.edit_page import choose, controls, digest, download, fill, run, tool


def test_a_recipe_dropped_on_the_page_fills_the_form_and_the_run_gives_the_same_bytes(page, photo, tmp_path):
    fill(page, photo, "make the sky pink")
    page.uncheck("#at-once input")                       # the edit that is run is the only one
    page.click("#preset-0")
    run(page)
    data = download(page, "#download")
    (tmp_path / "made.png").write_bytes(data)
    page.click("#preset-5")
    page.fill("#instruction textarea, #instruction input", "something else")
    tool(page, "Recipe")
    page.set_input_files("#recipe-file input[type=file]", str(tmp_path / "made.png"))
    page.wait_for_selector("#recipe-answer >> text=same bytes")
    assert page.input_value("#instruction textarea, #instruction input") == "make the sky pink"
    tool(page, "History")
    run(page)
    assert digest(download(page, "#download")) == digest(data)


def test_a_forged_or_newer_recipe_is_refused_in_one_line(shared_page, tmp_path):
    page = shared_page
    tool(page, "Recipe")
    plain = Image.new("RGB", (20, 20))
    good = Recipe("x", Reward.best(), 1, 1, 1.0, 1.0, "default", made_with={"model": "/etc/passwd"})
    newer = png_bytes(plain, good).replace(b'"recipe":1', b'"recipe":9')
    for name, data, expected in (("newer.png", newer, "newer form"), ("plain.png", png_bytes(plain), "holds no recipe"),
                                 ("forged.png", png_bytes(plain, good), "not available here")):
        (tmp_path / name).write_bytes(data)
        page.set_input_files("#recipe-file input[type=file]", str(tmp_path / name))
        page.wait_for_selector(f"#recipe-answer >> text={expected}")
        page.click("#recipe-file button[aria-label=Clear], #recipe-file button[aria-label='Remove this file']")


def test_the_history_shows_compares_undoes_and_lends_settings(page, photo):
    choose(page, "quick")
    fill(page, photo)
    page.uncheck("#at-once input")
    run(page)
    expect(page.locator("#history .shot")).to_have_count(1)
    expect(page.locator("#history-compare"), "one edit has no other").to_be_hidden()
    page.click("#preset-0")
    run(page)
    assert page.locator("#history .shot").count() == 2
    page.fill("#instruction textarea", "something else")
    page.click("#history .shot >> nth=1")
    page.wait_for_selector("#download")
    page.wait_for_function("document.querySelector('#download')?.download.includes('reward5-5-5')")
    page.wait_for_function("document.querySelector('#score-quality input[type=number]')?.value === '5'")
    assert page.input_value("#instruction textarea") == "make it look like sunset"
    page.click("#history-compare")
    page.wait_for_selector("#look .tag >> text=#1")
    page.click("#reuse")
    page.wait_for_function("document.querySelector('#score-quality input[type=number]')?.value === '0'")


def test_undo_and_redo_bring_back_picture_words_scores_and_the_edit_shown_and_so_does_a_reload(page, photo):
    def form() -> tuple:
        return (page.input_value("#instruction textarea"), page.input_value("#score-quality input[type=number]"),
                page.locator("#look .caption").all_inner_texts())
    choose(page, "quick")
    page.uncheck("#at-once input")
    fill(page, photo)
    run(page)
    page.wait_for_timeout(1600)                          # what is typed without a rest is one step
    page.fill("#instruction textarea", "make it winter")
    page.click("#preset-0")
    run(page)
    page.click("#as-input")
    expect(page.locator("#score-quality input[type=number]")).to_have_value("0")
    page.wait_for_timeout(1600)
    last, first = ("make it winter", "0"), ("make it look like sunset", "5")
    for button, wanted in (("#undo", first), ("#redo", last)):
        for _ in range(5):                               # photo, scores, words; a slow machine makes no two of them one step
            if form()[:2] == wanted:
                break
            was = form()
            page.click(button)
            for _ in range(50):
                page.wait_for_timeout(100)
                if form() != was:
                    break
            page.wait_for_timeout(400)
        assert form()[:2] == wanted
        number = 1 if wanted == first else 2
        page.wait_for_selector(f"#look .caption >> text=#{number} · {wanted[0]} · " + " / ".join(3 * wanted[1]))
    before = form()
    address = page.url
    page.reload()
    page.wait_for_selector("#look .caption >> text=#2 · make it winter · 0 / 0 / 0")
    page.wait_for_selector("#seen >> text=240 × 160")
    assert form() == before
    assert page.locator("#history .shot").count() == 2
    assert page.url == address, "nothing of it is in the address"
    download(page, "#download")
    page.evaluate("sessionStorage.clear()")
    page.reload()
    page.wait_for_selector("#look .viewer-empty")


def test_what_is_chosen_before_a_reload_has_brought_back_the_rest_stays(page, photo):
    choose(page, "quick")
    page.uncheck("#at-once input")
    page.fill("#instruction textarea", "make it winter")
    page.click("#preset-0")
    run_was_asked = "document.querySelector('#undo').disabled === false"
    page.wait_for_function(run_was_asked)
    page.wait_for_timeout(1600)
    late = """const now = window.setInterval;
              window.setInterval = (work, wait, ...rest) => now(work, wait === 100 ? 4000 : wait, ...rest);"""
    page.add_init_script(late)                           # the timer that brings back ticks late, as on a slow machine
    page.reload()
    page.wait_for_selector("#examples .shot")
    fill(page, photo, "make it look like sunset")
    expect(page.locator("#score-quality input[type=number]")).to_have_value("0")
    assert page.input_value("#instruction textarea") == "make it look like sunset"
    page.wait_for_selector("#seen >> text=240 × 160")


BRING = """([data, kind, name]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0)), carried = new DataTransfer();
  carried.items.add(new File([bytes], name, {type: "image/png"}));
  const options = {bubbles: true, cancelable: true};
  document.querySelector("#edit-tools").dispatchEvent(kind === "drop" ? new DragEvent("drop", {...options, dataTransfer: carried})
    : new ClipboardEvent("paste", {...options, clipboardData: carried}));
}"""


def bring(page, kind: str, data: bytes, name: str = "picture.png") -> None:
    page.evaluate(BRING, [base64.b64encode(data).decode(), kind, name])


def test_a_picture_dropped_or_pasted_anywhere_is_the_photo_and_one_made_here_brings_its_recipe(shared_page, photo):
    page = shared_page
    tool(page, "History")
    choose(page, "quick")
    bring(page, "paste", photo.read_bytes())
    page.wait_for_selector("#seen >> text=240 × 160")
    page.fill("#instruction textarea", "make it look like sunset")
    run(page)
    made = download(page, "#download")
    page.fill("#instruction textarea", "something else")
    bring(page, "drop", made)
    page.wait_for_selector("#progress >> text=same bytes")
    assert page.input_value("#instruction textarea") == "make it look like sunset"
    bring(page, "drop", png_bytes(Image.new("RGB", (64, 48), "white")))
    page.wait_for_selector("#seen >> text=64 × 48")
    bring(page, "drop", b"nothing")
    page.wait_for_selector("#seen >> text=not a picture")
    page.click("#history .shot >> nth=0")
    page.wait_for_selector("#seen >> text=240 × 160")


def test_drawn_examples_are_judged_by_the_oracle_and_other_pictures_by_the_judge_that_comes_along(page, photo):
    choose(page, "quick")
    tool(page, "Judge")
    page.click("#judge-run")
    page.wait_for_selector("#judge-answer >> text=Make an edit first")
    page.click("#examples .shot >> text=make the ball red")
    page.wait_for_selector("#seen >> text=512 × 512")
    tool(page, "History")
    run(page)
    tool(page, "Judge")
    page.click("#judge-run")
    page.wait_for_selector("#judge-answer table")
    assert page.locator("#judge-answer td").nth(0).inner_text() == "5"
    assert "oracle" in page.inner_text("#judge-answer")
    tool(page, "Sweep")
    page.click("#sweep-035")
    page.wait_for_selector("#sweep-sheet")
    tool(page, "Judge")
    page.click("#judge-sweep")
    page.wait_for_selector("#judge-plot svg polyline >> nth=2")
    assert page.locator("#judge-plot .line0 circle").count() == 4, "three scores asked, and the legend's"
    fill(page, photo)
    tool(page, "History")
    run(page)
    tool(page, "Judge")
    page.click("#judge-run")
    page.wait_for_selector("#judge-answer >> text=Scored by tiny-judge")
    assert "rough guess" in page.inner_text("#judge-answer")


def test_a_recipe_of_before_shows_what_it_asks_for_and_runs_as_it_was(page, photo, tmp_path, studio):
    """A model that now offers no seed and no guidance was asked for them once."""
    editor = studio.state.studio.editors["tiny"]
    made = editor.edit(open_image(photo), EditSettings("make it darker", seed=7, guidance_scale=1.5, image_guidance_scale=1.0)).png()
    (tmp_path / "made.png").write_bytes(made)
    choose(page, "quick")
    page.set_input_files("#photo input[type=file]", str(photo))
    page.wait_for_selector("#seen >> text=240 × 160")
    tool(page, "Recipe")
    page.set_input_files("#recipe-file input[type=file]", str(tmp_path / "made.png"))
    page.wait_for_selector("#recipe-answer >> text=same bytes")
    assert controls(page) == {"rewards", "reward-texts", "seed", "guidance-scale"}
    assert page.input_value("#seed input") == "7"
    tool(page, "History")
    run(page)
    assert digest(download(page, "#download")) == digest(made)
