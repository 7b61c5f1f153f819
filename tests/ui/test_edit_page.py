"""What a visitor of the Edit tab sees and fills in, in a browser."""

import io
import os
import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from playwright.sync_api import expect

from mre.editors.kinds import make_editor
from mre.imaging import open_image
from mre.recipes import read_recipe
from mre.rewards import EDIT_TYPES
from tests.ui.edit_page import CONTROLS, SECONDS, choose, controls, download, fill, run, tool


@pytest.fixture(scope="module")
def tabs() -> tuple[str, ...]:
    return tuple(THERE)


def test_a_newcomer_edits_an_example_and_takes_the_picture_away(page):
    assert {text.lower() for text in page.locator("#examples .shot b").all_inner_texts()} == set(EDIT_TYPES)
    page.click("#examples .shot >> text=make the ball red")
    page.wait_for_selector("#seen img")
    assert page.input_value("#instruction textarea, #instruction input") == "make the ball red"
    page.wait_for_selector("#history .shot")             # the click has run it
    data = download(page, "#download")
    recipe = read_recipe(data)
    assert (recipe.made_with["model"], recipe.reward.scores) == ("tiny-untrained", (5, 5, 5))
    assert open_image(data).size == (512, 512)
    assert b"mre" not in download(page, "#download-plain")
    for form, kind in (("jpeg", "JPEG"), ("webp", "WEBP")):
        told, bare = (Image.open(io.BytesIO(download(page, f"#download-{form}{plain}"))) for plain in ("", "-plain"))
        assert (told.format, told.size, bare.format) == (kind, (512, 512), kind)
        assert recipe.instruction in str(told.getexif()[0x010E])
        assert not bare.getexif()
        assert np.abs(np.asarray(told.convert("RGB"), float) - np.asarray(open_image(data), float)).mean() < 4


def test_the_model_and_what_it_cannot_do_are_said(shared_page):
    assert "Untrained" in shared_page.inner_text("#status")
    assert "edits nothing sensibly" in shared_page.inner_text("#status")
    shared_page.click("#models button")
    cards = shared_page.locator("#model-cards .card")
    expect(cards).to_have_count(5)
    assert "Weights\nrandom, untrained" in cards.nth(0).inner_text()
    assert "a closed list of requests, scores, reward texts" in cards.nth(1).inner_text()
    shared_page.click("#models-pair")
    expect(shared_page.locator("#pair-first input")).to_be_in_viewport()
    assert "15 minutes after it closes" in shared_page.inner_text("#privacy")


def test_sliders_presets_and_seed_reach_the_picture(page, photo):
    fill(page, photo)
    page.click("#preset-3")
    expect(page.locator("#score-quality input[type=number]")).to_have_value("3")
    page.locator("#score-quality input[type=number]").fill("1")
    page.locator("#score-quality input[type=number]").press("Tab")
    run(page)
    assert read_recipe(download(page, "#download")).reward.scores == (3, 3, 1)


def test_what_the_model_sees_is_shown_before_the_run(shared_page, photo):
    shared_page.set_input_files("#photo input[type=file]", str(photo))
    shared_page.wait_for_selector("#seen img")
    assert "240 × 160" in shared_page.inner_text("#seen")
    assert "64 × 40" in shared_page.inner_text("#seen")


def test_words_are_counted_unknown_ones_named_and_completions_offered(shared_page):
    shared_page.fill("#instruction textarea, #instruction input", "remove the gir")
    shared_page.wait_for_selector("#words >> text=know: gir")
    choose(shared_page, "tiny")
    shared_page.fill("#instruction textarea, #instruction input", "make it look like su")
    shared_page.click("#words .chip >> text=make it look like sunset")
    expect(shared_page.locator("#instruction textarea, #instruction input")).to_have_value("make it look like sunset")
    choose(shared_page, "tiny-untrained")
    shared_page.wait_for_selector("#tokens")
    shared_page.fill("#instruction textarea, #instruction input", "把天空变成粉色")
    shared_page.wait_for_selector("#words >> text=understands English only")
    shared_page.fill("#instruction textarea, #instruction input", "make it red and " * 20)
    shared_page.wait_for_selector("#tokens >> text=does not read")
    shared_page.fill("#instruction textarea, #instruction input", "make it 🎉 and 🎈🎈")
    shared_page.wait_for_selector("#words >> text=know: 🎉, 🎈🎈.")
    shared_page.fill("#instruction textarea, #instruction input", "?! …")
    shared_page.wait_for_selector("#words >> text=contains no words")
    shared_page.fill("#instruction textarea, #instruction input", "quark" * 190)
    shared_page.wait_for_selector("#words >> text=know: quarkquark")
    assert len(shared_page.inner_text("#words")) < 500, "a long text is not said again"


