"""The Research tab in a browser: a study with ratings is looked at, changed and closed; a new one is made, or refused with its faults."""

from __future__ import annotations

import html
import re
from functools import partial

import gradio as gr
import pytest
from fastapi.testclient import TestClient

from mre.errors import StudyError
from mre.study import figures, records, studies
from mre.study.design import StudyDesign
from mre.study.export import export_file
from mre.study.simulate import Crowd, simulate
from tests.study.conftest import Clock, draw_edits
from tests.study.test_participants import Recruit
from tests.study.test_participation import started
from tests.ui.serving import browser, draw_only, served
from ui.app import build_app
from ui.research import tab as research_tab
from ui.research.panel import ResearchPanel
from ui.research.tab import ResearchHandlers
from ui.studio import Studio, StudioSettings

EVIL = "<img src=x onerror=alert(1)>"
pytestmark = pytest.mark.timeout(600)
PATIENCE = 45_000           # milliseconds; a busy machine takes its time


class Asked:
    """What Gradio hands to a handler."""

    headers = {"accept-language": "zh-CN,zh"}
    request = None


def desk_of(studio: Studio) -> ResearchHandlers:
    """Handlers without a page."""
    with gr.Blocks():
        return ResearchHandlers(studio, ResearchPanel(accounts=False))


@pytest.fixture(scope="module")
def site(tmp_path_factory, chromium):
    """A studio with a scored study called "scored", a browser, and a folder of edits with two faults."""
    folder = tmp_path_factory.mktemp("research")
    with pytest.MonkeyPatch.context() as patch:
        draw_only(patch, "research")
        app = build_app(StudioSettings(data=folder / "data"))
    store = app.state.studio.store
    edits = draw_edits(folder / "data" / "edits", 8, size=(16, 16))
    studies.create_from_edits(store, "scored", [edits], StudyDesign(per_pair=3, repeats=20, repeat_gap=2, checks=20))
    studies.start(store, "scored")
    simulate(store, "scored", Crowd(annotators=4))
    broken = draw_edits(folder / "data" / "broken", 3, size=(16, 16))
    (broken / "tiny" / "item-000.png").unlink()
    (broken / "tiny" / "item-001.png").write_bytes(b"not a picture")
    with served(app) as address, browser(chromium) as chrome:
        yield {"store": store, "address": address, "chrome": chrome, "edits": edits, "broken": broken}


