"""The Compare tab: its handlers, and the whole of it in a browser, from a benchmark folder with pictures."""

from __future__ import annotations

import io
import re
import time
import zipfile
from urllib.parse import parse_qs, urlsplit

import gradio as gr
import pytest
from PIL import Image

from mre.rewards import PERSPECTIVES
from tests.ui.serving import browser, draw_only, served
from ui.app import build_app
from ui.compare import sources as compare_sources
from ui.compare import tab as compare_tab
from ui.studio import Studio, StudioSettings

EVIL = "<img src=x onerror=alert(1)>"
TYPES = ("add", "style")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder with one benchmark run (edits, pictures, scores of two judges), and people's ratings of it as a file."""
    data = tmp_path_factory.mktemp("data")
    run = data / "bench-1"
    run.mkdir()
    edits, scores, people = ["item,edit_type,instruction,original,method,edited"], [], []
    for i in range(20):
        item = f"photo{i // 2}-{TYPES[i % 2]}"
        Image.new("RGB", (60, 40), (10 * i, 90, 90)).save(run / f"{item}.png")
        for m, method in enumerate(("SmartEdit", "Reward-SmartEdit")):
            (run / method).mkdir(exist_ok=True)
            Image.new("RGB", (60, 40), (90, 10 * i, 40 * m)).save(run / method / f"{item}.png")
            edits.append(f"{item},{TYPES[i % 2]},make it {EVIL if i == 3 else 'red'},{item}.png,{method},{method}/{item}.png")
            for p, name in enumerate(PERSPECTIVES):
                true = (i + p) % 4 + m
                scores += [f"{item},{method},{judge},v1,1,{name},{min(5, true + shift)},yes,too {EVIL},,2.5,0.01"
                           for judge, shift in (("gpt-4o", 1), ("local", 0))]
                people += [f"{item},{method},r{r},{name},{max(0, min(5, true + (r - 1) * (i % 3 == 0)))},0,5" for r in range(3)]
    (run / "edits.csv").write_text("\n".join(edits) + "\n")
    (run / "scores.csv").write_text("item,method,judge,judge_version,repeat,perspective,score,accepted,text,raw,seconds,cost_usd\n"
                                    + "\n".join(scores) + "\n")
    (data / "people.csv").write_text("item,method,annotator,perspective,score,scale_min,scale_max\n" + "\n".join(people) + "\n")
    return data


def test_runs_are_found_below_the_data_folder_and_nowhere_else(data):
    studio = Studio(StudioSettings(data=data))
    assert compare_sources.run_names(studio) == ["bench-1"]
    with pytest.raises(compare_sources.DataError, match=r"there is no judge run \.\./secret here"):
        compare_sources.read_sources(studio, None, [str(data / "people.csv")], "../secret", None, None)


def test_pictures_outside_the_run_are_never_read(data, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "edits.csv").write_text("item,edit_type,instruction,original,method,edited\n"
                                      f"a,add,x,../secret.png,m,{tmp_path / 'secret.png'}\n")
    picture = compare_sources.run_pictures(folder, compare_sources.read_edits(folder / "edits.csv"))
    assert picture("a", None) is None
    assert picture("a", "m") is None
    assert picture("b", None) is None


def test_a_study_of_the_studio_is_read_as_its_export(tmp_path, data):
    from mre.study import studies
    from mre.study.design import StudyDesign
    studio = Studio(StudioSettings(data=tmp_path))
    assert compare_sources.study_names(studio) == ["demo"], "the one that comes with the studio"
    studies.create_from_edits(studio.store, "first", [data / "bench-1"], StudyDesign())
    assert set(compare_sources.study_names(studio)) == {"demo", "first"}
    with pytest.raises(compare_sources.DataError, match="no row below the header"):
        compare_sources.read_sources(studio, "first", None, None, None, None)
    picture = compare_sources.study_pictures(studio, "first")
    assert Image.open(io.BytesIO(picture("photo0-add", None))).size == (60, 40)
    assert picture("photo0-add", "SmartEdit") != picture("photo0-add", None)


class Asked:
    """What Gradio hands to a handler."""

    headers = {"accept-language": "en"}
    query_params: dict[str, str] = {}


