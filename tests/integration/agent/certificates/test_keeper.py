"""The agent keeps certificates fresh: from a real registry, through its absence, denials and restarts."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509

from agent.certificates.certificate_files import CertificateFiles, FileAccess, StoredFiles
from agent.certificates.notice import Notice
from agent.settings.certificates import CertificateSettings
from agent.settings.settings import AgentSettings
from cli.ca.authority_folder import AuthorityFolder
from cli.ca.authority_work import rotate
from registry_core.replica_settings import ReplicaSettings
from registry_core.security.authority.rotation import RotationStep
from registry_core.security.client_settings import ClientTlsSettings
from registry_core.security.pem_paths import KeyPair
from registry_core.settings import Listen
from tests.authorities import PASSPHRASE, authority_in, settings_for
from tests.certificates import Authority
from tests.integration.agents import QUICK, AgentUnderTest, becomes, spec, stand_in, standing
from tests.integration.replicas import READY, Api, serving
from tests.integration.tls import tls_files
from tests.programs import free_port


@pytest.fixture
def authority(tmp_path: Path) -> AuthorityFolder:
    return authority_in(tmp_path / "ca")


def signing(authority: AuthorityFolder, lifetime_s: float = 3600.0, port: int = 0) -> ReplicaSettings:
    where = Listen("127.0.0.1", port)
    return msgspec.structs.replace(READY, listen=where, authority=settings_for(authority, lifetime_s))


def keeping(folder: Path, *command: str) -> AgentSettings:
    wanted = CertificateSettings(str(folder / "certificates"), notice=Notice(tuple(command)))
    return msgspec.structs.replace(QUICK, certificates=wanted)


async def reported(agent: AgentUnderTest) -> Any:
    """Return what the agent says of its one certificate; it has not looked at once."""
    found = (await agent.get("/self")).body["certificates"]
    return found[0] if found else {"serial": "", "renewals": 0, "problem": "", "renews_in_seconds": 0}


def saying(agent: AgentUnderTest, field: str) -> Callable[[], Awaitable[object]]:
    async def said() -> object:
        return (await reported(agent))[field]

    return said


async def reasons(agent: AgentUnderTest) -> list[str]:
    found: list[str] = (await agent.get("/health")).body["reasons"]
    return found


def stored(folder: Path) -> StoredFiles:
    """Return the files of the one service."""
    version = (folder / "certificates" / "osint_service.d").resolve(strict=True)
    return StoredFiles(*((version / f"osint_service.{kind}").read_bytes() for kind in ("crt", "key", "ca.crt")))


@contextlib.asynccontextmanager
async def kept(settings: ReplicaSettings, folder: Path, *command: str) -> AsyncIterator[tuple[Api, AgentUnderTest]]:
    """Run a registry, and an agent that keeps the certificate of one service."""
    async with (
        serving(settings) as api,
        stand_in() as service,
        standing(api.url, spec(service), settings=keeping(folder, *command)) as agent,
    ):
        yield api, agent


async def until_written(agent: AgentUnderTest, count: int = 1) -> None:
    async def enough() -> bool:
        return bool((await reported(agent))["renewals"] >= count)

    await becomes(enough, True)


async def refreshed(api: Api) -> None:
    await api.replica.certificates.refresh()


async def test_a_service_has_its_certificate_and_the_agent_says_when_it_ends(
    authority: AuthorityFolder, tmp_path: Path
) -> None:
    told = f"cp {tmp_path}/certificates/osint_service.crt {tmp_path}/told"
    async with kept(signing(authority), tmp_path, "/bin/sh", "-c", told) as (_, agent):
        await until_written(agent)
        said = await reported(agent)
        leaf = x509.load_pem_x509_certificates(stored(tmp_path).chain)[0]
        assert said["serial"] == f"{leaf.serial_number:x}"
        assert said["not_after"] == leaf.not_valid_after_utc.isoformat(timespec="seconds")
        assert 2160 <= said["renews_in_seconds"] <= 2640
        assert stored(tmp_path).bundle == authority.trust.read_bytes()

        async def is_told() -> bool:
            return (tmp_path / "told").exists()

        await becomes(is_told, True)
        metrics = (await agent.get("/metrics")).body.decode()
        assert 'agent_certificate_requests_total{outcome="renewed"} 1.0' in metrics
        assert 'agent_certificate_ends_seconds{service="osint_service"}' in metrics


async def test_a_restarted_agent_goes_on_with_what_it_has(authority: AuthorityFolder, tmp_path: Path) -> None:
    async with kept(signing(authority), tmp_path) as (_, agent):
        await until_written(agent)
        before = stored(tmp_path)
    async with kept(signing(authority), tmp_path) as (_, agent):
        serial = f"{x509.load_pem_x509_certificates(before.chain)[0].serial_number:x}"
        await becomes(saying(agent, "serial"), serial)
        assert (await reported(agent))["renewals"] == 0
        assert stored(tmp_path) == before


async def test_damaged_files_are_replaced(authority: AuthorityFolder, tmp_path: Path) -> None:
    broken = StoredFiles(b"nothing", b"nothing", b"nothing")
    files = CertificateFiles(tmp_path / "certificates", FileAccess())
    await asyncio.to_thread(files.write, "osint_service", broken)
    async with kept(signing(authority), tmp_path) as (_, agent):
        await until_written(agent)
        assert stored(tmp_path).bundle == authority.trust.read_bytes()


async def test_the_files_stay_while_the_registry_is_away_and_the_agent_says_so(
    authority: AuthorityFolder, tmp_path: Path
) -> None:
    port = free_port()
    async with stand_in() as service:
        settings = keeping(tmp_path)
        async with (
            serving(signing(authority, 10.0, port)) as api,
            standing(api.url, spec(service), settings=settings) as agent,
        ):
            await until_written(agent)
            url = api.url
        before = stored(tmp_path)
        async with standing(url, spec(service), settings=settings) as agent:

            async def complains() -> bool:
                return any("the certificate of osint_service" in reason for reason in await reasons(agent))

            await becomes(complains, True, timeout_s=20)
            assert stored(tmp_path) == before
            async with serving(signing(authority, 10.0, port)):
                await until_written(agent)
                await becomes(complains, False)
                assert stored(tmp_path).key != before.key


async def test_a_denied_certificate_is_replaced_with_a_new_key(authority: AuthorityFolder, tmp_path: Path) -> None:
    async with kept(signing(authority, 20.0), tmp_path) as (api, agent):
        await until_written(agent)
        before, serial = stored(tmp_path), (await reported(agent))["serial"]
        denied = await api.call("POST", "/certificates/denied", {"serial": serial})
        assert denied.status == 200
        await until_written(agent, 2)
        assert stored(tmp_path).key != before.key
        assert (await reported(agent))["serial"] != serial


async def test_a_denied_service_is_told_why_it_gets_nothing(authority: AuthorityFolder, tmp_path: Path) -> None:
    async with kept(signing(authority, 10.0), tmp_path) as (api, agent):
        await api.call("POST", "/certificates/denied", {"service_name": "osint_service"})

        async def problem() -> bool:
            return "are denied" in str((await reported(agent))["problem"])

        await becomes(problem, True)


async def test_new_roots_are_written_beside_the_certificate_that_is_held(
    authority: AuthorityFolder, tmp_path: Path
) -> None:
    async with kept(signing(authority, 60.0), tmp_path) as (api, agent):
        await until_written(agent)
        before = stored(tmp_path)
        step = partial(rotate, authority, RotationStep.ANNOUNCE, PASSPHRASE, time.time(), longest_s=0)
        await asyncio.to_thread(step)
        await refreshed(api)

        async def roots() -> int:
            return stored(tmp_path).bundle.count(b"BEGIN CERTIFICATE")

        await becomes(roots, 2)
        now = stored(tmp_path)
        assert (now.chain, now.key) == (before.chain, before.key)


async def test_a_command_that_fails_is_said_and_repeated(authority: AuthorityFolder, tmp_path: Path) -> None:
    command = ("/bin/sh", "-c", f"test -e {tmp_path}/works || {{ echo not yet; exit 3; }}")
    async with kept(signing(authority), tmp_path, *command) as (_, agent):
        await until_written(agent)
        await becomes(saying(agent, "problem"), "AGENT_CERT_COMMAND: exit code 3: not yet")
        assert "AGENT_CERT_COMMAND: exit code 3: not yet" in await reasons(agent)
        (tmp_path / "works").touch()
        await becomes(saying(agent, "problem"), "")


async def test_a_registry_that_issues_no_certificates_harms_nothing(tmp_path: Path) -> None:
    async with kept(READY, tmp_path) as (api, agent):

        async def problem() -> bool:
            return "issues no certificates" in str((await reported(agent))["problem"])

        await becomes(problem, True)

        async def registered() -> int:
            return len((await api.call("GET", "/services")).body)

        await becomes(registered, 1)


async def test_a_folder_that_cannot_be_used_is_said(authority: AuthorityFolder, tmp_path: Path) -> None:
    (tmp_path / "certificates").mkdir()
    (tmp_path / "certificates").chmod(0o777)
    async with kept(signing(authority), tmp_path) as (_, agent):

        async def problem() -> bool:
            return "every user may write to it" in str((await reported(agent))["problem"])

        await becomes(problem, True)


async def test_an_agent_shows_the_registry_the_certificate_that_it_got_from_it(
    authority: AuthorityFolder, tmp_path: Path
) -> None:
    files = await asyncio.to_thread(lambda: tls_files(tmp_path, Authority(tmp_path / "servers")))
    files.client_ca.write_bytes(authority.trust.read_bytes())
    registry = msgspec.structs.replace(files.settings(mutual=True), authority=settings_for(authority))
    own = KeyPair(str(tmp_path / "certificates" / "osint_service.pem"), "")  # not there yet
    towards = ClientTlsSettings(str(files.authority.ca), own)
    settings = msgspec.structs.replace(keeping(tmp_path), tls=towards)
    async with serving(registry, tls=files.trusting()) as api, stand_in() as service:
        async with standing(api.url, spec(service), settings=settings) as agent:
            await until_written(agent)
        # An open connection goes on without it; each new one shows it.
        async with standing(api.url, spec(service), settings=settings):

            async def certified() -> bool:
                return len(api.replica.tls.mutual) > 0

            await becomes(certified, True, timeout_s=20)
