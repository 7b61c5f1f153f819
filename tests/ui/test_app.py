"""python app.py: one address printed, a page behind it, a free port found, and bad flags told in one line."""

import re
import socket
import threading
from dataclasses import replace

import httpx
import pytest
from PIL import Image

import app as program
from mre.editors.device_queue import DeviceQueue
from mre.editors.local_editor import EditorOptions
from mre.editors.pipeline_editor import PipelineEditor
from mre.errors import ModelError, SettingsError
from mre.models import known
from tests.fake_editing import INFO, fake_editor
from tests.processes import Program
from ui import theme
from ui.app import build_app
from ui.edit.form import settings_of
from ui.edit.run import run_edit
from ui.edit.sweep import plan, run_sweep
from ui.edit.tab import on_stop
from ui.edit.visit import EditVisit
from ui.studio import Studio, StudioSettings

ASKED = settings_of(instruction="make it blue", following=5, preserving=5, quality=5, seed=1)


def test_the_program_prints_its_address_and_serves_the_page_before_any_model_is_loaded(tmp_path):
    with Program("app.py", "--port", 0, "--data", tmp_path / "data", "--model", "tiny-untrained") as running:
        line = running.stdout.readline()
        url = re.fullmatch(r"MRE Studio is at (http://127\.0\.0\.1:\d+/)\n", line)[1]
        page = httpx.get(url, timeout=60)
        assert page.status_code == 200
        assert "MRE Studio" in page.text
        assert "img-src 'self'" in page.headers["content-security-policy"]
        assert "gradio.live" not in line
        running.terminate()                             # so that it takes its folder away
        running.wait(20)


