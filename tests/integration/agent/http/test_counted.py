"""A real agent's metrics, asked by dig and curl: each number is what was asked, nothing is lost or counted twice."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.checks.flapping import FlapLimits
from agent.checks.spec import CheckKind, CheckPace, CheckSpec, TtlCheck
from agent.settings.local_port import WRITE_HEADER
from agent.settings.settings import ServiceSpec
from agent.sidecar import Sidecar
from dns.forward_rules import read_rules
from registry_core.domain.records import Registration
from tests.integration.agent.http.test_http import OSINT, Frozen, frozen
from tests.integration.agents import QUICK, AgentUnderTest, becomes, spec, stand_in
from tests.integration.replicas import Api
from tests.programs import find
from tests.resolvers import resolver, to
from tests.wire.asking import question

NAME = "osint-service.vertice.internal"
COUNTERS = ("counter", "histogram")


class Counted:
    """The counters of one scrape, by name and labels."""

    def __init__(self, text: str) -> None:
        self.values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        for family in text_string_to_metric_families(text):
            if family.type in COUNTERS:
                for sample in family.samples:
                    if not sample.name.endswith("_created"):
                        self.values[sample.name, tuple(sorted(sample.labels.items()))] = sample.value

    def of(self, name: str, **labels: str) -> float:
        """Return the sum over all series with these labels."""
        wanted = set(labels.items())
        return sum(value for (found, has), value in self.values.items() if found == name and wanted <= set(has))

    def since(self, before: Counted, name: str) -> dict[tuple[str, ...], float]:
        """Return what each series of `name` grew by, by the values of its labels, without those that did not."""
        grown = {key: value - before.values.get(key, 0.0) for key, value in self.values.items() if key[0] == name}
        return {tuple(value for _, value in labels): by for (_, labels), by in grown.items() if by}


async def scraped(agent: AgentUnderTest) -> Counted:
    return Counted((await agent.get("/metrics")).body.decode())


async def run(*argv: str) -> str:
    """Return what a program prints; it may fail."""
    program = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(program.communicate(), 30)
    return out.decode()


async def dig(agent: AgentUnderTest, *words: str) -> str:
    port = str(agent.sidecar.dns_listen.port)
    return await run(find("dig"), "@127.0.0.1", "-p", port, "+tries=1", "+time=10", *words)


async def curl(agent: AgentUnderTest, *paths: str) -> str:
    """Return the statuses of several requests on one connection."""
    urls = [f"{agent.url}{path}" for path in paths]
    outputs = [word for _ in urls for word in ("-o", "/dev/null")]
    return await run(find("curl"), "-sS", "-m", "20", "-w", "%{http_code} ", *outputs, *urls)


def sent(agent: AgentUnderTest, *messages: bytes) -> None:
    """Send datagrams, without waiting for answers."""
    with socket.socket(type=socket.SOCK_DGRAM) as asking:
        for message in messages:
            asking.sendto(message, ("127.0.0.1", agent.sidecar.dns_listen.port))


@contextlib.asynccontextmanager
async def forwarding() -> AsyncIterator[tuple[Frozen, str]]:
    async with resolver() as one:
        settings = msgspec.structs.replace(QUICK, dns_forward=read_rules(to(one)))
        async with frozen(settings) as agent:
            agent.show(*OSINT)
            yield agent, f"127.0.0.1:{one.port}"


async def test_dns_queries_over_each_transport_are_counted_once() -> None:
    async with forwarding() as (agent, upstream):
        before = await scraped(agent)
        plain = [word for _ in range(20) for word in (NAME, "A", "+noedns")]
        assert (await dig(agent, *plain)).count("status: NOERROR") == 20, "one question, and then ready answers"
        assert (await dig(agent, "+tcp", "+keepopen", *plain)).count("status: NOERROR") == 20
        for _ in range(2):
            assert "status: NOERROR" in await dig(agent, NAME, "SRV"), "with a cookie, so that it is made anew"
            assert "status: NXDOMAIN" in await dig(agent, "nobody.vertice.internal", "A")
            assert "192.0.2.1" in await dig(agent, "www.example", "A"), "asked, and then cached"
        assert "Transfer failed" in await dig(agent, "vertice.internal", "IXFR=1", "+tcp", "+noedns")
        garbled = question(NAME)[:20]
        sent(agent, garbled, b"?", *[question(NAME)] * 3)

        async def received() -> float:
            agent.clock.pass_time(0.2)  # there are only so many new texts a second
            return (await scraped(agent)).of("agent_dns_received_total", transport="udp")

        # The responder checks its resolver by itself, over its own socket.
        await becomes(received, 20 + 6 + 2 + 3)
        after = await scraped(agent)
        assert after.since(before, "agent_dns_received_total") == {("udp",): 31, ("tcp",): 21}
        assert after.since(before, "agent_dns_queries_total") == {
            ("NOERROR", "A"): 45,
            ("NOERROR", "SRV"): 2,
            ("NXDOMAIN", "A"): 2,
            ("REFUSED", "IXFR"): 1,
            ("FORMERR", "other"): 1,
        }
        assert after.since(before, "agent_dns_malformed_total") == {(): 2}
        assert after.since(before, "agent_answers_total") == {("dns", "fresh"): 48}
        assert after.since(before, "agent_answer_age_seconds_count") == {("dns",): 48}
        assert after.since(before, "agent_dns_forwarded_total") == {("answered",): 1, ("cached",): 1}
        answered = after.of("agent_dns_upstream_outcomes_total", upstream=upstream, outcome="answered")
        assert answered == after.of("agent_dns_upstream_duration_seconds_count", upstream=upstream) >= 1


async def test_http_requests_are_counted_once_by_path_and_status() -> None:
    async with frozen() as agent:
        agent.show(*OSINT)
        before = await scraped(agent)
        paths = ("/services/osint-service", "/resolve/osint-service?format=url", "/services")
        assert await curl(agent, *(paths * 7)) == "200 " * 21
        assert await curl(agent, "/services/nobody", "/services/osint-service?format=no", "/nothing", "/live") == (
            "404 400 404 200 "
        )
        assert await curl(agent, "/explain/osint-service", "/explain/nobody") == "200 200 "
        agent.clock.pass_time(1)
        after = await scraped(agent)
        assert after.since(before, "agent_http_requests_total") == {
            ("/services", "200"): 7,
            ("/services/{name}", "200"): 7,
            ("/services/{name}", "404"): 1,
            ("/services/{name}", "400"): 1,
            ("/resolve/{name}", "200"): 7,
            ("/explain/{name}", "200"): 2,
            ("other", "404"): 1,
            ("/live", "200"): 1,
            ("/metrics", "200"): 1,
        }
        assert after.since(before, "agent_answers_total") == {("http", "fresh"): 24}
        assert after.since(before, "agent_answer_age_seconds_count") == {("http",): 24}


async def test_answers_from_an_old_view_are_counted_as_such_with_the_registry_away() -> None:
    async with frozen() as agent:
        await dig(agent, NAME, "+noedns")
        assert await curl(agent, "/services/osint-service") == "503 "
        agent.show(*OSINT)
        for age_s, times in ((0, 2), (31, 3), (61, 4), (7200, 5)):
            agent.clock.pass_time(age_s - agent.sidecar.view.age_s())
            agent.sidecar.view.tick()
            agent.sidecar.responder.counts.fold()
            for _ in range(times):
                assert "status: NOERROR" in await dig(agent, NAME, "+noedns")
            assert await curl(agent, *["/resolve/osint-service"] * times) == "200 " * times
        counted = await scraped(agent)
        for face in ("dns", "http"):
            by_freshness = {
                freshness: counted.of("agent_answers_total", face=face, freshness=freshness)
                for freshness in ("fresh", "stale", "expired", "unknown")
            }
            assert by_freshness == {"fresh": 2, "stale": 3, "expired": 9, "unknown": 1}
            buckets = [
                counted.of("agent_answer_age_seconds_bucket", face=face, le=bound)
                for bound in ("1.0", "30.0", "60.0", "120.0", "3600.0", "14400.0", "+Inf")
            ]
            assert buckets == [3, 3, 6, 10, 10, 15, 15]
            assert counted.of("agent_answer_age_seconds_sum", face=face) == 3 * 31 + 4 * 61 + 5 * 7200


@pytest.mark.parametrize("way", ["batched", "one by one"])
async def test_late_and_early_answers_of_one_batch_are_all_counted(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ready answers, new ones and silence come together, as in a burst."""
    if way == "one by one":
        monkeypatch.setattr("dns.udp.system_calls", lambda _listening: None)
    async with frozen() as agent:
        agent.show(*OSINT)
        await dig(agent, NAME, "+noedns")
        before = await scraped(agent)
        ready, unusual, new = question(NAME), question(NAME.upper()), question(NAME, "SRV")
        sent(agent, *[ready, b"?", unusual, ready, new, ready] * 16)

        async def answers() -> dict[tuple[str, ...], float]:
            agent.clock.pass_time(0.2)
            return (await scraped(agent)).since(before, "agent_answers_total")

        await becomes(answers, {("dns", "fresh"): 80})
        after = await scraped(agent)
        assert after.since(before, "agent_dns_received_total") == {("udp",): 96}
        assert after.since(before, "agent_dns_queries_total") == {("NOERROR", "A"): 64, ("NOERROR", "SRV"): 16}
        assert after.since(before, "agent_answer_age_seconds_count") == {("dns",): 80}


