"""A denied certificate of our own authority ends the connections that show it, at every replica that knows the list."""

from __future__ import annotations

import time
from pathlib import Path

import aiohttp
import msgspec
import pytest

from agent.certificates.keys import new_key_and_request
from cli.ca.authority_folder import AuthorityFolder
from registry_core.security.authority.issuer import issuer_of
from tests.authorities import authority_in, settings_for
from tests.certificates import Authority, Certificate
from tests.integration.replicas import serving
from tests.integration.tls import TlsFiles, tls_files


@pytest.fixture
def authority(tmp_path: Path) -> AuthorityFolder:
    return authority_in(tmp_path / "ca")


@pytest.fixture
def files(tmp_path: Path, authority: AuthorityFolder) -> TlsFiles:
    """A replica's own certificate, of another authority, and our roots for its clients."""
    found = tls_files(tmp_path, Authority(tmp_path / "servers"))
    found.client_ca.write_bytes(authority.trust.read_bytes())
    return found


def certified(authority: AuthorityFolder, folder: Path, service: str) -> tuple[Certificate, int]:
    """Return a new certificate of a service, in files, and its serial number."""
    key, request = new_key_and_request(service)
    issuer = issuer_of(authority.replicas.cert.read_bytes(), authority.replicas.key.read_bytes())
    issued = issuer.issue(service, request, time.time(), 3600)
    made = Certificate(folder / f"{service}.crt", folder / f"{service}.key")
    made.cert.write_bytes(issued.chain)
    made.key.write_bytes(key)
    return made, issued.serial


@pytest.fixture
def billing(authority: AuthorityFolder, tmp_path: Path) -> tuple[Certificate, int]:
    return certified(authority, tmp_path, "billing")


@pytest.mark.parametrize("by", ["service_name", "serial"])
async def test_denying_a_client_ends_its_connections(
    files: TlsFiles, authority: AuthorityFolder, billing: tuple[Certificate, int], by: str
) -> None:
    certificate, serial = billing
    settings = msgspec.structs.replace(files.settings(mutual=True), authority=settings_for(authority))
    async with serving(settings, tls=files.trusting()) as api:
        mutual = api.replica.tls.mutual
        connector = aiohttp.TCPConnector(ssl=files.trusting(certificate))
        async with aiohttp.ClientSession(connector=connector) as client:
            async with client.get(f"{api.url}/live") as answer:
                assert answer.status == 200
            assert len(mutual) == 1
            mutual.sweep()
            assert (len(mutual), mutual.ended) == (1, 0)
            body = {"service_name": "billing"} if by == "service_name" else {"serial": f"{serial:x}"}
            assert (await api.call("POST", "/certificates/denied", body)).status == 200
            mutual.sweep()
            assert (len(mutual), mutual.ended) == (0, 1)
