"""No text of a library's error is shown to users: `registry_core/causes.py` has the words."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tools.sources import ROOT, modules

# The one table, in two modules, and those of the errors of redis-py, which show what a server answered, and of TOML.
TABLES: Final = {
    "agent/settings/toml_text.py",
    "registry_core/causes.py",
    "registry_core/content_faults.py",
    "registry_core/store/redis/failures.py",
    "registry_core/store/redis/probes.py",
}
# ValueErrors whose texts are ours: each of these calls readers of this repository.
OF_OUR_READERS: Final = {
    "agent/settings/checks.py",
    "registry_core/security/registry_keys.py",
    "cli/client.py",
    "cli/commands/slo.py",
    "cli/parser.py",
    "dns/forward_rules.py",
    "dns/reverse.py",
    "registry_core/security/access_settings.py",
    "registry_core/setting_values.py",
    "registry_core/store/redis/url.py",
}
# For people who read tracebacks: it names the class.
FOR_DEVELOPERS: Final = {"cli/streams.py", "registry_core/blocking.py", "registry_core/supervision.py"}


def _ours() -> set[str]:
    """Return the names of the exceptions that this repository defines."""
    names = {"ArgumentTypeError"}  # the command line's readers raise it with words of ours
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.bases:
                names.add(node.name)
    return names


def _types(handler: ast.ExceptHandler) -> list[str]:
    if handler.type is None:
        return ["BaseException"]
    of = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return [ast.unparse(kind).rpartition(".")[2] for kind in of]


def _taken(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, list[str]]]:
    """Yield the parameters of a function that are errors, with their types."""
    for one in (*function.args.args, *function.args.kwonlyargs):
        kinds = [kind.strip().rpartition(".")[2] for kind in ast.unparse(one.annotation or one).split("|")]
        if one.annotation is not None and all(kind.endswith(("Error", "Exception")) for kind in kinds):
            yield one.arg, kinds


def _shows(around: ast.AST, error: str) -> Iterator[int]:
    """Yield the lines that put the text of `error` into another text."""
    for node in ast.walk(around):
        match node:
            case ast.FormattedValue(value=ast.Name(id=name) | ast.Attribute(value=ast.Name(id=name), attr="strerror")):
                pass
            case ast.Call(func=ast.Name(id="str" | "repr"), args=[ast.Name(id=name)]):
                pass
            case _:
                continue
        if name == error:
            yield node.lineno


def _shown() -> Iterator[tuple[str, int, list[str]]]:
    ours = _ours()
    for path in modules():
        relative = str(path.relative_to(ROOT))
        if relative in TABLES | FOR_DEVELOPERS or Path(relative).parts[0] in ("bench", "tools"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found: list[tuple[str, list[str]]] = []
            if isinstance(node, ast.ExceptHandler) and node.name:
                found = [(node.name, _types(node))]
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found = list(_taken(node))
            for name, kinds in found:
                foreign = [kind for kind in kinds if kind not in ours]
                for line in _shows(node, name) if foreign else ():
                    yield relative, line, foreign


def test_no_error_of_a_library_is_shown_in_its_own_words() -> None:
    shown = list(_shown())
    foreign = [place for place in shown if place[2] != ["ValueError"] or place[0] not in OF_OUR_READERS]
    assert [f"{path}:{line}: {', '.join(kinds)}" for path, line, kinds in foreign] == []
    assert OF_OUR_READERS - {path for path, _, _ in shown} == set(), "they show nothing any more"
