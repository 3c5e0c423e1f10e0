"""A ready replica, for tests that need no particular one, a certificate, and an address."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from tests.certificates import make_certificate
from tests.integration.replicas import Api, serving
from tests.programs import start_as_installed

start_as_installed()


@pytest_asyncio.fixture
async def api() -> AsyncIterator[Api]:
    async with serving() as running:
        yield running


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A key with its certificate, and the certificate as text."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def own_address() -> str:
    """An address of this machine that is not loopback."""
    found = [
        one.address
        for addresses in psutil.net_if_addrs().values()
        for one in addresses
        if one.family is socket.AF_INET and not one.address.startswith("127.")
    ]
    if not found:
        pytest.skip("this machine has no address but loopback")
    return found[0]
