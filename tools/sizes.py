#!/usr/bin/env python3
"""Modules that a reader can hold in the head: at most 300 lines, functions at most 60 (docstring aside)."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULE_LINES = 300
FUNCTION_LINES = 60

#: "pycontainer/x.py" or "pycontainer/x.py:function" -> (its own bound, why).
EXCEPTIONS: dict[str, tuple[int, str]] = {}


def _functions(
    tree: ast.AST, prefix: str = ""
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in ast.iter_child_nodes(tree):
        name = prefix
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{prefix}.{node.name}".lstrip(".")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield name, node
        yield from _functions(node, name)


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node, clean=False) is not None:
        length -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
    return length


def _sizes() -> Iterator[tuple[str, int, int]]:
    """Name, lines and the general bound of every module and function."""
    for path in sorted((ROOT / "pycontainer").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        module = str(path.relative_to(ROOT))
        yield module, len(text.splitlines()), MODULE_LINES
        for name, node in _functions(ast.parse(text, module)):
            yield f"{module}:{name}", _length(node), FUNCTION_LINES


def main() -> int:
    """Print what is too long, and exceptions that nothing needs any more."""
    problems = []
    needed = set()
    for name, lines, general in _sizes():
        bound, _ = EXCEPTIONS.get(name, (general, ""))
        if lines > general:
            needed.add(name)
        if lines > bound:
            problems.append(f"{name}: {lines} lines, the bound is {bound}")
    problems += [f"{name}: needs no exception any more" for name in EXCEPTIONS if name not in needed]
    print("\n".join(problems), end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
