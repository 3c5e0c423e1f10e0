"""A replica that is ready, for the tests that need no particular one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.integration.replicas import Api, serving


@pytest_asyncio.fixture
async def api() -> AsyncIterator[Api]:
    async with serving() as running:
        yield running
