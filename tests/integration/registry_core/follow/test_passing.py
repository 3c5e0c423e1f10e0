"""Writes at a follower: carried out by the registry, with the caller's own credentials, and answered by nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web
from yarl import URL

from registry_core.api.limit_settings import LimitSettings, RequestRate
from registry_core.api.schemas import MAX_BODY_BYTES
from registry_core.domain.chain import VIA_HEADER
from registry_core.follow import passing
from registry_core.security.client_settings import ClientTlsSettings
from registry_core.security.pem_paths import KeyPair
from registry_core.security.signing_keys import SigningKey, api_key, service_key, shared_key
from tests.certificates import Authority
from tests.integration.registry_core.follow.followers import CLOSED, SECRET, follower_of, following, follows
from tests.integration.replicas import READY, Api, serving
from tests.integration.signed_requests import GOOD, signed_request
from tests.integration.tls import tls_files
from tests.programs import eventually, free_port

INSTANCE = "/ip_intel/10.0.0.7:8034"


@pytest.mark.parametrize("key", [shared_key(SECRET), service_key("ip_intel", SECRET)], ids=lambda key: str(key.id))
async def test_each_signed_write_through_two_followers_is_the_registrys(
    key: SigningKey, registry: Api, second: Api
) -> None:
    calls = [
        ("POST", "/register", GOOD, 201),
        ("POST", "/heartbeat", {"instances": [{"service_name": "ip_intel", "instance_id": "10.0.0.7:8034"}]}, 200),
        ("PUT", f"/status{INSTANCE}", {"status": "warning"}, 200),
        ("PUT", f"/status{INSTANCE}?", {"status": "passing"}, 200),
        ("GET", f"/drain{INSTANCE}", None, 200),
        ("GET", "/guard", None, 200),
        ("DELETE", f"/deregister{INSTANCE}?epoch=0", None, 200),
        ("DELETE", f"/deregister{INSTANCE}?epoch=0", None, 404),
    ]
    for method, path, body, status in calls:
        answer = await signed_request(key, method, path, body).send(second)
        assert answer.status == status, answer.body
        known = registry.replica.view.catalog.find("ip-intel")
        assert bool(known) == (method != "DELETE")
    accepted = registry.replica.metrics.registry
    # Reads need none, and were passed on even so; the follower signs its own requests as well.
    count = accepted.get_sample_value("registry_credentials_accepted_total", {"form": "signature"})
    assert count is not None
    assert count >= 6


async def test_a_write_is_acknowledged_when_the_registry_has_it_and_is_then_seen_below(
    registry: Api, second: Api
) -> None:
    answer = await signed_request(service_key("ip_intel", SECRET)).send(second)
    assert answer.status == 201
    assert registry.replica.view.catalog.find("ip-intel")
    await eventually(lambda: bool(second.replica.view.catalog.find("ip-intel")), "it is seen at the second follower")


async def test_plain_credentials_go_on_as_they_are(registry: Api, edge: Api) -> None:
    for header in ({"X-Registry-Token": SECRET}, {"X-Registry-API-Key": api_key("ip_intel", SECRET)}):
        assert (await edge.call("POST", "/register", GOOD, headers=header)).status == 201
    wrong = await edge.call("POST", "/register", GOOD, headers={"X-Registry-Token": "wrong"})
    nobody = await edge.call("POST", "/register", GOOD)
    assert (wrong.status, nobody.status) == (401, 401)
    direct = await registry.call("POST", "/register", GOOD)
    assert nobody.headers["WWW-Authenticate"] == direct.headers["WWW-Authenticate"]
    assert nobody.body == direct.body


async def test_errors_are_those_of_the_registry(registry: Api, edge: Api) -> None:
    token = {"X-Registry-Token": SECRET}
    for body in ({**GOOD, "port": 1}, {"nonsense": 1}, b"[", {**GOOD, "service_name": "x"}):
        there = await registry.call("POST", "/register", body, headers=token)
        here = await edge.call("POST", "/register", body, headers=token)
        assert (here.status, here.body) == (there.status, there.body)
        assert here.status == 400


async def test_a_signature_goes_through_once(edge: Api) -> None:
    request = signed_request(service_key("ip_intel", SECRET), nonce=secrets.token_urlsafe(16))
    assert (await request.send(edge)).status == 201
    again = await request.send(edge)
    assert (again.status, again.body["error"]) == (401, "Replayed")


async def test_without_the_registry_nothing_is_acknowledged_and_lookups_go_on(registry: Api, edge: Api) -> None:
    assert (await signed_request(service_key("ip_intel", SECRET)).send(edge)).status == 201
    await eventually(lambda: bool(edge.replica.view.catalog.find("ip-intel")), "it is seen at the follower")
    await registry.replica.close()
    for method, path in (("POST", "/register"), ("DELETE", f"/deregister{INSTANCE}"), ("GET", "/guard")):
        answer = await signed_request(shared_key(SECRET), method, path).send(edge)
        assert (answer.status, answer.body["error"]) == (503, "UpstreamUnavailable"), answer.body
        assert int(answer.headers["Retry-After"]) >= 1
    assert (await edge.call("GET", "/services/ip_intel")).status == 200


async def test_a_body_that_is_too_long_is_refused_at_once(edge: Api) -> None:
    answer = await edge.call("POST", "/register", b"x" * (MAX_BODY_BYTES + 1))
    assert answer.status == 413


async def test_the_next_upstream_is_asked_when_one_is_away(registry: Api) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    async with serving(following(away, registry.url, settings=CLOSED)) as api:
        await eventually(lambda: follows(api), "the follower follows the second one")
        assert (await signed_request(service_key("ip_intel", SECRET)).send(api)).status == 201


async def test_a_follower_that_follows_itself_passes_nothing_on_in_circles() -> None:
    port = free_port()
    settings = msgspec.structs.replace(following(f"http://127.0.0.1:{port}"))
    settings = msgspec.structs.replace(settings, listen=msgspec.structs.replace(settings.listen, port=port))
    async with serving(settings) as api:
        answer = await api.call("POST", "/register", GOOD)
        assert (answer.status, answer.body["error"]) == (503, "FollowLoop")
        follower = api.replica.follower
        assert follower is not None
        await eventually(lambda: "to itself" in follower.watch.problem, "the follower sees that it would follow itself")
        assert not follows(api)
        health = (await api.call("GET", "/health")).body
        assert "to itself" in health["components"]["follow"]["problem"]


async def statuses(edge: Api, client: str, ports: range) -> list[int]:
    """Return the answers to registrations of a client that comes through a proxy of the edge."""
    headers = {"X-Registry-Token": SECRET, "X-Forwarded-For": client}
    return [(await edge.call("POST", "/register", {**GOOD, "port": port}, headers=headers)).status for port in ports]


@pytest.mark.parametrize("is_believed", [True, False])
async def test_limits_by_address_count_the_clients_of_a_follower_that_is_believed(is_believed: bool) -> None:
    limited = msgspec.structs.replace(CLOSED, limits=LimitSettings(register=RequestRate(3, 60), pause_s=0.0))
    proxied = LimitSettings(register=None, trusted_proxies=("127.0.0.1/32",))
    own = msgspec.structs.replace(CLOSED if is_believed else READY, limits=proxied)
    async with serving(limited) as registry, follower_of(registry, settings=own) as edge:
        assert await statuses(edge, "203.0.113.9", range(8100, 8105)) == [201, 201, 201, 429, 429]
        assert await statuses(edge, "203.0.113.200", range(8200, 8203)) == [201 if is_believed else 429] * 3


async def upstream_that(
    handle: Callable[[web.Request], Awaitable[web.Response]], stack: contextlib.AsyncExitStack
) -> str:
    """Run a program that is no registry; return its URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr] # it listens


