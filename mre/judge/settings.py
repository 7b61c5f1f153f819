"""How a model is asked, and one question to it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from mre.errors import SettingsError

if TYPE_CHECKING:
    from mre.judge.prompts import Prompt

_REASONING_MODELS = ("o1", "o3", "o4", "gpt-5")      # these take no temperature and count their thinking as output


@dataclass(frozen=True)
class JudgeSettings:
    """How a model is asked. All of it except the first block below is part of an answer's address in the cache."""

    model: str = "gpt-4o-2024-08-06"    # the paper's judge (Appendix D.3)
    concurrency: int = 16               # requests in flight
    max_attempts: int = 8               # of one question, for throttling, server errors and lost connections
    max_asked: int = 3                  # of one question, when replies are no verdicts
    timeout: float = 120.0              # seconds, for one request
    expect_build: str | None = None     # the model build that replies must name; a dated model name expects itself
    # what follows changes answers
    temperature: float = 0.0
    seed: int = 0
    max_reply_tokens: int = 300         # the released scripts cut replies at 50
    picture_size: int = 512             # pixels of the shorter side as sent
    detail: str = "high"
    fence: bool = True                  # the instruction stands between tags, and a note says that it is data

    def __post_init__(self) -> None:
        if not self.model.strip():
            raise SettingsError("the judge's model must have a name")
        for name, low, high in (("concurrency", 1, 1024), ("max_attempts", 1, 100), ("max_asked", 1, 20), ("max_reply_tokens", 16, 16384),
                                ("picture_size", 32, 2048), ("timeout", 0.01, 3600), ("temperature", 0, 2), ("seed", 0, 2**31 - 1)):
            if not low <= getattr(self, name) <= high:
                raise SettingsError(f"judge setting {name} must be between {low} and {high}, got {getattr(self, name)}")
        if self.detail not in ("high", "low", "auto"):
            raise SettingsError(f"judge setting detail must be high, low or auto, got {self.detail!r}")

    def expected_build(self) -> str | None:
        """The build that replies must name: the one asked for, or the model's own name when it ends in a date."""
        has_date = self.model[-10:].count("-") == 2 and self.model[-10:].replace("-", "").isdigit()
        return self.expect_build or (self.model if has_date else None)

    def answer_settings(self) -> dict[str, Any]:
        """The settings that change answers, for the cache key and the record beside the results."""
        names = [field.name for field in fields(self)]
        return {name: getattr(self, name) for name in names[names.index("temperature"):]}

    def sampling(self, attempt: int) -> dict[str, Any]:
        """The request's fields about sampling. An unreadable reply is asked for again under the next seed: the same one would repeat it."""
        if self.model.startswith(_REASONING_MODELS):
            return {"max_completion_tokens": self.max_reply_tokens, "seed": self.seed + attempt}
        return {"temperature": self.temperature, "max_tokens": self.max_reply_tokens, "seed": self.seed + attempt}


@dataclass(frozen=True)
class Question:
    """One request to be: one perspective of one edit."""

    prompt: Prompt
    instruction: str
    key: str
