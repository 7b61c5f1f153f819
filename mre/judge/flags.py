"""The command-line flags of judges, one list for every command that judges."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mre.errors import JudgeError
from mre.judge.kinds import forms, make_judge
from mre.judge.settings import JudgeSettings
from mre.judge.verdicts import Ask, OpenedJudge, costs_money

CACHE = Path("data") / "judge-answers.sqlite"


def add_judge_arguments(parser: argparse.ArgumentParser, default: str = "gpt-4o-2024-08-06", many: bool = True,
                        several: bool = False, with_edits: bool = False) -> None:
    """Flags that say which judge is asked, how, and within which limits. `many`: also those about asking many questions; `several`: judges,
    one after the other, none by default; `with_edits`: the command also pays for edits."""
    group = parser.add_argument_group("judge")
    if several:
        group.add_argument("--judge", nargs="+", default=[], metavar="NAME", help=forms())
    else:
        group.add_argument("--judge", default=default, metavar="NAME", help=f"{forms()} (default %(default)s)")
    group.add_argument("--base-url", metavar="URL", help="an OpenAI-compatible server, such as http://localhost:8000/v1 "
                                                         "(default: OPENAI_BASE_URL)")
    group.add_argument("--key-file", type=Path, help="file that holds the key (default: OPENAI_API_KEY; for Azure AZURE_OPENAI_API_KEY)")
    group.add_argument("--api-version", help="of Azure (default: OPENAI_API_VERSION)")
    group.add_argument("--cache", type=Path, default=CACHE, metavar="FILE", help="where paid answers are kept (default %(default)s)")
    group.add_argument("--prompts", type=Path, metavar="FILE", help="a prompt set of your own, in the form of mre/judge/prompts.json")
    group.add_argument("--no-fence", action="store_true", help="put the instruction bare into the prompt, exactly as the paper does")
    group.add_argument("--picture-size", type=int, default=JudgeSettings.picture_size, metavar="PIXELS",
                       help="shorter side of pictures as sent, lossless (default %(default)s)")
    group.add_argument("--judge-seed", type=int, default=JudgeSettings.seed, help="seed sent with each question (default %(default)s)")
    group.add_argument("--expect-build", metavar="NAME", help="stop when replies name another model build")
    group.add_argument("--retry-failed", action="store_true", help="ask again where kept replies were no verdicts")
    group.add_argument("--ask-again", action="store_true", help="ask again for " + ("edits and answers" if with_edits else "answers")
                       + " that a run before asked for and that never came: each may be paid for twice")
    if not many:
        return
    group.add_argument("--workers", type=int, default=JudgeSettings.concurrency, metavar="N",
                       help="requests in flight (default %(default)s)")
    group.add_argument("--batch", action="store_true", help="send through OpenAI's Batch API: half the price, within a day")
    group.add_argument("--budget", type=float, metavar="USD", help="the most this run may spend; 0: answers from the cache only")
    group.add_argument("--max-requests", type=int, metavar="N", help="the most requests this run may send")
    group.add_argument("--max-tokens", type=int, metavar="N", help="the most tokens this run may use")
    group.add_argument("--price-input", type=float, metavar="USD", help="per million input tokens, where the list price is unknown or old")
    group.add_argument("--price-output", type=float, metavar="USD", help="per million output tokens")
    group.add_argument("--yes", action="store_true", help="do not ask before spending")


def judge_from(args: argparse.Namespace, **options: Any) -> OpenedJudge:
    """The judge that the flags describe. options: further ones of `make_judge`."""
    many: dict[str, Any] = {}
    if hasattr(args, "workers"):
        many = {"concurrency": args.workers, "batches": args.batch, "budget": args.budget, "max_requests": args.max_requests,
                "max_tokens": args.max_tokens, "price_input": args.price_input, "price_output": args.price_output}
    return make_judge(args.judge, cache=args.cache, base_url=args.base_url, key_file=args.key_file, api_version=args.api_version,
                      prompts=args.prompts, retry_failed=args.retry_failed, ask_again=args.ask_again, fence=not args.no_fence,
                      picture_size=args.picture_size, seed=args.judge_seed, expect_build=args.expect_build, **many, **options)


def agree_on_cost(judge: OpenedJudge, asks: Iterable[Ask], task: str, yes: bool) -> None:
    """Show a paid judge's forecast and ask; nothing for one that costs nothing.

    Raises JudgeError when the answer is no, or when nobody is there to answer.
    """
    if not costs_money(judge):
        return
    from tqdm import tqdm

    forecast = judge.forecast(tqdm(asks, desc="forecast", unit="edit", delay=2, disable=None), task)
    print(f"{judge.name} on {judge.endpoint.host}: {forecast}", file=sys.stderr)
    if not forecast.requests or yes:
        return
    if 0 in (judge.limits.usd, judge.limits.requests, judge.limits.tokens):
        raise JudgeError(f"a budget of 0 allows no request, and {forecast.requests} answers are not in the cache")
    if not sys.stdin.isatty():
        raise JudgeError("this would be spent without anyone to ask; give --yes to agree beforehand")
    if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise JudgeError("cancelled; no request was sent")
