"""A client certificate is a credential like the others: for the service that it names, and for nobody else."""

from __future__ import annotations

import ssl
from pathlib import Path

import aiohttp
import msgspec
import pytest

from tests.certificates import Authority
from tests.integration.replicas import Api, serving
from tests.integration.signed_requests import GOOD
from tests.integration.tls import TlsFiles, tls_files

SECRET = "a-long-random-word"
SERVICE = "URI:spiffe://fleet.example/service/ip_intel"


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    return tls_files(tmp_path, Authority(tmp_path / "fleet"))


async def status(api: Api, context: ssl.SSLContext, method: str, path: str, body: object = None) -> int:
    connector = aiohttp.TCPConnector(ssl=context)
    async with (
        aiohttp.ClientSession(connector=connector) as client,
        client.request(method, f"{api.url}{path}", json=body) as response,
    ):
        return response.status


async def test_a_service_writes_itself_by_its_certificate(files: TlsFiles) -> None:
    settings = msgspec.structs.replace(files.settings(mutual=True), secrets=(SECRET,), warming_s=0.0)
    access = msgspec.structs.replace(settings.access, reads_are_open=False)
    own = files.trusting(files.authority.issue(SERVICE))
    king = files.trusting(files.authority.issue("URI:spiffe://other.example/role/operator"))
    async with serving(msgspec.structs.replace(settings, access=access)) as api:
        assert await status(api, own, "POST", "/register", GOOD) == 201
        assert await status(api, own, "GET", "/services/ip_intel") == 200
        assert await status(api, own, "POST", "/register", {**GOOD, "service_name": "billing"}) == 403
        assert await status(api, own, "POST", "/guard/release") == 403
        for nobody in (files.trusting(), king):
            assert await status(api, nobody, "POST", "/register", GOOD) == 401
            assert await status(api, nobody, "GET", "/services") == 401
            assert await status(api, nobody, "GET", "/live") == 200
