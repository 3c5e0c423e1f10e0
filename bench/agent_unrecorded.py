"""The `vertice` command with its recording of metrics left out of hot paths, to measure what recording costs.

Run as `python -m bench.agent_unrecorded recorded|left-out ARGUMENT...`. The statements are taken out of the source as
it is loaded; one that is not there any more is an error, so that the list follows the code. With `recorded` the modules
are loaded in the same way, and nothing is left out.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Final

RECORDED: Final = "recorded"
LEFT_OUT: Final = "left-out"
# By module: the statements that record, as they stand in the source, and what takes their place.
RECORDING: Final[dict[str, dict[str, str]]] = {
    "dns.batched_udp": {
        "self._received += len(lengths)": "pass",
        "self._responder.counts.given += count": "pass",
    },
    "dns.beside_loop": {
        "counts.received += 1": "pass",
        "self._unready = len(lengths)": "pass",
        "self._unready -= count": "pass",
        "self._counts.others += self._unready": "pass",
        "self._counts.received += len(lengths)": "pass",
    },
    "dns.answer_cache": {"self.counter[0] += given": "pass", "self._asked(entry.label, given)": "pass"},
    "dns.responder": {
        "self.counts.given += 1": "pass",
        "if freshness_of(self._view.age_s()) is not self._freshness:\n    self._changed(frozenset())": "pass",
        "counter = self.counts.add_from_view(query.qtype, made.rcode, self._freshness, gives)": "counter = [0]",
        "self.asked.add(made.label, gives, is_found=made.found)": "pass",
    },
    "dns.tcp": {"self.received += 1": "pass"},
    "agent.sidecar": {"self.responder.tick()": "pass"},
    "registry_core.api.ready_bodies": {
        "body.counter[0] += 1": "pass",
        "if body.label:\n    self._asked(body.label)": "pass",
    },
    "agent.http.local_api": {
        "self._counts.looked_up(freshness, age_s)": "pass",
        "path = path_of(request.raw_path)": "pass",
        "self._counts.answered(path, response.status, self._view.freshness, self._view.age_s())": "pass",
    },
}


class _LeaveOut(ast.NodeTransformer):
    def __init__(self, statements: Mapping[str, str]) -> None:
        self.missing = set(statements)
        self._statements = statements

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.stmt) and (text := ast.unparse(node)) in self._statements:
            self.missing.discard(text)
            return ast.copy_location(ast.parse(self._statements[text]).body[0], node)
        return super().generic_visit(node)


def without(source: str, statements: Mapping[str, str]) -> ast.Module:
    """Return the module with these statements replaced, wherever they stand. Raises ValueError when one is missing."""
    leaving = _LeaveOut(statements)
    tree = leaving.visit(ast.parse(source))
    if leaving.missing:
        raise ValueError(
            f"bench/agent_unrecorded.py leaves out what is not there: {', '.join(sorted(leaving.missing))}"
        )
    assert isinstance(tree, ast.Module)
    return tree


class _LeavingLoader(SourceFileLoader):
    """Compiles the source anew each time: what is cached on disk is the whole module."""

    def __init__(self, name: str, path: str, statements: Mapping[str, str]) -> None:
        super().__init__(name, path)
        self._statements = statements

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return compile(without(self.get_data(path).decode(), self._statements), path, "exec")


class _Finder(MetaPathFinder):
    def __init__(self, *, leave_out: bool) -> None:
        self._leave_out = leave_out

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in RECORDING:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            statements = RECORDING[fullname] if self._leave_out else {}
            spec.loader = _LeavingLoader(spec.loader.name, spec.loader.path, statements)
        return spec


def main() -> int:
    """Run the command line behind the first word."""
    _, how, *words = sys.argv
    if how not in (RECORDED, LEFT_OUT):
        raise SystemExit(f"the first word is {RECORDED} or {LEFT_OUT}")
    sys.meta_path.insert(0, _Finder(leave_out=how == LEFT_OUT))
    from cli.main import main as command  # noqa: PLC0415 - the finder has to be there first

    return command(words)


if __name__ == "__main__":
    sys.exit(main())
