"""An agent and its registry over TLS: certificates that change, fail and tell who somebody is."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from agent.checks.spec import CheckKind
from agent.settings.settings import AgentSettings
from dns.forward_rules import read_rules
from registry_core.replica_settings import ReplicaSettings
from registry_core.security.client_settings import ClientTlsSettings
from registry_core.security.pem_paths import KeyPair
from registry_core.settings import Listen
from tests.certificates import Authority
from tests.integration.agent.registries.test_registries import srv
from tests.integration.agents import QUICK, AgentUnderTest, becomes, line_to, spec, stand_in, standing
from tests.integration.replicas import serving
from tests.integration.tls import TlsFiles, tls_files
from tests.programs import eventually, free_port
from tests.resolvers import resolver

BILLING = "URI:spiffe://fleet.example/service/billing"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "fleet")


@pytest.fixture
def files(tmp_path: Path, authority: Authority) -> TlsFiles:
    return tls_files(tmp_path, authority)


def trusting(ca: Path, pair: KeyPair | None = None, name: str = "") -> AgentSettings:
    return msgspec.structs.replace(QUICK, tls=ClientTlsSettings(str(ca), pair, name))


async def connected(agent: AgentUnderTest) -> object:
    return (await agent.get("/self")).body["sync"]["connected"]


async def test_the_fleets_authority_is_changed_and_no_watch_is_dropped(files: TlsFiles, tmp_path: Path) -> None:
    """Old and new together at the agents, the new certificate at the registry, then the new authority alone."""
    new = Authority(tmp_path / "new")
    ca = tmp_path / "ca.pem"
    ca.write_text(files.authority.ca.read_text())
    async with (
        stand_in() as service,
        serving(files.settings(), tls=files.trusting()) as api,
        standing(api.url, spec(service, check=CheckKind.NONE), settings=trusting(ca)) as agent,
    ):
        await eventually(lambda: api.replica.view.catalog.names() == ["osint_service"], "it is registered")
        (watcher,) = api.replica.hub.watchers
        tls = agent.sidecar.tls
        assert tls is not None
        ca.write_text(files.authority.ca.read_text() + new.ca.read_text())
        assert await tls.look()
        files.replace(new.issue("IP:127.0.0.1"))
        assert await api.replica.tls.look()
        ca.write_text(new.ca.read_text())
        assert await tls.look()
        assert await connected(agent) is True
        assert api.replica.hub.watchers == {watcher}
        assert (await agent.get("/self")).body["sync"]["losses"] == 0
        # New connections are made with the new authority.
        watcher.close()
        await eventually(lambda: api.replica.hub.watchers not in ({watcher}, set()), "the agent is back")
        assert (await agent.get("/self")).body["tls"] == {"serial": "", "expires_at": None, "problem": ""}


@pytest.mark.parametrize(
    ("names", "trusts", "because"),
    [
        (("DNS:elsewhere.example",), True, "its certificate is for another"),
        (("IP:127.0.0.1",), False, "its certificate comes from an authority that is not trusted here"),
    ],
)
async def test_a_registry_that_is_not_the_right_one_gets_nothing(
    authority: Authority, tmp_path: Path, names: tuple[str, ...], *, trusts: bool, because: str
) -> None:
    files = tls_files(tmp_path, authority, names)
    other = Authority(tmp_path / "other")
    settings = trusting(authority.ca if trusts else other.ca)
    async with (
        stand_in() as service,
        serving(files.settings()) as api,
        standing(api.url, spec(service, check=CheckKind.NONE), settings=settings) as agent,
    ):

        async def is_told() -> bool:
            (own,) = (await agent.get("/self")).body["services"]
            return because in own["problem"]

        await becomes(is_told, wanted=True)
        assert api.replica.view.catalog.names() == []
        assert api.replica.tls.handshakes()["done"] == 0


async def test_a_name_for_all_registries_replaces_their_hosts(authority: Authority, tmp_path: Path) -> None:
    files = tls_files(tmp_path, authority, ("DNS:registry.example",))
    async with (
        serving(files.settings()) as api,
        standing(api.url, settings=trusting(authority.ca, name="registry.example")) as agent,
    ):
        await becomes(lambda: connected(agent), wanted=True)


@pytest.mark.parametrize(("name", "reached"), [("fleet.example", True), ("localhost", False)])
async def test_registries_found_by_srv_have_certificates_for_the_name_that_was_asked(
    authority: Authority, tmp_path: Path, name: str, *, reached: bool
) -> None:
    """One that has a certificate for the target of a forged record is not taken for the registry."""
    files = tls_files(tmp_path, authority, (f"DNS:{name}",))

    async with serving(files.settings()) as api:
        target = f"0 5 {api.replica.listen.port} localhost."
        async with resolver(srv(target, ttl_s=300, domain="fleet.example")) as by:
            settings = msgspec.structs.replace(trusting(authority.ca), dns_forward=read_rules(f"127.0.0.1:{by.port}"))
            async with standing("srv+https:_registry._tcp.fleet.example", settings=settings) as agent:
                if reached:
                    await becomes(lambda: connected(agent), wanted=True)
                else:
                    await eventually(lambda: api.replica.tls.handshakes()["failed"] > 0, "it was refused")
                    assert await connected(agent) is False


async def test_replicas_ask_each_other_over_tls(files: TlsFiles, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    other_files = tls_files(folder, files.authority)
    ports = free_port(), free_port()
    peers = tuple(f"https://127.0.0.1:{port}" for port in ports)
    trusted = ClientTlsSettings(str(files.authority.ca))

    def settings(of: TlsFiles, port: int) -> ReplicaSettings:
        return msgspec.structs.replace(of.settings(), listen=Listen("127.0.0.1", port), peers=peers, client_tls=trusted)

    async with (
        serving(settings(files, ports[0]), tls=files.trusting()) as one,
        serving(settings(other_files, ports[1]), tls=files.trusting()) as other,
    ):
        view = await one.register("billing", port=2000)
        path = f"/billing/{view['instance_id']}"
        assert (await one.call("PUT", f"/status{path}", {"status": "draining"})).status == 200
        drain = (await one.call("GET", f"/drain{path}")).body
        assert drain["silent_replicas"] == 1  # it does not know the instance: each has a store of its own
        assert other.replica.tls.handshakes()["done"] > 0
        assert other.replica.tls.handshakes()["failed"] == 0


async def test_http_and_https_mixed_up_is_said_in_one_line(files: TlsFiles) -> None:
    async with (
        stand_in() as service,
        serving(files.settings()) as with_tls,
        serving() as without,
        standing(with_tls.url.replace("https:", "http:"), spec(service, "one", check=CheckKind.NONE)) as plain,
        standing(
            without.url.replace("http:", "https:"),
            spec(service, "two", check=CheckKind.NONE),
            settings=trusting(files.authority.ca),
        ) as over_tls,
    ):

        async def problem(agent: AgentUnderTest, wanted: str) -> bool:
            (own,) = (await agent.get("/self")).body["services"]
            return wanted in own["problem"]

        await becomes(lambda: problem(plain, "the URL must begin with https://"), wanted=True)
        await becomes(lambda: problem(over_tls, "it does not speak TLS there"), wanted=True)


async def test_an_agent_is_known_by_its_certificate_once_it_has_one(files: TlsFiles, tmp_path: Path) -> None:
    """The registry issues the certificate to an agent that is connected already."""
    cert, key = tmp_path / "agent.pem", tmp_path / "agent.key"
    settings = trusting(files.authority.ca, KeyPair(str(cert), str(key)))
    async with (
        serving(files.settings(mutual=True)) as api,
        line_to(api.replica.listen.port) as line,
        standing(f"https://127.0.0.1:{line.port}", settings=settings) as agent,
    ):
        mutual = api.replica.tls.mutual
        await becomes(lambda: connected(agent), wanted=True)
        assert len(mutual) == 0
        assert "REGISTRY_CLIENT_CERT" in str((await agent.get("/health")).body["reasons"])
        made = await asyncio.to_thread(files.authority.issue, BILLING)
        key.write_text(made.key.read_text())
        cert.write_text(made.cert.read_text())
        tls = agent.sidecar.tls
        assert tls is not None
        assert await tls.look()
        line.cut()  # what is open goes on with what it began with
        await eventually(lambda: len(mutual) > 0, "the agent shows its certificate")
        assert "TLS" not in str((await agent.get("/health")).body["reasons"])
        cert.write_text("broken")
        assert [await tls.look() for _ in range(2)] == [False, False]
        assert "it does not hold a certificate" in str((await agent.get("/self")).body["tls"]["problem"])
        assert len(mutual) > 0


def test_an_agent_without_tls_loads_none_of_it() -> None:
    asked = (
        "import sys, agent.sidecar; print(sorted(name for name in sys.modules if 'security.tls' in name or "
        "name.endswith(('mutual_tls', 'replica_tls'))))"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
