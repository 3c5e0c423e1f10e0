"""Certificates that change while a replica serves, and clients known by theirs."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from structlog.testing import capture_logs

from registry_core.errors import Unauthorized
from registry_core.replica import Replica
from registry_core.security.identities import Identity, Proof, Role
from tests.certificates import Authority, Certificate, openssl
from tests.integration.replicas import Api, serving
from tests.integration.tls import TlsFiles, s_client, tls_files
from tests.programs import eventually

BILLING = "URI:spiffe://fleet.example/service/billing"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "fleet")


@pytest.fixture
def files(tmp_path: Path, authority: Authority) -> TlsFiles:
    return tls_files(tmp_path, authority)


class Watch:
    """An open watch, and its events."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def until(self, word: bytes) -> bytes:
        """Return the next line that has `word`."""
        while True:
            line = await asyncio.wait_for(self.response.content.readline(), 10)
            assert line, "the watch has ended"
            if word in line:
                return line


async def serial_at(port: int) -> str:
    """Return the serial number that openssl sees."""
    said = await s_client(port, "-showcerts")
    certificate = said[said.index("-----BEGIN") : said.index("-----END CERTIFICATE-----") + 26]
    shown = await asyncio.to_thread(lambda: openssl("x509", "-noout", "-serial", given=certificate))
    return shown.strip().removeprefix("serial=").lower()


def serial_of(certificate: str | Path) -> str:
    return openssl("x509", "-noout", "-serial", "-in", certificate).strip().removeprefix("serial=").lower()


async def test_a_watch_goes_on_over_a_change_of_the_certificate(files: TlsFiles) -> None:
    async with serving(files.settings(), tls=files.trusting()) as api, api.session.get(f"{api.url}/watch") as response:
        watch, port = Watch(response), api.replica.listen.port
        await api.register("svc-before", port=2000)
        await watch.until(b"svc-before")
        before = await serial_at(port)
        fresh = files.authority.issue("IP:127.0.0.1")
        files.replace(fresh)
        assert await api.replica.tls.look()
        assert await serial_at(port) == serial_of(fresh.cert) != before
        await api.register("svc-after", port=2001)
        await watch.until(b"svc-after")  # on the connection of before
        assert (await api.call("GET", "/health")).body["components"]["tls"]["serial"] == serial_of(fresh.cert)


async def test_the_files_are_looked_at_without_being_asked(files: TlsFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_core.security.tls_renewal.LOOK_EVERY_S", 0.02)
    async with serving(files.settings()) as api:
        files.replace(files.authority.issue("IP:127.0.0.1"))
        await eventually(lambda: api.replica.tls.renewals > 0, "the new certificate")


async def test_a_broken_pair_changes_nothing_but_health(files: TlsFiles) -> None:
    async with serving(files.settings(), tls=files.trusting()) as api:
        before = await serial_at(api.replica.listen.port)
        good = files.authority.issue("IP:127.0.0.1")
        for broken, because in (
            (Certificate(good.cert, files.authority.issue("IP:127.0.0.1").key), "the key is not that"),
            (files.authority.issue("IP:127.0.0.1", expired=True), "its certificate has expired"),
        ):
            files.replace(broken)
            with capture_logs() as lines:
                assert [await api.replica.tls.look() for _ in range(3)] == [False] * 3
            assert [line["event"] for line in lines] == ["tls_files_unusable"]
            health = (await api.call("GET", "/health")).body
            assert health["status"] == "degraded"
            assert any(reason.startswith("TLS: ") and because in reason for reason in health["reasons"])
            metrics = (await api.call("GET", "/metrics")).body
            assert b"registry_tls_files_unusable 1.0" in metrics
            assert await serial_at(api.replica.listen.port) == before
        files.replace(good)
        assert await api.replica.tls.look()
        assert (await api.call("GET", "/health")).body["components"]["tls"]["problem"] == ""


async def test_a_look_between_certificate_and_key_raises_no_alarm(files: TlsFiles) -> None:
    async with serving(files.settings()) as api:
        fresh = files.authority.issue("IP:127.0.0.1")
        shutil.copy(fresh.cert, files.pair.cert)
        with capture_logs() as lines:
            assert not await api.replica.tls.look()
            assert not lines
            shutil.copy(fresh.key, files.pair.key)
            assert await api.replica.tls.look()


async def identity_of(api: Api, **session: Any) -> Identity | Unauthorized | None:
    """Return who the replica takes the client of a new connection for."""
    found: list[Identity | Unauthorized | None] = []
    replica = api.replica

    def see(transport: Any) -> None:
        opened(transport)
        try:
            found.append(replica.tls.mutual.certified(transport))
        except Unauthorized as refusal:
            found.append(refusal)

    opened = replica.tls.mutual.opened
    port = replica.tls._port
    port.opened = see  # type: ignore[union-attr] # it is a TlsPort
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(**session)) as client,
            client.get(f"{api.url}/live") as response,
        ):
            assert response.status == 200
    except aiohttp.ClientError:
        if not found or not isinstance(found[0], Unauthorized):  # a denied client may be cut off at once
            raise
    finally:
        port.opened = opened  # type: ignore[union-attr] # the same
    return found[0]


