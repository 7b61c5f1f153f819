"""The annotator's pages by raw HTTP: what they give, and what they refuse, whoever asks."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from mre.study import studies
from mre.study.design import StudyDesign
from mre.study.schema import answers, assignments, ratings
from mre.study.store import Store
from tests.study.conftest import draw_edits
from ui.study.pages.routes import add_routes

SCORES = [[1, 2, 3], [4, 5, 0]]


class Browser:
    """One annotator's browser: its own cookies, and the calls that the page's script makes."""

    def __init__(self, app: FastAPI, study: str) -> None:
        self.http, self.study = TestClient(app), study

    def call(self, action: str, expect: int = 200, **body) -> dict:
        reply = self.http.post(f"/study/api/{action}", json={"study": self.study, **body}, headers={"X-Study": "1"})
        assert reply.status_code == expect, (action, reply.status_code, reply.text[:300])
        return reply.json()

    def join(self, **body) -> Browser:
        self.call("enter", consent=True, language="en", **body)
        return self

    def submit(self, shown: dict, expect: int = 200, **changes) -> dict:
        body = {"screen": shown["screen"], "key": "k" * 16, "revision": shown["revision"], "scores": SCORES, "comment": ""} | changes
        return self.call("submit", expect, **body)


@pytest.fixture
def app(store: Store) -> FastAPI:
    app = FastAPI()
    add_routes(app, SimpleNamespace(store=store))
    return app


@pytest.fixture
def browser(app, study) -> Browser:
    return Browser(app, study.public_id).join()


def stored(store: Store) -> list:
    with store.read() as connection:
        return connection.execute(sa.select(ratings).where(ratings.c.is_final).order_by(ratings.c.id)).all()


def test_a_visit_from_consent_to_completion_code(app, study, store):
    browser = Browser(app, study.public_id)
    assert browser.call("hello")["me"] is None
    browser.join()
    work, seen = browser.call("work"), 0
    while work["current"]:
        work = browser.submit(work["current"])
        seen += 1
    assert seen == 6
    assert len(work["completion_code"]) == 8
    assert work["progress"] == {"done": 6, "scored": 6, "skipped": 0, "total": 6, "minutes_left": None}
    assert len(stored(store)) == 12


def test_nothing_is_handed_out_or_stored_before_consent(app, study, store):
    browser = Browser(app, study.public_id)
    browser.call("enter", 403, language="en")
    browser.call("work", 403)
    browser.call("submit", 403, screen="x", key="k" * 16, revision=0, scores=SCORES)
    assert not stored(store)


BAD_SCORES = [
    [[1, 2, 3], [4, 5, 7]], [[1, 2, 3], [4, 5, 2.5]], [[1, 2, 3], [4, 5, -1]], [[1, 2, 3], [4, 5, "3"]], [[1, 2, 3], [4, 5, None]],
    [[1, 2, 3], [4, 5, True]], [[1, 2, 3]], [[1, 2, 3], [4, 5]], [], None, "555555", {"1": [1, 2, 3]}, [[1, 2, 3], [4, 5, 1e400]]]


def test_scores_that_are_not_six_whole_numbers_from_0_to_5_are_refused_and_named(browser, store):
    shown = browser.call("work")["current"]
    for scores in BAD_SCORES:
        text = json.dumps({"study": browser.study, "screen": shown["screen"], "key": "k" * 16, "revision": 0, "scores": scores})
        reply = browser.http.post("/study/api/submit", content=text, headers={"X-Study": "1", "Content-Type": "application/json"})
        assert reply.status_code == 422, scores
        assert "Edited Image" in reply.json()["error"]
    assert not stored(store)
    browser.submit(shown)


def test_a_replayed_submit_answers_as_before_and_changes_nothing(browser, store):
    shown = browser.call("work")["current"]
    first = browser.submit(shown)
    again = browser.submit(shown, scores=[[0, 0, 0], [0, 0, 0]])
    assert (first["saved"], again["saved"]) == (1, 1)
    assert [(row.following, row.preserving, row.quality) for row in stored(store)] == [(1, 2, 3), (4, 5, 0)]


def test_twenty_parallel_submits_of_one_screen_leave_one_answer(browser, store):
    shown = browser.call("work")["current"]

    def send(number: int) -> int:
        body = {"study": browser.study, "screen": shown["screen"], "key": f"click-{number:04d}", "revision": 0, "scores": SCORES}
        return TestClient(browser.http.app, cookies=dict(browser.http.cookies)).post(
            "/study/api/submit", json=body, headers={"X-Study": "1"}).status_code

    with ThreadPoolExecutor(20) as pool:
        found = sorted(pool.map(send, range(20)))
    assert found == [200] + [409] * 19
    assert len(stored(store)) == 2
    with store.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(answers)).scalar_one() == 1


def test_an_earlier_answer_can_be_changed_and_is_kept_as_a_revision(browser, store):
    shown = browser.call("work")["current"]
    browser.submit(shown)
    earlier = browser.call("earlier", before=None)["screen"]
    assert earlier["screen"] == shown["screen"]
    assert earlier["scores"] == SCORES
    assert browser.submit(earlier, key="another-key-1", scores=[[5, 5, 5], [0, 0, 0]])["saved"] == 2
    browser.submit(earlier, 409, key="another-key-2")
    assert [row.following for row in stored(store)] == [5, 0]
    with store.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(ratings)).scalar_one() == 4


def test_another_annotators_tokens_open_nothing(app, study, browser, store):
    shown = browser.call("work")["current"]
    other = Browser(app, study.public_id).join()
    other.call("work")
    other.submit(shown, 403)
    other.call("draft", 403, screen=shown["screen"], scores=SCORES)
    other.call("earlier", 403, before=shown["screen"])
    for token in shown["pictures"]:
        assert browser.http.get(f"/study/p/{study.public_id}/{token}").status_code == 200
        assert other.http.get(f"/study/p/{study.public_id}/{token}").status_code == 403
        assert TestClient(app).get(f"/study/p/{study.public_id}/{token}").status_code == 403
    assert not stored(store)


def test_picture_tokens_die_with_the_screen_and_with_the_lease(browser, study, clock):
    work = browser.call("work")
    browser.submit(work["current"])
    dead, live = work["current"]["pictures"][1], work["upcoming"]["pictures"][1]
    assert browser.http.get(f"/study/p/{study.public_id}/{dead}").status_code == 403
    assert browser.http.get(f"/study/p/{study.public_id}/{live}").status_code == 200
    clock.pass_seconds(31 * 60)
    assert browser.http.get(f"/study/p/{study.public_id}/{live}").status_code == 403


def test_pictures_of_a_screen_differ_on_the_wire_in_their_pixels_alone(browser, study):
    work = browser.call("work")
    for shown in (work["current"], work["upcoming"]):
        replies = [browser.http.get(f"/study/p/{study.public_id}/{token}") for token in shown["pictures"]]
        assert len({tuple(sorted(reply.headers.items())) for reply in replies}) == 1       # content-length too
        for reply in replies:
            image = Image.open(io.BytesIO(reply.content))
            image.load()
            assert (image.format, image.mode, image.size, image.info) == ("PNG", "RGB", (shown["width"], shown["height"]), {})
            chunks = reply.content
            assert not any(kind in chunks for kind in (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME", b"iCCP", b"pHYs"))
        headers = {name.lower() for name in replies[0].headers}
        assert not headers & {"last-modified", "etag", "content-disposition", "server-timing"}


def test_no_byte_of_a_picture_but_its_pixels_and_their_checksums_depends_on_the_picture(store, tmp_path):
    """Black against white differ in every byte that holds a pixel, and in checksums; noise may differ from black in no other."""
    folder, (height, width) = draw_edits(tmp_path / "looks", 1, size=(300, 200)), (200, 300)      # more than one block of 65,535 bytes
    for name, value in (("photos", 0), ("tiny", 255)):
        Image.new("RGB", (width, height), (value,) * 3).save(folder / name / "item-000.png")       # tiny-baseline stays noise
    studies.create_from_edits(store, "looks", [folder], StudyDesign(per_pair=1, repeats=0, checks=0))
    study = studies.start(store, "looks")
    app = FastAPI()
    add_routes(app, SimpleNamespace(store=store))
    browser = Browser(app, study.public_id).join()
    shown = browser.call("work")["current"]
    black, *edits = (browser.http.get(f"/study/p/{study.public_id}/{token}").content for token in shown["pictures"])
    noise, white = sorted(edits, key=lambda png: np.asarray(Image.open(io.BytesIO(png))).min())
    assert len(black) == len(white) == len(noise)
    of_pixels = {place for place, (one, two) in enumerate(zip(black, white, strict=True)) if one != two}
    of_noise = {place for place, (one, two) in enumerate(zip(black, noise, strict=True)) if one != two}
    assert 3 * width * height <= len(of_pixels) <= 3 * width * height + 8
    assert len(of_noise - of_pixels) <= 8                                       # checksums that happened to agree in a byte


def test_pages_send_a_strict_policy_and_take_no_calls_from_other_sites(browser, study):
    page = browser.http.get(f"/study/s/{study.public_id}")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    body = json.dumps({"study": browser.study})
    assert browser.http.post("/study/api/work", content=body, headers={"Content-Type": "text/plain"}).status_code == 400
    assert browser.http.post("/study/api/work", content=body, headers={"Content-Type": "application/json"}).status_code == 400


COMMENTS = ['=HYPERLINK("http://evil.example","x")', 'He said "no", twice;\nand left\r\n\ttab', "🙂 שלום \u202etext", "\x00\x07nul",
            "\ud800 lone", "a" * 20_000]


def test_comments_of_every_kind_are_kept_as_plain_text(browser, store):
    for number, comment in enumerate(COMMENTS):
        shown = browser.call("work")["current"]
        text = json.dumps({"study": browser.study, "screen": shown["screen"], "key": f"key-{number:06d}", "revision": 0, "scores": SCORES,
                           "comment": comment})
        reply = browser.http.post("/study/api/submit", content=text, headers={"X-Study": "1", "Content-Type": "application/json"})
        assert reply.status_code == 200
        kept = browser.call("earlier", before=None)["screen"]["comment"]
        plain = comment.encode("utf-8", "replace").decode().replace("\r\n", "\n").replace("\x00", "").replace("\x07", "").strip()
        assert kept == plain


def test_a_comment_of_100_kb_is_refused_with_its_length_and_the_scores_can_be_sent_again(browser, store):
    shown = browser.call("work")["current"]
    assert "100000 characters" in browser.submit(shown, 422, comment="x" * 100_000)["error"]
    assert browser.http.post("/study/api/submit", content=b"x" * 400_000, headers={"X-Study": "1", "Content-Type": "application/json"}
                             ).status_code == 413
    assert browser.submit(shown, comment="shorter")["saved"] == 1


def test_malformed_calls_get_a_plain_refusal(browser):
    bodies = [b"", b"[]", b"{", b'{"study": 5}', b'{"study": {"a": 1}}', b'{"study": null, "screen": []}', b"[" * 5000, b"\xff\xfe",
              b'{"study": "%s", "screen": "%s"}' % (browser.study.encode(), b"a" * 1000), b'{"study": "\ud800", "code": {"a": []}}']
    for action in ("hello", "enter", "work", "submit", "draft", "earlier", "language", "code", "nothing", "leave", "withdraw"):
        for body in bodies:
            reply = browser.http.post(f"/study/api/{action}", content=body, headers={"X-Study": "1", "Content-Type": "application/json"})
            assert 200 <= reply.status_code < 500, (action, body[:40], reply.text)
            assert isinstance(reply.json(), dict)
            assert "Traceback" not in reply.text


def test_the_same_person_goes_on_with_an_outside_id_or_a_personal_code(app, study, browser, store):
    first = Browser(app, study.public_id).join(ids={"PROLIFIC_PID": "5f1e"})
    shown = first.call("work")["current"]
    first.call("draft", screen=shown["screen"], scores=[[1, None, None], [None, None, None]])
    second = Browser(app, study.public_id).join(ids={"PROLIFIC_PID": "5f1e"})
    assert second.call("work")["current"]["screen"] == shown["screen"]
    code = second.call("code")["code"]
    third = Browser(app, study.public_id)
    third.call("enter", code=code.lower())
    assert third.call("work")["current"]["scores"] == [[1, None, None], [None, None, None]]
    third.call("enter", 403, code="AAAA-BBBB-CCCC")
    with store.read() as connection:
        text = str(connection.execute(sa.text("select key_digest from annotators")).all())
    assert "5f1e" not in text


def test_codes_cannot_be_guessed_without_end_and_right_ones_count_for_nothing(app, study):
    code = Browser(app, study.public_id).join(ids={"PROLIFIC_PID": "5f1e"}).call("code")["code"]
    other = Browser(app, study.public_id)
    for number in range(30):
        other.call("enter", 403, code=f"AAAA-BBBB-{number:04d}")
        other.call("enter", code=code) if number < 3 else None
    other.call("enter", 429, code="AAAA-BBBB-CCCC")
    other.call("enter", 429, code=code)
    Browser(app, study.public_id).join()                 # without a code people begin as ever


EMPTY = [[None, None, None], [None, None, None]]


def test_a_draft_brings_back_scores_comment_and_skip_reason_until_the_screen_is_sent(browser):
    shown = browser.call("work")["current"]
    half = [[1, None, 3], [None, None, None]]
    browser.call("draft", screen=shown["screen"], scores=half, comment="left hand\x00 has\r\nsix fingers", skip_reason="unclear",
                 revision=0)
    back = browser.call("work")["current"]
    assert (back["scores"], back["comment"], back["skip_reason"], back["unsent"]) == (half, "left hand has\nsix fingers", "unclear", True)
    browser.submit(back, comment=back["comment"])
    browser.call("draft", 403, screen=shown["screen"], scores=half, comment="late", revision=0)      # overtaken by its own submit
    earlier = browser.call("earlier")["screen"]
    assert (earlier["scores"], earlier["comment"], earlier["skip_reason"], earlier["unsent"]) == (
        SCORES, "left hand has\nsix fingers", None, False)


def test_changes_to_an_answer_are_kept_as_a_draft_too_and_the_answer_stands_until_they_are_sent(browser, store):
    browser.submit(browser.call("work")["current"], comment="first")
    earlier = browser.call("earlier")["screen"]
    changed = [[5, 5, 5], [0, 0, None]]
    browser.call("draft", screen=earlier["screen"], scores=changed, comment="second thoughts", revision=1)
    again = browser.call("earlier")["screen"]
    assert (again["scores"], again["comment"], again["unsent"]) == (changed, "second thoughts", True)
    assert [(row.following, row.preserving, row.quality) for row in stored(store)] == [(1, 2, 3), (4, 5, 0)]
    assert browser.submit(again, key="another-key")["saved"] == 2
    assert browser.call("earlier")["screen"]["unsent"] is False


def test_a_draft_of_the_version_before_is_read_as_scores_without_a_comment(browser, store):
    shown = browser.call("work")["current"]
    with store.write() as connection:
        connection.execute(assignments.update().where(assignments.c.token == shown["screen"])
                           .values(draft="[[5, null, 0], [null, null, 2]]"))
    back = browser.call("work")["current"]
    assert (back["scores"], back["comment"], back["skip_reason"]) == ([[5, None, 0], [None, None, 2]], "", None)


BAD_DRAFTS = [{"scores": None}, {"scores": [[1, 2], [3, 4]]}, {"scores": EMPTY, "comment": 5}, {"scores": EMPTY, "comment": "x" * 20_001},
              {"scores": EMPTY, "skip_reason": "because"}, {"scores": EMPTY, "skip_reason": []}, {"scores": EMPTY, "revision": "0"},
              {"scores": EMPTY, "revision": 1e400}, {"scores": EMPTY, "revision": True}, {"scores": EMPTY, "revision": -1}]


def test_a_draft_that_is_none_is_refused_and_the_one_before_stays(browser):
    shown = browser.call("work")["current"]
    browser.call("draft", screen=shown["screen"], scores=[[1, None, None], [None, None, None]], comment="kept")
    for bad in BAD_DRAFTS:
        text = json.dumps({"study": browser.study, "screen": shown["screen"], **bad})
        reply = browser.http.post("/study/api/draft", content=text, headers={"X-Study": "1", "Content-Type": "application/json"})
        assert reply.status_code == 422, (bad, reply.text[:200])
    back = browser.call("work")["current"]
    assert (back["scores"][0][0], back["comment"]) == (1, "kept")


def test_the_page_is_told_after_how_many_screens_to_suggest_a_break(app, study, store, tmp_path):
    assert Browser(app, study.public_id).call("hello")["study"]["break_every"] == 50
    studies.create_from_edits(store, "own", [draw_edits(tmp_path / "own", 1)], StudyDesign(per_pair=1, break_every=0))
    assert Browser(app, studies.start(store, "own").public_id).call("hello")["study"]["break_every"] == 0


def test_skipping_needs_a_known_reason_and_is_stored_without_scores(browser, store):
    shown = browser.call("work")["current"]
    browser.submit(shown, 422, scores=None, skip_reason="because")
    assert browser.submit(shown, scores=None, skip_reason="unclear", comment="which hat?")["saved"] == 1
    assert not stored(store)
    assert browser.call("work")["progress"]["done"] == 1


def test_leaving_hands_screens_back_and_withdrawing_takes_answers_away(app, study, browser, store):
    browser.submit(browser.call("work")["current"])
    browser.call("leave")
    assert browser.call("work")["progress"]["done"] == 1
    browser.call("withdraw")
    browser.call("work", 403)
    assert not stored(store)
    others = [Browser(app, study.public_id).join() for _ in range(2)]
    for other in others:
        work = other.call("work")
        while work["current"]:
            work = other.submit(work["current"])
    assert len(stored(store)) == 6 * 2 * 2


def test_a_paused_study_takes_what_is_on_screens_and_hands_out_nothing(app, store, study, browser):
    work = browser.call("work")
    studies.pause(store, "demo")
    after = browser.submit(work["current"])
    assert after["current"]["screen"] == work["upcoming"]["screen"]
    assert browser.submit(after["current"], key="m" * 16)["current"] is None
    assert "paused" in Browser(app, study.public_id).call("enter", 409, consent=True)["error"]
    studies.close(store, "demo")
    earlier = browser.call("earlier")["screen"]
    assert "ended" in browser.submit(earlier, 409, key="n" * 16)["error"]


def test_a_minimum_time_is_held_by_the_server(store, tmp_path, clock):
    studies.create_from_edits(store, "slow", [draw_edits(tmp_path / "slow", 3)], StudyDesign(per_pair=1, min_seconds=5))
    study = studies.start(store, "slow")
    app = FastAPI()
    add_routes(app, SimpleNamespace(store=store))
    browser = Browser(app, study.public_id).join()
    shown = browser.call("work")["current"]
    clock.pass_seconds(2)
    assert "5 seconds" in browser.submit(shown, 422)["error"]
    clock.pass_seconds(4)
    assert browser.submit(shown, active_ms=99_000)["saved"] == 1
    with store.read() as connection:
        assert connection.execute(sa.select(answers.c.active_ms)).scalar_one() == 6000      # no more than there was


def test_instructions_with_markup_reach_the_browser_as_they_are(store, tmp_path):
    folder = draw_edits(tmp_path / "odd", 1)
    nasty = '<img src=x onerror=alert(1)> ![x](http://evil.example/x.png) \u202eright to left שלום =1+1'
    table = (folder / "edits.csv").read_text(encoding="utf-8")
    (folder / "edits.csv").write_text(table.replace("make change 0", '"' + nasty + '"'), encoding="utf-8")
    studies.create_from_edits(store, "odd", [folder], StudyDesign(per_pair=1))
    study = studies.start(store, "odd")
    app = FastAPI()
    add_routes(app, SimpleNamespace(store=store))
    assert Browser(app, study.public_id).join().call("work")["current"]["instruction"] == nasty


def test_static_files_are_those_of_the_pages_alone(browser):
    assert browser.http.get("/study/static/study.js").status_code == 200
    for name in ("../routes.py", "%2e%2e/routes.py", "..%2froutes.py", "routes.py", ".", "study.txt", "%00"):
        assert browser.http.get(f"/study/static/{name}").status_code == 404