def open_research(site, width: int = 1280, locale: str = "en-US"):
    page = site["chrome"].new_context(viewport={"width": width, "height": 900}, locale=locale).new_page()
    page.set_default_timeout(PATIENCE)
    page.dialogs = []
    page.on("dialog", lambda dialog: (page.dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(site["address"])
    page.get_by_role("tab", name={"en-US": "Research", "zh-CN": "研究管理"}[locale], exact=True).click()
    page.wait_for_selector("#study-summary dl")
    return page


@pytest.fixture(scope="module")
def page(site):
    """One page for all tests, in their order: a page of the whole studio takes a busy machine a while to draw."""
    return open_research(site)


def inner_tab(page, place: int) -> None:
    page.locator("#research-tabs [role=tab]").nth(place).click()


def test_agreement_answers_at_a_click_and_the_table_too(page, monkeypatch):
    assert page.input_value("#study-choice input") == "scored-simulated"
    monkeypatch.setattr(figures, "agreement", partial(figures.agreement, draws=20))         # of 500, which take seconds
    monkeypatch.setattr(research_tab, "study_table", partial(research_tab.study_table, draws=20))
    inner_tab(page, 3)
    page.click("#agreement-go")
    page.wait_for_selector("#study-agreement tbody tr")
    rows = [row.inner_text() for row in page.locator("#study-agreement tbody tr").all()]
    assert [row.split()[0] for row in rows] == ["Following", "Preserving", "Quality"]
    assert all(row.count("…") == 3 for row in rows)                 # three statistics, each with its interval
    inner_tab(page, 5)
    page.click("#table-go")
    page.wait_for_selector("#study-table table")
    assert "tiny-baseline − tiny" in page.inner_text("#study-table")


def test_annotators_and_methods_are_shown_and_one_can_be_left_out(page):
    inner_tab(page, 0)
    page.wait_for_selector("#study-people tbody tr")
    assert page.locator("#study-people tbody tr").count() == 4
    page.click("#study-who input")
    page.get_by_role("option", name="simulated-002").click()
    page.fill("#study-reason input, #study-reason textarea", EVIL)
    page.click("#study-exclude")
    page.wait_for_selector("#study-said >> text=simulated-002 is excluded")
    assert EVIL in page.inner_text("#study-people")
    assert "4 (1 excluded)" in page.inner_text("#study-summary")
    inner_tab(page, 2)
    page.wait_for_selector("#study-methods tbody tr")
    assert "tiny-baseline" in page.inner_text("#study-methods")
    assert page.dialogs == []


def test_on_a_phone_in_chinese_nothing_scrolls_sideways(site):
    page = open_research(site, 390, "zh-CN")
    page.wait_for_selector("#study-people tbody tr")
    assert "离散度" in page.inner_text("#study-people")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.querySelector('#study-people .table-scroll').scrollWidth <= innerWidth")


def test_a_new_study_is_refused_with_every_fault_or_made_and_started_and_closed_only_when_sure(site, page):
    inner_tab(page, 6)
    page.fill("#new-name input, #new-name textarea", "fresh")
    page.click("#new-folder input")
    page.get_by_role("option", name="broken").click()
    page.keyboard.press("Escape")
    page.click("#new-go")
    page.wait_for_selector("#study-said [role=alert]")
    faults = page.locator("#study-said li").all_inner_texts()
    assert len(faults) == 2
    assert all("row" in fault and str(site["broken"].parent) not in fault for fault in faults)
    page.click("#new-folder button.token-remove, #new-folder .token-remove")
    page.click("#new-folder input")
    page.get_by_role("option", name="edits", exact=True).click()
    page.keyboard.press("Escape")
    page.click("#new-go")
    page.wait_for_selector("#study-said >> text=fresh was created as a draft")
    page.click("#study-start")
    page.wait_for_selector("#study-said >> text=fresh is running")
    page.click("#study-close")
    page.click("#study-close-no")
    page.wait_for_selector("#study-close-yes", state="hidden")
    assert records.find_study(site["store"], "fresh").state == "running"
    page.click("#study-close")
    page.click("#study-close-yes")
    page.wait_for_selector("#study-said >> text=fresh is closed")
    assert page.is_disabled("#study-start")


def test_an_exported_file_is_brought_back_in_the_background_or_refused_with_its_rows(site, page, tmp_path):
    export_file(site["store"], "scored-simulated", tmp_path / "s.csv")         # the copy that simulated annotators have scored
    text = (tmp_path / "s.csv").read_text(encoding="utf-8")
    (tmp_path / "bad.csv").write_text(text.replace(",0,5,1,", ",0,5,one,", 2), encoding="utf-8")
    inner_tab(page, 6)
    page.fill("#new-name input, #new-name textarea", "back")
    page.set_input_files("#new-import input[type=file]", str(tmp_path / "bad.csv"))
    page.wait_for_selector("#study-said [role=alert] >> text=revision must be a whole number")
    assert page.locator("#study-said li").count() == 2
    page.set_input_files("#new-import input[type=file]", str(tmp_path / "s.csv"))
    page.wait_for_selector("#study-said >> text=back was imported")
    assert page.input_value("#study-choice input") == "back"
    export_file(site["store"], "back", tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text(encoding="utf-8").replace("\nback,", "\nscored-simulated,") == text


def test_without_a_choice_of_study_each_button_says_so(tmp_path):
    desk = desk_of(Studio(StudioSettings(data=tmp_path)))
    for press in (lambda: desk.agreement(Asked(), name=None), lambda: desk.table(Asked(), name=None),
                  lambda: desk.mover("start")(Asked(), name=None), lambda: desk.exclude(Asked(), name=None, who="a", reason="b"),
                  lambda: desk.invite(Asked(), name=None, count=1), lambda: desk.simulate(Asked(), name=None, annotators=2)):
        with pytest.raises(Exception, match="请先选择一个研究") as caught:
            press()
        assert isinstance(caught.value.__cause__, StudyError)


@pytest.fixture
def paid(tmp_path):
    """A studio with a study of people from Prolific: one has finished and skipped a pair, one was stopped, one excluded."""
    app = build_app(StudioSettings(data=tmp_path / "data"))
    store = app.state.studio.store
    store.clock = Clock()
    study = started(store, tmp_path, items=12, per_pair=4, keep_recruiting_id=True)
    people = [Recruit(store, study, {"PROLIFIC_PID": f"id{number}"}) for number in range(3)]
    people[0].do(1, skip="broken")
    people[0].do()
    people[1].do(seconds=0.5)
    people[2].do(2)
    studies.exclude(store, "s", people[2].label, EVIL)
    return app, people


def test_participants_are_shown_with_code_id_state_and_why_in_both_languages(paid):
    app, people = paid
    desk = desk_of(app.state.studio)
    code = people[0].work()["completion_code"]
    chinese = Asked()
    english = Asked()
    english.headers = {"accept-language": "en"}
    for asked, stopped, broken in ((english, "stopped: median of 0.5 s a screen", "picture broken 1"),
                                   (chinese, "被终止: 每屏中位数 0.5 秒", "图片损坏 1")):
        shown = desk.show(asked, name="s")
        skipped, took_part = shown[desk.panel.skipped], shown[desk.panel.took_part]
        assert code in took_part
        assert "id0 (prolific)" in took_part
        assert stopped in took_part
        assert EVIL not in took_part
        assert "&lt;img src=x" in took_part
        assert broken in skipped
    assert "Stopped by a rule" in desk.show(english, name="s")[desk.panel.summary]


def test_the_tab_lets_go_on_collects_again_and_deletes_ids(paid):
    app, people = paid
    desk = desk_of(app.state.studio)
    said = desk.panel.said
    desk.let_continue(Asked(), name="s", who=people[1].label)
    assert people[1].work()["current"]
    assert "2" in desk.recollect(Asked(), name="s", who=people[2].label)[said]
    assert "2" in desk.include(Asked(), name="s", who=people[2].label)[said]
    assert "3" in desk.forget(Asked(), name="s")[said]
    assert "id0" not in desk.show(Asked(), name="s")[desk.panel.took_part]
    with pytest.raises(Exception, match="no rule has ended"):
        desk.let_continue(Asked(), name="s", who=people[0].label)


def test_lists_of_people_are_downloads_for_researchers(paid):
    app, _people = paid
    with TestClient(app, base_url="http://127.0.0.1") as http:
        people = http.get("/research/participants/s.csv")
        assert people.headers["content-disposition"].startswith("attachment")
        assert people.headers["cache-control"] == "no-store"
        assert "id0" in people.text
        links = desk_of(app.state.studio).pay_links(Asked(), name="s", amount=2.5, per_screen=0.1, reject=True)
        address = re.search('href="(/research/payments/prolific/[^"]+)"', links).group(1)
        assert http.get(html.unescape(address)).text == "id0,3.60\n"                # 2.50 and 0.10 for each of 11 screens
        assert http.get("/research/payments/mturk/s.csv").json()["error"].startswith("nobody in study s has an id of mturk")
        assert http.get("/research/payments/csv/s.csv?amount=x").status_code == 404
        assert http.get("/research/payments/paypal/s.csv").status_code == 404
        assert http.get("/research/participants/nothing.csv").status_code == 404
