"""The guards: no test may block the event loop, leave a task behind, or start a Redis that nobody expects."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

import pytest
import pytest_asyncio
from blockbuster import BlockBuster
from hypothesis import HealthCheck, settings

from tests.redis_topology import RedisServer

# Deadlines measure this machine's noise; what is slow is measured by bench/.
settings.register_profile("vertice", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vertice")

# A Redis is started by what is named for it here, and by what has something of these modules in it.
NAMED_FOR_REDIS: Final = re.compile(r"tests\.(contract|integration|scenarios)\.test_redis_")
STARTS_REDIS: Final = {"tests.redis_topology", "tests.contract.redis_harness"}


# What of the product these run, they run in their own process, for the most part.
TRACED: Final = re.compile(r"tests\.(unit|wire|contract|integration)\.")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts a Redis, to be run with each kind of server, and what is traced; and begin with what is long."""
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        if _starts_redis(item):
            item.add_marker(pytest.mark.redis)
        if TRACED.match(item.module.__name__) and not item.get_closest_marker("untraced"):
            item.add_marker(pytest.mark.traced)
    # In an order of chance otherwise: whole modules are given out, and nobody is to wait for a long one in the end.
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def _starts_redis(item: pytest.Function) -> bool:
    if hasattr(item, "callspec") and item.callspec.params.get("under_test") == "redis":  # one of the stores
        return True
    if NAMED_FOR_REDIS.match(item.module.__name__):
        return True
    return any(getattr(value, "__module__", None) in STARTS_REDIS for value in vars(item.module).values())


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Have a Redis refuse to be started by a test that is not run with each kind of server."""
    RedisServer.why_not = (
        ""
        if item.get_closest_marker("redis")
        else f"{item.nodeid} starts a Redis, but is not marked for it: name its file test_redis_*, or see STARTS_REDIS"
    )


@pytest.fixture(autouse=True)
def _loop_is_never_blocked(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test whose event loop calls something that blocks (file, socket, sleep, subprocess)."""
    if not inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        yield
        return
    guard = BlockBuster(["registry_core", "dns", "agent", "cli"])
    guard.activate()
    try:
        yield
    finally:
        guard.deactivate()


@pytest.fixture(autouse=True)
def _tasks_are_watched(request: pytest.FixtureRequest) -> None:
    """Watch the tasks of each test that has a loop. For the others, which are most, none is made."""
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("_no_task_is_left")


@pytest_asyncio.fixture
async def _no_task_is_left() -> AsyncIterator[None]:
    """Fail the test that ends while tasks of its own still run."""
    before = asyncio.all_tasks()
    yield
    # One turn of the loop: what was cancelled just now is allowed to end.
    for _ in range(3):
        await asyncio.sleep(0)
    left = [t for t in asyncio.all_tasks() - before if t is not asyncio.current_task()]
    for task in left:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*left, return_exceptions=True)
    assert not left, f"tasks left behind: {[t.get_coro() for t in left]}"


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Have the system give no thread any more, until what is returned is called."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    return monkeypatch.undo
