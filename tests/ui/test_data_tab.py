"""The Data tab: reward data by score and word, with the triplets."""

import json
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.state_holder import StateHolder
from PIL import Image

from mre.data import reward_browser
from mre.data.reward_browser import DRAWN, Filter, RewardData
from mre.data.rewardedit import TripletReward
from mre.errors import DataError
from mre.rewards import Reward
from ui.compare import tab as compare_tab
from ui.compare.tab import CompareVisit
from ui.data import tab as data_tab
from ui.site.door import Page
from ui.studio import Studio, StudioSettings

EVIL = "<img src=x onerror=alert(1)>"


def triplet(name, scores, texts, instruction="make it red") -> TripletReward:
    return TripletReward(name, Reward.of(scores, texts), instruction)


ROWS = RewardData("rows", (triplet("a", (5, 5, 5), ("None",) * 3), triplet("b", (2, 5, 5), ("the sky is grey", "None", "None"), "add fog"),
                           triplet("c", (5, 1, 4), ("None", "a tree moved", "blurry sky"))), None)


@pytest.mark.parametrize(("wanted", "found"), [
    (Filter(), "abc"), (Filter(highest=4), "bc"), (Filter("following", 0, 4), "b"), (Filter("quality", 4, 4), "c"),
    (Filter(word="SKY"), "bc"), (Filter("quality", word="sky"), "c"), (Filter("preserving", 0, 1, "sky"), ""), (Filter(word="fog"), "b"),
    (Filter("following", 5, 5, "red"), "ac")])
def test_rows_pass_when_one_perspective_has_the_score_and_the_word(wanted, found):
    assert "".join(row.id for row in reward_browser.filtered(ROWS, wanted)) == found


@pytest.mark.parametrize("bad", [{"perspective": "beauty"}, {"lowest": -1}, {"highest": 6}, {"lowest": float("nan")}, {"lowest": "x"}])
def test_filters_that_are_none_are_refused(bad):
    with pytest.raises(DataError):
        Filter(**bad)


@pytest.fixture
def studio(tmp_path):
    """A studio whose data folder holds one data set, with texts that try to be markup and a picture that is lost."""
    folder = tmp_path / "rewards"
    folder.mkdir()
    Image.new("RGB", (40, 30), (200, 10, 10)).save(folder / "a.png")
    rows = []
    for number in range(15):
        each = {name: {"score": number % 6, "text": f"fault {number} {EVIL}"} for name in ("following", "preserving", "quality")}
        rows.append({"id": f"t{number}{EVIL}", "instruction": f"do {number} {EVIL}", "original": "a.png", "edited": "lost.png", **each})
    (folder / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "mine.json").write_text("{}")
    (folder / "mine.failed.jsonl").write_text("{}")
    return Studio(StudioSettings(models=("tiny-untrained",), data=tmp_path))


REQUEST = SimpleNamespace(headers={}, session_hash="visit-1")
EVERYTHING = {"name": "mine.jsonl", "perspective": "any", "lowest": 0, "highest": 5, "word": ""}


@pytest.fixture(scope="module")
def panel():
    with gr.Blocks():
        return data_tab.DataPanel([])


@pytest.fixture
def look(studio, panel):
    """What a page of triplets shows, by the name of the component."""
    def look(step=0, studio=studio, request=REQUEST, **changes):
        shown = data_tab.on_filter(studio, panel, step)(request, **EVERYTHING | changes)
        return SimpleNamespace(**{name: shown[getattr(panel, name)] for name in ("cards", "count", "page", "back", "forth")})
    return look


def test_the_folders_data_sets_are_offered_once_each_and_nothing_else_opens(studio, tmp_path):
    folder = tmp_path / "rewards"
    assert reward_browser.names_of_data(folder) == [DRAWN, "mine.jsonl"]
    for name in ("../secret.jsonl", "/etc/passwd", "mine.failed.jsonl", ""):
        with pytest.raises(DataError, match="no data set"):
            reward_browser.open_data(folder, name)


def test_a_page_shows_twelve_triplets_escaped_with_their_pictures(studio, look):
    shown = look()
    assert shown.cards.count("<article") == 12
    assert "15 of 15 triplets match; page 1 of 2" in shown.count
    assert (shown.page, shown.back.interactive, shown.forth.interactive) == (0, False, True)
    assert "<img src=x" not in shown.cards
    assert "&lt;img src=x" in shown.cards
    assert shown.cards.count("<img ") == 12
    assert shown.cards.count("picture not found") == 12
    token = shown.cards.split("/pictures/")[1].split("/")[0]
    assert Image.open(studio.shelf.get(token).file).getpixel((0, 0)) == (200, 10, 10)


