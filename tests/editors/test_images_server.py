"""An editor on a server: asked over HTTP as OpenAI's images API is, and disbelieved in everything that it answers."""

import csv
import io
import logging
import os
import re
import socket
import time

import httpx
import numpy as np
import pytest
from PIL import Image, ImageOps

from mre.__main__ import main
from mre.benchmark.edits import method_name
from mre.editors import images_api
from mre.editors.capabilities import refuse_unused
from mre.editors.images_kind import ImagesEditor, ServerName, nearest
from mre.editors.images_price import charge_of
from mre.editors.kinds import kind_of, make_editor
from mre.editors.settings import EditSettings
from mre.errors import EditRefused, EditStopped, ModelError, PerhapsPaid, SettingsError
from mre.imaging import open_image
from mre.masks import Mask
from mre.paid.cache import AnswerCache
from mre.paid.connection import TryAgain
from mre.recipes import read_recipe
from mre.sweep import Axis, Sweep, SweepError
from tests.editors.fake_images import KEY, FakeImages
from tests.processes import Program
from tests.ui.serving import served
from tests.ui.test_edit_api import call, fetched
from tests.ui.test_edit_api import edit as api_edit
from ui.app import build_app
from ui.names import limits_of
from ui.studio import Studio, StudioSettings


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The key that the fake server takes; waiting is short where the server does not say how long."""
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    own = TryAgain.pause
    monkeypatch.setattr(TryAgain, "pause", lambda trouble, attempts: own(trouble, attempts) if trouble.wait is not None else 0.01)


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    small = np.random.default_rng(0).integers(0, 255, (48, 72, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((288, 192), Image.Resampling.BICUBIC)


SETTINGS = EditSettings("make it darker")


def editor_on(server: FakeImages, options: str = "size=64", **given) -> ImagesEditor:
    return make_editor(f"images:fake@{server.url}?{options}", **given)


def test_photo_and_instruction_go_up_and_the_picture_comes_back_at_the_photos_size(photo):
    with FakeImages() as server:
        editor = editor_on(server)
        assert f"runs on {server.url[7:-3]}: photo and instruction are sent there" in editor.info.limits
        result = editor.edit(photo, SETTINGS)
        assert result.image.size == photo.size
        sent, = server.asked
        seen = Image.open(io.BytesIO(sent["image"]))
        assert (seen.format, seen.size) == ("PNG", (80, 48)), "64 squared in area, sides multiples of 16, the photo's shape"
        assert {name: value for name, value in sent.items() if name != "image"} == {
            "model": "fake", "prompt": "make it darker", "n": "1", "size": "80x48", "response_format": "b64_json"}
        inverse = ImageOps.invert(photo.resize((80, 48), Image.Resampling.LANCZOS)).resize(photo.size, Image.Resampling.LANCZOS)
        assert np.array_equal(np.asarray(result.image), np.asarray(inverse))
        made_with = read_recipe(result.png()).made_with
        assert (made_with["model"], made_with["server"], made_with["device"], made_with["answered"]) == (
            "images:fake", server.url[7:-3], "server", "80x48")


def test_seed_and_steps_are_sent_only_where_the_name_says_that_the_server_takes_them(photo):
    with FakeImages() as server:
        editor = editor_on(server, "size=64&steps=28&seed=1")
        assert editor.capabilities.seed
        assert editor.capabilities.steps == range(1, 201)
        editor.edit(photo, EditSettings("make it darker", seed=7))
        editor.edit(photo, EditSettings("make it darker", seed=7, steps=4))
        assert [(sent["seed"], sent["num_inference_steps"]) for sent in server.asked] == [("7", "28"), ("7", "4")]
        plain = editor_on(server)
        with pytest.raises(SettingsError, match=r"^seed 7: the model images:fake is sent no seed.*; leave it out$"):
            refuse_unused(EditSettings("x", seed=7), plain.info)
        with pytest.raises(SettingsError, match=r"^steps 7: the model images:fake is sent no number of steps.*; leave it out$"):
            refuse_unused(EditSettings("x", steps=7), plain.info)
        refuse_unused(EditSettings("x", seed=7, steps=7), editor.info)


def test_a_mask_is_sent_as_transparency_where_the_server_takes_one_and_holds_in_any_case(photo):
    inside = np.zeros((192, 288), bool)
    inside[:, 144:] = True
    settings = EditSettings("make it darker", mask=Mask.of(inside))
    with FakeImages() as server:
        editor_on(server, "size=64&mask=1").edit(photo, settings)
        alpha = np.asarray(Image.open(io.BytesIO(server.asked[0]["mask"])).getchannel("A"))
        assert alpha.shape == (48, 80)
        assert (alpha[:, :39] == 255).all()
        assert (alpha[:, 41:] == 0).all()
        result = editor_on(server).edit(photo, settings)
        assert "mask" not in server.asked[1]
        assert np.array_equal(np.asarray(result.image)[:, :100], np.asarray(photo)[:, :100])


@pytest.mark.parametrize(("trouble", "error", "said"), [
    ("policy", EditRefused, r"HOST refused \(400\): Your request was rejected by the safety system\."),
    ("policy-inside", EditRefused, r"HOST refused the edit: not that"),
    ("error-inside", EditRefused, r"HOST answered with an error: worker died, key \[key\]"),
    ("no-picture", EditRefused, "HOST answered without a picture"),
    ("null", EditRefused, "HOST answered without a picture"),
    ("address", EditRefused, "HOST answered with an address in place of a picture; nothing is fetched from elsewhere"),
    ("file-address", EditRefused, "HOST answered with an address in place of a picture; nothing is fetched from elsewhere"),
    ("redirect", EditRefused, "HOST answered with another address; nothing is sent or fetched elsewhere"),
    ("not-base64", EditRefused, "HOST answered with what is no picture: not base64"),
    ("no-image", EditRefused, "HOST answered with what is no picture: the picture: not a picture that can be read .*"),
    ("422", EditRefused, r"HOST refused \(422\): size must be a multiple of 32"),
    ("404", ModelError, r"HOST knows no model 'fake' \(404\): The model `fake` does not exist"),
    ("quota", ModelError, r"HOST says the account's quota is used up \(429\): no money left")])
def test_an_answer_without_a_picture_is_one_line_and_asked_for_once(photo, trouble, error, said):
    with FakeImages(always=trouble) as server:
        with pytest.raises(error) as raised:
            editor_on(server).edit(photo, SETTINGS)
        assert type(raised.value) is error
        assert re.fullmatch(said.replace("HOST", re.escape(server.url[7:-3])), str(raised.value))
        assert (server.requests, server.elsewhere) == (1, 0)


@pytest.mark.parametrize("trouble", ["429", "500", "not-json", "list"])
def test_what_may_pass_is_asked_again_and_given_up_in_one_line(photo, trouble):
    with FakeImages(script=[trouble, trouble, None]) as server:
        editor_on(server).edit(photo, SETTINGS)
        assert server.requests == 3
        assert len({headers["idempotency-key"] for headers in server.headers}) == 1
    with FakeImages(always=trouble) as server:
        with pytest.raises(ModelError, match=r"^no answer from 127\.0\.0\.1:\d+ after 4 attempts: [^\n]+$"):
            editor_on(server).edit(photo, SETTINGS)
        assert server.requests == 4


def test_a_server_is_waited_for_as_long_as_it_asks(photo):
    with FakeImages(script=["429"], retry_after="0.4") as server:
        started = time.monotonic()
        editor_on(server).edit(photo, SETTINGS)
        assert 0.4 <= time.monotonic() - started < 5
    with FakeImages(always="429", retry_after="86400") as server, pytest.raises(ModelError, match="after 1 attempt: rate limit"):
        editor_on(server).edit(photo, SETTINGS)


@pytest.mark.parametrize("trouble", ["never", "drip"])
def test_a_server_that_does_not_finish_times_out_and_one_can_stop_before(photo, trouble, monkeypatch):
    with FakeImages(always=trouble) as server:
        looks = iter([False] * 4)
        with pytest.raises(EditStopped):
            editor_on(server).edit(photo, SETTINGS, should_stop=lambda: next(looks, True))
        monkeypatch.setattr(images_api, "SECONDS", 0.2)
        monkeypatch.setattr(images_api, "ATTEMPTS", 2)
        with pytest.raises(ModelError, match="after 2 attempts: timed out"):
            editor_on(server, "size=64&idempotent=1").edit(photo, SETTINGS)


def test_an_edit_that_was_sent_and_not_answered_is_not_sent_again_unasked_unless_that_costs_nothing(photo, tmp_path):
    with FakeImages(script=["cut", "504", None, "cut", None, "cut", None]) as server:
        kept = {"cache": tmp_path / "kept.sqlite"}
        editor = editor_on(server, max_requests=9, **kept)
        with pytest.raises(PerhapsPaid, match=r"^perhaps paid: no answer from HOST, which was sent the edit: connection failed: ".replace(
                "HOST", re.escape(server.url[7:-3]))):
            editor.edit(photo, SETTINGS)
        with pytest.raises(PerhapsPaid, match=r"^perhaps paid: \S+ was asked for this edit at 20\S+Z, and no answer was kept; --ask-again"):
            editor_on(server, **kept).edit(photo, SETTINGS)
        with pytest.raises(PerhapsPaid, match="gateway"):
            editor.edit(photo, EditSettings("make it gateway red"))
        assert server.requests == 2, "both are asked for once"
        editor_on(server, ask_again=True, **kept).edit(photo, SETTINGS)
        editor_on(server, **kept).edit(photo, SETTINGS)
        assert server.requests == 3, "kept, so that nothing is said of it any more"
        editor_on(server, "size=64&idempotent=1", **kept).edit(photo, EditSettings("two"))
        editor_on(server, price_picture=0.0, **kept).edit(photo, EditSettings("three"))
        assert server.requests == 7, "cut and asked again, where the server makes it once or for nothing"


def test_what_was_perhaps_paid_counts_in_the_budget_and_edits_without_answers_end_a_run(photo):
    with FakeImages(always="cut") as server:
        editor = editor_on(server, budget=10.0, price_picture=0.04)
        for number in range(3):
            with pytest.raises(PerhapsPaid, match=r"; edit again to ask again$"):
                editor.edit(photo, EditSettings(f"make it {number}"))
        with pytest.raises(ModelError, match=r"^4 edits in a row went unanswered, the last: perhaps paid: ") as raised:
            editor.edit(photo, SETTINGS)
        assert not isinstance(raised.value, EditRefused), "which would be one edit's fault"
        assert editor.budget.usd == pytest.approx(0.16)


def test_a_server_that_is_not_reached_was_not_asked(photo, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        name = f"images:x@http://127.0.0.1:{free.getsockname()[1]}/v1"                  # bound, but nobody listens
        for _ in range(2):
            with pytest.raises(ModelError, match="after 4 attempts: connection failed"):
                make_editor(name, cache=tmp_path / "kept.sqlite").edit(photo, SETTINGS)


def test_an_answer_without_end_is_cut(photo, monkeypatch):
    monkeypatch.setattr(images_api, "MAX_ANSWER_BYTES", 1_000_000)
    with FakeImages(always="huge") as server, pytest.raises(EditRefused, match="answered with more than 1 MB"):
        editor_on(server).edit(photo, SETTINGS)


def test_a_picture_inside_a_data_address_is_taken(photo):
    with FakeImages(always="data-address") as server:
        assert editor_on(server).edit(photo, SETTINGS).image.size == photo.size


def test_a_picture_of_another_size_is_resized_and_said_once(photo, caplog):
    with FakeImages(always="other-size") as server, caplog.at_level(logging.WARNING, "mre.editors.images"):
        editor = editor_on(server)
        for instruction in ("make it darker", "make it red"):
            result = editor.edit(photo, EditSettings(instruction))
            assert (result.image.size, result.made.size) == (photo.size, (80, 48))
            assert result.recipe.made_with["answered"] == "100x80"
        assert [record.getMessage() for record in caplog.records] == [
            f"{server.url[7:-3]} answered with 100 x 80 pixels for a picture of 80 x 48: resized"]


def test_a_key_is_in_no_message_and_no_file(photo, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("OPENAI_API_KEY", wrong := "sk-wrong-0123456789-wrong")
    with FakeImages() as server:
        with pytest.raises(ModelError) as raised:
            editor_on(server).edit(photo, SETTINGS)
        assert "refused the key (401): Incorrect API key provided: [key]" in str(raised.value)
        assert wrong not in str(raised.value) + caplog.text
        (tmp_path / "key").write_text(KEY + "\n")
        result = editor_on(server, key_file=tmp_path / "key", cache=tmp_path / "kept.sqlite").edit(photo, SETTINGS)
    written = result.png() + b"".join(path.read_bytes() for path in tmp_path.glob("kept.sqlite*"))
    assert KEY.encode() not in written
    assert oct((tmp_path / "kept.sqlite").stat().st_mode & 0o777) == "0o600"


def test_without_a_key_openais_own_address_is_not_asked(photo, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ModelError, match="no key for the editor images:gpt-image-1: set OPENAI_API_KEY, or give --key-file FILE"):
        make_editor("images:gpt-image-1").edit(photo, SETTINGS)


def test_openais_models_get_a_size_that_they_make_and_no_field_that_they_refuse(photo):
    request = make_editor("images:gpt-image-1").request(photo, SETTINGS.resolved(make_editor("images:gpt-image-1").info))
    assert request.fields == {"model": "gpt-image-1", "prompt": "make it darker", "n": "1", "size": "1536x1024"}
    assert [nearest(size) for size in ((640, 640), (600, 1000), (1100, 1000))] == [(1024, 1024), (1024, 1536), (1024, 1024)]


@pytest.mark.parametrize(("name", "said"), [
    ("images:", "an editor on a server is called images:MODEL@URL"), ("images:a@ftp://host/v1", "an editor on a server is called"),
    ("images:a@http://user:pass@host/v1", "must not carry a user, password or query"),
    ("images:a@http://host/v1?api-key=1", "an option is called 'api-key'; there are size, steps, seed, mask and idempotent"),
    ("images:a@http://host/v1?steps=0", r"\?steps= must be a whole number between 1 and 200, got '0'"),
    ("images:a@http://host/v1?size=9999999999999999999999", r"\?size= must be a whole number between 64 and 2048")])
def test_a_name_that_leads_nowhere_is_one_line_without_what_it_hides(name, said):
    editor = make_editor(name)
    assert editor.capabilities.batch == 1, "which is asked for before, and raises nothing"
    with pytest.raises(ModelError, match=said) as raised:
        editor.prepare()
    assert "\n" not in str(raised.value)
    assert "pass@" not in str(raised.value)


def test_names_are_read_whole():
    assert ServerName.parse("images:org/Model-2.1@https://host:8/v1/?steps=8") == ServerName("org/Model-2.1", "https://host:8/v1", steps=8)
    assert ServerName.parse("images:gpt-image-1") == ServerName("gpt-image-1", None, mask=True)
    assert [method_name(f"images:{name}", None) for name in ("a@http://h/v1", "org/b@http://h/v1?steps=1", "c", "d?size=64")] == [
        "images_a", "b", "images_c", "images_d"]
    assert not kind_of("images:a@http://host/v1").by_recipe, "a recipe sends nobody's photo anywhere"


def test_a_long_photo_is_sent_no_longer_than_the_limit():
    with FakeImages() as server:
        editor_on(server, "size=2048").edit(Image.new("RGB", (800, 100), "red"), SETTINGS)
        assert Image.open(io.BytesIO(server.asked[0]["image"])).size == (2048, 256)


def test_an_axis_that_a_server_has_no_use_for_is_refused_for_its_own_reason():
    editor = make_editor("images:a@http://host/v1")
    with pytest.raises(SweepError, match="seed cannot vary: the model a is sent no seed"):
        Sweep.plan(EditSettings("x"), "a", [Axis.parse("seed", "1,2")], {"a": editor.capabilities})
    assert "why" not in editor.capabilities.as_json()


def test_the_page_keeps_no_edits_so_that_its_memory_is_flat(photo):
    with FakeImages() as server:
        editor = editor_on(server)
        for _ in range(2):
            editor.edit(photo, SETTINGS)
        assert server.requests == 2


def test_the_page_edits_on_a_server_without_showing_its_address_and_a_refusal_is_an_answer(photo, tmp_path):
    file = io.BytesIO()
    photo.save(file, "PNG")
    with FakeImages(refuses="rude") as server:
        name = f"images:fake@{server.url}?size=64"
        app = build_app(StudioSettings(models=(name,), data=tmp_path / "data"))
        with served(app) as url, httpx.Client(base_url=url, timeout=60) as client:
            told, = call(client, "models", [])[1][0]
            assert (told["model"], told["capabilities"]["reward"], told["capabilities"]["seed"]) == ("images:fake", False, False)
            outcome, answer = api_edit(client, file.getvalue(), "make it darker", model=told["model"])
            assert outcome == "complete", answer
            assert Image.open(io.BytesIO(fetched(client, answer))).size == photo.size
            outcome, answer = api_edit(client, file.getvalue(), "make it rude", model=told["model"])
            assert (outcome, "refused (400): Your request was rejected" in str(answer)) == ("error", True)


# -- the programs

def edit(*args) -> int:
    return main(["edit", *map(str, args)])


def test_the_command_edits_a_folder_and_pays_for_no_edit_twice(photo, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    for number in range(2):
        photo.crop((number, 0, 200 + number, 100)).save(tmp_path / "photos" / f"{number}.png")
    with FakeImages() as server:
        flags = ("--model", f"images:fake@{server.url}?size=64", "--cache", tmp_path / "kept.sqlite")
        assert edit(tmp_path / "photos", "make it darker", "--out", tmp_path / "out", *flags, "--max-requests", 1) == 1
        assert "the budget of 1 requests is used up" in capsys.readouterr().err
        assert edit(tmp_path / "photos", "make it darker", "--out", tmp_path / "out", *flags) == 0
        assert capsys.readouterr().out == "1 made, 1 already there, 0 failed\n"
        assert edit(tmp_path / "photos", "make it darker", "--out", tmp_path / "again", *flags) == 0
        assert server.requests == 2
        assert edit(tmp_path / "photos" / "0.png", "make it darker", "--out", tmp_path / "one.png", *flags, "--seed", 3) == 1
        assert "--seed 3: the model images:fake is sent no seed" in capsys.readouterr().err
    first, again = (open_image(tmp_path / folder / "1.png") for folder in ("out", "again"))
    assert np.array_equal(np.asarray(first), np.asarray(again))
    assert edit(tmp_path / "photos" / "0.png", "make it darker", "--out", tmp_path / "two.png", *flags) == 0, "kept, with no server there"


def test_a_killed_benchmark_goes_on_without_paying_twice_and_names_what_was_refused(tmp_path, capsys):
    rows = ["item,image,instruction,edit_type"]
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        rows.append(f"i{number},{number}.png,{'make it rude' if number == 1 else f'make it {number}'},global")
    (tmp_path / "bench.csv").write_text("\n".join(rows) + "\n")
    with FakeImages(script=[None, None, None, None, "never"], refuses="rude") as server:
        command = ["bench", str(tmp_path / "bench.csv"), "--model", f"images:fake@{server.url}?size=64", "--judge", "measured", "--cache",
                   str(tmp_path / "judged.sqlite"), "--edit-cache", str(tmp_path / "kept.sqlite"), "--out", str(tmp_path / "out")]
        with Program("-m", "mre", *command, env=os.environ | {"OPENAI_API_KEY": KEY}) as program:
            deadline = time.monotonic() + 60
            while server.requests < 5 and program.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
        assert server.requests == 5
        for path in (tmp_path / "out" / "images_fake").glob("i0*.png"):
            path.unlink()                       # as if it had been killed between the answer and the file
        assert main(command) == 1
        said = capsys.readouterr().err
        assert "images_fake, i1: 127.0.0.1" in said
        assert "images_fake, i4: perhaps paid: 127.0.0.1" in said, "which was under way when the run was killed"
        assert "2 edits were refused and are missing, 1 of them perhaps paid: --ask-again asks again" in said
        assert sorted(server.paid) == [f"make it {number}" for number in (0, 2, 3, 5)]
        assert main([*command, "--ask-again"]) == 1
        assert "1 edit was refused and is missing\n" in capsys.readouterr().err
        assert sorted(server.paid) == [f"make it {number}" for number in (0, 2, 3, 4, 5)]
        with (tmp_path / "out" / "edits.csv").open(newline="") as file:
            assert [row["item"] for row in csv.DictReader(file)] == ["i0", "i2", "i3", "i4", "i5"]
        with (tmp_path / "out" / "refusals.csv").open(newline="") as file:
            row, = csv.DictReader(file)
        assert (row["method"], row["item"]) == ("images_fake", "i1")
        assert "Your request was rejected by the safety system." in row["error"]
        asked = server.requests
        server.refuses = ""
        assert main([*command, "--edits-only"]) == 0, "what was refused is asked again"
        assert server.requests == asked + 1
        assert not (tmp_path / "out" / "refusals.csv").exists()


def test_a_limit_that_is_reached_between_two_attempts_does_not_hide_why_the_first_one_failed():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        editor = make_editor(f"images:x@http://127.0.0.1:{free.getsockname()[1]}/v1", max_requests=1)      # bound, but nobody listens
        with pytest.raises(ModelError, match=r"no answer from 127.0.0.1:\d+: .*; the budget of 1 requests is used up"):
            editor.edit(Image.new("RGB", (64, 64)), EditSettings("make it blue"))


# -- money

def test_a_budget_stops_before_it_is_passed_and_kept_edits_stay_free(photo, tmp_path):
    with FakeImages() as server:
        given = {"cache": tmp_path / "kept.sqlite", "price_picture": 0.04}
        editor = editor_on(server, budget=0.1, **given)
        for instruction in ("one", "two"):
            editor.edit(photo, EditSettings(instruction))
        with pytest.raises(ModelError, match=r"the budget of 0.1 USD is used up \(2 requests, .*, 0.0800 USD\); run the same command"):
            editor.edit(photo, EditSettings("three"))
        editor.edit(photo, EditSettings("two"))
        assert len(server.paid) == 2
        assert AnswerCache(tmp_path / "kept.sqlite").spent() == pytest.approx(0.08)
        editor_on(server, budget=0, **given).edit(photo, EditSettings("one"))
        assert len(server.paid) == 2


def test_openais_models_cost_what_they_say_that_they_used_by_list_price():
    charge = charge_of("gpt-image-1", False, None)
    edited = images_api.Edited(Image.new("RGB", (8, 8)), b"", 300, 1000, 1.0)
    assert charge.cost(edited) == pytest.approx(300 * 10e-6 + 1000 * 40e-6)
    silent = images_api.Edited(Image.new("RGB", (8, 8)), b"", 0, 0, 1.0)
    assert charge.cost(silent) == pytest.approx(7000 * 10e-6 + 6300 * 40e-6), "what it may have cost at most"
    assert charge_of("gpt-image-1", True, None).cost(edited) is None, "a server of one's own has no list price"


def test_a_budget_without_a_price_and_a_price_that_is_none_are_refused_in_one_line(photo):
    editor = make_editor("images:a@http://127.0.0.1:9/v1", budget=5.0)
    with pytest.raises(SettingsError, match=r"^a budget in USD needs the model's price: give --price-picture, or limit the number of "):
        editor.edit(photo, SETTINGS)
    with pytest.raises(SettingsError, match=r"^--price-picture must be 0 or more USD for a picture, got -1$"):
        make_editor("images:a@http://127.0.0.1:9/v1", price_picture=-1).edit(photo, SETTINGS)


def test_the_page_reads_the_key_from_a_file_and_keeps_to_its_budget_and_says_so_in_chinese(photo, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    (tmp_path / "key").write_text(KEY)
    with FakeImages() as server:
        options = {"key_file": tmp_path / "key", "max_requests": None, "budget": 0.05, "price_picture": 0.04}
        studio = Studio(StudioSettings(models=(f"images:fake@{server.url}?size=64",), data=tmp_path / "data", server_options=options))
        studio.editor().edit(photo, SETTINGS)
        with pytest.raises(ModelError, match=r"the budget of 0.05 USD is used up"):
            studio.editor().edit(photo, EditSettings("another"))
        assert f"它运行在 {server.url[7:-3]} 上" in limits_of(studio.editor().info, "zh")
        assert KEY not in repr(studio.settings)
