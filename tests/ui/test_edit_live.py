"""Edits under way: progress, stop, the viewer, scores that edit at once, sweeps and two models side by side."""

import re
import threading
import time
from types import SimpleNamespace

import gradio as gr
import pytest
from playwright.sync_api import expect

from mre.editors.kinds import make_editor
from mre.imaging import open_image
from mre.recipes import read_recipe
from mre.rewards import PERSPECTIVES
from tests.fake_editing import fake_editor
from tests.ui.edit_page import SECONDS, choose, download, fill, run, tool
from ui.edit import left
from ui.edit.form import settings_of
from ui.edit.run import run_edit, run_live
from ui.edit.tab import on_live, on_newer
from ui.edit.visit import EditVisit
from ui.studio import Studio, StudioSettings


def test_progress_comes_step_by_step_with_a_preview_and_stop_frees_the_device(page, photo, studio):
    editor = studio.state.studio.editors["slow"]
    choose(page, "slow")
    fill(page, photo)
    page.locator("#steps input").fill("200")             # long enough for a busy machine to look at it
    page.click("#run")
    page.wait_for_selector(r"#progress >> text=/Step [1-9]\d* of 200 · about [\d.]+ s left/")
    page.wait_for_selector("#progress .progress img")
    page.click("#stop")
    page.wait_for_selector("#progress >> text=Stopped")
    begun = editor.fake.steps_begun
    page.wait_for_timeout(400)                           # a step takes 250
    assert editor.fake.steps_begun == begun
    assert len(editor.queue) == 0
    assert page.locator("#look .mre-viewer").count() == 0


def test_an_edit_that_runs_while_the_page_is_loaded_anew_is_there_after_it(page, photo, studio, monkeypatch):
    monkeypatch.setattr(left, "RELOAD_SECONDS", 120.0)          # a busy machine takes its time to load a page
    choose(page, "slow")
    fill(page, photo)
    page.locator("#steps input").fill("12")
    page.click("#run")
    page.wait_for_selector("#progress >> text=/Step [1-9]/")
    page.reload()
    page.wait_for_selector("#look .caption >> text=#1 · make it look like sunset")
    page.wait_for_selector("#progress >> text=Done in")
    page.wait_for_selector("#history .shot")


def test_closing_the_tab_stops_the_work_and_deletes_the_pictures(chrome, address, photo, studio, monkeypatch):
    monkeypatch.setattr(left, "RELOAD_SECONDS", 0.1)
    monkeypatch.setattr(left, "KEPT_SECONDS", 0.0)
    shelf, editor = studio.state.studio.shelf, studio.state.studio.editors["slow"]
    others = set(studio.state.page.state_holder.session_data)
    context = chrome.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    page = context.new_page()
    page.set_default_timeout(SECONDS)
    page.goto(address)
    page.wait_for_selector("#examples .shot")
    before = len(shelf._pictures)
    fill(page, photo)
    run(page)
    assert len(shelf._pictures) > before
    choose(page, "slow")
    page.locator("#steps input").fill("200")
    page.click("#run")
    page.wait_for_selector("#progress .progress img")
    page.close()
    context.close()
    for _ in range(300):
        studio.state.studio.left.expire()
        if len(editor.queue) == 0 and len(shelf._pictures) <= before and set(studio.state.page.state_holder.session_data) <= others:
            break
        time.sleep(0.1)
    assert len(editor.queue) == 0
    assert len(shelf._pictures) <= before
    assert set(studio.state.page.state_holder.session_data) <= others


def test_the_viewer_slides_flips_compares_and_shows_the_difference(shared_page, photo):
    page = shared_page
    choose(page, "quick")
    fill(page, photo)
    run(page)
    viewer = page.locator("#look .mre-viewer")
    cut = viewer.locator(".cut")
    cut.focus()
    place = "v => parseFloat(v.style.getPropertyValue('--cut'))"
    before = viewer.evaluate(place)
    for _ in range(10):
        cut.press("ArrowLeft")
    assert viewer.evaluate(place) == pytest.approx(before - 5)
    viewer.locator("[data-mode=flip]").click()
    hidden = "v => getComputedStyle(v.querySelector('.pane.one .before')).visibility"
    assert viewer.evaluate(hidden) == "hidden"
    box = viewer.locator(".pane.one").bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    assert viewer.evaluate(hidden) == "visible"
    page.mouse.up()
    assert viewer.evaluate(hidden) == "hidden"
    viewer.locator("[data-mode=side]").click()
    viewer.locator(".pane.two").hover()
    page.mouse.wheel(0, 40)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -400)
    page.keyboard.up("Control")
    page.wait_for_function("Number(document.querySelector('#look .mre-viewer')?.style.getPropertyValue('--zoom')) > 2")
    zooms = viewer.locator(".pane:visible img:visible").evaluate_all("list => list.map(i => getComputedStyle(i).transform)")
    assert len(zooms) == 2
    assert len(set(zooms)) == 1, "both pictures are zoomed alike"
    viewer.locator("[data-mode=difference]").click()
    assert viewer.locator(".difference").is_visible()
    assert viewer.locator(".scale").is_visible()
    assert re.match(r"100\.0 % of pixels changed", viewer.locator(".changed").inner_text())


