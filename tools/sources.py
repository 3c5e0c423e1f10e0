"""Locates the source tree and its modules for the documents and the house tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
# The installed packages, then those for developers.
PRODUCT: Final = ("registry_core", "dns", "agent", "cli")
PACKAGES: Final = (*PRODUCT, "bench", "tools")

# Where each program begins.
ROOTS: Final = {"agent": "agent.sidecar", "registry": "registry_core.replica"}


def modules(packages: tuple[str, ...] = PACKAGES) -> Iterator[Path]:
    """Return every module of `packages`, each package before its contents."""
    for package in packages:
        yield from sorted(
            (ROOT / package).rglob("*.py"), key=lambda p: (p.parent.parts, p.name != "__init__.py", p.name)
        )


def programs_of(module: Path) -> tuple[str, ...]:
    """Return which of the two programs runs a module: the agent, the registry, or both, by what each imports."""
    name = _name_of(module)
    package = name.partition(".")[0]
    if package not in ("agent", "registry_core", "dns"):
        return ("agent",)
    return tuple(program for program, root in ROOTS.items() if name in _imported_from(root))


@cache
def _imported_from(root: str) -> frozenset[str]:
    """Return the modules that importing `root` brings in, and those that its functions import."""
    files = {_name_of(file): file for file in modules(PRODUCT)}
    found, waiting = set[str](), [root]
    while waiting:
        name = waiting.pop()
        if name in found or name not in files:
            continue
        found.add(name)
        waiting += _imports_of(ast.parse(files[name].read_text(encoding="utf-8")))
    return frozenset(found)


def _imports_of(node: ast.AST) -> Iterator[str]:
    """Return the names that may be modules; those for type checkers alone are left out."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                continue
            case ast.Import(names=names):
                yield from (each.name for each in names)
            case ast.ImportFrom(module=str(name), names=names):
                yield name
                yield from (f"{name}.{each.name}" for each in names)
            case _:
                yield from _imports_of(child)


def _name_of(module: Path) -> str:
    parts = module.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def escaped(text: str) -> str:
    """Return `text` for a cell of a Markdown table."""
    return text.replace("|", r"\|")
