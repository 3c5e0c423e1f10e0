"""The guards: no test may block the event loop, and none may leave a task behind."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from blockbuster import BlockBuster
from hypothesis import HealthCheck, settings

# Deadlines measure this machine's noise; what is slow is measured by bench/.
settings.register_profile("vertice", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vertice")


@pytest.fixture(autouse=True)
def _loop_is_never_blocked(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test whose event loop calls something that blocks (file, socket, sleep, subprocess)."""
    if not inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        yield
        return
    guard = BlockBuster(["registry_core", "dns", "agent"])
    guard.activate()
    try:
        yield
    finally:
        guard.deactivate()


@pytest_asyncio.fixture(autouse=True)
async def _no_task_is_left(request: pytest.FixtureRequest) -> AsyncIterator[None]:
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