def test_the_viewer_says_what_it_shows_and_goes_on_as_it_was_with_the_next_edit(shared_page, photo):
    page = shared_page
    choose(page, "quick")
    fill(page, photo)
    run(page)
    viewer = page.locator("#look .mre-viewer")
    viewer.locator("[data-mode=slide]").click()
    viewer.locator(".pane.one").press("0")               # as large as at first
    said = re.fullmatch(r"#(\d+) · make it look like sunset · 5 / 5 / 5 · quick · seed 42", viewer.locator(".caption").inner_text())
    number = int(said[1])
    viewer.locator(".pane.one").hover(position={"x": 200, "y": 10})          # once it is in sight and stands still
    box = viewer.locator(".pane.one").bounding_box()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 60, steps=3)
    page.mouse.up()
    assert viewer.evaluate("v => parseFloat(v.style.getPropertyValue('--cut'))") == pytest.approx(25, abs=1), "wherever it is taken"
    scrolled = page.evaluate("scrollY")
    page.mouse.wheel(0, 120)
    page.wait_for_function("before => scrollY > before", arg=scrolled)
    assert viewer.evaluate("v => v.style.getPropertyValue('--zoom')") == "1", "the wheel scrolls the page"
    viewer.locator(".pane.one").focus()
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    zoomed = viewer.evaluate("v => [v.style.getPropertyValue('--zoom'), v.style.getPropertyValue('--x')]")
    assert zoomed[0] == "2.25"
    page.fill("#seed input", "7")
    run(page)
    assert f"#{number + 1} " in viewer.locator(".caption").inner_text()
    assert viewer.evaluate("v => [v.style.getPropertyValue('--zoom'), v.style.getPropertyValue('--x')]") == zoomed
    viewer.locator("[data-mode=side]").click()
    page.locator("#history .shot >> nth=1").click()
    page.wait_for_selector(f"#look .caption >> text=#{number} ·")
    assert viewer.get_attribute("data-mode") == "side"
    expect(viewer).to_be_in_viewport(ratio=0.3)


def test_a_score_that_moves_edits_at_once_where_that_is_quick_and_the_newest_value_is_shown(page, photo, studio):
    choose(page, "quick")
    fill(page, photo)
    run(page)
    handle = page.locator("#score-quality input[type=range]")
    for _ in range(5):
        handle.press("ArrowLeft")
    page.wait_for_selector("#look .caption >> text=5 / 5 / 0")
    page.click("#preset-3")
    page.wait_for_selector("#look .caption >> text=#2 · make it look like sunset · 3 / 3 / 3")
    assert page.locator("#history .shot").count() == 2, "one card of all that was tried on the way"
    page.wait_for_selector("#download[download*='reward3-3-3']")
    assert read_recipe(download(page, "#download")).reward.scores == (3, 3, 3)
    quick, slow = (studio.state.studio.editors[name].fake for name in ("quick", "slow"))
    begun = quick.steps_begun
    page.click("#at-once input")
    page.click("#preset-0")
    choose(page, "slow")
    page.click("#at-once input")
    run(page)
    slow_steps = slow.steps_begun
    with page.expect_response("**/gradio_api/run/**"):                     # to the score that moved
        page.click("#preset-5")
    assert (quick.steps_begun, slow.steps_begun) == (begun, slow_steps), "switched off; not quick"
    assert "0 / 0 / 0" in page.inner_text("#look .caption")
    page.wait_for_selector("#progress >> text=press Run to see it with these scores")


def test_a_sweep_is_forecast_made_cell_by_cell_and_can_be_taken_away(shared_page, photo):
    page = shared_page
    choose(page, "quick")
    fill(page, photo)
    tool(page, "Sweep")
    page.click("#sweep-035")
    page.wait_for_selector("#sweep-grid .shot")
    page.wait_for_selector("#sweep-sheet")
    assert page.locator("#sweep-grid .shot").count() == 3
    assert page.locator("#sweep-grid thead th").all_inner_texts() == ["0 / 0 / 0", "3 / 3 / 3", "5 / 5 / 5"]
    table = download(page, "#sweep-csv").decode().splitlines()
    assert len(table) == 4
    assert open_image(download(page, "#sweep-sheet")).width > 600
    page.click("#sweep-grid .shot >> nth=0")
    page.wait_for_selector("#download[download*='reward0-0-0']")
    assert read_recipe(download(page, "#download")).reward.scores == (0, 0, 0)
    page.click("#sweep-27")
    page.wait_for_selector("#sweep-forecast >> text=27 cells, 108 steps, about")
    page.wait_for_function("document.querySelectorAll('#sweep-grid .shot').length === 27")
    assert page.locator("#sweep-grid table").count() == 3