def test_a_taken_port_is_an_error_when_asked_for_and_passed_over_when_not(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert program.main(["--port", str(taken.getsockname()[1])]) == 1
        heard = capsys.readouterr().err
        assert heard.startswith("error: --host 127.0.0.1, port ")
        assert heard.count("\n") == 1
    first = program.listen("127.0.0.1", None)
    second = program.listen("127.0.0.1", None)
    assert first.getsockname()[1] < second.getsockname()[1] <= program.LAST_PORT
    first.close()
    second.close()


def test_bad_flags_are_one_line(capsys, monkeypatch):
    assert program.main(["--port", "70000"]) == 1
    assert capsys.readouterr().err == "error: --port must be between 0 and 65535, got 70000\n"
    monkeypatch.setenv("MRE_APP_FLAGS", "--judge-requests -1 --host localhost")         # a Space has no command line
    assert program.main([]) == 1
    assert capsys.readouterr().err == "error: --judge-requests must be 0 or more, got -1\n"
    monkeypatch.setenv("MRE_APP_FLAGS", "--model 'tiny")
    assert program.main([]) == 1
    assert capsys.readouterr().err == "error: MRE_APP_FLAGS: cannot be read as flags (No closing quotation)\n"
    monkeypatch.delenv("MRE_APP_FLAGS")
    assert program.main(["--host", "no.such.host.invalid"]) == 1
    assert "no.such.host.invalid" in capsys.readouterr().err


def test_a_hosts_environment_sets_address_and_port(monkeypatch):
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    monkeypatch.setenv("GRADIO_SERVER_PORT", "7861")
    args = program.flag_parser().parse_args([])
    assert (args.host, args.port, args.share) == ("0.0.0.0", 7861, False)


def test_without_shipped_weights_the_studio_opens_with_the_untrained_model(monkeypatch, tmp_path):
    monkeypatch.setattr(known, "ASSETS", tmp_path)
    assert Studio(StudioSettings()).models == ("tiny-untrained",)
    for name in ("tiny", "tiny-baseline"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model_index.json").write_text("{}")
    assert Studio(StudioSettings()).models == ("tiny", "tiny-baseline")
    monkeypatch.setattr(known, "KNOWN", {"insp2p": known.KNOWN["insp2p"]})
    with pytest.raises(SettingsError, match="no model ships with this copy of the program; name one with --model"):
        _ = Studio(StudioSettings()).models
    assert Studio(StudioSettings(models=("some/folder",))).models == ("some/folder",)


def test_a_second_run_of_one_visitor_is_refused_while_the_first_goes_on():
    studio = Studio(StudioSettings(), {"fake": fake_editor()})
    visit = EditVisit(studio.shelf)
    visit.busy.acquire()
    with pytest.raises(Exception, match="has not finished"):
        next(run_edit(studio, visit, "en", None, "fake", ASKED))


def test_the_place_in_the_queue_is_told_and_leaving_the_page_leaves_the_queue(tmp_path):
    editor = fake_editor()
    studio = Studio(StudioSettings(), {"fake": editor})
    photo = tmp_path / "photo.png"
    Image.new("RGB", (64, 64)).save(photo)
    with studio.queue.join():
        news = run_edit(studio, EditVisit(studio.shelf), "en", str(photo), "fake", ASKED)
        told = [next(news)[0] for _ in range(3)]
        assert "Reading the photo" in told[0]
        assert "1 ahead of you in the queue" in told[2]
        news.close()
        for _ in range(50):
            if len(studio.queue) == 1:
                break
            threading.Event().wait(0.05)
        assert len(studio.queue) == 1, "only the one that held the device is in the line"
    assert editor.fake.steps_begun == 0
    assert photo.exists(), "a file outside the folder of uploads is never deleted"


def test_a_run_that_nobody_follows_any_more_stops_within_a_step(tmp_path):
    editor = fake_editor(seconds=0.05)
    studio = Studio(StudioSettings(), {"fake": editor})
    photo = tmp_path / "photo.png"
    Image.new("RGB", (64, 64)).save(photo)
    news = run_edit(studio, EditVisit(studio.shelf), "en", str(photo), "fake", replace(ASKED, steps=100), previews=False)
    for _ in range(4):
        next(news)
    news.close()
    begun = editor.fake.steps_begun
    threading.Event().wait(0.4)
    assert editor.fake.steps_begun <= begun + 1
    assert len(studio.queue) == 0


def test_a_run_says_that_it_stops_while_its_step_goes_on_and_then_that_it_has_stopped(tmp_path):
    studio = Studio(StudioSettings(), {"fake": fake_editor(seconds=1.0)})
    visit, photo = EditVisit(studio.shelf), tmp_path / "photo.png"
    Image.new("RGB", (64, 64)).save(photo)
    told = []
    for progress, _ in run_edit(studio, visit, "en", str(photo), "fake", replace(ASKED, steps=100), previews=False):
        told.append(progress)
        if "Step 1 of 100" in progress:
            on_stop(visit)
    assert "Stopping" in told[-2]
    assert "Stopped." in told[-1]


def test_a_sweep_that_fails_half_way_keeps_its_cells_and_says_why(tmp_path):
    def gone(*_):
        raise ModelError("unet: no file model.safetensors")
    queue = DeviceQueue()
    broken = PipelineEditor("broken", EditorOptions(queue), load=gone, info=replace(INFO, name="broken"))
    studio = Studio(StudioSettings(), {"fake": fake_editor(queue=queue), "broken": broken})
    visit, photo = EditVisit(studio.shelf), tmp_path / "photo.png"
    Image.new("RGB", (64, 64)).save(photo)
    choice = {"axis_x": "model", "axis_x_values": "fake | broken", "axis_y": "none", "axis_y_values": "", "axis_z": "none",
              "axis_z_values": ""}
    sweep = plan(studio, "fake", replace(ASKED, steps=1), choice)
    *_, last = run_sweep(studio, visit, "en", str(photo), sweep)
    news, grid, downloads = (last[name] for name in ("progress", "grid", "downloads"))
    assert "unet: no file model.safetensors<" in news, "the line says it all: no id to look up"
    assert "1 of 2 cells are kept" in news
    assert grid.count("<img") == 1
    assert "sweep.csv" in downloads
    assert not visit.busy.locked()


def test_the_page_asks_nothing_of_other_hosts():
    for text in (theme.css(), theme.head()):
        assert not re.findall(r"https?://(?!127\.0\.0\.1)", text)
    assert "share" not in StudioSettings.__dict__ or StudioSettings().share is False


def test_every_text_is_there_in_both_languages():
    build_app(StudioSettings(), {"fake": fake_editor()})
    from ui import texts
    translations = texts.translations().translations
    assert set(translations["en"]) == set(translations["zh"])
    empty = [key for language in ("en", "zh") for key, text in translations[language].items() if not text.strip()]
    assert empty == []
    fields = [key for key in translations["en"] if set(re.findall(r"\{(\w+)", translations["en"][key]))
              != set(re.findall(r"\{(\w+)", translations["zh"][key]))]
    assert fields == []