def test_a_fault_in_a_file_is_one_line_and_keeps_what_is_shown(data, tmp_path):
    studio = Studio(StudioSettings(data=tmp_path))
    bad = tmp_path / "bad.csv"
    bad.write_text(f"item;method\n{EVIL};x\n")
    with gr.Blocks():
        panel = compare_tab.ComparePanel()
    *_, last = compare_tab.on_compare(studio, panel)(Asked(), None, study=None, human=[str(bad)], run=None, judge=[str(bad)], edits=None,
                                                     scheme="mre", judges=[], methods=[], types=[])
    assert re.search(r'class="notice bad".*bad.csv row 1: columns are separated by', last[panel.status])
    assert "<img" not in last[panel.status]
    assert set(last) == {panel.visit, panel.status}


@pytest.fixture(scope="module")
def page(data, chromium, tmp_path_factory):
    """The studio in a browser, opened by a link that names a judge run, a scheme and a filter."""
    studio_data = tmp_path_factory.mktemp("studio")
    (studio_data / "bench-1").symlink_to(data / "bench-1")
    with pytest.MonkeyPatch.context() as patch:
        draw_only(patch, "compare")
        app = build_app(StudioSettings(data=studio_data))
    with pytest.MonkeyPatch.context() as patch, served(app) as address, browser(chromium) as chrome:
        patch.setattr(compare_tab, "DRAWS", 20)         # of a thousand: their number takes the time and is not what is tested
        page = chrome.new_page(viewport={"width": 1280, "height": 900}, locale="en-US")
        page.set_default_timeout(45_000)                        # a busy machine takes its time
        page.dialogs = []
        page.on("dialog", lambda dialog: (page.dialogs.append(dialog.message), dialog.dismiss()))
        page.goto(address + "/?cmp_run=bench-1&cmp_judges=gpt-4o")
        page.wait_for_selector("#cmp-go", state="visible")
        page.wait_for_function("document.querySelector('#cmp-run input')?.value === 'bench-1'")
        page.set_input_files("#cmp-human input[type=file]", str(data / "people.csv"))
        page.wait_for_selector("#cmp-human >> text=people")
        page.click("#cmp-go")
        page.wait_for_selector("#cmp-zip", timeout=180_000)     # all is drawn and computed
        yield page


def test_compare_waits_for_the_file_that_is_still_on_its_way(page):
    """Gradio shows the file's name as soon as it is chosen."""
    other = page.context.browser.new_page(locale="en-US")
    other.set_default_timeout(45_000)
    other.route("**/gradio_api/upload?*", lambda route: (time.sleep(1.5), route.continue_()))
    other.goto(page.evaluate("location.origin") + "/?cmp_run=bench-1")
    other.wait_for_function("document.querySelector('#cmp-run input')?.value === 'bench-1'")
    other.set_input_files("#cmp-human input[type=file]", {"name": "people.csv", "mimeType": "text/csv", "buffer": b"item,method\n"},
                          no_wait_after=True)
    other.wait_for_selector("#cmp-human .uploading")
    assert other.is_disabled("#cmp-go")
    other.click("#cmp-go")
    other.wait_for_selector("#cmp-status .bad")
    assert "people.csv" in other.inner_text("#cmp-status"), "the file was sent"
    other.close()


def test_a_link_opens_the_tab_with_its_choice_and_the_choice_stays_in_the_link(page):
    """The choice alone opens the tab: the address need not name it too."""
    kept = parse_qs(urlsplit(page.url).query)
    assert kept == {"cmp_run": ["bench-1"], "cmp_scheme": ["mre"], "cmp_judges": ["gpt-4o"]}
    assert page.is_visible(".cmp-summary")
    assert "local" not in page.inner_text(".cmp-summary")


def test_perspectives_stand_apart_with_intervals_beside_the_human_ceiling(page):
    rows = page.query_selector_all(".cmp-summary tbody tr")
    assert [row.query_selector("th").inner_text() for row in rows] == list(PERSPECTIVES)
    headings = page.inner_text(".cmp-summary thead")
    assert "Human ceiling" in headings
    assert "Spearman within methods" in headings
    assert all("…" in row.query_selector("td[data-label^=Bias]").inner_text() for row in rows)
    assert "same order on all three" in page.inner_text(".cmp-verdict")
    assert "bootstrap draws of 20 source images" in page.inner_text("#cmp-status")


