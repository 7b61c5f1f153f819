"""How many tokens a question and its reply take, as far as can be known before asking: for forecasts and budgets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mre.judge.prompts import Prompt

REPLY_TOKENS = 40               # a forecast's guess of one reply's length
REPLY_SECONDS = 2.5             # and of its time, from the paper's judge


def picture_tokens(width: int, height: int, model: str = "") -> int:
    """Tokens of one picture at high detail, by OpenAI's published rules: for gpt-4o and gpt-4.1 85, and 170 for each tile of 512 pixels
    (gpt-4o-mini more, at a lower price); for gpt-4.1-mini 1.62 for each patch of 32 pixels, of which it takes at most 1536."""
    if model.startswith("gpt-4.1-mini"):
        return math.ceil(1.62 * min(1536, math.ceil(width / 32) * math.ceil(height / 32)))
    base, tile = (2833, 5667) if model.startswith("gpt-4o-mini") else (85, 170)
    scale = min(1.0, 2048 / max(width, height), 768 / min(width, height))
    return base + tile * math.ceil(width * scale / 512) * math.ceil(height * scale / 512)


def expected_tokens(prompt: Prompt, instruction: str, fence: bool, picture_size: int, model: str = "") -> int:
    """Input tokens of one question, as far as can be known before asking: four characters a token, pictures of 4 : 3."""
    pictures = prompt.images * picture_tokens(picture_size * 4 // 3, picture_size, model)
    return sum(map(len, prompt.texts(instruction, fence))) // 4 + pictures
