"""Rules that hold the rooms apart, read from the syntax trees."""

import ast
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

HEAVY = {"torch", "diffusers", "transformers", "accelerate"}


def imported_roots(path: Path, top_level_only: bool = False) -> set[str]:
    """Names of the top-level packages that a module imports; with `top_level_only`, only what importing it runs."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
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
    rooms = [ROOT / "mre" / "rewards.py", *(ROOT / "mre" / "judge").rglob("*.py"), *(ROOT / "mre" / "study").rglob("*.py"),
             *(ROOT / "mre" / "agreement").rglob("*.py"),
             *(ROOT / "mre" / "commands").rglob("*.py"), *(ROOT / "ui").rglob("*.py"), ROOT / "app.py"]
    for path in rooms:
        assert not HEAVY & imported_roots(path, top_level_only=True), path


def test_importing_the_core_and_the_page_loads_no_torch():
    code = ("import sys, mre, mre.rewards; assert not {'torch', 'gradio', 'pandas'} & set(sys.modules)\n"
            "import ui.app; assert 'torch' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_statistics_read_tables_and_never_the_database():
    for path in (ROOT / "mre" / "agreement").rglob("*.py"):
        assert "sqlalchemy" not in imported_roots(path), path
        text = path.read_text(encoding="utf-8")
        assert "from mre.study" not in text.replace("from mre.study.cells import", ""), path
