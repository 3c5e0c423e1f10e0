"""A replica that is ready, for the tests that need no particular one, and a certificate."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.replicas import Api, serving
from tests.programs import find


@pytest_asyncio.fixture
async def api() -> AsyncIterator[Api]:
    async with serving() as running:
        yield running


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A key with its self-signed certificate for billing.example, in one file; and the certificate as text."""
    folder = tmp_path_factory.mktemp("certificate")
    key, pem = folder / "key.pem", folder / "certificate.pem"
    wanted = ["-subj", "/CN=billing.example", "-addext", "subjectAltName=DNS:billing.example", "-days", "2"]
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", str(key), "-out", str(pem)]
    subprocess.run(
        [find("openssl"), "req", "-x509", "-nodes", *made, *wanted], check=True, capture_output=True, timeout=30
    )
    both = folder / "both.pem"
    both.write_text(key.read_text() + pem.read_text())
    return both, pem.read_text()
