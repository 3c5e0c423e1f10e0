"""Checks on every test: it must not block the event loop, leave a task behind, or start Redis without being marked."""

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

# Deadlines would measure the noise of this machine; bench/ measures speed.
settings.register_profile("vertice", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vertice")

# Tests that start Redis: those in files with such a name, and those in modules that import from these modules.
NAMED_FOR_REDIS: Final = re.compile(r"tests\.(contract|integration|scenarios)\.test_redis_")
STARTS_REDIS: Final = {"tests.redis_topology", "tests.contract.redis_harness"}


# These tests run most of the product in their own process.
TRACED: Final = re.compile(r"tests\.(unit|wire|contract|integration)\.")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that start Redis, which run with each kind of server, and the traced ones; run long ones first."""
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        if _starts_redis(item):
            item.add_marker(pytest.mark.redis)
        if TRACED.match(item.module.__name__) and not item.get_closest_marker("untraced"):
            item.add_marker(pytest.mark.traced)
    # The order is random otherwise. Whole modules are distributed to workers, so a long one must not start last.
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def _starts_redis(item: pytest.Function) -> bool:
    if hasattr(item, "callspec") and item.callspec.params.get("under_test") == "redis":  # one of the stores
        return True
    if NAMED_FOR_REDIS.match(item.module.__name__):
        return True
    return any(getattr(value, "__module__", None) in STARTS_REDIS for value in vars(item.module).values())


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Make Redis refuse to start in a test that is not run with each kind of server."""
    RedisServer.why_not = (
        ""
        if item.get_closest_marker("redis")
        else f"{item.nodeid} starts a Redis, but is not marked for it: name its file test_redis_*, or see STARTS_REDIS"
    )


@pytest.fixture(autouse=True)
def _loop_is_never_blocked(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test whose event loop makes a blocking call (file, socket, sleep, subprocess)."""
    if not inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        yield
        return
    guard = BlockBuster(["registry_core", "dns", "agent", "cli"])
    # Coverage takes a lock of its own at the first line of each file, whichever thread runs it.
    guard.functions["threading.Lock.acquire"].can_block_in("coverage/collector.py", "lock_data")
    guard.activate()
    try:
        yield
    finally:
        guard.deactivate()


@pytest.fixture(autouse=True)
def _tasks_are_watched(request: pytest.FixtureRequest) -> None:
    """Watch the tasks of each test that has an event loop. Most tests have none, and none is created for them."""
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("_no_task_is_left")


@pytest_asyncio.fixture
async def _no_task_is_left() -> AsyncIterator[None]:
    """Fail a test that ends while tasks of its own still run."""
    before = asyncio.all_tasks()
    yield
    # A few turns of the loop, so that tasks cancelled just now can end.
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
    """Let no further thread start until the returned function is called."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    return monkeypatch.undo