def test_suggestions_follow_what_is_loaded_and_the_model(shared_page, photo):
    def offered() -> list[str]:
        return shared_page.locator("#words .chip").all_inner_texts()
    shared_page.fill("#instruction textarea, #instruction input", "")
    choose(shared_page, "tiny")
    shared_page.wait_for_function("document.querySelectorAll('#words .chip').length === 7")
    fill(shared_page, photo, "")
    assert not any(noun in " ".join(offered()) for noun in ("ball", "tree", "cube", "balloon", "beach"))
    shared_page.fill("#instruction textarea, #instruction input", "remove the tree")
    shared_page.wait_for_selector("#words >> text=In photos this model cannot find tree")
    shared_page.click("#examples .shot >> text=make the ball red")
    shared_page.wait_for_selector("#seen >> text=512 × 512")
    shared_page.fill("#instruction textarea, #instruction input", "")
    shared_page.wait_for_selector("#words .chip >> text=make the ball red")
    choose(shared_page, "quick")
    shared_page.wait_for_function("document.querySelectorAll('#words .chip').length === 0")


def test_only_controls_that_the_model_uses_are_shown_and_hidden_ones_ask_for_nothing(page, photo):
    choose(page, "quick")
    assert controls(page) == set(CONTROLS)
    page.fill("#seed input", "7")
    page.fill("#guidance-scale input", "7.5")
    page.click("#preset-0")
    tool(page, "Sweep")
    assert page.locator("#sweep-seeds").is_visible()
    choose(page, "tiny")
    page.wait_for_selector("#seed", state="hidden")
    assert controls(page) == {"rewards", "reward-texts"}
    assert page.locator("#sweep-seeds").is_hidden()
    page.click("#axis-x input")
    axes = page.locator("[role=option]").all_inner_texts()
    assert page.input_value("#axis-x-values textarea") == "0, 3, 5"
    assert [axis.strip("✓ \n") for axis in axes] == ["all three scores", "following", "preserving", "quality", "reward text", "model"]
    page.keyboard.press("Escape")
    choose(page, "tiny-baseline")
    page.wait_for_selector("#no-scores")
    page.wait_for_selector("#steps")
    assert controls(page) == {"steps"}
    assert page.locator("#sweep-035").is_hidden()
    fill(page, photo)
    tool(page, "History")
    run(page)
    page.wait_for_selector(f"#steps >> text=model default: {make_editor('tiny-baseline').info.steps}")
    assert "5 / 5 / 5" not in page.inner_text("#history"), "it was asked for no scores"
    assert "reward" not in page.get_attribute("#download", "download")
    tool(page, "Two models")
    page.wait_for_selector("#rewards")
    assert controls(page) == {"steps", "rewards", "reward-texts"}, "beside a model that reads scores"
    choose(page, "quick")
    page.wait_for_selector("#seed")
    assert (page.input_value("#seed input"), page.input_value("#guidance-scale input")) == ("42", "0")
    assert page.input_value("#score-following input[type=number]") == "5"


def test_a_perspective_is_left_without_a_wish_where_the_model_knows_that(page, photo):
    fill(page, photo)
    tool(page, "History")
    page.check("#no-wish input[name='quality'], #no-wish input[value='quality']")
    run(page)
    assert "5 / 5 / none" in page.inner_text("#history")
    choose(page, "quick")
    page.wait_for_selector("#no-wish", state="hidden")
    page.click("#history .shot")
    page.wait_for_function("document.querySelector('#no-wish')?.innerText && document.querySelector('#no-wish input:checked')")


def test_frequent_defects_are_chips_that_fill_their_own_field(shared_page):
    shared_page.click("#reward-texts button.label-wrap, #reward-texts > button")
    shared_page.click("#chips-quality .chip >> nth=0")
    shared_page.wait_for_function("document.querySelector('#text-quality textarea, #text-quality input')?.value !== ''")
    assert shared_page.input_value("#text-following textarea, #text-following input") == ""


def test_bad_input_is_said_beside_the_field_and_the_page_goes_on(page, photo, tmp_path):
    page.click("#run")
    page.wait_for_selector("text=Choose a picture first")
    (tmp_path / "text.png").write_text("no picture")
    page.set_input_files("#photo input[type=file]", str(tmp_path / "text.png"))
    page.wait_for_selector("#seen >> text=not a picture")
    assert "(id" not in page.inner_text("#seen"), "there is nothing more to look up in the log"
    assert str(tmp_path) not in page.inner_text("body")
    expect(page.locator("#undo")).to_be_enabled()                # the server knows what the form holds
    page.reload()
    page.wait_for_selector("#seen >> text=not a picture")        # a page that is loaded anew shows what it showed
    fill(page, photo)
    run(page)


