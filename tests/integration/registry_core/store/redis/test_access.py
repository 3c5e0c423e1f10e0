"""The store over TLS, and with authentication everywhere: real servers, real failovers."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from registry_core.domain.leases import LeaseTerms
from registry_core.errors import SettingsError
from registry_core.ports.clock import SystemClock
from registry_core.ports.once import SignedOnce, signed_once
from registry_core.ports.store import Beat
from registry_core.replica_settings import replica_values, settings_from
from registry_core.store.redis.masters import masters_of
from registry_core.store.redis.store import RedisStore
from registry_core.store.redis.tls import redis_tls
from registry_core.store.redis.url import RedisSettings, ServerAccess, redis_settings
from registry_core.store.redis.writes import QueueTerms
from tests.certificates import Authority
from tests.contract.harness import RecordingFeed
from tests.integration.registry_core.store.redis.test_start import LEAST
from tests.programs import eventually
from tests.redis_topology import Guarding, Tls, redis_server, topology
from tests.samples import claim

NOTHING: Mapping[str, str] = {}


def settings_of(url: str, more: Mapping[str, str]) -> RedisSettings:
    """Return the settings of a store, as a replica reads them."""
    redis = settings_from(replica_values({"REGISTRY_STORE": url, **more})).redis
    assert redis is not None
    return redis


@contextlib.asynccontextmanager
async def store_at(url: str, more: Mapping[str, str] = NOTHING) -> AsyncIterator[tuple[RedisStore, RecordingFeed]]:
    """Run a store on the servers in a URL, with more settings of a replica."""
    settings, feed = settings_of(url, more), RecordingFeed()
    store = RedisStore(
        masters_of(settings),
        prefix=settings.prefix,
        replicas=settings.replicas,
        terms=LeaseTerms(),
        clock=SystemClock(),
        random=random.Random(1),
        queue_terms=QueueTerms(operation_s=20.0),
    )
    await store.start(feed)
    try:
        yield store, feed
    finally:
        await store.close()


async def every_operation(store: RedisStore) -> None:
    """Do everything that a store does."""
    record = (await store.register(claim())).instance
    (renewed,) = await store.renew([Beat("ip_intel")])
    assert renewed.outcome == "renewed"
    await store.set_status(record.key, record.status)
    await store.sweep()
    await store.release_guard()
    await store.restore(record)
    await store.deregister(record.key)
    signed_once.set(SignedOnce(secrets.token_hex(8), secrets.token_hex(4), 1_000))
    await store.register(claim(port=1))
    signed_once.set(None)
    await store.deregister(claim(port=1).key)


@pytest.mark.parametrize("ask_clients", [False, True])
async def test_one_server_over_tls(tmp_path: Path, *, ask_clients: bool) -> None:
    ours = Authority(tmp_path / "ours")
    tls = Tls(ours.issue("IP:127.0.0.1"), ours.ca, ask_clients)
    client = ours.issue("DNS:replica")
    with redis_server(tmp_path / "redis", password="p@ss:w", tls=tls) as server:
        url = server.url.replace("p@ss:w", "p%40ss%3Aw")
        async with store_at(f"{url}&cert={client.cert}&key={client.key}" if ask_clients else url) as (store, _):
            await every_operation(store)


async def test_a_certificate_must_match_the_servers_name_and_not_its_address(tmp_path: Path) -> None:
    ours = Authority(tmp_path / "ours")
    with redis_server(tmp_path / "redis", tls=Tls(ours.issue("DNS:localhost"), ours.ca)) as server:
        async with store_at(server.url.replace("127.0.0.1", "localhost")) as (store, _):
            await every_operation(store)
        with pytest.raises(SettingsError, match="is for a different name than the one in the URL"):
            async with store_at(server.url):
                pass


async def test_a_named_authority_replaces_those_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system, named = Authority(tmp_path / "system"), Authority(tmp_path / "named")
    monkeypatch.setenv("SSL_CERT_FILE", str(system.ca))  # OpenSSL's own name for the system's authorities
    redis_tls.cache_clear()
    with redis_server(tmp_path / "redis", tls=Tls(system.issue("IP:127.0.0.1"), system.ca)) as server:
        plain = server.url.partition("/?")[0]
        async with store_at(plain) as (store, _):
            await every_operation(store)
        with pytest.raises(SettingsError, match="not signed by a trusted authority"):
            async with store_at(f"{plain}/?ca={named.ca}"):
                pass
    redis_tls.cache_clear()


def test_verification_cannot_be_turned_off() -> None:
    context = redis_tls(ServerAccess(tls=True)).renewal.current[0]
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"
    for option in ("insecure=1", "verify=no", "ssl_cert_reqs=none"):
        with pytest.raises(ValueError, match="unknown option"):
            redis_settings(f"rediss://h/?{option}")


async def test_a_user_with_minimal_permissions_is_enough(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        assert server.ask("ACL", "SETUSER", "vertice", "on", ">s3cret", "~vertice:*", *LEAST.split()) == "OK"
        async with store_at(f"redis://vertice:s3cret@127.0.0.1:{server.port}") as (store, feed):
            await every_operation(store)
            await store.register(claim())
            server.ask("FLUSHALL")
            before = store.shards()[0].epoch
            await eventually(lambda: store.shards()[0].epoch != before, "it is opened again")
            await store.register(claim())
            assert len(feed.catalog) == 1
        assert "NOPERM" not in str(server.ask("ACL", "LOG"))
        assert server.ask("ACL", "LOG") == [], "no permission is superfluous"


async def test_a_sentinel_user_with_minimal_permissions_is_enough(tmp_path: Path) -> None:
    with topology(tmp_path, replicas=1) as whole:
        for sentinel in whole.sentinels:
            rules = "resetchannels &* -@all +sentinel|get-master-addr-by-name +sentinel|master +sentinel|replicas"
            rules += " +subscribe +unsubscribe +ping"
            assert sentinel.ask("ACL", "SETUSER", "vertice", "on", ">s3cret", *rules.split()) == "OK"
        async with store_at(f"{whole.url}&sentinel_user=vertice&sentinel_password=s3cret") as (store, _):
            await every_operation(store)
        assert [sentinel.ask("ACL", "LOG") for sentinel in whole.sentinels] == [[], [], []]


async def test_a_revoked_permission_is_reported_until_it_returns(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        server.ask("ACL", "SETUSER", "vertice", "on", ">s3cret", "~vertice:*", *LEAST.split())
        async with store_at(f"redis://vertice:s3cret@127.0.0.1:{server.port}") as (store, _):
            server.ask("ACL", "SETUSER", "vertice", "-xread")
            await eventually(lambda: "'xread'" in store.shards()[0].problem, "it is told")
            server.ask("ACL", "SETUSER", "vertice", "+xread")
            await eventually(lambda: not store.shards()[0].problem, "it is over")
            await store.register(claim())


@pytest.mark.parametrize("over_tls", [False, True])
async def test_a_failover_with_authentication_everywhere(tmp_path: Path, *, over_tls: bool) -> None:
    ours = Authority(tmp_path / "ours")
    tls = Tls(ours.issue("IP:127.0.0.1"), ours.ca) if over_tls else None
    guarding = Guarding(password="n0de", sentinel_password="s3ntinel", tls=tls)
    with topology(tmp_path / "whole", guarding=guarding) as whole:
        async with store_at(whole.url) as (store, feed):
            await store.register(claim())
            node = whole.node_at(store.shards()[0].master)
            await asyncio.to_thread(node.kill)
            await store.register(claim("billing", port=9000))
            assert feed.catalog.names() == ["billing", "ip_intel"]
            assert whole.node_at(store.shards()[0].master) is not node


async def test_servers_have_one_name_wherever_sentinels_find_them(tmp_path: Path) -> None:
    """Sentinels name the masters by address, which no certificate of a moving server has."""
    ours = Authority(tmp_path / "ours")
    guarding = Guarding(tls=Tls(ours.issue("DNS:redis.fleet.example"), ours.ca))
    with topology(tmp_path / "whole", replicas=1, guarding=guarding) as whole:
        with pytest.raises(SettingsError, match="different name"):
            async with store_at(whole.url):
                pass
        named = {"REGISTRY_REDIS_TLS_NAME": "redis.fleet.example"}
        async with store_at(whole.url, named) as (store, _):
            await every_operation(store)
        with pytest.raises(SettingsError, match="different name"):
            async with store_at(whole.url, {"REGISTRY_REDIS_TLS_NAME": "other.fleet.example"}):
                pass


async def test_certificates_of_the_store_are_read_again(tmp_path: Path) -> None:
    """The authority of Redis and of its clients changes: connections stay, and new ones use the new files."""
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    ca, cert, key = tmp_path / "ca.pem", tmp_path / "replica.pem", tmp_path / "replica.key"
    both = tmp_path / "both.pem"
    both.write_text(old.ca.read_text() + new.ca.read_text())

    def use(authority: Authority) -> None:
        client = authority.issue("DNS:replica")
        for source, target in ((authority.ca, ca), (client.cert, cert), (client.key, key)):
            target.write_text(source.read_text())

    await asyncio.to_thread(use, old)
    with redis_server(tmp_path / "redis", tls=Tls(old.issue("IP:127.0.0.1"), both, ask_clients=True)) as server:
        files = {"REGISTRY_REDIS_CA": str(ca), "REGISTRY_REDIS_CERT": str(cert), "REGISTRY_REDIS_KEY": str(key)}
        async with store_at(f"rediss://{server.at}", files) as (store, _):
            access = store.shards()
            assert not access[0].problem
            await asyncio.to_thread(ca.write_text, both.read_text())
            tls = redis_tls(settings_of(f"rediss://{server.at}", files).access)
            assert await tls.renewal.look()
            fresh = new.issue("IP:127.0.0.1")
            for option, path in (("tls-key-file", fresh.key), ("tls-cert-file", fresh.cert)):
                server.ask("CONFIG", "SET", option, str(path))
            assert server.ask("CONFIG", "SET", "tls-cert-file", str(fresh.cert), "tls-key-file", str(fresh.key)) == "OK"
            await every_operation(store)
            server.ask("CLIENT", "KILL", "TYPE", "normal")  # all connect again, to the new certificate
            await every_operation(store)
            await asyncio.to_thread(use, new)
            assert await tls.renewal.look()
            server.ask("CONFIG", "SET", "tls-ca-cert-file", str(new.ca))
            server.ask("CLIENT", "KILL", "TYPE", "normal")
            await every_operation(store)