async def test_a_request_goes_on_octet_by_octet() -> None:
    got: list[tuple[str, str, bytes, dict[str, str]]] = []

    async def note(request: web.Request) -> web.Response:
        if request.path in {"/watch", "/live", "/certificates/denied"}:
            return web.Response(status=404)
        got.append((request.method, request.raw_path, await request.read(), dict(request.headers)))
        return web.Response(status=418, body=b"\x00\xff", headers={"X-Of-A-Later-Release": "1", "ETag": '"x"'})

    async with contextlib.AsyncExitStack() as stack:
        url = await upstream_that(note, stack)
        api = await stack.enter_async_context(serving(following(url)))
        sent = b'{"service_name" : "ip_intel"}\n\xff'
        target = "/deregister/%69p_intel/10.0.0.7:8034?epoch=%30&of_a_later_release=+%20"
        headers = {"Content-Type": "application/json; x=1", "X-Signed-Later": "a,b", "Accept": "x/y"}
        answer = await api.call("POST", "/register", sent, headers=headers)
        assert (answer.status, answer.body) == (418, b"\x00\xff")
        assert (answer.headers["X-Of-A-Later-Release"], answer.headers["ETag"]) == ("1", '"x"')
        async with api.session.request("DELETE", URL(api.url + target, encoded=True)) as response:
            assert response.status == 418
        bare = ("Content-Type", "Accept", "Accept-Encoding", "User-Agent")
        async with api.session.post(f"{api.url}/heartbeat", data=b"{}", skip_auto_headers=bare) as response:
            assert response.status == 418
        (post, delete, beat) = got
        # Nothing is added but what says who passes it on.
        added = {"x-registry-via", "traceparent", "user-agent"}
        assert {name.lower() for name in beat[3]} <= {"host", "content-length", *added}
        assert post[:3] == ("POST", "/register", sent)
        assert {name: post[3][name] for name in headers} == headers
        assert len(post[3][VIA_HEADER]) == 16
        assert delete[:3] == ("DELETE", target, b"")
        assert "Content-Type" not in delete[3]


