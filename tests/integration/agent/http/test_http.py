"""The agent's HTTP face, over real HTTP, from a view on a clock that the test sets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from agent.settings.settings import AgentSettings
from registry_core.domain.catalog import Catalog
from registry_core.domain.events import Position
from registry_core.domain.records import Instance, Status
from registry_core.domain.selection import WhenNonePass
from registry_core.errors import CannotListen
from registry_core.settings import Listen
from registry_core.watch.changes import Replaced
from registry_core.watch.cursor import cursor_of
from tests.integration.agents import QUICK, AgentUnderTest, becomes, standing
from tests.integration.replicas import Api
from tests.programs import free_port
from tests.samples import FakeClock, instance, lived

NOBODY = "http://127.0.0.1:1"


def everything(*instances: Instance, state: str = "ready") -> Replaced:
    catalog = Catalog()
    catalog.merge(lived(i) for i in instances)
    return Replaced(
        tuple(lived(i, 1000.0) for i in instances), cursor_of([Position(0, "e", 1)]), catalog.digest, state, "start"
    )


OSINT = (
    instance("osint_service", "10.0.0.1", zone="a", weight=1, tags=("blue",), version="1.4.2"),
    instance("osint_service", "10.0.0.2", zone="b", weight=50, tags=("blue", "canary"), version="2.0.0"),
    instance("osint_service", "10.0.0.3", zone="b", weight=9, status=Status.CRITICAL),
)


class Frozen(AgentUnderTest):
    """An agent without a registry, whose view comes from the test."""

    clock: FakeClock

    def show(self, *instances: Instance, state: str = "ready") -> None:
        self.sidecar.view.opened(1000.0)
        self.sidecar.view.apply(everything(*instances, state=state))


@contextlib.asynccontextmanager
async def frozen(settings: AgentSettings = QUICK) -> AsyncIterator[Frozen]:
    clock = FakeClock()
    async with standing(NOBODY, settings=settings, clock=clock) as agent:
        still = Frozen(agent.sidecar, agent.session)
        still.clock = clock
        yield still


@pytest_asyncio.fixture
async def agent() -> AsyncIterator[Frozen]:
    async with frozen(msgspec.structs.replace(QUICK, zone="a")) as running:
        running.show(*OSINT, instance("geo", "2001:db8::1", 8035))
        yield running


def hosts(body: Any) -> list[str]:
    return [shown["host"] for shown in body["instances"]]


async def test_a_service_is_shown_as_the_registry_shows_it(api: Api) -> None:
    await api.register("osint_service", "10.0.0.1", tags=["blue"], metadata={"team": "osint"})
    async with standing(api.url) as agent:
        await becomes(lambda: agent.addresses("osint-service"), ["10.0.0.1"])
        here = (await agent.get("/services/osint-service")).body
        there = (await api.call("GET", "/services/osint-service")).body
        for body in (here, there):
            for shown in (body, *body["instances"]):
                assert 0 < shown.pop("ttl_remaining") <= 60
        assert here == there


async def test_the_nearest_and_heaviest_come_first(agent: Frozen) -> None:
    body = (await agent.get("/services/osint_service")).body
    assert hosts(body) == ["10.0.0.1", "10.0.0.2"]
    assert body["host"] == "10.0.0.1", "the one in this agent's zone is picked"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("tag=canary", ["10.0.0.2"]),
        ("version=1.4", ["10.0.0.1"]),
        ("zone=b", ["10.0.0.2"]),
        ("status=critical", ["10.0.0.3"]),
        ("tag=blue&version=2.0.0", ["10.0.0.2"]),
    ],
)
async def test_filters_are_those_of_the_registry(agent: Frozen, query: str, found: list[str]) -> None:
    assert hosts((await agent.get(f"/services/osint-service?{query}")).body) == found
    assert (await agent.get(f"/resolve/osint-service?{query}")).body["host"] == found[0]


async def test_one_instance_comes_as_json_or_as_text_for_a_command_line(agent: Frozen) -> None:
    assert (await agent.get("/resolve/osint_service")).body["instance_id"] == "10.0.0.1:8034"
    url = await agent.get("/resolve/osint_service?format=url")
    assert url.body == b"http://10.0.0.1:8034\n"
    assert url.headers["Content-Type"].startswith("text/plain")
    assert (await agent.get("/resolve/geo?format=hostport")).body == b"[2001:db8::1]:8035\n"
    assert (await agent.get("/resolve/geo?format=json")).body["port"] == 8035


@pytest.mark.parametrize("name", ["Geo", "geo.vertice.internal", "GEO.Vertice.Internal."])
async def test_a_name_may_have_capitals_and_the_zone(agent: Frozen, name: str) -> None:
    assert (await agent.get(f"/services/{name}")).body["service_name"] == "geo"
    assert (await agent.get(f"/resolve/{name}?format=hostport")).body == b"[2001:db8::1]:8035\n"
    assert (await agent.get(f"/explain/{name}")).body["found"] is True


async def test_the_list_of_services_can_be_summed_up(agent: Frozen) -> None:
    assert (await agent.get("/services")).body == ["geo", "osint_service"]
    for given in ("true", "1"):
        geo, osint = (await agent.get(f"/services?summary={given}")).body
        assert geo["endpoints"] == ["http://[2001:db8::1]:8035"]
        assert osint == {
            "service_name": "osint_service",
            "held": True,
            "instances": 3,
            "statuses": {"passing": 2, "critical": 1},
            "endpoints": ["http://10.0.0.1:8034", "http://10.0.0.2:8034", "http://10.0.0.3:8034"],
        }
    assert (await agent.get("/services?summary=much")).status == 400


async def test_answers_show_their_age(agent: Frozen) -> None:
    agent.sidecar.view.lost()
    seen = []
    for _ in range(4):
        for path in ("/services/geo", "/services", "/resolve/geo?format=url"):
            answer = await agent.get(path)
            seen.append((answer.status, int(answer.headers["Age"]), answer.headers["X-Cache"]))
        agent.clock.pass_time(20.5)
    ages = [(0, "fresh"), (20, "fresh"), (41, "stale"), (61, "expired")]
    assert seen == [(200, age, cache) for age, cache in ages for _ in range(3)]


async def test_a_nonexistent_name_is_not_found(agent: Frozen) -> None:
    for path in ("/services/nobody", "/resolve/nobody"):
        answer = await agent.get(path)
        assert answer.status == 404
        assert answer.body["error"] == "NotFound"
        assert answer.body["provided"] == "nobody"
    answer = await agent.get("/services/osint-service?tag=green")
    assert (answer.status, answer.body["error"]) == (404, "NotFound")
    assert "matches the filters" in answer.body["message"]


async def test_a_service_without_passing_instances_is_reported_as_such(agent: Frozen) -> None:
    agent.show(OSINT[2])
    answer = await agent.get("/services/osint_service")
    assert answer.status == 404
    assert "none of its instances is usable now (critical)" in answer.body["message"]
    async with frozen(msgspec.structs.replace(QUICK, when_none_pass=WhenNonePass.ALL)) as trusting:
        trusting.show(OSINT[2])
        assert hosts((await trusting.get("/services/osint_service")).body) == ["10.0.0.3"]


async def test_before_the_first_snapshot_no_name_is_reported_as_missing() -> None:
    async with frozen() as agent:
        answer = await agent.get("/services/osint-service")
        assert (answer.status, answer.body["error"]) == (503, "Warming")
        assert int(answer.headers["Retry-After"]) >= 1
        assert (await agent.get("/ready")).status == 503
        assert (await agent.get("/live")).status == 200
        health = await agent.get("/health")
        assert (health.status, health.body["status"]) == (503, "unhealthy")
        agent.show()
        assert (await agent.get("/services/osint-service")).status == 404
        assert (await agent.get("/ready")).status == 200


async def test_an_unknown_name_is_undecided_while_the_registry_warms_up() -> None:
    async with frozen() as agent:
        agent.show(OSINT[0], state="warming")
        assert (await agent.get("/services/osint-service")).status == 200
        for path in ("/services/nobody", "/services/osint-service?tag=green"):
            answer = await agent.get(path)
            assert (answer.status, answer.body["error"]) == (503, "Warming")
        assert (await agent.get("/ready")).status == 200


async def test_an_old_view_still_answers_but_reports_no_name_as_missing(agent: Frozen) -> None:
    agent.sidecar.view.lost()
    agent.clock.pass_time(3600)
    assert (await agent.get("/services/geo")).status == 200
    answer = await agent.get("/services/nobody")
    assert (answer.status, answer.body["error"]) == (503, "ViewTooOld")
    health = await agent.get("/health")
    assert (health.status, health.body["status"]) == (200, "degraded")


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/services/os!int", "service_name"),
        ("/services/geo?colour=blue", "colour"),
        ("/services?tag=blue", "tag"),
        ("/services/geo?status=odd", "status"),
        ("/services/geo?tag=Blue", "tag"),
        ("/services/geo?tag=a&tag=b", "tag"),
        ("/services/geo?format=url", "format"),
        ("/resolve/geo?format=xml", "format"),
        ("/health?x=1", "x"),
    ],
)
async def test_an_invalid_request_is_refused_in_the_standard_shape(agent: Frozen, path: str, field: str) -> None:
    answer = await agent.get(path)
    assert answer.status == 400
    assert answer.body["error"] == "ValidationError"
    assert answer.body["field"] == field


async def test_unknown_paths_and_methods_are_refused_in_the_standard_shape(agent: Frozen) -> None:
    answer = await agent.get("/nothing")
    assert (answer.status, answer.body["error"]) == (404, "NotFound")
    async with agent.session.post(agent.url + "/services", data=b"x" * 100) as response:
        assert response.status == 405
        assert "GET" in response.headers["Allow"]
        assert msgspec.json.decode(await response.read())["error"] == "MethodNotAllowed"


async def test_bytes_that_are_not_http_are_answered_without_disturbing_others(agent: Frozen) -> None:
    for sent in (b"\x16\x03\x01\x02\x00", b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", b"GET\r\n\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", agent.sidecar.http_listen.port)
        writer.write(sent)
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                await reader.read(1000)
        writer.close()
    assert (await agent.get("/live")).status == 200


async def test_an_internal_error_is_answered_and_not_fatal(agent: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent.sidecar.lookups, "names", lambda: 1 / 0)
    with capture_logs() as lines:
        answer = await agent.get("/services")
    assert (answer.status, answer.body["error"]) == (500, "InternalError")
    assert "request_failed" in [line["event"] for line in lines]
    assert (await agent.get("/services/geo")).status == 200


async def test_the_metrics_cover_every_part(agent: Frozen) -> None:
    await agent.get("/services/geo")
    await agent.get("/services/nobody")
    await agent.dig("geo.vertice.internal", "AAAA")
    await agent.dig("nobody.vertice.internal")
    text = (await agent.get("/metrics")).body.decode()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert values['agent_dns_queries_total{rcode="NOERROR",type="AAAA"}'] == "1.0"
    assert values['agent_dns_queries_total{rcode="NXDOMAIN",type="A"}'] == "1.0"
    assert values['cache_hits_total{cache="view"}'] == "1.0"
    assert values['cache_misses_total{cache="view"}'] == "1.0"
    assert values["agent_view_instances"] == "4.0"
    assert values["agent_sync_connected"] == "0.0"
    assert values['agent_registrations{phase="registered"}'] == "0.0"
    assert float(values["agent_memory_bytes"]) > 1e6


async def test_a_refused_snapshot_shows_everywhere(agent: Frozen) -> None:
    agent.show(state="warming")
    assert len((await agent.get("/services")).body) == 2, "the last good view is kept"
    agent.clock.pass_time(3)
    held_back = {"known_services": 2, "missing_services": 2, "held_seconds": 3.0}
    assert (await agent.get("/self")).body["view"]["loss_guard"] == held_back
    health = (await agent.get("/health")).body
    assert (health["status"], health["components"]["view"]["loss_guard"]) == ("degraded", held_back)
    text = (await agent.get("/metrics")).body.decode()
    assert "agent_loss_guard_holding 1.0" in text
    assert "agent_loss_guard_total 1.0" in text
    agent.show(*OSINT)
    assert (await agent.get("/self")).body["view"]["loss_guard"] is None


async def test_a_taken_port_is_reported_and_leaves_nothing_behind(agent: Frozen) -> None:
    for setting, port, what in (
        ("http_listen", agent.sidecar.http_listen.port, "HTTP"),
        ("dns_listen", agent.sidecar.dns_listen.port, "DNS"),
    ):
        settings = msgspec.structs.replace(QUICK, **{setting: Listen("127.0.0.1", port)})
        with pytest.raises(CannotListen, match=f"{port} for {what}: the port is taken"):
            async with standing(NOBODY, settings=settings):
                pass


async def test_a_dns_port_taken_only_for_tcp_is_reported(agent: Frozen) -> None:
    port = free_port()
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", port)
    try:
        settings = msgspec.structs.replace(QUICK, dns_listen=Listen("127.0.0.1", port))
        with pytest.raises(CannotListen, match="DNS over TCP"):
            async with standing(NOBODY, settings=settings):
                pass
    finally:
        server.close()


async def raw(agent: Frozen, request: bytes) -> bytes:
    """Return everything received for these bytes on one connection, until it is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", agent.sidecar.http_listen.port)
    writer.write(request)
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


