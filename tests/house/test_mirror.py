"""Every module of the product without I/O has a test without I/O that imports that module itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tools.sources import PRODUCT, ROOT, modules

SUITES: Final = ("tests/unit", "tests/properties", "tests/wire")
# A module that imports one of these, or calls open(), does I/O: other suites test it.
OUTSIDE: Final = frozenset(
    [
        "aiohttp",
        "asyncio",
        "ctypes",
        "fcntl",
        "http",
        "mmap",
        "os",
        "prometheus_client",
        "psutil",
        "redis",
        "signal",
        "socket",
        "ssl",
        "structlog",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
        "urllib",
        "yarl",
    ]
)
# Imports none of those, but awaits what does.
TESTED_ELSEWHERE: Final = {
    "dns.listener": "opens sockets, by what it calls: tests/integration asks it over both transports",
    "registry_core.store.redis.shard": "each operation is a script in Redis: held to the store's contract",
    "registry_core.store.redis.sweeper": "sweeps by a script in Redis: held to the store's contract",
}


def _imports(tree: ast.AST) -> Iterator[str]:
    """Yield the modules that a module imports; for `from a import b`, both `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _opens(tree: ast.AST) -> bool:
    called = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return any(
        (isinstance(func, ast.Name) and func.id == "open") or (isinstance(func, ast.Attribute) and func.attr == "open")
        for func in called
    )


def _does_no_io(text: str) -> bool:
    tree = ast.parse(text)
    return not OUTSIDE & {name.partition(".")[0] for name in _imports(tree)} and not _opens(tree)


def _name_of(module: Path) -> str:
    return ".".join(module.relative_to(ROOT).with_suffix("").parts)


def _pure() -> set[str]:
    return {
        _name_of(module)
        for module in modules(PRODUCT)
        if module.name != "__init__.py" and _does_no_io(module.read_text(encoding="utf-8"))
    }


def _tested() -> set[str]:
    return {
        name
        for suite in SUITES
        for test in (ROOT / suite).rglob("*.py")
        for name in _imports(ast.parse(test.read_text(encoding="utf-8")))
    }


def test_modules_without_io_are_tested_without_io() -> None:
    assert sorted(_pure() - _tested() - TESTED_ELSEWHERE.keys()) == []


def test_exceptions_still_need_their_reason() -> None:
    assert TESTED_ELSEWHERE.keys() <= _pure() - _tested()


def test_io_is_recognised_by_imports_and_by_open() -> None:
    assert _does_no_io("import math\nfrom agent.view import trust\nopened = trust.open_at")
    assert not _does_no_io("import os.path")
    assert not _does_no_io("from redis.asyncio import Redis")
    assert not _does_no_io("def read(path):\n    import socket")
    assert not _does_no_io("text = open('settings').read()")
    assert not _does_no_io("with path.open('rb') as file:\n    pass")
