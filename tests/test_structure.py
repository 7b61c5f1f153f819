"""Rules that hold the rooms apart, read from the syntax trees."""

import ast
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.bench.structure import cycles, import_graph, longest_chain, modules
from tests.conftest import ROOT

HEAVY = {"torch", "diffusers", "transformers", "accelerate"}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imported_roots(path: Path, top_level_only: bool = False) -> set[str]:
    """Names of the top-level packages that a module imports; with `top_level_only`, only what importing it runs."""
    tree = parsed(path)
    nodes = tree.body if top_level_only else ast.walk(tree)
    roots = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            roots.add(node.module.split(".")[0])
    return roots


def test_core_knows_nothing_of_the_interface():
    for path in (ROOT / "mre").rglob("*.py"):
        assert not {"gradio", "ui", "app", "train"} & imported_roots(path), path


def test_rooms_without_tensors_do_not_import_torch_at_module_level():
    rooms = [ROOT / "mre" / "rewards.py", *(ROOT / "mre" / "judge").glob("*.py"), *(ROOT / "mre" / "paid").rglob("*.py"),
             *(ROOT / "mre" / "study").rglob("*.py"),
             *(ROOT / "mre" / "agreement").rglob("*.py"),
             *(ROOT / "mre" / "commands").rglob("*.py"), *(ROOT / "ui").rglob("*.py"), ROOT / "app.py"]
    for path in rooms:
        assert not HEAVY & imported_roots(path, top_level_only=True), path


@pytest.fixture(scope="module")
def product():
    return modules(ROOT)


def test_imports_go_round_in_no_circle_and_are_not_deep(product):
    """Those inside functions count too."""
    graph = import_graph(product)
    assert cycles(graph) == []
    assert len(longest_chain(graph)) <= 10, " > ".join(longest_chain(graph))


def test_no_module_is_longer_than_can_be_read_at_a_sitting(product):
    assert {name: module.lines for name, module in product.items() if module.lines > 450} == {}


def test_types_of_page_handlers_are_there_when_gradio_looks_for_them():
    """Gradio hands a handler its request only where all of its annotations can be resolved; elsewhere it says nothing and hands on nothing.
    A function that is given the studio is called by handlers."""
    for path in sorted((ROOT / "ui").rglob("*.py")):
        tree = parsed(path)
        unrun = [inner for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
                 for inner in node.body if isinstance(inner, ast.ImportFrom)]
        absent = {alias.asname or alias.name for statement in unrun for alias in statement.names}
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            types = [argument.annotation for argument in (*function.args.args, *function.args.kwonlyargs) if argument.annotation]
            named = " ".join(map(ast.unparse, types))
            if re.search(r"\bgr\.(Request|EventData|SelectData|Progress)\b", named) and "Studio" not in named:
                used = {node.id for annotation in (*types, function.returns) if annotation is not None
                        for node in ast.walk(annotation) if isinstance(node, ast.Name)}
                assert not used & absent, f"{path.relative_to(ROOT)}: {function.name} needs {used & absent} at run time"


def test_importing_the_core_and_the_page_loads_no_torch():
    code = ("import sys, mre, mre.rewards; assert not {'torch', 'gradio', 'pandas'} & set(sys.modules)\n"
            "import ui.app; assert 'torch' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_statistics_read_tables_and_never_the_database():
    for path in (ROOT / "mre" / "agreement").rglob("*.py"):
        assert "sqlalchemy" not in imported_roots(path), path
        text = path.read_text(encoding="utf-8")
        assert "from mre.study" not in text.replace("from mre.study.cells import", ""), path


# a database URL, torch's log writer, transformers' reader of tokenizer.model, diffusers' reader of prompts, pytest and .ci/run use these
BY_OTHERS = {"ftfy", "psycopg", "tensorboard", "sentencepiece", "pytest-timeout", "pytest-xdist", "pyright", "pandas-stubs", "ruff"}


def declared(*files: str) -> set[str]:
    """Names of the distributions that requirement files pin."""
    lines = [line.strip() for file in files for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
    assert all(re.fullmatch(r"[\w.-]+(\[\w+\])?==[\w.]+", line) for line in lines), "every requirement is pinned"
    return {re.split(r"[\[=]", line)[0].lower().replace("_", "-") for line in lines}


def distributions_of(paths: list[Path]) -> set[str]:
    """Distributions of other people's packages that these files import, as they are installed here."""
    known = packages_distributions()
    own = {"mre", "ui", "app", "train", "tests"}
    imported = set().union(*map(imported_roots, paths)) - own - set(sys.stdlib_module_names)
    return {name.lower().replace("_", "-") for root in imported for name in known.get(root, [root])}


def test_what_is_imported_is_declared_and_what_is_declared_is_used():
    product = distributions_of([ROOT / "app.py", ROOT / "train.py", *(ROOT / "mre").rglob("*.py"), *(ROOT / "ui").rglob("*.py")])
    tests = distributions_of(list((ROOT / "tests").rglob("*.py")))
    assert product <= declared("requirements.txt")
    assert tests <= declared("requirements.txt", "tests/requirements.txt")
    assert declared("requirements.txt", "tests/requirements.txt") - BY_OTHERS <= product | tests


def test_no_style_rule_inside_a_media_query_begins_outside_the_tabs():
    """Gradio writes `.gradio-container .contain` before each of these, so that one which begins with the container itself never holds."""
    for sheet in (ROOT / "ui" / "assets").glob("*.css"):
        for block in re.findall(r"@media[^{]*\{((?:[^{}]|\{[^{}]*\})*)\}", sheet.read_text(encoding="utf-8")):
            assert ".gradio-container" not in block, f"{sheet.name}: {block[:80]}"
