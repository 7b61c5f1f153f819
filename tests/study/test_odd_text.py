"""Text that not every database can hold is refused with a word, or cleaned, on SQLite as on PostgreSQL; nothing ends in a fault of ours."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from mre.errors import RewardError, SettingsError, StudyError
from mre.judge.verdicts import Verdict
from mre.rewards import Reward
from mre.study import records, studies
from mre.study.export import export_file
from mre.study.store import UnstorableText
from ui.study.pages.routes import add_routes

HALF, NUL = "emoji \ud83d cut", "a\0b"


@pytest.fixture
def api(store, study):
    """Calls of the annotator's API by name; the text of a fault of ours would be raised."""
    app = FastAPI()
    add_routes(app, SimpleNamespace(store=store))
    client = TestClient(app)

    def call(action: str, **body):
        return client.post(f"/study/api/{action}", content=json.dumps({"study": study.public_id, **body}),
                           headers={"X-Study": "1", "Content-Type": "application/json"})

    assert call("enter", consent=True, language="en", ids={"participant": "p"}).status_code == 200
    return call


@pytest.mark.parametrize("text", [HALF, NUL])
@pytest.mark.parametrize(("action", "body"), [
    ("hello", lambda text: {"study": text}), ("enter", lambda text: {"consent": True, "language": "en", "ids": {"participant": text}}),
    ("enter", lambda text: {"consent": True, "language": text}), ("enter", lambda text: {"code": text}),
    ("enter", lambda text: {"consent": True, "language": "en", "invitation": text}), ("language", lambda text: {"language": text}),
    ("draft", lambda text: {"screen": text, "scores": [[1, 1, 1], [1, 1, 1]]}), ("earlier", lambda text: {"before": text}),
    ("submit", lambda text: {"screen": "x", "key": text * 3, "revision": 0, "scores": [[1, 1, 1], [1, 1, 1]]}),
    ("submit", lambda text: {"screen": "x", "key": "k" * 8, "revision": 0, "skip_reason": text}), ("work", lambda text: {text: 1}),
    ("work", lambda text: {"deep": [[{"x": [text]}]]})])
def test_text_that_cannot_be_stored_is_a_bad_call_wherever_it_stands(api, text, action, body):
    reply = api(action, **body(text))
    assert reply.status_code == 400
    assert "cannot be stored" in reply.json()["error"]


@pytest.mark.parametrize(("comment", "kept"), [(HALF, "emoji ? cut"), (NUL, "ab"), ("a\r\nb\rc\x07", "a\nb\nc")])
def test_a_comment_is_cleaned_and_kept(api, store, tmp_path, comment, kept):
    screen = api("work").json()["current"]["screen"]
    assert api("draft", screen=screen, scores=[[1, 1, 1], [1, 1, None]], comment=comment).status_code == 200
    assert api("submit", screen=screen, key="k" * 8, revision=0, scores=[[1, 1, 1], [1, 1, 1]], comment=comment).status_code == 200
    export_file(store, "demo", tmp_path / "s.jsonl", "jsonl")
    assert {json.loads(line)["comment"] for line in (tmp_path / "s.jsonl").read_text().splitlines()} == {kept}


@pytest.mark.parametrize("text", [HALF, NUL])
def test_the_store_itself_refuses_it_on_every_database(store, study, text):
    for call in (lambda: records.find_study(store, text), lambda: studies.exclude(store, "demo", text, "asleep")):
        with pytest.raises(UnstorableText, match="cannot be stored"):
            call()
    with pytest.raises(StudyError, match="title holds"):
        studies.revise(store, "demo", title=text)
    assert [one.name for one in records.all_studies(store)] == ["demo"]


@pytest.mark.parametrize(("text", "told"), [(HALF, "half of a character"), (NUL, "a NUL character")])
def test_instructions_and_reward_texts_with_it_are_refused_and_a_judges_reply_is_kept(text, told):
    from mre.editors.settings import EditSettings
    with pytest.raises(SettingsError, match=f"the instruction holds {told}"):
        EditSettings(text)
    with pytest.raises(RewardError, match=f"text of preserving holds {told}"):
        Reward(texts=("None", text, "None"))
    verdict = Verdict("quality", 3.0, text=text, raw=text)
    assert verdict.text == verdict.raw == text.replace("\ud83d", "\ufffd").replace("\0", "\ufffd")
