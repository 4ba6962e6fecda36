"""The shape of the package: which module may import which, how long things may be, and the README's tree."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "counterpoint"
FILES = sorted(path for path in SOURCE.rglob("*.py"))

LADDER = [
    {"patience", "averaging", "graphs"},
    {"types", "meter", "rates", "keys", "log", "memory", "ragged"},
    {"settings", "losses", "transforms", "encoders", "fusion", "config"},
    {"data"},
    {"model", "cache", "recompute"},
    {"objectives"},
    {"checkpoint", "evaluate", "watch"},
    {"task", "evaluation"},
    {"keeper"},
    {"fit"},
    {"recipe"},
    {"embed", "summary", "snapshot", "classifiers"},
    {"transfer", "modalities", "alignment", "analyses"},
    {"scores", "search"},
    {"report", "export", "explain", "regressing"},
    {"attention"},
    {"products"},
    {"comparison", "run"},
    {"start", "console"},
    {"cli_data"},
    {"cli"},
]
"""Rungs from the bottom; a module imports only rungs below its own, or its own package."""

NOTHING_OF_OURS = {"losses", "config"}
LIGHTNING = {"checkpoint", "task", "keeper", "fit", "run"}
MAX_FILE, MAX_FUNCTION, MAX_ARGUMENTS = 300, 40, 8


def part(path: Path) -> str:
    """The top-level module a file belongs to."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Everything a file imports, at its top or inside functions, as dotted names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


def rung(name: str) -> int:
    return next(i for i, modules in enumerate(LADDER) if name in modules)


def ours(path: Path) -> set[str]:
    parts = {name.split(".")[1] for name in imports(path) if name.startswith("counterpoint.")}
    return {name for name in parts if name != "__version__"} - {part(path)}


@pytest.mark.parametrize("path", [p for p in FILES if p.name != "__init__.py" or p.parent != SOURCE], ids=str)
def test_imports_point_down_the_ladder(path: Path) -> None:
    own = part(path)
    above = {name for name in ours(path) if rung(name) >= rung(own)}
    assert not above, f"{own} may not import {sorted(above)}"
    if own in NOTHING_OF_OURS:
        assert not ours(path), f"{own} imports nothing of ours"
    if own not in LIGHTNING:
        assert not [name for name in imports(path) if name.startswith("lightning")]


def test_every_module_has_its_rung() -> None:
    assert {part(path) for path in FILES} - {"__init__"} == set().union(*LADDER)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_files_functions_and_constructors_keep_their_budgets(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < MAX_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            body = node.end_lineno - node.lineno + 1 - _docstring_lines(node)
            assert body < MAX_FUNCTION, f"{node.name} has {body} lines"
            if node.name == "__init__":
                arguments = node.args
                count = len(arguments.posonlyargs) + len(arguments.args) - 1 * bool(arguments.args)
                count += len(arguments.kwonlyargs) - (1 if arguments.posonlyargs else 0)
                assert count <= MAX_ARGUMENTS, f"constructor at line {node.lineno} has {count} arguments"


def _docstring_lines(node: ast.FunctionDef) -> int:
    first = node.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return first.end_lineno - first.lineno + 1 if documented and first.end_lineno else 0


def test_no_module_is_a_drawer() -> None:
    drawers = {"utils", "helpers", "common", "core", "registry"}
    assert not {path.stem for path in FILES} & drawers


def test_the_readme_tree_is_the_tree_on_disk() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```\n(src/counterpoint/\n.*?)```", readme, re.DOTALL)
    assert block, "the README has no annotated tree"
    listed, stack = set(), []
    for line in block.group(1).splitlines():
        if not line.strip():
            continue
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        stack = [*stack[:depth], name.rstrip("/")]
        listed.add("/".join(stack))
    folders = ("src/counterpoint", "recipes", "tests", "benchmarks", "docs")
    on_disk = {
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".yaml", ".j2", ".md"} and path.name != "__init__.py"
    }
    on_disk = {path for path in on_disk if not path.startswith("tests/")}
    files = {path for path in listed if Path(path).suffix}
    assert files == on_disk, f"only in README: {sorted(files - on_disk)}; only on disk: {sorted(on_disk - files)}"