def test_plots_are_drawn_for_each_perspective_and_by_edit_type(page):
    described = [image.get_attribute("alt") for image in page.query_selector_all(".cmp-plots img")]
    assert len(described) == 3 * 3 + 1
    assert all(image.evaluate("image => image.naturalWidth > 100") for image in page.query_selector_all(".cmp-plots img"))
    plot = page.locator(".cmp-plots img").first
    plot.scroll_into_view_if_needed()
    shades = []
    for theme in ("dark", "light"):
        page.evaluate("theme => window.mrePreferences.light(theme)", theme)
        shades.append(Image.open(io.BytesIO(plot.screenshot())).convert("L").getpixel((3, 3)))
    assert shades == [26, 255], "a plot is as dark as the page"


def test_disagreements_show_pictures_and_words_and_hide_methods_until_asked(page):
    page.locator(".cmp-card img").first.scroll_into_view_if_needed(timeout=30_000)
    cards = page.inner_text("#cmp-cards")
    assert "method hidden" in cards
    assert "SmartEdit" not in cards
    assert f"too {EVIL}" in cards                              # as text
    page.wait_for_function("[...document.querySelectorAll('.cmp-card img')].slice(0, 2).every(i => i.naturalWidth === 60)")
    page.check("#cmp-reveal input")
    page.wait_for_selector("#cmp-cards >> text=SmartEdit")
    assert page.dialogs == []


def test_the_downloads_are_the_report_and_everything_in_one_file(page):
    links = {name: page.get_attribute(f"#cmp-{name}", "href") for name in ("zip", "html", "csv")}
    packed = page.request.get(page.evaluate("location.origin") + links["zip"]).body()
    names = zipfile.ZipFile(io.BytesIO(packed)).namelist()
    assert {"comparison/agreement.csv", "comparison/report.html", "comparison/tables/summary.tex"} <= set(names)
    assert sum(name.endswith(".svg") for name in names) == 10
    answer = page.request.get(page.evaluate("location.origin") + links["html"])
    assert answer.headers["content-type"].startswith("application/octet-stream")         # saved, never opened as a page of the studio
    assert "same order on all three" in answer.text()


def test_filters_change_all_plots_and_the_link(page):
    page.click("#cmp-types input")
    page.click("[role=option]:has-text('style')")
    page.click("#cmp-again")
    page.wait_for_function("location.search.includes('cmp_types=style')")
    assert "10 edits" not in page.inner_text(".cmp-summary")
    assert page.query_selector(".cmp-summary td[data-label=Edits]").inner_text() == "20"


def test_the_example_is_there_by_a_click_and_is_kept_in_the_link(page, monkeypatch):
    drawn = compare_sources.Sources(*sides_of_a_small_sample(), picture=lambda item, method: None)
    monkeypatch.setattr(compare_sources.SampleSources, "get", lambda self: drawn)
    page.click("#cmp-sample")
    page.wait_for_function("location.search.includes('cmp_sample=1')")
    page.wait_for_selector(".cmp-notices >> text=2 of 2 annotators are simulated", state="attached")
    assert "tiny-judge" in page.inner_text(".cmp-verdict")


def sides_of_a_small_sample():
    """People, judge and edits as the example has them; `tests/benchmark/test_sample.py` draws the real one."""
    from mre.agreement.score_files import read_human, read_judge
    rows = [(f"scene-{i}", method, name, (i + p + m) % 6) for i in range(6) for m, method in enumerate(("first", "second"))
            for p, name in enumerate(PERSPECTIVES)]
    people = "item,method,annotator,perspective,score,scale_min,scale_max\n" + "".join(
        f"{item},{method},simulated-00{who},{name},{score},0,5\n" for item, method, name, score in rows for who in (1, 2))
    judged = "item,method,judge,perspective,score\n" + "".join(f"{item},{method},tiny-judge,{name},{5 - score}\n"
                                                             for item, method, name, score in rows)
    return read_human(people.encode(), ["sample"]), read_judge(judged.encode(), ["tiny-judge"]), None


def test_a_phone_shows_it_without_scrolling_sideways(page):
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function("innerWidth === 390 && document.documentElement.scrollWidth <= 390")
