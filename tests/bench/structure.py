"""The structure of the code as numbers: `python -m tests.bench.structure [--at COMMIT]`, for a checkout or for a commit before it.

Read from the syntax trees alone; imports inside functions count as much as those at the top, those for type checkers alone do not.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import io
import subprocess
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PRODUCT = ("app.py", "train.py", "mre", "ui")
COPY_LINES = 6                  # a run of so many like lines in two places is a copy


@dataclass(frozen=True)
class Module:
    """One file: its dotted name, text and syntax tree."""

    name: str
    text: str
    tree: ast.Module

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())


def modules(root: Path, places: tuple[str, ...] = PRODUCT) -> dict[str, Module]:
    """Modules by dotted name; a package's is that of its `__init__`."""
    found = {}
    for place in places:
        path = root / place
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            parts = file.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            text = file.read_text(encoding="utf-8")
            found[name] = Module(name, text, ast.parse(text))
    return found


def imported(module: Module, known: set[str]) -> set[str]:
    """Modules of the same code that this one imports, anywhere in it but under `if TYPE_CHECKING`."""
    found: set[str] = set()
    for node in _run_nodes(module.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in known else node.module for alias in node.names}
    return {name for name in found if name in known and name != module.name}


def _run_nodes(node: ast.AST) -> Iterator[ast.AST]:
    waiting = [node]
    while waiting:
        for child in ast.iter_child_nodes(waiting.pop()):
            if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)):
                yield child
                waiting.append(child)


def import_graph(found: dict[str, Module]) -> dict[str, set[str]]:
    """Module -> the modules that it imports."""
    return {name: imported(module, set(found)) for name, module in found.items()}


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or around (strongly connected components of more than one)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = stack[stack.index(name):]
            del stack[stack.index(name):]
            if len(group) > 1:
                groups.append(sorted(group))

    for name in sorted(graph):
        if name not in index:
            visit(name)
    return groups


def longest_chain(graph: dict[str, set[str]]) -> list[str]:
    """The longest chain of imports, each module importing the next; a cycle counts as one module, named after all of it."""
    inside = {name: " - ".join(group) for group in cycles(graph) for name in group}
    merged: dict[str, set[str]] = {}
    for name, others in graph.items():
        here = inside.get(name, name)
        merged.setdefault(here, set()).update(inside.get(other, other) for other in others if inside.get(other, other) != here)
    known: dict[str, list[str]] = {}

    def chain(name: str) -> list[str]:
        if name not in known:
            known[name] = [name, *max((chain(other) for other in sorted(merged[name])), key=len, default=[])]
        return known[name]

    return max(map(chain, sorted(merged)), key=len)


def functions(found: dict[str, Module]) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function with a name that finds it."""
    for module in found.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{module.name}.{node.name}", node


def typed_share(found: dict[str, Module]) -> float:
    """Share of arguments (but self, cls, `_`) that say their type."""
    typed = total = 0
    for _, node in functions(found):
        for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
            if argument.arg not in ("self", "cls") and not argument.arg.startswith("_"):
                total += 1
                typed += argument.annotation is not None
    return typed / total


def copies(found: dict[str, Module]) -> int:
    """Runs of COPY_LINES lines of code that stand in more than one place (imports, comments and lone punctuation aside)."""
    places: dict[str, set[tuple[str, int]]] = {}
    for module in found.values():
        lines = [(number, line.strip()) for number, line in enumerate(module.text.splitlines())]
        lines = [(number, line) for number, line in lines
                 if line and not line.startswith(("#", "import ", "from ")) and any(character.isalnum() for character in line)]
        for start in range(len(lines) - COPY_LINES + 1):
            run = "\n".join(line for _, line in lines[start:start + COPY_LINES])
            places.setdefault(hashlib.sha256(run.encode()).hexdigest(), set()).add((module.name, lines[start][0]))
    return sum(len(where) > 1 for where in places.values())


def room_of(name: str) -> str:
    """The room that a module stands in."""
    parts = name.split(".")
    return "/".join(parts[:2]) if parts[0] in ("mre", "ui") and len(parts) > 2 else parts[0]


def figures(root: Path) -> dict[str, object]:
    """All numbers of a checkout."""
    found, tests = modules(root), modules(root, ("tests",))
    graph = import_graph(found)
    code, checks = (sum(module.lines for module in side.values()) for side in (found, tests))
    rooms = Counter()
    for name, module in found.items():
        rooms[room_of(name)] += module.lines
    lengths = {name: node.end_lineno - node.lineno + 1 for name, node in functions(found)}
    longest = max(lengths, key=lengths.get)
    largest, size = rooms.most_common(1)[0]
    heaviest = max(found.values(), key=lambda module: module.lines)
    return {
        "files": len(found), "lines": code, "rooms": len(rooms), "largest room": f"{largest}, {100 * size / code:.0f} % of the lines",
        "longest module": f"{heaviest.name}, {heaviest.lines} lines",
        "longest function": f"{longest}, {lengths[longest]} lines", "mean function": f"{sum(lengths.values()) / len(lengths):.1f} lines",
        "import depth": len(longest_chain(graph)), "import cycles": "; ".join(" - ".join(group) for group in cycles(graph)) or "none",
        "copied runs of 6 lines": copies(found), "typed arguments": f"{100 * typed_share(found):.0f} %",
        "lines of tests to code": f"{checks / code:.2f}"}


def checked_out(commit: str, folder: str) -> Path:
    """The files of a commit, in a folder."""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return Path(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--at", metavar="COMMIT", help="a commit to show beside the checkout")
    args = parser.parse_args()
    columns = {"now": figures(ROOT)}
    if args.at:
        with tempfile.TemporaryDirectory() as folder:
            columns = {args.at: figures(checked_out(args.at, folder)), **columns}
    print("| | " + " | ".join(columns) + " |")
    print("| --- |" + " --- |" * len(columns))
    for name in columns["now"]:
        print(f"| {name} | " + " | ".join(str(column[name]) for column in columns.values()) + " |")
    print("\nlongest chain of imports now: " + " > ".join(longest_chain(import_graph(modules(ROOT)))))


if __name__ == "__main__":
    main()
