"""Names of judges: which kind of judge a name means, and how one is made. A new kind is one entry in KINDS."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mre.errors import JudgeError
from mre.families import named
from mre.judge.kept import KeptAnswers
from mre.paid.cache import AnswerCache

if TYPE_CHECKING:
    from mre.judge.verdicts import OpenedJudge


@dataclass(frozen=True)
class JudgeOptions:
    """What a command line or a page may say of a judge; a kind reads what concerns it."""

    cache: str | Path | None = None             # file of kept answers; None: in memory
    base_url: str | None = None
    key_file: str | Path | None = None
    api_version: str | None = None
    prompts: str | Path | None = None
    max_requests: int | None = None
    max_tokens: int | None = None
    budget: float | None = None                 # USD
    price_input: float | None = None            # USD per million tokens
    price_output: float | None = None
    batches: bool = False
    retry_failed: bool = False
    limits_last: bool = False                   # the limits hold for all calls together, not for each
    ask_again: bool = False                     # what was perhaps paid is asked for again
    forgets_reported: bool = False              # and so it is when the same is asked for after that was said
    settings: dict[str, Any] = field(default_factory=dict)      # fields of JudgeSettings


@dataclass(frozen=True)
class JudgeKind:
    """One kind of judge behind its names."""

    form: str                                   # what its names look like, as help shows them
    matches: Callable[[str], bool]
    make: Callable[[str, JudgeOptions], OpenedJudge]
    scenes_only: bool = False                   # it scores edits of synthetic scenes, and nothing else


def _oracle(name: str, options: JudgeOptions) -> OpenedJudge:
    return KeptAnswers(named("mre.judge.oracle:OracleJudge")(options.settings.get("concurrency", 1)), AnswerCache(options.cache))


def _measured(name: str, options: JudgeOptions) -> OpenedJudge:
    return KeptAnswers(named("mre.judge.measured:MeasuredJudge")(), AnswerCache(options.cache))


def _tiny_judge(name: str, options: JudgeOptions) -> OpenedJudge:
    return KeptAnswers(named("mre.judge.trained:embedded_judge")(), AnswerCache(options.cache))


def _trained(name: str, options: JudgeOptions) -> OpenedJudge:
    return KeptAnswers(named("mre.judge.trained:TrainedJudge")(Path(name)), AnswerCache(options.cache))


def _editreward(name: str, options: JudgeOptions) -> OpenedJudge:
    return KeptAnswers(named("mre.judge.editreward:EditRewardJudge")(name), AnswerCache(options.cache))


def _openai(model: str, options: JudgeOptions, *, base_url: str | None, azure: bool = False,
            idempotent: bool = False) -> OpenedJudge:
    from mre.judge.batches import fill_cache
    from mre.judge.prompts import load_prompts
    from mre.judge.settings import JudgeSettings
    from mre.paid.budget import Limits
    from mre.paid.connection import find_endpoint

    if not model.strip():
        raise JudgeError(f"the judge has no name; give {forms()}")
    answers = AnswerCache(options.cache)
    if options.retry_failed:
        answers.forget_failures()
    endpoint = find_endpoint(base_url, options.key_file, azure, options.api_version)
    return named("mre.judge.openai_judge:OpenAIJudge")(
        JudgeSettings(model=model, **options.settings), endpoint, answers,
        Limits(options.max_requests, options.max_tokens, options.budget),
        load_prompts(options.prompts) if options.prompts else None, options.price_input, options.price_output,
        fill_cache if options.batches else None, options.limits_last, options.ask_again or idempotent, options.forgets_reported)


def _azure(name: str, options: JudgeOptions) -> OpenedJudge:
    return _openai(name.removeprefix("azure:"), options, base_url=options.base_url, azure=True)


def _at_address(name: str, options: JudgeOptions) -> OpenedJudge:
    model, _, place = name.partition("@")
    address, _, said = place.partition("?")
    if said not in ("", "idempotent=0", "idempotent=1"):
        raise JudgeError(f"judge {model}@{address}?...: the one option of an address is idempotent=1, for a server that charges once for "
                         "what comes twice with one Idempotency-Key")
    if options.base_url and options.base_url != address:
        raise JudgeError(f"judge {name}: --base-url names another address, {options.base_url}")
    return _openai(model, options, base_url=address, idempotent=said == "idempotent=1")


def _model(name: str, options: JudgeOptions) -> OpenedJudge:
    return _openai(name, options, base_url=options.base_url)


KINDS = [
    JudgeKind("oracle", lambda name: name == "oracle", _oracle, scenes_only=True),
    JudgeKind("measured", lambda name: name == "measured", _measured),
    JudgeKind("tiny-judge, which comes with the program", lambda name: name == "tiny-judge", _tiny_judge),
    JudgeKind("editreward:FOLDER|HUB_ID of EditReward's weights", lambda name: name.startswith("editreward:"), _editreward),
    JudgeKind("a folder that train-judge wrote", lambda name: Path(name).is_dir() or name.endswith(("/", "\\")), _trained),
    JudgeKind("azure:DEPLOYMENT", lambda name: name.startswith("azure:"), _azure),
    JudgeKind("MODEL@URL of an OpenAI-compatible server", lambda name: re.search("@https?://", name) is not None, _at_address),
    JudgeKind("a model of OpenAI's, such as gpt-4o-2024-08-06, or of the server at --base-url", lambda name: True, _model),
]


def kind_of(name: str) -> JudgeKind:
    """The kind that a name means. Raises JudgeError for an empty one."""
    if not name.strip():
        raise JudgeError(f"the judge has no name; give {forms()}")
    return next(kind for kind in KINDS if kind.matches(name))


def forms() -> str:
    """What a judge can be called, in words."""
    return "; ".join(kind.form for kind in KINDS)


def make_judge(name: str, *, cache: str | Path | None = None, **options: Any) -> OpenedJudge:
    """A judge by name, which keeps its answers in the file `cache` (None: in memory).

    options: fields of JudgeOptions, or of JudgeSettings. Raises JudgeError when the judge cannot be asked, for want of a key or address.
    """
    known = JudgeOptions.__dataclass_fields__.keys() - {"settings"}
    settings = {key: value for key, value in options.items() if key not in known}
    given = {key: value for key, value in options.items() if key in known}
    return kind_of(name).make(name, JudgeOptions(cache=cache, settings=settings, **given))
