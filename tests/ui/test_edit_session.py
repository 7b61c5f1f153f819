"""What a visit keeps, without a browser: steps to go back to, and visits whose page is gone."""

import re
import threading
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.context import LocalContext
from PIL import Image

from mre.editors.settings import EditSettings
from mre.sweep import Axis, Sweep
from tests.fake_editing import fake_editor
from ui.edit import left, steps
from ui.edit.job import Job
from ui.edit.run import WorkInBackground
from ui.edit.steps import Steps
from ui.edit.sweep import SweepPanel, run_sweep
from ui.edit.visit import EditVisit, enter, leave
from ui.site.uploads import Caller
from ui.studio import Studio, StudioSettings

TAB, OTHER_TAB = "a" * 32, "b" * 32


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when the test says so."""
    now = SimpleNamespace(seconds=100.0)
    for module in (steps, left):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def test_what_is_typed_without_a_rest_is_one_step_and_undone_steps_give_way_to_new_ones(clock):
    told = Steps()
    for words in ("", "m", "ma", "make it red"):
        clock.seconds += 1
        told.record({"instruction": words, "quality": 5}, None)
    assert len(told) == 2
    clock.seconds += 1
    told.record({"instruction": "make it red", "quality": 3}, None)
    assert len(told) == 3
    assert told.move(-1).values == {"instruction": "make it red", "quality": 5}
    told.record({"instruction": "make it red", "quality": 4}, None)             # of a form that is still being filled
    assert told.can_redo
    assert told.move(-1).values["instruction"] == ""
    assert told.move(-1) is None
    clock.seconds += 2
    told.record({"instruction": "", "quality": 0}, None)
    told.record({"instruction": "x" * 5000, "quality": 0}, None)                # what no page sends is not kept
    told.record({"instruction": {}, "quality": 0}, None)
    assert (len(told), told.can_redo) == (2, False)


@pytest.fixture
def studio(monkeypatch):
    studio = Studio(StudioSettings(), {"fake": fake_editor()})
    monkeypatch.setattr(studio, "caller", lambda request: Caller("", request.browser, request.session_hash))
    return studio


def page(session: str, browser: str = "anna") -> SimpleNamespace:
    return SimpleNamespace(session_hash=session, browser=browser)


def opened(studio, request, tab=TAB):
    visit = enter(studio, request, tab)
    for words in ("", "make it red"):
        visit.steps.record({"instruction": words}, None)
    return visit


def test_a_tab_finds_its_visit_and_uploads_again_and_nobody_else_does(studio, clock):
    visit = opened(studio, page("one"))
    photo = studio.uploads.put(b"photo", "photo.png", Caller("", "anna", "one"))
    leave(studio, "one")
    for stranger, tab in ((page("x", "ben"), TAB), (page("y"), OTHER_TAB), (page("z"), "short"), (page("w", None), TAB)):
        assert enter(studio, stranger, tab) is not visit
    assert enter(studio, page("two"), TAB) is visit
    assert studio.uploads.find(photo.address, Caller("", "anna", "two")).file == photo.file
    assert enter(studio, page("three"), TAB) is visit, "before the page is known to be gone"
    leave(studio, "two")
    assert not visit.closed
    assert studio.uploads.find(photo.address, Caller("", "anna", "three"))


def test_a_visit_that_nobody_comes_back_to_ends_with_its_uploads_and_an_empty_one_at_once(studio, clock, monkeypatch):
    visit, other = opened(studio, page("one")), enter(studio, page("two"), OTHER_TAB)
    photo = studio.uploads.put(b"photo", "photo.png", Caller("", "anna", "one"))
    leave(studio, "one")
    leave(studio, "two")
    assert (visit.closed, other.closed) == (False, True)
    clock.seconds += left.KEPT_SECONDS + 1
    studio.left.expire()
    assert visit.closed
    assert not photo.file.exists()
    monkeypatch.setattr(left, "MOST_LEFT", 2)
    many = [opened(studio, page(f"m{number}"), str(number) * 32) for number in range(4)]
    for number in range(4):
        leave(studio, f"m{number}")
    assert [visit.closed for visit in many] == [True, True, False, False]


def test_a_job_goes_on_for_the_one_who_follows_last_and_hands_on_its_error():
    gate = threading.Event()

    def news():
        yield "one"
        gate.wait(5)
        yield "two"
        raise ValueError("torn")
    job = Job(news())
    first = job.follow()
    assert next(first) == "one"
    second = job.follow()
    gate.set()
    assert next(second) == "two"
    with pytest.raises(ValueError, match="torn"):
        next(second)
    assert job.done
    assert list(first) == []


def test_who_waits_for_news_when_another_takes_over_takes_none_of_them_away():
    gate = threading.Event()

    def news():
        yield "one"
        gate.wait(45)
        yield "the picture"
    job = Job(news())
    first, second, had = job.follow(), job.follow(), {}
    assert next(first) == "one"
    waiting = [threading.Thread(target=lambda name=name, follower=follower: had.setdefault(name, next(follower, "over")))
               for name, follower in (("first", first), ("second", second))]
    before = job._follower
    waiting[0].start()
    waiting[1].start()
    while job._follower is before:
        pass
    gate.set()
    for thread in waiting:
        thread.join(45)
    assert had == {"first": "over", "second": "the picture"}


def test_a_run_knows_whose_request_it_is_down_to_the_thread_that_edits(monkeypatch):
    """A GPU that is lent is lent to somebody."""
    def news():
        yield from WorkInBackground(lambda tell, should_stop: tell("asked by", LocalContext.request.get(None)), threading.Event())
    token = LocalContext.request.set(asked := page("one"))
    job = Job(news())
    LocalContext.request.reset(token)
    assert list(job.follow()) == [("asked by", asked)]


def test_a_page_that_is_loaded_anew_shows_the_sweep_again_in_the_language_of_now(studio, tmp_path):
    has = {name: editor.capabilities for name, editor in studio.editors.items()}
    with gr.Blocks():
        panel = SweepPanel(has["fake"], studio.models)
    visit = EditVisit(studio.shelf)
    assert panel.redraw(visit, "en") == {}
    photo = tmp_path / "photo.png"
    Image.new("RGB", (24, 16), "olive").save(photo)
    sweep = Sweep.plan(EditSettings("make it blue", steps=1), "fake", [Axis.parse("quality", "0,5")], has)
    *_, last = run_sweep(studio, visit, "en", str(photo), sweep)
    shown = panel.redraw(visit, "zh")
    assert re.findall("src='([^']+)", shown[panel.grid]) == re.findall("src='([^']+)", last["grid"])
    assert "表" in shown[panel.downloads]
    assert "Table" not in shown[panel.downloads]
