"""Follows the imports of the source, also those inside functions: which modules a program may load."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tools.sources import PRODUCT, ROOT, modules

# The composition roots of the two programs.
AGENT: Final = "agent.sidecar"
REGISTRY: Final = "registry_core.replica"


def name_of(module: Path) -> str:
    """Return the dotted name of a module's file."""
    parts = module.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def loaded_by(*entries: str) -> frozenset[str]:
    """Return the names of the product's modules that the modules of these names import, directly or not; they too."""
    files = {name_of(path): path for path in modules(PRODUCT)}
    found: set[str] = set()
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        if name in files and name not in found:
            found.add(name)
            waiting.extend(_imports_of(files[name]))
    return frozenset(found)


def programs_of(module: Path) -> tuple[str, ...]:
    """Return which of the two programs runs a module: the agent, the registry, or both.

    What no program loads belongs to the commands, which run beside an agent.
    """
    name = name_of(module)
    agent, registry = name in loaded_by(AGENT), name in loaded_by(REGISTRY)
    if agent and registry:
        return ("agent", "registry")
    return ("registry",) if registry else ("agent",)


def _imports_of(module: Path) -> Iterator[str]:
    """Return what a module imports for more than its types: a name is a module, or something in one."""
    for node in _walked(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _walked(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        yield child
        yield from _walked(child)
