"""A judge on the fake server, with small pictures."""

from __future__ import annotations

import pytest
from PIL import Image

from mre.judge.kinds import make_judge
from mre.judge.verdicts import Ask, Verdicts, score_one
from tests.judge.fake_openai import KEY


@pytest.fixture(autouse=True)
def judge_key(monkeypatch):
    """The key that the fake server takes, and nothing else of the caller's environment."""
    for name in ("OPENAI_BASE_URL", "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY", "OPENAI_API_VERSION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def picture(red: int, size: tuple[int, int] = (48, 48)) -> Image.Image:
    return Image.new("RGB", size, (red % 256, red // 256, 90))


def asks(count: int, **facts) -> list[Ask]:
    """Edits to be judged, each another question."""
    return [Ask(f"item-{index:04d}", f"make it {index}", picture(1), picture(index + 2), **facts) for index in range(count)]


def judge_on(server, model: str = "gpt-4o-2024-08-06", **options):
    """A judge that sends small pictures to the fake server."""
    return make_judge(model, base_url=server.url, **{"picture_size": 48, "concurrency": 8, **options})


def all_heard(judge, questions, task="evaluate"):
    """Everything a judge said: the tally and the verdicts, in the order in which they were reported."""
    heard = []
    tally = judge.score_all(questions, task, lambda ask, verdicts: heard.append((ask.item, verdicts)))
    return tally, heard


def verdicts_on(judge, original, edited, instruction: str, task: str = "evaluate") -> Verdicts:
    """A judge's verdicts on one edit."""
    return score_one(judge, Ask("the edit", instruction, original, edited), task)
