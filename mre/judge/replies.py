"""The one reader of judges' replies: a whole verdict, or an error that keeps the reply. Never a guess."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass

from mre.errors import JudgeReplyError
from mre.rewards import MAX_TEXT_CHARS, NOTHING_WRONG, SCORE_MAX, SCORE_MIN

MAX_REPLY_CHARS = 20_000
_NO_FAULT = {"", "none", "none.", "n/a", "null"}
# A reply that is neither JSON nor Python only because of an apostrophe: {'score': 3, 'bad': 'The dog's ear is gone.'}
_APOSTROPHE = re.compile(r"\{\s*(['\"])score\1\s*:\s*(?P<score>-?\d+(?:\.\d+)?)\s*,"
                         r"\s*(['\"])bad\3\s*:\s*(['\"])(?P<bad>.*)\4\s*,?\s*\}", re.S)


@dataclass(frozen=True)
class Reply:
    """A score with its text (reward prompts) or its yes or no (evaluation prompts)."""

    score: float
    text: str | None = None
    accepted: bool | None = None


def parse_reward(raw: str) -> Reply:
    """Read `{'score': 4, 'bad': '...'}` (Fig. 15). Raises JudgeReplyError that keeps `raw`."""
    data = _one_object(raw, {"score", "bad"})
    score = _checked_score(data["score"], raw)
    if score != int(score):
        raise JudgeReplyError(f"the score must be a whole number, got {score}", raw)
    text = data["bad"]
    if text is None:
        text = NOTHING_WRONG
    if not isinstance(text, str):
        raise JudgeReplyError(f"'bad' must be text, got {text!r:.80}", raw)
    text = " ".join(text.split())
    if len(text) > MAX_TEXT_CHARS:
        raise JudgeReplyError(f"'bad' must be a sentence of at most {MAX_TEXT_CHARS} characters, got {len(text)}", raw)
    return Reply(score, text=NOTHING_WRONG if text.lower() in _NO_FAULT else text)


def parse_evaluation(raw: str, key: str) -> Reply:
    """Read `{'following': 'yes', 'score': 4.0}` (Fig. 16); `key` is the perspective's own. Raises JudgeReplyError that keeps `raw`."""
    data = _one_object(raw, {key, "score"})
    answer = data[key].strip().lower() if isinstance(data[key], str) else None
    if answer not in ("yes", "no"):
        raise JudgeReplyError(f"{key!r} must be 'yes' or 'no', got {data[key]!r:.80}", raw)
    return Reply(_checked_score(data["score"], raw), accepted=answer == "yes")


def _checked_score(value: object, raw: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise JudgeReplyError(f"the score must be a number, got {value!r:.80}", raw)
    if not SCORE_MIN <= value <= SCORE_MAX:         # also of integers that no float can hold
        raise JudgeReplyError(f"the score must be between 0 and 5, got {value!r:.80}", raw)
    return float(value)


def _one_object(raw: str, keys: set[str]) -> dict:
    """The one dictionary in a reply that has `keys`: alone, in a code fence, or with words around it."""
    if not isinstance(raw, str) or not raw.strip():
        raise JudgeReplyError("the reply is empty", raw or "")
    if len(raw) > MAX_REPLY_CHARS:
        raise JudgeReplyError(f"the reply has {len(raw)} characters, more than {MAX_REPLY_CHARS}", raw[:MAX_REPLY_CHARS])
    spans = _braced(raw)
    found = [data for data in map(_literal, spans) if data is not None]
    if not found and keys == {"score", "bad"} and len(re.findall(r"['\"]score['\"]\s*:", raw)) == 1 and (match := _APOSTROPHE.search(raw)):
        found = [{"score": float(match["score"]), "bad": match["bad"]}]
    whole = [data for data in found if keys <= data.keys()]
    if len(whole) == 1:
        return whole[0]
    if len(whole) > 1:
        if all(data == whole[0] for data in whole):
            return whole[0]
        raise JudgeReplyError(f"the reply holds {len(whole)} different verdicts", raw)
    if found:
        raise JudgeReplyError(f"the reply lacks {', '.join(sorted(keys - found[0].keys()))}", raw)
    raise JudgeReplyError("the reply holds no verdict", raw)


def _braced(text: str) -> list[str]:
    """The outermost `{...}` stretches. A `{` that is never closed ends the search."""
    spans, depth, start = [], 0, 0
    for index, character in enumerate(text):
        if character == "{":
            start = index if depth == 0 else start
            depth += 1
        elif character == "}" and depth:
            depth -= 1
            if depth == 0:
                spans.append(text[start:index + 1])
    return spans


def _literal(span: str) -> dict | None:
    """A JSON object or the text of a Python dictionary; None when it is neither, or says a key twice."""
    try:
        return json.loads(span, object_pairs_hook=_no_key_twice)
    except (ValueError, RecursionError):
        pass
    try:
        tree = ast.parse(span, mode="eval").body
        data = ast.literal_eval(tree)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return None
    return data if isinstance(data, dict) and isinstance(tree, ast.Dict) and len(data) == len(tree.keys) else None


def _no_key_twice(pairs: list[tuple[str, object]]) -> dict:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise ValueError("duplicate key")
    return data