def test_stop_keeps_the_cells_and_ten_thousand_are_refused(page, photo):
    choose(page, "slow")
    fill(page, photo)
    tool(page, "Sweep")
    page.click("#axis-y input")
    page.click("[role=option] >> text=seed")
    page.fill("#axis-y-values textarea", "0-19")
    page.wait_for_selector("#sweep-forecast >> text=60 cells")
    page.click("#sweep-run")
    page.wait_for_selector("#sweep-grid .shot")
    page.click("#sweep-stop")
    page.wait_for_selector("#sweep-progress >> text=of 60 cells are kept")
    assert 1 <= page.locator("#sweep-grid .shot").count() < 60
    assert page.locator("#sweep-sheet").is_visible()
    page.fill("#axis-x-values textarea", "0-5")
    page.fill("#axis-y-values textarea", "0-39")
    page.wait_for_selector("#sweep-forecast >> text=240 cells; at most 100")
    page.click("#sweep-run")
    page.wait_for_selector("#sweep-progress >> text=at most 100")


def test_run_waits_for_the_photo_that_is_still_on_its_way(page, photo):
    held = []
    page.route("**/gradio_api/upload?*", lambda route: held.append(route))
    choose(page, "quick")
    page.fill("#instruction textarea", "make it darker")
    with page.expect_request("**/gradio_api/upload?*"):
        page.set_input_files("#photo input[type=file]", photo, no_wait_after=True)
    page.wait_for_selector("#photo .uploading")
    assert page.is_disabled("#run")
    page.press("#instruction textarea", "Enter")
    held.pop().continue_()
    page.click("#run")
    page.wait_for_selector("#progress >> text=Done in")


def test_a_preset_counts_for_a_run_that_is_started_at_once_whatever_the_network_does(page):
    """An answer from the server would come after Run had sent the old scores. Calls are held, not refused: Gradio opens the page anew
    when one is refused."""
    held = []
    page.route("**/gradio_api/run/**", lambda route: held.append(route))
    page.route("**/gradio_api/queue/join**", lambda route: held.append(route))
    page.click("#preset-0")
    for name in ("following", "preserving", "quality"):
        expect(page.locator(f"#score-{name} input[type=number]")).to_have_value("0", timeout=20_000)      # drawn after the presets


def test_two_models_side_by_side_start_from_the_same_noise_and_can_be_kept_for_a_study(shared_page, photo, studio):
    page = shared_page
    choose(page, "quick")
    page.fill("#seed input", "42")
    fill(page, photo)
    tool(page, "Two models")
    page.click("#pair-first input")
    page.click("[role=option] >> text=slow")
    page.click("#pair-run")
    page.wait_for_selector("#pair-look .mre-viewer")
    assert "Same starting noise (seed 42)" in page.inner_text("#pair-progress")
    assert page.locator("#pair-look .tag:visible").all_inner_texts() == ["slow", "quick"]
    page.click("#pair-keep")
    page.wait_for_selector("#pair-kept >> text=study create")
    folder = studio.state.studio.settings.data / "pairs" / "quick--slow"
    assert len((folder / "edits.csv").read_text().splitlines()) == 3


ASKED = {"instruction": "make it blue", "preserving": 5, "quality": 5}


@pytest.fixture
def visit(photo):
    """A visit with one edit, without a page."""
    studio = Studio(StudioSettings(), {"quick": fake_editor("quick")})
    visit = EditVisit(studio.shelf)
    visit.studio = studio
    for _ in run_edit(studio, visit, "en", str(photo), "quick", settings_of(**ASKED, following=5), previews=False):
        pass
    return visit


def test_an_edit_that_waits_for_its_turn_is_made_with_the_newest_score(visit, photo):
    made = []
    with visit.studio.following.join():
        waiting = threading.Thread(target=lambda: made.append(run_live(visit.studio, visit, str(photo), "quick",
                                                                       settings_of(**ASKED, following=1))))
        waiting.start()
        while visit.newest is None:
            time.sleep(0.005)
        for following in (2, 4, 9):
            on_newer(visit, following=following, preserving=5, quality=5)      # 9 is no score
    waiting.join(20)
    assert [entry.recipe.reward.scores for entry in (*made, visit.shown)] == [(4, 5, 5)] * 2
    assert made[0].asked == settings_of(**ASKED, following=4)
    on_newer(visit, following=5, preserving=5, quality=5)
    assert visit.newest is None, "nothing waits"


