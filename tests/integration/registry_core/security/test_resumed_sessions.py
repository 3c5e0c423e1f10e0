"""What a client had shown before counts no more once it is denied, or its authority is trusted no more: by openssl."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from agent.certificates.keys import new_key_and_request
from cli.ca.authority_folder import AuthorityFolder
from registry_core.security.authority.issuer import issuer_of
from tests.authorities import authority_in, settings_for
from tests.certificates import Authority, Certificate
from tests.integration.replicas import Api, serving
from tests.integration.tls import TlsFiles, s_client, tls_files

SECRET = "s3cret-of-the-fleet-0123456789"
BODY = '{"service_name":"billing","host":"10.0.0.7","port":8034}'
WRITE = (
    "POST /register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
    f"Content-Length: {len(BODY)}\r\n\r\n{BODY}"
)
VERSIONS = pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])


@pytest.fixture
def authority(tmp_path: Path) -> AuthorityFolder:
    return authority_in(tmp_path / "ca")


@pytest.fixture
def files(tmp_path: Path, authority: AuthorityFolder) -> TlsFiles:
    found = tls_files(tmp_path, Authority(tmp_path / "servers"))
    found.client_ca.write_bytes(authority.trust.read_bytes())
    return found


@pytest.fixture
def billing(authority: AuthorityFolder, tmp_path: Path) -> Certificate:
    key, request = new_key_and_request("billing")
    issuer = issuer_of(authority.replicas.cert.read_bytes(), authority.replicas.key.read_bytes())
    made = Certificate(tmp_path / "billing.crt", tmp_path / "billing.key")
    made.cert.write_bytes(issuer.issue("billing", request, time.time(), 3600).chain)
    made.key.write_bytes(key)
    return made


@pytest_asyncio.fixture
async def api(files: TlsFiles, authority: AuthorityFolder) -> AsyncIterator[Api]:
    settings = msgspec.structs.replace(
        files.settings(mutual=True), authority=settings_for(authority), secrets=(SECRET,)
    )
    async with serving(settings, tls=files.trusting()) as running:
        yield running


async def write(api: Api, version: str, files: TlsFiles, *options: str | Path) -> str:
    """Return what openssl says about a registration with these options."""
    port = api.replica.listen.port
    return await s_client(
        port, version, "-CAfile", files.authority.ca, *options, given=WRITE, until="Connection: close"
    )


def shown(certificate: Certificate) -> tuple[str | Path, ...]:
    return "-cert", certificate.cert, "-cert_chain", certificate.cert, "-key", certificate.key


@VERSIONS
async def test_a_resumed_session_of_a_denied_certificate_may_not_write(
    version: str, api: Api, files: TlsFiles, billing: Certificate, tmp_path: Path
) -> None:
    session = tmp_path / "session"
    first = await write(api, version, files, *shown(billing), "-sess_out", session)
    assert "HTTP/1.1 201 " in first
    again = (await write(api, version, files, *shown(billing), "-sess_in", session)) if session.exists() else first
    assert "HTTP/1.1 201 " in again
    assert version != "-tls1_2" or "Reused, TLSv1.2" in again, "otherwise this attacks nothing"
    headers = {"X-Registry-Token": SECRET}
    denied = await api.call("POST", "/certificates/denied", {"service_name": "billing"}, headers=headers)
    assert denied.status == 200
    options = ("-sess_in", session) if session.exists() else ()
    after = await write(api, version, files, *shown(billing), *options)
    assert "HTTP/1.1 401 " in after
    assert "deny list" in after


@VERSIONS
async def test_a_resumed_session_of_an_authority_that_is_trusted_no_more_may_not_write(
    version: str, api: Api, files: TlsFiles, billing: Certificate, tmp_path: Path
) -> None:
    session = tmp_path / "session"
    assert "HTTP/1.1 201 " in await write(api, version, files, *shown(billing), "-sess_out", session)
    files.client_ca.write_bytes(Authority(tmp_path / "others").ca.read_bytes())
    assert await api.replica.tls.look()
    options = ("-sess_in", session) if session.exists() else ()
    after = await write(api, version, files, *shown(billing), *options)
    assert "HTTP/1.1 201 " not in after
    assert "Reused" not in after


async def test_an_open_connection_under_an_authority_that_is_trusted_no_more_ends(
    api: Api, files: TlsFiles, billing: Certificate, tmp_path: Path
) -> None:
    """A stolen key of an authority must not be good for as long as its thief keeps a connection open."""
    mutual = api.replica.tls.mutual
    connector = aiohttp.TCPConnector(ssl=files.trusting(billing))
    async with aiohttp.ClientSession(connector=connector) as client:

        async def register() -> int:
            sent = {"service_name": "billing", "host": "10.0.0.7", "port": 8034}
            async with client.post(f"{api.url}/register", json=sent) as answer:
                return answer.status

        assert await register() == 201
        other = Authority(tmp_path / "others").ca.read_bytes()
        files.client_ca.write_bytes(files.client_ca.read_bytes() + other)
        assert await api.replica.tls.look()
        mutual.sweep()
        assert (await register(), len(mutual), mutual.ended) == (201, 1, 0), "one more authority ends nothing"
        files.client_ca.write_bytes(other)
        assert await api.replica.tls.look()
        assert await register() == 401
        mutual.sweep()
        assert (len(mutual), mutual.ended) == (0, 1)


async def test_the_end_of_one_authority_ends_no_connection_under_another(
    api: Api, files: TlsFiles, billing: Certificate, tmp_path: Path
) -> None:
    ours = files.client_ca.read_bytes()
    files.client_ca.write_bytes(Authority(tmp_path / "others").ca.read_bytes() + ours)
    assert await api.replica.tls.look()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=files.trusting(billing))) as client:
        sent = {"service_name": "billing", "host": "10.0.0.7", "port": 8034}
        async with client.post(f"{api.url}/register", json=sent) as answer:
            assert answer.status == 201
        files.client_ca.write_bytes(ours)
        assert await api.replica.tls.look()
        api.replica.tls.mutual.sweep()
        assert api.replica.tls.mutual.ended == 0
        async with client.post(f"{api.url}/register", json=sent) as answer:
            assert answer.status == 201


async def test_an_open_connection_of_a_resumed_session_ends_with_its_authority_as_well(
    api: Api, files: TlsFiles, billing: Certificate, tmp_path: Path
) -> None:
    context = files.trusting(billing)
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def connect(session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.1", api.replica.listen.port), timeout=10)
        return context.wrap_socket(raw, server_hostname="127.0.0.1", session=session)

    def ask(client: ssl.SSLSocket) -> bytes:
        client.sendall(WRITE.replace("Connection: close\r\n", "").encode())
        return client.recv(65536)

    first = await asyncio.to_thread(connect)
    assert (await asyncio.to_thread(ask, first)).startswith(b"HTTP/1.1 201 ")
    second = await asyncio.to_thread(connect, first.session)
    assert second.session_reused
    assert (await asyncio.to_thread(ask, second)).startswith(b"HTTP/1.1 201 ")
    other = Authority(tmp_path / "others").ca.read_bytes()
    files.client_ca.write_bytes(files.client_ca.read_bytes() + other)
    assert await api.replica.tls.look()
    assert (await asyncio.to_thread(ask, second)).startswith(b"HTTP/1.1 201 "), "all that counted still do"
    files.client_ca.write_bytes(other)
    assert await api.replica.tls.look()
    assert (await asyncio.to_thread(ask, second)).startswith(b"HTTP/1.1 401 ")
    for client in (first, second):
        client.close()
