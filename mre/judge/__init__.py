"""Judges: anything that scores an edit from the three perspectives. `make_judge` finds one by name. No torch here."""

from __future__ import annotations

from pathlib import Path

from mre.errors import JudgeError
from mre.judge.verdicts import TASKS, Ask, Judge, Tally, Verdict, Verdicts

__all__ = ["TASKS", "Ask", "Judge", "Tally", "Verdict", "Verdicts", "make_judge"]


def make_judge(name: str, *, cache: str | Path | None = None, base_url: str | None = None, key_file: str | Path | None = None,
               api_version: str | None = None, prompts: str | Path | None = None, max_requests: int | None = None,
               max_tokens: int | None = None, budget: float | None = None, price_input: float | None = None,
               price_output: float | None = None, batches: bool = False, retry_failed: bool = False, limits_last: bool = False,
               **settings) -> Judge:
    """A judge by name: `oracle` (drawn scenes), `azure:DEPLOYMENT`, or any model name (OpenAI's, or the one served at `base_url`).

    limits_last: the limits hold for all calls to the judge together, not for each
    `settings` are fields of JudgeSettings. Raises JudgeError when the judge cannot be asked for want of a key or address.
    """
    from mre.judge.cache import AnswerCache

    if name == "oracle":
        from mre.judge.oracle import OracleJudge
        return OracleJudge(AnswerCache(cache), settings.get("concurrency", 1))
    from mre.judge.budget import Limits
    from mre.judge.connection import find_endpoint
    from mre.judge.openai_judge import JudgeSettings, OpenAIJudge
    from mre.judge.prompts import load_prompts

    kind, _, model = name.rpartition(":") if name.startswith("azure:") else ("", "", name)
    if not model.strip():
        raise JudgeError("the judge has no name; give oracle, a model such as gpt-4o-2024-08-06, or azure:DEPLOYMENT")
    answers = AnswerCache(cache)
    if retry_failed:
        answers.forget_failures()
    endpoint = find_endpoint(base_url, key_file, kind == "azure", api_version)
    return OpenAIJudge(JudgeSettings(model=model, **settings), endpoint, answers, Limits(max_requests, max_tokens, budget),
                       load_prompts(prompts) if prompts else None, price_input, price_output, batches, limits_last)
