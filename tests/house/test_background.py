"""Background work is supervised, and blocking work runs in its bounded threads; exceptions give their reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tools.sources import ROOT

PRODUCT = ("agent", "dns", "registry_core")
STARTS_A_TASK = frozenset({"create_task", "ensure_future", "TaskGroup", "Task", "run_coroutine_threadsafe"})
BLOCKS = frozenset(
    {
        "to_thread",
        "run_in_executor",
        "ThreadPoolExecutor",
        "ProcessPoolExecutor",
        "Thread",
        "Timer",
        "getaddrinfo",
        "getnameinfo",
        "gethostbyname",
        "gethostbyaddr",
        "getfqdn",
        "create_connection",
    }
)
# Where, and why it needs no supervision.
TASKS: Mapping[str, str] = {
    "registry_core/supervision.py Background._start": "it is the supervisor",
    "registry_core/supervision.py _life": "it is the supervisor",
    "registry_core/supervision.py until_first": "it is awaited here",
    "registry_core/api/http_connection.py HttpConnection._is_carried_out": "one request: its replica awaits it",
    "registry_core/store/redis/store.py RedisStore.sweep": "the sweeps are waited for here, or by the next sweep",
    "agent/registration/drain_progress.py progress": "it is awaited here",
    "agent/registration/leave.py tell_all": "it is awaited here",
    "agent/checks/group.py ServiceChecks.run": "awaited here: when one check dies all do, and are kept",
    "registry_core/upstreams/probes.py RegistryProbes.patiently": "it is awaited here",
    "registry_core/upstreams/probes.py RegistryProbes.lives": "its askers await it, and it has an end in time",
    "agent/hosts/lookup.py addresses_from": "it is awaited here",
    "agent/registries/srv.py RegistryLookup.run": "awaited here: when one lookup dies all do, and are kept",
    "dns/forwarding.py Forwarder._begin": "askers wait for it; it catches what goes wrong, and ends in time",
    "dns/resolver_client.py ResolverClient._start": "the question that it is an attempt at awaits it",
}
BLOCKING: Mapping[str, str] = {
    "registry_core/blocking.py Threads.begin": "it is the helper",
    "registry_core/resolution.py _system_addresses": "it is what is run in the threads",
    "dns/udp.py _bound": "of an address, which asks nobody",
    "agent/checks/connection.py converse": "the loop's own, to an address: it waits without blocking",
    "agent/healthy.py is_well": "a program of its own, without a loop",
}


class Calls(ast.NodeVisitor):
    """Finds calls by the last part of the called name, with the enclosing function."""

    def __init__(self, wanted: frozenset[str]) -> None:
        self.found: set[str] = set()
        self._wanted = wanted
        self._around: list[str] = []

    def _enter(self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._around.append(node.name)
        self.generic_visit(node)
        self._around.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._enter(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._enter(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._enter(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in self._wanted:
            self.found.add(".".join(self._around))
        self.generic_visit(node)


def calls_in(source: str, wanted: frozenset[str]) -> set[str]:
    """Return the functions of `source` that call something in `wanted`."""
    calls = Calls(wanted)
    calls.visit(ast.parse(source))
    return calls.found


def modules_of_the_product() -> Iterator[Path]:
    for package in PRODUCT:
        yield from sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize(
    ("wanted", "allowed", "instead"),
    [
        (STARTS_A_TASK, TASKS, "registry_core.supervision.Background"),
        (BLOCKS, BLOCKING, "registry_core.blocking.Threads"),
    ],
    ids=["tasks", "threads"],
)
def test_such_calls_are_made_in_one_place(wanted: frozenset[str], allowed: Mapping[str, str], instead: str) -> None:
    found = {
        f"{path.relative_to(ROOT)} {where}"
        for path in modules_of_the_product()
        for where in calls_in(path.read_text(encoding="utf-8"), wanted)
    }
    assert found - allowed.keys() == set(), f"it must go through {instead}, or give its reason here"
    assert allowed.keys() - found == set(), "these are gone, and need no reason"


def test_calls_are_found_however_they_are_written() -> None:
    source = """
import asyncio
class Part:
    async def start(self):
        self.task = asyncio.get_running_loop().create_task(self.run())
def outside():
    return [asyncio.ensure_future(one) for one in ()]
def innocent(create_task):
    return create_task
"""
    assert calls_in(source, STARTS_A_TASK) == {"Part.start", "outside"}