CLOSE = b"Host: x\r\nConnection: close\r\n\r\n"
KEEP = b"Host: x\r\n\r\n"


async def test_a_ready_answer_equals_a_computed_one(agent: Frozen) -> None:
    first = await agent.get("/services/osint_service?tag=canary")
    again = await agent.get("/services/osint_service?tag=canary")
    assert (first.status, first.body) == (again.status, again.body)
    kept = {"Content-Type", "Content-Length", "Age", "X-Cache"}
    assert {name: first.headers[name] for name in kept} == {name: again.headers[name] for name in kept}


async def test_a_change_shows_in_the_very_next_answer(agent: Frozen) -> None:
    assert (await agent.get("/services/osint_service?tag=canary")).body["host"] == "10.0.0.2"
    moved = msgspec.structs.replace(OSINT[1], host="10.0.0.9", addresses=("10.0.0.9",))
    agent.sidecar.view.apply(everything(OSINT[0], moved))
    assert (await agent.get("/services/osint_service?tag=canary")).body["host"] == "10.0.0.9"
    assert (await agent.get("/services")).body == ["osint_service"]


async def test_pipelined_requests_are_answered_in_order(agent: Frozen) -> None:
    targets = [b"/services", b"/resolve/osint_service?tag=canary&format=url", b"/nothing", b"/services"] * 3
    requests = b"".join(b"GET %b HTTP/1.1\r\n" % target + KEEP for target in targets)
    answers = (await raw(agent, requests + b"GET /live HTTP/1.1\r\n" + CLOSE)).split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200", b"200", b"404", b"200"] * 3 + [b"200"]
    assert answers[5].endswith(b"http://10.0.0.2:8034\n")


@pytest.mark.parametrize(
    ("line", "headers"),
    [(b"GET /services HTTP/1.0", KEEP), (b"GET /services HTTP/1.1", CLOSE), (b"HEAD /services HTTP/1.1", CLOSE)],
)
async def test_http_1_0_clients_and_connection_close_are_served_too(agent: Frozen, line: bytes, headers: bytes) -> None:
    await agent.get("/services")  # from now on it is ready
    answer = await raw(agent, line + b"\r\n" + headers)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 200 OK" in head
    assert b"X-Cache: fresh" in head
    assert body == (b"" if line.startswith(b"HEAD") else b'["geo","osint_service"]')
