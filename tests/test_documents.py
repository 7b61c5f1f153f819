"""What the documents promise exists: the README's two commands, every flag, file and name they mention, and every flag is mentioned."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest
import yaml

from mre.__main__ import COMMANDS
from mre.models import known
from tests import reference
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("CONTRIBUTING.md")),
             ROOT / "mre" / "assets" / "tiny" / "README.md"]
RUN = "python -m pip install -r requirements.txt && python app.py"
TEST = "python -m pip install -r requirements.txt -r tests/requirements.txt && python -m pytest"
KNOWN = {name: {flag for action in parser._actions for flag in action.option_strings} for name, parser in reference.programs()}


def shell_lines(text: str) -> list[list[str]]:
    """Words of every command in the fenced blocks of a document, continuation lines joined, and of those in the running text."""
    blocks = re.findall(r"^```(?:sh|bash|console)?\n(.*?)^```", text, flags=re.M | re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    lines += [" ".join(code.split()) for code in re.findall(r"`((?:python|accelerate|OMP_NUM_THREADS)[^`]*)`", prose)]
    commands = [part.strip().removeprefix("$ ") for line in lines for part in line.split(" && ")]
    return [words for command in commands if re.match(r"(OMP_NUM_THREADS=\d+ )?(python|accelerate|torchrun) ", command)
            and (words := split(command))]


def split(command: str) -> list[str]:
    """A command's words; nothing for what is no whole command."""
    try:
        return shlex.split(command, comments=True)
    except ValueError:
        return []


def program_of(words: list[str]) -> str | None:
    """The program that a command line runs, as the reference names it; None for another's. Fails for a command that does not exist."""
    if "train.py" in words:
        return "python train.py"
    if "app.py" in words:
        return "python app.py"
    for place in range(len(words) - 2):
        if words[place:place + 2] == ["-m", "mre"] and words[place + 2] in COMMANDS:
            for length in (place + 4, place + 3):
                if (name := " ".join(["python", *words[place:length]])) in KNOWN:
                    return name
            pytest.fail(f"no such command: {' '.join(words)}")
    return None


def test_two_commands_do_everything():
    lines = README.splitlines()
    assert lines.count(RUN) == 1
    assert lines.count(TEST) == 1


def test_the_readme_is_short_enough_to_be_read():
    assert len(README.splitlines()) <= 200


def test_a_spaces_host_can_run_the_readme_as_it_is():
    front = yaml.safe_load(README.split("---")[1])
    assert front["sdk"] == "gradio"
    assert f"gradio=={front['sdk_version']}" in (ROOT / "requirements.txt").read_text()
    assert (ROOT / front["app_file"]).is_file()
    assert front["license"] == "apache-2.0"
    assert set(front["models"]) <= {about.hub_id for about in known.KNOWN.values()}
    assert len(front["short_description"]) <= 60, "longer ones are refused"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_and_flag_that_a_document_shows_exists(path: Path):
    for words in shell_lines(path.read_text(encoding="utf-8")):
        if (name := program_of(words)) is not None:
            given = {word.split("=")[0] for word in words if re.match(r"--[a-z]", word)}
            if "train.py" in words or "app.py" in words:                    # a launcher's own flags stand before
                before = words[:words.index("train.py" if "train.py" in words else "app.py")]
                given -= {word.split("=")[0] for word in before}
            elif "-m" in words:
                given -= {word.split("=")[0] for word in words[:words.index("mre")]}
            assert given <= KNOWN[name] | {"--help"}, f"{' '.join(words)}: {given - KNOWN[name]}"


def test_the_documents_show_commands_of_every_program():
    shown = {program_of(words) for path in DOCUMENTS for words in shell_lines(path.read_text(encoding="utf-8"))}
    programs = {" ".join(name.split()[:4]) for name in KNOWN}
    assert programs <= {" ".join(name.split()[:4]) for name in shown if name}


def test_every_flag_is_in_the_reference():
    """Both ways, and with what it is for: the page is what the programs say."""
    assert reference.PATH.read_text(encoding="utf-8") == reference.text(), "run python -m tests.reference"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_file_that_a_document_links_to_is_there(path: Path):
    for target in re.findall(r"\]\(([^)#: ]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_every_heading_that_a_document_links_to_is_there():
    for path in DOCUMENTS:
        for target, anchor in re.findall(r"\]\(([^)#: ]*)#([^)]+)\)", path.read_text(encoding="utf-8")):
            headings = re.findall(r"^#+ (.*)$", (path.parent / target if target else path).read_text(encoding="utf-8"), flags=re.M)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{path.name}: {target}#{anchor}"


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m (tests\.[a-z_.]+)", "\n".join(
    path.read_text(encoding="utf-8") for path in DOCUMENTS)))))
def test_every_bench_that_a_document_names_is_there(module: str):
    path = ROOT / module.rstrip(".").replace(".", "/")
    assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


@pytest.mark.parametrize("word", ["/root/", "pypi.org", "localhost:0"])
def test_the_documents_speak_of_the_project_alone(word: str):
    for path in DOCUMENTS:
        assert word not in path.read_text(encoding="utf-8"), path


def test_the_walks_through_the_code_name_functions_that_are_there():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    steps = re.findall(r"^\d+\. `((?:mre|ui)\.[\w.]+)`", text, flags=re.M)
    assert len(steps) >= 20
    for step in steps:
        assert defined(step), step


def defined(name: str) -> bool:
    """Whether `package.module.function` or `package.module.Class.method` is in the code, by its syntax tree."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        path = ROOT.joinpath(*parts[:length]).with_suffix(".py")
        if path.is_file():
            body = ast.parse(path.read_text(encoding="utf-8")).body
            for part in parts[length:]:
                found = [node for node in body if getattr(node, "name", None) == part]
                if not found:
                    return False
                body = getattr(found[0], "body", [])
            return True
    return False
