"""Every text that a tab brings is one that a page shows: unused ones are named."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import ui
import ui.app  # all tabs add their texts
from ui.texts import _known

FOLDER = Path(ui.__file__).parent


def asked_for() -> tuple[set[str], list[str]]:
    """Texts that the sources of the pages name outside the tables of texts, and patterns of those whose name is put together."""
    names: set[str] = set()
    patterns: list[str] = []
    for path in FOLDER.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        entries = {id(key) for node in ast.walk(tree) if isinstance(node, ast.Dict)
                   for key, value in zip(node.keys, node.values, strict=True) if isinstance(value, ast.Tuple) and len(value.elts) == 2}
        parts = {id(part) for node in ast.walk(tree) for part in ([*node.values] if isinstance(node, ast.JoinedStr) else
                                                                  [node.left] if isinstance(node, ast.BinOp) else [])}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in entries | parts:
                names.add(node.value)
            elif isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
                patterns.append("".join(re.escape(part.value) if isinstance(part, ast.Constant) else r"[\w-]+" for part in node.values))
            elif isinstance(node, ast.BinOp) and isinstance(node.left, ast.Constant) and isinstance(node.left.value, str):
                patterns.append(re.escape(node.left.value) + r"\w+")
    return names, [pattern for pattern in patterns if re.match(r"\w+_", pattern)]


def test_no_text_is_there_that_no_page_shows():
    names, patterns = asked_for()
    unseen = [key for key in _known if key not in names and not any(re.fullmatch(pattern, key) for pattern in patterns)]
    assert not unseen


def test_every_text_says_something_else_in_chinese_and_keeps_its_values():
    fields = re.compile(r"\{(\w+)")
    assert not [key for key, (english, chinese) in _known.items() if set(fields.findall(english)) != set(fields.findall(chinese))]
    same = {key for key, (english, chinese) in _known.items() if english == chinese}
    assert all(not re.search(r"[a-z]{3,} [a-z]{3,}", _known[key][0]) for key in same), "a sentence that nobody translated"