def until_said(page, said: str) -> None:
    """Press Run until the line is there: a press is not taken while the browser still takes in the answer to the one before."""
    for _ in range(9):
        page.click("#run")
        try:
            page.wait_for_selector(f"#progress >> text={said}", timeout=SECONDS / 9)
            return
        except PlaywrightTimeout:
            continue
    raise AssertionError(f"never said: {said}")


def test_what_was_wrong_is_not_said_any_longer_when_it_is_mended(page, photo):
    choose(page, "quick")
    page.click("#run")
    page.wait_for_selector("#progress >> text=Photo: choose a picture first")
    page.wait_for_selector("#progress >> text=Instruction: say what to change")
    page.wait_for_selector("#seen >> text=choose a picture")
    fill(page, photo)
    expect(page.locator("#progress .bad")).to_have_count(0)
    assert "choose" not in page.inner_text("#seen")
    for field, wrong, said in (("steps", "300", "steps must be a number between 1 and 200, got '300'"),
                               ("steps", "2.5", "steps must be a whole number, got 2.5"), ("steps", "-1", "steps must be a number"),
                               ("seed", "-3", "seed must be a number between 0 and 4294967295, got '-3'"),
                               ("guidance-scale", "31", "guidance scale must be a number between 0 and 30, got '31'")):
        page.fill(f"#{field} input", wrong)
        page.locator(f"#{field} input").press("Tab")
        until_said(page, said)
        page.fill(f"#{field} input", "2")
        expect(page.locator("#progress .bad")).to_have_count(0)
    page.fill("#guidance-scale input", "1.5")
    run(page)
    assert page.locator(".toast-body").count() == 0


def test_a_score_between_two_steps_stands_where_it_is_filled(shared_page):
    box, handle = shared_page.locator("#score-quality input[type=number]"), shared_page.locator("#score-quality input[type=range]")
    shown = "e => [Number(e.value) / 5 * 100, parseFloat(e.style.getPropertyValue('--range_progress'))]"
    for typed, percent in (("2.5", 50), ("3.3", 66), ("4", 80)):
        box.fill(typed)
        box.press("Tab")
        shared_page.wait_for_function(f"Math.abs(document.querySelector('#score-quality input[type=range]')?.value - {typed}) < 1e-6")
        assert handle.evaluate(shown) == pytest.approx([percent, percent])
    box.fill("2.5")
    shared_page.wait_for_function("document.querySelector('#score-quality input[type=range]')?.value === '2.5'")
    handle.press("ArrowRight")
    expect(box).to_have_value(re.compile(r"^[34]$"))     # by keys in whole steps again


def test_an_instruction_is_never_run_as_markup(page, photo):
    choose(page, "quick")
    fill(page, photo, "<img src=x onerror=\"document.title='broken'\"> ![x](http://127.0.0.1:9/x.png)")
    run(page)
    assert page.title() == "MRE Studio"
    assert page.locator("#history img[src=x]").count() == 0


THERE = {"edit": "#run", "study": "iframe", "research": "#study-summary dl", "compare": "#cmp-sample", "data": "#data-cards .card"}


