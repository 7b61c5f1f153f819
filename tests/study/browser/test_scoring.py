"""Scoring in a real browser: by keyboard alone, after a reload, on another device, with a server that is away, late, or in a second tab."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from playwright.sync_api import expect

from mre.study import leases, visit
from mre.study.design import StudyDesign
from mre.study.schema import answers, assignments
from mre.study.schema import studies as studies_table
from tests.study.browser.annotator import NEXT, begin, final_scores, open_page, running, score

pytestmark = pytest.mark.timeout(400)


def test_a_whole_visit_by_keyboard_alone(chrome, site):
    page = open_page(chrome, site.url)
    expect(page.locator("#consent-check")).to_be_visible()
    page.keyboard.press("Tab")
    while page.evaluate("document.activeElement.id") != "consent-check":
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#guide:not([hidden])")
    while page.evaluate("document.activeElement.id") != "guide-go":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#score:not([hidden])")
    page.keyboard.type("43")
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_contain_text("Still to score")
    assert not final_scores(site.store)
    page.keyboard.type("21")
    page.keyboard.press("ArrowRight")                       # arrows choose too: 0 -> 1
    page.keyboard.press("c")
    page.keyboard.type("5 of 5, odd hat")                   # digits in a comment are text
    page.keyboard.press("Escape")
    page.keyboard.type("5")
    number = page.evaluate("document.body.dataset.screen")
    page.keyboard.press("Enter")
    page.wait_for_selector(NEXT.format(number), state="attached")
    assert final_scores(site.store)[0] == (4, 3, 2)
    page.keyboard.press("b")
    expect(page.locator("#notice")).to_contain_text("earlier pair")
    assert page.input_value("#comment") == "5 of 5, odd hat"
    score(page, "000000")
    assert final_scores(site.store)[0] == (0, 0, 0)
    page.keyboard.press("s")
    page.wait_for_selector("#skip-dialog[open]")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Escape")
    for _ in range(12):
        if page.is_visible("#done"):
            break
        score(page)
    assert page.inner_text("#done-code").strip()
    assert not page.faults


def test_what_is_filled_in_and_not_sent_comes_back_after_a_reload_and_on_another_device(chrome, site):
    page = open_page(chrome, site.url)
    begin(page)
    score(page)
    instruction = page.inner_text("#instruction")
    page.keyboard.type("52")
    page.keyboard.press("c")
    page.keyboard.type("six fingers\non the left hand")
    page.keyboard.press("Escape")
    page.keyboard.press("s")
    with page.expect_response("**/api/draft"):
        page.check("#skip-reasons input[value=unclear]")
    page.reload()
    page.wait_for_selector("#score:not([hidden])")
    assert page.inner_text("#instruction") == instruction
    assert page.is_checked("#s005")
    assert page.is_checked("#s012")
    assert page.input_value("#comment") == "six fingers\non the left hand"
    assert "●" in page.inner_text("#comment-button")
    page.keyboard.press("s")
    assert page.is_checked("#skip-reasons input[value=unclear]")
    assert page.input_value("#skip-comment") == "six fingers\non the left hand"
    page.keyboard.press("Escape")
    page.click("#menu-button")
    page.click("#menu-code")
    expect(page.locator("#menu-code-out")).to_contain_text("-")
    code = page.inner_text("#menu-code-out").split()[-1]
    other = open_page(chrome, f"{site.address}/study/", locale="zh-CN")
    other.fill("#code-input", code)
    other.keyboard.press("Enter")
    other.wait_for_selector("#score:not([hidden])")
    assert other.inner_text("#instruction") == instruction
    assert other.is_checked("#s005")
    assert other.input_value("#comment") == "six fingers\non the left hand"
    assert not final_scores(site.store)[2:]                 # nothing of it was sent as an answer


def test_changes_to_an_earlier_pair_come_back_too_and_say_that_they_are_not_sent(chrome, site):
    page = open_page(chrome, site.url)
    begin(page)
    score(page, "111111")
    page.keyboard.press("b")
    expect(page.locator("#notice")).to_contain_text("earlier pair; submit")
    with page.expect_response("**/api/draft"):
        page.keyboard.type("5")
    page.reload()
    page.wait_for_selector("#score:not([hidden])")
    page.keyboard.press("b")
    expect(page.locator("#notice")).to_contain_text("not sent yet")
    assert page.is_checked("#s005")
    assert final_scores(site.store)[0] == (1, 1, 1)
    number = page.evaluate("document.body.dataset.screen")
    page.keyboard.press("Enter")
    page.wait_for_selector(NEXT.format(number), state="attached")
    assert final_scores(site.store)[0] == (5, 1, 1)


def test_scores_survive_a_server_that_is_away_and_are_stored_once(chrome, site):
    page = open_page(chrome, site.url)
    begin(page)
    tries = []

    def cut(route) -> None:
        tries.append(route.request.post_data_json["key"])
        if len(tries) == 1:
            route.abort()
        elif len(tries) == 2:
            route.fetch()                                   # reaches the server, but the answer is lost on the way
            route.abort()
        else:
            route.continue_()
    page.route("**/api/submit", cut)
    number = page.evaluate("document.body.dataset.screen")
    page.keyboard.type("123450")
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_contain_text("Not saved yet")
    page.wait_for_selector(NEXT.format(number), state="attached")
    assert len(tries) == 3
    assert len(set(tries)) == 1
    assert final_scores(site.store) == [(1, 2, 3), (4, 5, 0)]


def test_a_change_of_language_leaves_row_scores_and_focus_where_they_were(chrome, site):
    page = open_page(chrome, site.url)
    begin(page)
    page.keyboard.type("43")
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_contain_text("Still to score")
    page.click(".top .languages [lang=zh]")
    expect(page.locator("#notice")).to_contain_text("尚未打分")
    assert page.evaluate("document.activeElement.lang") == "zh"
    assert page.locator("fieldset.lacking").count() == 4
    page.keyboard.type("2105")                              # at once, without a click on a row
    assert [page.is_checked(f"#s{edit}{place}{given}") for edit, place, given in
            ((0, 0, 4), (0, 1, 3), (0, 2, 2), (1, 0, 1), (1, 1, 0), (1, 2, 5))] == [True] * 6
    expect(page.locator("#notice")).to_be_hidden()
    number = page.evaluate("document.body.dataset.screen")
    page.keyboard.press("Enter")
    page.wait_for_selector(NEXT.format(number), state="attached")
    assert final_scores(site.store) == [(4, 3, 2), (1, 0, 5)]
    assert not page.faults


def test_marks_of_missing_scores_do_not_follow_to_another_pair(chrome, site):
    page = open_page(chrome, site.url)
    begin(page)
    score(page)
    page.keyboard.press("Enter")
    assert page.locator("fieldset.lacking").count() == 6
    page.keyboard.press("b")
    expect(page.locator("#notice")).to_contain_text("earlier pair")
    assert page.locator("fieldset.lacking").count() == 0
    assert page.locator("fieldset.scored").count() == 6
    page.click("#forward")
    expect(page.locator("#notice")).to_be_hidden()
    assert page.locator("fieldset.lacking").count() == 0


def test_enter_twice_on_withdraw_does_nothing_and_withdrawing_takes_a_second_step(chrome, site):
    page = open_page(chrome, site.url)
    begin(page)
    score(page)
    page.click("#menu-button")
    page.focus("#menu-withdraw")
    page.keyboard.press("Enter")
    page.wait_for_selector("#withdraw-dialog[open]")
    assert page.evaluate("document.activeElement.id") == "withdraw-no"
    expect(page.locator("#withdraw-text")).to_contain_text("1 pairs")
    page.keyboard.press("Enter")
    page.wait_for_selector("#withdraw-dialog:not([open])", state="attached")
    assert page.evaluate("document.activeElement.id") == "menu-button"
    assert len(final_scores(site.store)) == 2
    page.keyboard.type("5")                                 # and scoring goes on
    assert page.is_checked("#s005")
    page.click("#menu-button")
    page.click("#menu-withdraw")
    assert page.is_disabled("#withdraw-yes")
    page.check("#withdraw-check")
    page.click("#withdraw-yes")
    expect(page.locator("#done-text")).to_contain_text("You have withdrawn")
    assert not final_scores(site.store)


def test_the_guide_closes_by_escape_and_question_mark_and_gives_the_focus_back(chrome, site):
    page = open_page(chrome, site.url)
    begin(page)
    page.keyboard.type("43")
    before = page.evaluate("document.activeElement.id")
    for close in ("Escape", "?"):
        page.keyboard.press("?")
        page.wait_for_selector("#guide:not([hidden])")
        page.keyboard.press(close)
        page.wait_for_selector("#score:not([hidden])")
        assert page.evaluate("document.activeElement.id") == before
    page.click("#help-button")
    page.wait_for_selector("#guide:not([hidden])")
    page.keyboard.press("Escape")
    page.wait_for_selector("#score:not([hidden])")
    assert page.evaluate("document.activeElement.id") == "help-button"
    page.keyboard.type("2")
    assert page.is_checked("#s022")


def test_a_break_is_suggested_kindly_and_takes_no_time(chrome, tmp_path):
    with running(tmp_path, StudyDesign(per_pair=1, repeats=0, checks=0, break_every=2)) as site:
        page = open_page(chrome, site.url)
        begin(page)
        score(page)
        expect(page.locator("#notice")).to_be_hidden()
        score(page)
        expect(page.locator("#notice")).to_contain_text("2 pairs scored")
        page.keyboard.type("4")                             # it stands in nobody's way
        assert page.is_checked("#s004")
        page.click("#notice button:nth-of-type(2)")
        expect(page.locator("#notice")).to_be_hidden()
        score(page, "32105")
        score(page)
        page.click("#notice button:nth-of-type(1)")
        page.wait_for_selector("#pause:not([hidden])")
        assert not page.is_visible("#pictures")
        page.wait_for_timeout(1500)
        page.keyboard.press("Enter")                        # the focus is on the way back
        page.wait_for_selector("#score:not([hidden])")
        expect(page.locator("#notice")).to_be_hidden()
        with page.expect_request("**/api/submit") as sent:
            page.keyboard.type("000000")
            page.keyboard.press("Enter")
        assert sent.value.post_data_json["active_ms"] < 1500
        assert not page.faults


def test_an_answer_that_comes_too_late_is_told_kindly_and_the_next_pair_is_there(chrome, site):
    page = open_page(chrome, site.url, locale="zh-CN")
    begin(page)
    _token, other = visit.enter(site.store, site.study.public_id)
    with site.store.write() as connection:
        site.store.lock(connection, studies_table, site.study.id)
        connection.execute(assignments.update().where(assignments.c.state == "leased").values(lease_expires_at=1))
        leases.take_expired(connection, site.study, other.id, site.store.clock())
    page.keyboard.type("432105")
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_contain_text("您的分数已另行保存")
    assert page.is_visible("#score")
    assert page.locator("fieldset.scored").count() == 0


def test_a_second_tab_that_answered_first_is_told_kindly(chrome, site):
    page = open_page(chrome, site.url)
    begin(page)
    other = page.context.new_page()
    other.goto(site.url)
    other.click("#guide-go")            # consent is given already; the guide opens in every new tab
    other.wait_for_selector("#score:not([hidden])")
    score(page)
    score(other, "555555")
    expect(other.locator("#notice")).to_contain_text("answered already")
    with site.store.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(answers)).scalar_one() == 1
        held = connection.execute(sa.select(sa.func.count()).where(assignments.c.state == "leased")).scalar_one()
    assert held == 2
