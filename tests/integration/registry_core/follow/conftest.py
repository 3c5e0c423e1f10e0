"""A registry that asks for credentials, a follower of it, and a follower of that one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.registry_core.follow.followers import CLOSED, follower_of
from tests.integration.replicas import Api, serving


@pytest.fixture
async def registry() -> AsyncIterator[Api]:
    async with serving(CLOSED) as api:
        yield api


@pytest.fixture
async def edge(registry: Api) -> AsyncIterator[Api]:
    async with follower_of(registry, settings=CLOSED) as api:
        yield api


@pytest.fixture
async def second(edge: Api) -> AsyncIterator[Api]:
    async with follower_of(edge, settings=CLOSED) as api:
        yield api
