"""The stores that the contract runs against: one line for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from tests.contract.harness import MemoryUnderTest, StoreUnderTest
from tests.contract.redis_harness import RedisUnderTest

STORES: dict[str, Callable[[], StoreUnderTest]] = {"memory": MemoryUnderTest, "redis": RedisUnderTest}


@pytest_asyncio.fixture(params=sorted(STORES))
async def under_test(request: pytest.FixtureRequest) -> AsyncIterator[StoreUnderTest]:
    tested = STORES[request.param]()
    await tested.start()
    try:
        yield tested
    finally:
        await tested.close()
