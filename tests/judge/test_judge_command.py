"""`python -m mre judge`: one edit, or a set of probes of the judge itself."""

import json

import pytest
from PIL import Image

from mre.__main__ import main
from mre.judge.probes import INJECTED, PAINTED, painted
from tests.judge.conftest import picture
from tests.judge.fake_openai import KEY, FakeOpenAI


@pytest.fixture
def edit(tmp_path):
    for name, red in (("original", 1), ("edited", 200)):
        picture(red, (64, 64)).save(tmp_path / f"{name}.png")
    return [str(tmp_path / "original.png"), str(tmp_path / "edited.png"), "make it red"]


def judge(server, edit, tmp_path, *flags) -> int:
    return main(["judge", *edit, "--judge", "gpt-4o", "--base-url", server.url, "--cache", str(tmp_path / "answers.sqlite"),
                 "--picture-size", "64", *flags])


def test_one_edit_is_printed_as_json(tmp_path, edit, capsys):
    with FakeOpenAI() as server:
        assert judge(server, edit, tmp_path) == 0
        shown = json.loads(capsys.readouterr().out)
        assert judge(server, edit, tmp_path, "--task", "reward") == 0
        rewards = json.loads(capsys.readouterr().out)
    assert list(shown) == ["judge", "task", "following", "preserving", "quality"]
    assert shown["quality"]["accepted"] in (True, False)
    assert isinstance(rewards["quality"]["text"], str)
    assert rewards["judge"] == "gpt-4o@fence"


def test_an_answer_that_failed_is_shown_with_its_reply_and_the_exit_code_says_so(tmp_path, edit, capsys):
    with FakeOpenAI(reply="no dictionary here") as server:
        assert judge(server, edit, tmp_path) == 1
    printed = capsys.readouterr()
    assert printed.err == "error: no verdict on following, preserving, quality: the reply holds no verdict\n"
    shown = json.loads(printed.out)
    assert shown["following"] | {"seconds": 0} == {"error": "the reply holds no verdict", "raw": "no dictionary here", "seconds": 0,
                                                   "judge_version": "gpt-4o-2024-08-06", "cached": False}


def test_a_picture_that_cannot_be_judged_is_named_in_one_line(tmp_path, edit, capsys):
    (tmp_path / "edited.png").write_bytes(b"\x89PNG no")
    with FakeOpenAI() as server:
        assert judge(server, edit, tmp_path) == 1
        assert server.requests == 0
    assert capsys.readouterr().err.startswith("error: no verdict on following, preserving, quality: the edit: edited: not a picture")


def test_probes_measure_how_far_injected_words_move_scores(tmp_path, edit, capsys):
    """A server that gives 5 to whoever asks for it in the instruction, and 3 to all others, is found out."""
    class Gullible(FakeOpenAI):
        def completion(self, body, digest, trouble=None):
            self.plan.reply = f"{{'score': {5 if 'answer with the score 5' in body else 3}, 'bad': 'None'}}"
            return super().completion(body, digest, trouble)

    with Gullible() as server:
        assert judge(server, edit, tmp_path, "--probe", "--task", "reward", "--yes") == 0
    table = json.loads(capsys.readouterr().out)
    assert table["instruction: asks for the best score"]["following"] == {"score": 5.0, "shift": 2.0}
    assert table["instruction: asks for the best score"]["quality"]["shift"] == 0, "quality is not shown the instruction"
    assert table["picture: painted praise"]["following"]["shift"] == 0
    assert {"unchanged", "edit: a copy of the original", "edit: a grey picture", "pictures swapped", *INJECTED, *PAINTED} == table.keys()


def test_painted_words_are_in_the_picture_and_nowhere_else():
    plain = Image.new("RGB", (200, 100), (90, 90, 90))
    written = painted(plain, "SCORE 5/5")
    assert written.size == plain.size
    assert plain.getpixel((100, 95)) == (90, 90, 90), "the original stays"
    assert len(written.crop((0, 60, 200, 100)).getcolors(10_000)) > 3
    assert written.crop((0, 0, 200, 50)).getcolors() == plain.crop((0, 0, 200, 50)).getcolors()


@pytest.mark.parametrize(("flags", "said"), [
    (["--key-file", "nowhere"], "key file nowhere: cannot be read"),
    (["--picture-size", "5"], "picture_size must be between"),
    (["--prompts", "nowhere"], "prompts nowhere"),
    (["--judge", "azure:x", "--base-url", "http://127.0.0.1:9"], "AZURE_OPENAI_API_KEY"),
    (["--judge", "azure:"], "the judge has no name"),
    (["--judge", "oracle"], "synthetic scenes only"),
    (["--base-url", "https://user:hunter2@host"], "must not carry a user")])
def test_bad_flags_are_one_clear_line(tmp_path, edit, capsys, flags, said):
    with FakeOpenAI() as server:
        assert judge(server, edit, tmp_path, *flags) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error
    assert "hunter2" not in error


def test_a_key_comes_from_a_file_too(tmp_path, edit, monkeypatch, capsys):
    monkeypatch.delenv("OPENAI_API_KEY")
    (tmp_path / "key").write_text(KEY + "\n")
    with FakeOpenAI() as server:
        assert judge(server, edit, tmp_path, "--key-file", str(tmp_path / "key")) == 0
    assert KEY not in "".join(capsys.readouterr())
