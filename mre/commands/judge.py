"""Score one edit from the three perspectives; prints JSON.

The judge is a vision-language model behind an OpenAI-compatible address, asked with the paper's prompts. Its key comes from the
environment (OPENAI_API_KEY) or a file, never from a flag. `--probe` asks a set of questions with known answers instead: the same
picture twice, a blank edit, and injected texts in the instruction and painted into the picture, and prints how far scores move.

example:
  python -m mre judge photo.jpg edited.png "make it winter" --judge gpt-4o-2024-08-06 --task evaluate
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mre.errors import JudgeError
from mre.judge.flags import add_judge_arguments, agree_on_cost, judge_from
from mre.judge.verdicts import TASKS, Ask, Verdicts, score_one


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("original", type=Path, help="the original picture")
    parser.add_argument("edited", type=Path, help="the edited picture")
    parser.add_argument("instruction", help="what the editor was told to do")
    parser.add_argument("--task", choices=TASKS, default="evaluate", help="reward: score and what is wrong; evaluate: yes/no and score")
    parser.add_argument("--probe", action="store_true", help="measure what injected and painted texts do to this judge's scores")
    add_judge_arguments(parser)


def run(args: argparse.Namespace) -> int:
    judge = judge_from(args)
    if args.probe:
        from mre.judge.probes import probe_asks, probe_table
        asks = probe_asks(args.original, args.edited, args.instruction)
        agree_on_cost(judge, asks, args.task, args.yes)
        heard: dict[str, Verdicts] = {}
        tally = judge.score_all(asks, args.task, lambda ask, verdicts: heard.update({ask.item: verdicts}))
        print(json.dumps(probe_table(heard), indent=2, ensure_ascii=False))
        if tally.stopped:
            raise JudgeError(tally.stopped)
        return 1 if tally.failed else 0
    verdicts = score_one(judge, Ask("the edit", args.instruction, args.original, args.edited), args.task)
    print(json.dumps(as_json(verdicts), indent=2, ensure_ascii=False))
    if verdicts.errors:
        raise JudgeError(f"no verdict on {', '.join(verdicts.errors)}: {'; '.join(dict.fromkeys(verdicts.errors.values()))}")
    return 0


def as_json(verdicts: Verdicts) -> dict:
    """Verdicts as plain data: per perspective the score, yes/no or text, and what is known of the answer."""
    each = {}
    for verdict in verdicts:
        facts = {"score": verdict.score, "deviation": verdict.deviation, "accepted": verdict.accepted, "text": verdict.text,
                 "error": verdict.error, "raw": verdict.raw,
                 "judge_version": verdict.judge_version, "seconds": round(verdict.seconds, 3), "cost_usd": verdict.cost_usd,
                 "cached": verdict.cached}
        each[verdict.perspective] = {name: value for name, value in facts.items() if value is not None}
    return {"judge": verdicts.judge, "task": verdicts.task, **each}