def test_a_model_that_loads_is_told_by_the_second_and_stop_ends_the_wait_at_once_while_others_edit(photo):
    gate, loads = threading.Event(), fake_editor("loads")
    loads._load = lambda *_: gate.wait(20) and loads.fake
    studio = Studio(StudioSettings(), {"loads": loads, "quick": fake_editor("quick", queue=loads.queue)})
    first, other = EditVisit(studio.shelf), EditVisit(studio.shelf)
    asked = settings_of(**ASKED, following=5)
    waiting = run_edit(studio, first, "en", str(photo), "loads", asked)
    told = [next(waiting)[0] for _ in range(3)]
    assert "Loading loads: reading its weights, 0 s" in told[1]
    assert "Loading loads: reading its weights, " in told[2]
    *_, (done, entry) = run_edit(studio, other, "en", str(photo), "quick", asked)
    assert entry is not None, done
    first.stop.set()
    assert [text for text, _ in waiting] == ['<p class="notice plain" role="status">Stopped. loads goes on loading, for the next run.</p>']
    assert not first.busy.locked()
    gate.set()


def test_of_scores_that_move_while_a_language_model_is_loaded_the_last_counts_and_the_photo_is_read_once(
        smartedit_converted, photo, tmp_path, calls):
    from mre.models import zoo
    zoo.load_starting_pipeline(str(smartedit_converted), variant="released", use_score=True, use_text=True, use_attention=True,
                               use_addition=True, perspectives=PERSPECTIVES, reward_init="released").save_pretrained(tmp_path / "smart")
    smart, gate = make_editor(str(tmp_path / "smart"), device="cpu"), threading.Event()
    load = smart._load
    smart._load = lambda *args, **more: gate.wait(45) and load(*args, **more)
    studio = Studio(StudioSettings(), {"smart": smart})
    visit = EditVisit(studio.shelf)
    asked = settings_of(**ASKED, following=5, steps=1)
    running = run_edit(studio, visit, "en", str(photo), "smart", asked, newest_scores=True)
    assert [next(running)[1] for _ in range(2)] == [None, None]
    for following in (4, 3, 2):
        on_newer(visit, following=following, preserving=5, quality=5)
    gate.set()
    *_, (done, entry) = running
    assert (entry.recipe.reward.scores, entry.asked.reward.scores, calls) == ((2, 5, 5), (2, 5, 5), [1]), done
    assert visit.newest is None, "what moves from now on is the next edit"

    smart.unload()
    gate.clear()
    made = []
    following = threading.Thread(target=lambda: made.append(run_live(studio, visit, str(photo), "smart",
                                                                     settings_of(**ASKED, following=1, steps=1))))
    following.start()
    while visit.newest is None or smart.status != "loading":
        time.sleep(0.005)
    on_newer(visit, following=0, preserving=4, quality=5)
    calls.clear()
    gate.set()
    following.join(45)
    assert (made[0].recipe.reward.scores, calls) == ((0, 4, 5), [1]), "of a model that was gone meanwhile, once"
    run_live(studio, visit, str(photo), "smart", settings_of(**ASKED, following=5, steps=1))
    assert calls == [1]


def test_links_to_an_edit_that_made_room_go_on_until_the_one_after(visit, photo):
    live = [run_live(visit.studio, visit, str(photo), "quick", settings_of(**ASKED, following=score)) for score in (1, 2, 3)]
    assert visit.entries[1:] == live[2:]
    kept = [visit.shelf.get(entry.picture.token) is not None for entry in live]
    assert kept == [False, True, True]
    assert visit.shelf.get(live[0].photo.token), "the photo is that of all of them"


def test_an_edit_that_follows_a_score_is_not_shown_over_the_run_that_waited_for_it(visit, photo, monkeypatch):
    def overtaken(*asked):
        entry = run_live(*asked)
        for _ in run_edit(visit.studio, visit, "en", str(photo), "quick", settings_of(**ASKED, following=0), previews=False):
            pass
        return entry
    monkeypatch.setattr("ui.edit.tab.run_live", overtaken)
    live = on_live(visit.studio, SimpleNamespace(progress="progress", steps=SimpleNamespace(follow=lambda visit: {})))
    assert live(None, visit, str(photo), "quick", True, **ASKED, following=3) == {"progress": gr.skip()}
    assert visit.shown is visit.entries[-1]
    assert [entry.recipe.reward.scores for entry in visit.entries] == [(5, 5, 5), (0, 5, 5)]
