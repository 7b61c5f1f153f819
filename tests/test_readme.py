"""What the README promises exists: its two commands, its flags, its files, its front matter."""

import argparse
import re
import shlex
import subprocess
import sys
from importlib import import_module

import pytest
import yaml

from mre.__main__ import COMMANDS
from mre.training.config import TrainConfig
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
RUN = "python -m pip install -r requirements.txt && python app.py"
TEST = "python -m pip install -r requirements.txt -r tests/requirements.txt && python -m pytest"


def shell_lines() -> list[list[str]]:
    """Words of every command in a fenced block of the README, continuation lines joined."""
    blocks = re.findall(r"^```(?:sh|bash|console)?\n(.*?)^```", README, flags=re.M | re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    commands = [part.strip().removeprefix("$ ") for line in lines for part in line.split(" && ")]
    return [shlex.split(command, comments=True) for command in commands if re.match(r"python |accelerate ", command)]


def flags_of(command: str) -> set[str]:
    parser = argparse.ArgumentParser()
    import_module(f"mre.commands.{command}").add_arguments(parser)
    return every_flag(parser)


def app_help() -> str:
    return subprocess.run([sys.executable, "app.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def every_flag(parser: argparse.ArgumentParser) -> set[str]:
    """Flags of a parser and of its sub-commands."""
    flags = set()
    for action in parser._actions:
        flags |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                flags |= every_flag(child)
    return flags


def test_two_commands_do_everything():
    lines = README.splitlines()
    assert lines.count(RUN) == 1
    assert lines.count(TEST) == 1


def test_a_spaces_host_can_run_the_readme_as_it_is():
    front = yaml.safe_load(README.split("---")[1])
    assert front["sdk"] == "gradio"
    assert f"gradio=={front['sdk_version']}" in (ROOT / "requirements.txt").read_text()
    assert (ROOT / front["app_file"]).is_file()
    assert front["license"] == "apache-2.0"


def test_every_command_and_flag_in_the_readme_exists():
    seen = 0
    for words in shell_lines():
        given = {word.split("=")[0] for word in words if word.startswith("--")}
        if words[:3] == ["python", "-m", "mre"]:
            assert words[3] in COMMANDS, words
            known = flags_of(words[3]) | {"--help"}
        elif "train.py" in words:
            given = {word.split("=")[0] for word in words[words.index("train.py"):] if word.startswith("--")}
            known = {"--" + name.replace("_", "-") for name in TrainConfig.__dataclass_fields__} | {"--preset", "--config"}
        elif words[:2] == ["python", "app.py"]:
            known = set(re.findall(r"--[a-z-]+", app_help()))
        else:
            continue
        assert given <= known, f"{' '.join(words)}: {given - known}"
        seen += 1
    assert seen >= 10


def test_every_file_that_the_readme_links_to_is_there():
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("word", ["/root/", "pypi.org", "localhost:0"])
def test_the_readme_speaks_of_the_project_alone(word):
    assert word not in README