async def test_a_client_is_known_by_the_spiffe_id_in_its_certificate(files: TlsFiles, tmp_path: Path) -> None:
    issue = files.authority.issue
    strangers = Authority(tmp_path / "strangers")
    async with serving(files.settings(mutual=True)) as api:
        service = await identity_of(api, ssl=files.trusting(issue(BILLING)))
        assert isinstance(service, Identity)
        assert (service.role, service.service, service.proof) == (Role.SERVICE, "billing", Proof.CERTIFICATE)
        replica = await identity_of(api, ssl=files.trusting(issue("URI:spiffe://fleet.example/role/replica")))
        assert isinstance(replica, Identity)
        assert replica.role is Role.REPLICA
        assert await identity_of(api, ssl=files.trusting()) is None
        for names, because in (
            ((BILLING, "URI:spiffe://fleet.example/service/auth"), "2 URIs"),
            (("DNS:billing.vertice.internal",), "no URI"),
            (("URI:spiffe://other.example/service/billing",), "another trust domain"),
            (("URI:spiffe://fleet.example/role/king",), "/role/"),
            (("URI:https://fleet.example/service/billing",), "no SPIFFE id"),
        ):
            refusal = await identity_of(api, ssl=files.trusting(issue(*names)))
            assert isinstance(refusal, Unauthorized)
            assert because in refusal.message
        for wrong in (strangers.issue(BILLING), issue(BILLING, expired=True)):
            with pytest.raises(aiohttp.ClientError):
                await identity_of(api, ssl=files.trusting(wrong))


async def test_a_certificate_may_be_required(files: TlsFiles) -> None:
    client = files.authority.issue(BILLING)
    async with serving(files.settings(mutual=True, required=True), tls=files.trusting(client)) as api:
        assert (await api.call("GET", "/services")).status == 200
        assert "alert handshake failure" in await s_client(api.replica.listen.port, "-tls1_2")
        assert api.replica.tls.handshakes()["failed"] == 1


async def test_authorities_of_clients_change_while_it_serves(files: TlsFiles, tmp_path: Path) -> None:
    new = Authority(tmp_path / "new")
    client = new.issue(BILLING)
    async with serving(files.settings(mutual=True)) as api:
        with pytest.raises(aiohttp.ClientError):
            await identity_of(api, ssl=files.trusting(client))
        files.client_ca.write_text(files.authority.ca.read_text() + new.ca.read_text())
        assert await api.replica.tls.look()
        assert isinstance(await identity_of(api, ssl=files.trusting(client)), Identity)
        assert isinstance(await identity_of(api, ssl=files.trusting(files.authority.issue(BILLING))), Identity)
        files.client_ca.write_text(new.ca.read_text())
        assert await api.replica.tls.look()
        assert isinstance(await identity_of(api, ssl=files.trusting(client)), Identity)
        with pytest.raises(aiohttp.ClientError):
            await identity_of(api, ssl=files.trusting(files.authority.issue(BILLING)))


async def test_the_watch_of_a_denied_certificate_ends_and_its_neighbours_go_on(
    files: TlsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry_core.security.mutual_tls.SWEEP_EVERY_S", 0.02)
    bad, good = files.authority.issue(BILLING), files.authority.issue(BILLING)
    denied: set[int] = set()
    async with serving(files.settings(mutual=True), tls=files.trusting(good)) as api:
        mutual = api.replica.tls.mutual
        mutual.is_denied = lambda serial, _: serial in denied
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=files.trusting(bad))) as other,
            other.get(f"{api.url}/watch") as theirs,
            api.session.get(f"{api.url}/watch") as ours,
        ):
            denied.add(int(serial_of(bad.cert), 16))
            with pytest.raises(aiohttp.ClientError):
                await theirs.read()
            assert mutual.ended == 1
            await api.register("svc-later", port=2000)
            await Watch(ours).until(b"svc-later")
        refusal = await identity_of(api, ssl=files.trusting(bad))
        assert isinstance(refusal, Unauthorized)
        assert "deny list" in refusal.message


class LaterClock:
    """The time of day can be set on; the other clock runs."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        return 1.0e9 + self.ahead_s


async def test_a_connection_outlives_its_certificate_by_no_request(files: TlsFiles) -> None:
    clock = LaterClock()
    async with serving(files.settings(mutual=True), clock=clock) as api:
        mutual = api.replica.tls.mutual
        client = files.trusting(files.authority.issue(BILLING))
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=client)) as session,
            session.get(f"{api.url}/watch") as watch,
        ):
            assert len(mutual) == 1
            mutual.sweep()
            assert mutual.ended == 0
            clock.ahead_s = 1.0e10
            mutual.sweep()
            with pytest.raises(aiohttp.ClientError):
                await watch.read()
            assert mutual.ended == 1


async def test_health_says_that_a_certificate_was_not_renewed(files: TlsFiles) -> None:
    clock = LaterClock()
    replica = Replica(files.settings(), clock=clock)
    await replica.start()
    try:
        told = replica.tls.health()
        assert told is not None
        assert told.problem == ""
        assert told.expires_at is not None
        clock.ahead_s = told.expires_at - 1.0e9 - 3600
        assert "expires in 1.0 h and was not renewed" in msgspec.json.encode(replica.health.view()).decode()
        clock.ahead_s += 7200
        assert "TLS: the certificate has expired" in replica.health.view().reasons
    finally:
        await replica.close()
