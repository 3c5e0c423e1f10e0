"""Finds calls in the source by the called name; the pages of metrics and log events are built on it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class SourceCall(NamedTuple):
    """A call, its enclosing function (None at module level), and the module's tree."""

    node: ast.Call
    function: ast.FunctionDef | ast.AsyncFunctionDef | None
    tree: ast.Module


def calls_in(module: Path) -> Iterator[SourceCall]:
    """Return every call in a module, in source order."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    yield from _within(tree, None, tree)


def _within(
    node: ast.AST, function: ast.FunctionDef | ast.AsyncFunctionDef | None, tree: ast.Module
) -> Iterator[SourceCall]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            yield SourceCall(child, function, tree)
        inner = child if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
        yield from _within(child, inner, tree)


def called(node: ast.Call) -> str:
    """Return the called name: the part after the last dot."""
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def text_of(node: ast.expr | None) -> str | None:
    """Return the value of a string literal, or None for anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def first_texts(call: SourceCall) -> list[str]:
    """Return the possible first arguments of a call: its literal, or those that callers of the enclosing function pass.

    Raises ValueError when it is neither.
    """
    first = call.node.args[0] if call.node.args else None
    text = text_of(first)
    if text is not None:
        return [text]
    if isinstance(first, ast.Name) and call.function is not None:
        names = [argument.arg for argument in call.function.args.args]
        if first.id in names:
            place = names.index(first.id) - (names[0] == "self")
            passed = [
                text_of(node.args[place])
                for node in ast.walk(call.tree)
                if isinstance(node, ast.Call) and called(node) == call.function.name and len(node.args) > place
            ]
            texts = [text for text in passed if text is not None]
            if texts and len(texts) == len(passed):
                return texts
    raise ValueError(f"line {call.node.lineno}: {ast.unparse(call.node)}: the first argument is not a known text")