def test_paging_goes_forth_and_back_and_leaves_no_pictures_behind(studio, look):
    look()
    second = look(1, page=0)
    assert (second.page, second.cards.count("<article")) == (1, 3)
    assert "page 2 of 2" in second.count
    assert len(studio.shelf._pictures) == 3
    assert look(1, page=1).page == 1
    assert look(-1, page=1).page == 0


def test_the_pictures_of_a_visit_go_with_it(studio, panel, look):
    with Page(studio) as page, gr.Tab():
        data_tab.build(studio)
        compare_tab.build(studio)
    StateHolder().set_blocks(page)
    session = page.state_holder[REQUEST.session_hash]
    owner, compared = (next(block for block in page.blocks.values() if isinstance(block, gr.State) and block.value == first)
                       for first in ("", None))
    look()
    session[owner._id] = data_tab.on_filter(studio, panel, 0)(REQUEST, **EVERYTHING)[panel.owner]
    session[compared._id] = visit = CompareVisit()
    studio.shelf.put(b"a table", "table.csv", visit.id)
    assert len(list(studio.shelf.folder.iterdir())) == 13
    page.forget_session(REQUEST.session_hash)       # as it is when the page has gone: Gradio would wait an hour, and not be asked again
    assert (list(studio.shelf.folder.iterdir()), studio.shelf._readers) == ([], {})


def test_a_filter_that_nothing_passes_says_so_and_a_bad_one_is_told(look):
    assert "No triplets match" in look(word="zebra").cards
    assert "between 0 and 5" in look(highest=9).cards
    assert "no data set" in look(name="../x").cards


def test_a_faulty_data_set_is_one_line_without_a_server_path(studio, panel, tmp_path):
    (tmp_path / "rewards" / "bad.jsonl").write_text("not json\n")
    told = data_tab.on_open(studio, panel)(REQUEST, name="bad.jsonl", perspective="any")[panel.numbers]
    assert "row 1: not JSON" in told
    assert str(tmp_path) not in told


def test_numbers_show_scores_and_words_of_all_perspectives(studio, panel):
    shown = data_tab.on_open(studio, panel)(REQUEST, name="mine.jsonl", perspective="any")
    assert shown[panel.numbers].count("class='bar'") == 18
    assert "mean 2.20, 87 % below 5" in shown[panel.numbers]
    assert ("fault (45)", "fault") in shown[panel.word].choices


def test_drawn_scenes_are_there_without_any_file(look, tmp_path, monkeypatch):
    monkeypatch.setattr(reward_browser, "DRAWN_COUNT", 3)
    reward_browser.drawn_data.cache_clear()
    shown = look(studio=Studio(StudioSettings(models=("tiny-untrained",), data=tmp_path / "nothing")), name=DRAWN)
    reward_browser.drawn_data.cache_clear()
    assert "3 of 3" in shown.count
    assert shown.cards.count("<img src='/pictures/") == 6


def test_the_tab_draws_when_it_is_opened_and_keeps_its_place_when_one_comes_back(studio, panel, tmp_path):
    select = data_tab.on_select(studio, panel)
    first = select(REQUEST, opened=False, **EVERYTHING)
    assert first[panel.opened] is True
    assert first[panel.cards].count("<article") == 12
    (tmp_path / "rewards" / "new.jsonl").write_text("")
    again = select(REQUEST, opened=True, **EVERYTHING)
    assert list(again) == [panel.name]
    assert ("new.jsonl", "new.jsonl") in again[panel.name].choices


def test_the_page_answers_in_the_browsers_language(look):
    shown = look(request=SimpleNamespace(headers={"accept-language": "zh-CN,zh;q=0.9"}, session_hash="visit-2"))
    assert "原图" in shown.cards
    assert "15 个三元组中有 15 个符合" in shown.count


def test_in_a_browser_the_tab_opens_filters_and_stays_within_a_phones_width(chromium, tmp_path):
    from tests.ui.serving import browser, served
    from ui.app import build_app

    app = build_app(StudioSettings(models=("tiny-untrained",), data=tmp_path))
    with served(app) as address, browser(chromium) as window:
        page = window.new_page(viewport={"width": 1280, "height": 844})
        page.goto(address)
        page.get_by_role("tab", name="Data", exact=True).first.click(timeout=60_000)
        page.wait_for_selector(".data-card img", timeout=60_000)
        assert "140 of 140" in page.locator("#data-count").inner_text()
        page.locator("#data-word input").fill("blurry")
        page.keyboard.press("Enter")
        page.wait_for_function("(text => text && !text.includes('140 of'))(document.querySelector('#data-count')?.innerText)")
        cards = page.locator(".data-card")
        assert 0 < cards.count() <= 12
        assert all("blurry" in text.lower() for text in cards.all_inner_texts())
        page.set_viewport_size({"width": 390, "height": 844})
        page.wait_for_function("document.documentElement.scrollWidth <= 390")