async def test_no_counter_falls_and_none_is_lost_over_a_reload(api: Api, tmp_path: Path) -> None:
    """The services with checks leave; what was counted of their checks stays."""
    pace = CheckPace(flaps=FlapLimits(changes=1, window_s=60.0, hold_s=0.4))
    claim = Registration(service_name="flapping", host="127.0.0.1", port=7001, instance_id="f")
    flapping = ServiceSpec(claim, (CheckSpec("mine", TtlCheck(30.0), pace),))
    async with stand_in() as service:
        before_reload = msgspec.structs.replace(
            QUICK,
            registry_urls=(api.url,),
            services=(spec(service, "checked", CheckKind.TCP), flapping),
            state_dir=str(tmp_path),
        )
        after_reload = msgspec.structs.replace(
            before_reload, services=(spec(service, "another", CheckKind.NONE),), zone="elsewhere"
        )
        sidecar = Sidecar(before_reload, read_again=lambda: after_reload)
        await sidecar.start()
        try:
            async with aiohttp.ClientSession() as session:
                agent = AgentUnderTest(sidecar, session)
                await _reload_between_counts(agent)
        finally:
            await sidecar.close()


async def _reload_between_counts(agent: AgentUnderTest) -> None:
    async def checked() -> bool:
        return (await scraped(agent)).of("agent_check_results_total", kind="tcp", result="passing") >= 2

    await becomes(checked, True)
    for status in ("passing", "critical", "passing", "critical"):
        url = f"{agent.url}/check/flapping"
        async with agent.session.put(url, json={"status": status}, headers={WRITE_HEADER: "1"}) as response:
            assert response.status == 204
        await asyncio.sleep(0)

    async def flapped() -> bool:
        return (await scraped(agent)).of("agent_check_flaps_total") >= 1

    await becomes(flapped, True)
    assert "status: NOERROR" in await dig(agent, "checked.vertice.internal", "+noedns")
    before = await scraped(agent)
    assert agent.sidecar.reloader is not None
    agent.sidecar.reload()

    async def taken() -> float:
        return (await scraped(agent)).of("agent_config_reloads_total", result="taken")

    await becomes(taken, 1.0)
    after = await scraped(agent)
    fallen = {
        key: (value, after.values.get(key)) for key, value in before.values.items() if after.values.get(key, -1) < value
    }
    assert fallen == {}, "before and after"
    assert after.of("agent_check_flaps_total") == before.of("agent_check_flaps_total")
    assert after.since(before, "agent_dns_queries_total") == {}
    assert after.since(before, "agent_answers_total") == {}
    assert 'zone="elsewhere"' in (await agent.get("/metrics")).body.decode()