ALL = {"resultTypes": ["violations"]}            # of what is right, thousands of elements, nothing is told
LOOKS = [({"width": 390, "height": 844}, "dark", ALL), ({"width": 1280, "height": 900}, "light", ALL)]
if "MRE_WHOLE_WALK" in os.environ:               # the colours that a theme changes, at the other width too
    COLOURS = ALL | {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
    LOOKS += [({"width": 390, "height": 844}, "light", COLOURS), ({"width": 1280, "height": 900}, "dark", COLOURS)]
FOCUSED = """() => { const e = document.activeElement, box = e.getBoundingClientRect(), style = getComputedStyle(e);
    const ringed = style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2;
    return {end: e === document.body, frame: e.tagName === 'IFRAME', html: e.outerHTML.slice(0, 120), seen: ringed || style.opacity === '0',
            there: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth}; }"""


def unseen_by_keyboard(page) -> list[str]:
    """What the Tab key reaches and nobody sees: out of the window, or without a ring."""
    page.evaluate("() => { document.body.tabIndex = -1; document.body.focus(); window.scrollTo(0, 0); }")
    unseen = []
    for _ in range(120):
        page.keyboard.press("Tab")
        place = page.evaluate(FOCUSED)
        if place["end"] or place["frame"]:       # the frame's pages have tests of their own
            break
        if not (place["seen"] and place["there"]):
            unseen.append(place["html"])
    return unseen


def test_no_tab_scrolls_sideways_every_control_has_a_name_and_is_seen_by_keyboard_and_news_are_said(chrome, address):
    """On a phone in dark and wide in light; with MRE_WHOLE_WALK=1 the other way round too."""
    from axe_playwright_python.sync_playwright import Axe

    context = chrome.new_context(viewport={"width": 390, "height": 844}, locale="en-US", color_scheme="dark", reduced_motion="reduce")
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("#examples .shot", timeout=SECONDS)
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    nameless = page.evaluate("""() => ['#edit', '#edit-tools', '#examples']
        .flatMap(part => [...document.querySelectorAll(`${part} input, ${part} textarea, ${part} button`)])
        .filter(e => e.offsetParent !== null && e.type !== 'file')
        .filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() || e.title || (e.labels && e.labels.length)
                       || e.getAttribute('aria-labelledby')))
        .map(e => e.outerHTML.slice(0, 120))""")
    assert nameless == []
    page.click("#run")
    expect(page.locator("#announcer[role=status]")).to_contain_text("choose a picture first")
    expect(page.locator("#run")).to_be_enabled()
    faults = []
    for tab, there in THERE.items():
        if tab in ("compare", "data"):           # on a phone they are in the menu of what has no room
            page.click(".tabs .overflow-menu > button >> nth=0")
            page.click(f".overflow-dropdown button:has-text('{tab}')")
            page.wait_for_function("tab => location.search.includes(`tab=${tab}`)", arg=tab)
        else:
            page.click(f"#tab-{tab}-button")
        expect(page.locator(there).first).to_be_visible()
        faults += [f"{tab}: {html}" for html in unseen_by_keyboard(page)]
        for size, scheme, options in LOOKS:
            page.set_viewport_size(size)
            page.emulate_media(color_scheme=scheme)
            expect(page.locator("body.dark")).to_have_count(int(scheme == "dark"))
            found = Axe().run(page, {"exclude": [["iframe"]]}, options).response["violations"]     # its pages have a test of their own
            faults += [f"{tab} {size['width']} {scheme}: {one['id']}: {node['html'][:120]}" for one in found
                       if one["impact"] in ("serious", "critical") for node in one["nodes"]]
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], tab
        page.set_viewport_size(LOOKS[0][0])
        page.emulate_media(color_scheme="dark")
    assert not page.is_visible("#data-waiting")
    assert not faults
    context.close()


def test_a_chinese_browser_gets_chinese(chrome, address):
    context = chrome.new_context(viewport={"width": 1280, "height": 900}, locale="zh-CN")
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("#examples >> text=试试这些例子", timeout=SECONDS)
    assert page.inner_text("#run") == "运行"
    context.close()


def test_language_and_theme_are_switched_at_the_top_everywhere_and_stay_and_nothing_is_lost(page, photo):
    choose(page, "quick")
    fill(page, photo)
    run(page)
    page.press("#score-quality input[type=range]", "ArrowLeft")
    is_dark = "document.body.classList.contains('dark')"
    assert not page.evaluate(is_dark)
    page.get_by_role("button", name="Dark", exact=True).click()
    assert page.evaluate(is_dark), "at once"
    network = page.context.new_cdp_session(page)
    slow = {"offline": False, "downloadThroughput": -1, "uploadThroughput": -1}
    network.send("Network.emulateNetworkConditions", slow | {"latency": 300})        # the server knows nothing yet of the last letters
    page.locator("#instruction textarea").press_sequentially(" and blue")
    page.evaluate("document.querySelector('#preferences [data-language=zh]').click()")
    page.wait_for_selector("#examples >> text=试试这些例子")
    network.send("Network.emulateNetworkConditions", slow | {"latency": 0})
    expect(page.locator("#run")).to_have_text("运行")
    page.wait_for_selector("#look .caption >> text=make it look like sunset")
    page.wait_for_selector("#history .shot")
    page.wait_for_selector("#seen >> text=240 × 160")
    expect(page.locator("#instruction textarea")).to_have_value("make it look like sunset and blue")
    expect(page.locator("#score-quality input[type=number]")).to_have_value("4")
    assert "种子 42" in page.inner_text("#look .caption")
    assert page.evaluate(f"{is_dark} && document.documentElement.lang").startswith("zh")
    expect(page.get_by_role("button", name="深色", exact=True)).to_have_attribute("aria-pressed", "true")
    page.get_by_role("tab", name="参加研究").click()
    study = page.frame_locator("iframe[src='/study/']").locator("html[lang=zh]")
    expect(study).to_have_css("color-scheme", "dark")
    page.get_by_role("button", name="跟随系统", exact=True).click()
    assert not page.evaluate(is_dark), "the browser's own again"
    expect(study).to_have_css("color-scheme", "light")
    assert page.evaluate("document.cookie") == "mre_language=zh"
