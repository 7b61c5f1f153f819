"""Serve a judge's scores to frameworks that train editors by reinforcement.

  POST /compute   Flow-Factory: {"prompt": [..], "image": [base64], "condition_images": [[base64]]} -> {"rewards": [..], "scores": [..]}
  POST /score     UniRL: {"requests": [{"history": [{"text", "image_b64"}, {"text", "image_b64"}], "required_rewards": [..]}]}
                  -> {"results": [{reward: {name: number}}], "errors": [{}]}; the first turn is the original, the second its edit
  GET /rewards    the rewards by name: edit (everything), overall, and the judge's perspectives
  GET /health     whether it answers, and how much it has scored

All numbers are from 0 to 1: a score of 5 is 1. `overall` is their geometric mean, so that an edit that does nothing has no reward for
preserving everything. Requests are scored together as they come in. It listens on this machine only, unless --host and a key say otherwise.

example:
  python -m mre serve-rewards --judge measured --port 8080
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mre.errors import JudgeError, SettingsError
from mre.judge.flags import add_judge_arguments, judge_from
from mre.judge.kept import without_keeping
from mre.judge.kinds import kind_of
from mre.judge.overall import OVERALLS
from mre.judge.verdicts import costs_money

LOCAL = ("127.0.0.1", "localhost", "::1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s, this machine only)")
    parser.add_argument("--port", type=int, default=8080, help="(default %(default)s; 0: any free one)")
    parser.add_argument("--require-key-file", type=Path, metavar="FILE",
                        help="requests must bring the key in this file as Authorization: Bearer KEY; needed for another --host")
    parser.add_argument("--overall", choices=OVERALLS, default="geometric", help="what sums the perspectives up (default %(default)s)")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N",
                        help="edits that the judge is given at once (default %(default)s)")
    parser.add_argument("--waiting", type=int, default=1024, metavar="N", help="edits that may wait; more are refused with 503 "
                                                                               "(default %(default)s)")
    add_judge_arguments(parser, default="tiny-judge")


def run(args: argparse.Namespace) -> int:
    for name, low in (("batch_size", 1), ("waiting", 1), ("port", 0)):
        if getattr(args, name) < low:
            raise SettingsError(f"--{name.replace('_', '-')} must be {low} or more, got {getattr(args, name)}")
    key = read_key(args.require_key_file) if args.require_key_file else None
    if args.host not in LOCAL and key is None:
        raise SettingsError(f"--host {args.host} lets others in; give --require-key-file FILE")
    if kind_of(args.judge).scenes_only:
        raise JudgeError(f"{args.judge} judges synthetic scenes only, and requests bring pictures")
    opened = judge_from(args, limits_last=True)
    if costs_money(opened) and (opened.limits.usd, opened.limits.requests, opened.limits.tokens) == (None, None, None):
        raise JudgeError("a server does not ask before it spends; give --budget, --max-requests or --max-tokens")
    import uvicorn

    from mre.reward_server.app import LOCAL_HOSTS, reward_app
    from mre.reward_server.scorer import Scorer

    scorer = Scorer(without_keeping(opened), args.batch_size, args.waiting)
    app = reward_app(scorer, args.overall, key, LOCAL_HOSTS if args.host in LOCAL else None)
    server = uvicorn.Server(uvicorn.Config(app, host=args.host, port=args.port, log_level="warning", limit_concurrency=2048,
                                           timeout_keep_alive=30))
    try:
        socket = server.config.bind_socket()
        socket.listen(1024)             # who asks while the server starts waits
        print(f"{opened.name} on http://{args.host}:{socket.getsockname()[1]}: POST /compute, POST /score, GET /rewards, GET /health",
              file=sys.stderr, flush=True)
        server.run([socket])
    finally:
        scorer.close()
    return 0


def read_key(path: Path) -> str:
    """The key in a file. Raises SettingsError for one that holds none."""
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: the key cannot be read") from error
    if len(key) < 16 or not key.isascii() or not key.isprintable():
        raise SettingsError(f"{path}: the key must be one line of at least 16 printable characters")
    return key
