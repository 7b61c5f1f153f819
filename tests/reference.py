"""Every flag of every program, from the parsers themselves: `python -m tests.reference` writes docs/reference.md, and a test compares."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

import app
from mre.__main__ import COMMANDS, module_of
from mre.training.config import flag_parser
from tests.conftest import ROOT

PATH = ROOT / "docs" / "reference.md"
HEAD = """# Reference: every flag

Made from the programs themselves by `python -m tests.reference`. Each program's `--help` has examples.
"""


def programs() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Each program with its parser; a command with sub-commands gives one each."""
    yield "python app.py", app.flag_parser()
    yield "python train.py", flag_parser()
    for name in COMMANDS:
        parser = argparse.ArgumentParser()
        module_of(name).add_arguments(parser)
        inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        if not inner:
            yield f"python -m mre {name}", parser
        for action in inner:
            for verb, sub in action.choices.items():
                yield f"python -m mre {name} {verb}", sub


def rows(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    """(Flag or argument as it is written, what it is for)."""
    formatter = parser._get_formatter()
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction):
            continue
        value = "" if action.nargs == 0 else formatter._format_args(action, formatter._get_default_metavar_for_optional(action))
        names = ", ".join(action.option_strings)
        yield " ".join(filter(None, (names, value))), formatter._expand_help(action) if action.help else ""


def text() -> str:
    """The whole page."""
    parts = [HEAD]
    for name, parser in programs():
        lines = [f"| `{_cell(flag)}` | {_cell(about)} |" for flag, about in rows(parser)]
        if lines:
            parts.append("\n".join([f"## `{name}`\n", "| | |", "| --- | --- |", *lines]) + "\n")
    return "\n".join(parts)


def _cell(shown: str) -> str:
    return re.sub(r"\s+", " ", shown).replace("|", "\\|").strip()


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
    print(PATH.relative_to(ROOT))