async def test_requests_under_way_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    most = 8
    monkeypatch.setattr(passing, "MAX_UNDER_WAY", most)
    hold = asyncio.Event()

    async def silent(request: web.Request) -> web.Response:
        if request.path == "/live":
            return web.Response()
        await hold.wait()
        return web.Response(status=404)

    async with contextlib.AsyncExitStack() as stack:
        url = await upstream_that(silent, stack)
        stack.callback(hold.set)
        limits = LimitSettings(register=None)
        api = await stack.enter_async_context(
            serving(following(url, settings=msgspec.structs.replace(READY, limits=limits)))
        )
        follower = api.replica.follower
        assert follower is not None
        connector = aiohttp.TCPConnector(limit=0)
        client = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        held = [
            asyncio.ensure_future(client.post(api.url + "/register", json={**GOOD, "port": 2000 + number}))
            for number in range(most)
        ]
        await eventually(lambda: follower.passing.under_way == most, "all of them are under way")
        answer = await api.call("POST", "/register", GOOD)
        assert (answer.status, answer.body["error"]) == (503, "Overloaded")
        hold.set()
        await asyncio.gather(*held)
        await eventually(lambda: follower.passing.under_way == 0, "none is left")


async def test_a_large_answer_is_passed_on_whole() -> None:
    large = secrets.token_bytes(1_000_000)

    async def answers(request: web.Request) -> web.Response:
        return web.Response(body=large) if request.path == "/agents" else web.Response(status=404)

    async with contextlib.AsyncExitStack() as stack:
        api = await stack.enter_async_context(serving(following(await upstream_that(answers, stack))))
        answer = await api.call("GET", "/agents")
        assert answer.body == large
        head = await api.call("HEAD", "/agents")
        assert (head.status, head.headers["Content-Length"]) == (200, str(len(large)))


async def test_a_write_that_waited_while_the_follower_stood_still_is_not_passed_on(registry: Api, edge: Api) -> None:
    edge.replica._gate._standstills.turned(time.clock_gettime(time.CLOCK_BOOTTIME) - 60, waiting=False)
    await edge.replica._gate.turn()
    answer = await signed_request(service_key("ip_intel", SECRET)).send(edge)
    assert (answer.status, answer.body["error"]) == (503, "StoodStill")
    assert not registry.replica.view.catalog.find("ip-intel")


async def test_the_certificate_of_a_follower_is_not_that_of_its_callers(tmp_path: Path) -> None:
    files = tls_files(tmp_path, Authority(tmp_path / "fleet"))
    settings = msgspec.structs.replace(files.settings(mutual=True, required=True), secrets=(SECRET,), warming_s=0.0)
    closed = msgspec.structs.replace(
        settings,
        access=msgspec.structs.replace(settings.access, reads_are_open=False),
        limits=LimitSettings(register=RequestRate(3, 60), pause_s=0.0),
    )
    shown = files.authority.issue("URI:spiffe://fleet.example/role/follower")
    client = ClientTlsSettings(str(files.authority.ca), KeyPair(str(shown.cert), str(shown.key)))
    own = msgspec.structs.replace(
        READY, client_tls=client, limits=LimitSettings(register=None, trusted_proxies=("127.0.0.1/32",))
    )
    async with serving(closed, tls=files.trusting(shown)) as registry, follower_of(registry, settings=own) as edge:
        assert edge.replica.follower is not None
        assert edge.replica.follower.path()
        # With that certificate it is believed on addresses.
        assert await statuses(edge, "203.0.113.9", range(8100, 8105)) == [201, 201, 201, 429, 429]
        assert await statuses(edge, "203.0.113.200", range(8200, 8203)) == [201, 201, 201]
        # The follower itself may look up and observe; its askers get no more than its own credentials give.
        for method, path in (("GET", "/guard"), ("GET", "/audit/head"), ("POST", "/guard/release")):
            assert (await edge.call(method, path)).status == 401
        assert (await edge.call("POST", "/register", GOOD)).status == 401
        # A plain credential counts, as the certificate before it does not.
        assert (await edge.call("GET", "/guard", headers={"X-Registry-Token": SECRET})).status == 200


async def test_without_knowing_that_it_is_told_apart_a_follower_with_a_certificate_passes_on_signed_requests_alone(
    tmp_path: Path,
) -> None:
    files = tls_files(tmp_path, Authority(tmp_path / "fleet"))
    settings = msgspec.structs.replace(files.settings(mutual=True), secrets=(SECRET,), warming_s=0.0)
    shown = files.authority.issue("URI:spiffe://fleet.example/role/follower")
    client = ClientTlsSettings(str(files.authority.ca), KeyPair(str(shown.cert), str(shown.key)))
    own = msgspec.structs.replace(READY, client_tls=client)
    async with serving(settings, tls=files.trusting(shown)) as registry, follower_of(registry, settings=own) as edge:
        assert edge.replica.follower is not None
        edge.replica.follower.passing.is_told_apart = lambda: False
        for path in ("/guard", "/audit/head"):
            answer = await edge.call("GET", path, headers={"X-Registry-Token": SECRET})
            assert (answer.status, answer.body["error"]) == (503, "UpstreamUnavailable")
        assert (await signed_request(service_key("ip_intel", SECRET)).send(edge)).status == 201
