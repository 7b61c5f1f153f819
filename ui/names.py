"""What readers of each language call the three perspectives; every tab that names them uses these."""

from __future__ import annotations

from mre.rewards import PERSPECTIVES
from ui.texts import add_texts, say

TEXTS = {"name_following": ("Following", "遵循"), "name_preserving": ("Preserving", "保持"), "name_quality": ("Quality", "质量")}
add_texts(TEXTS)


def perspective_names(language: str) -> dict[str, str]:
    return {name: say(f"name_{name}", language) for name in PERSPECTIVES}
