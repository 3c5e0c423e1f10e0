"""Forwarding as part of an agent: which resolvers it uses, and how it reports them."""

from __future__ import annotations

import msgspec

from dns.forward_rules import ForwardRules, read_rules
from tests.integration.agents import QUICK, standing
from tests.resolvers import resolver, to
from tests.wire.asking import data, rcode

NOBODY = "http://127.0.0.1:1"


async def test_an_agent_forwards_and_reports_its_resolvers() -> None:
    async with resolver() as one, resolver() as gone:
        await gone.stop()
        settings = msgspec.structs.replace(QUICK, dns_forward=read_rules(to(gone, one)))
        async with standing(NOBODY, settings=settings) as agent:
            for tcp in (False, True):
                assert data(await agent.dig("www.example", tcp=tcp)) == ["192.0.2.1"]
            shown = {path: (await agent.get(path)).body for path in ("/self", "/health")}
            for part in (shown["/self"]["forwarding"], shown["/health"]["components"]["forwarding"]):
                assert {u["server"]: u["state"] for u in part["upstreams"]} == {
                    f"127.0.0.1:{gone.port}": "failing",
                    f"127.0.0.1:{one.port}": "up",
                }
            lines = (await agent.get("/metrics")).body.decode().splitlines()
            values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
            assert values['agent_dns_forwarded_total{result="answered"}'] == "1.0"
            assert values['agent_dns_forwarded_total{result="cached"}'] == "1.0"
            assert values[f'agent_dns_upstream_state{{state="failing",upstream="127.0.0.1:{gone.port}"}}'] == "1.0"
            assert values[f'agent_dns_upstream_state{{state="up",upstream="127.0.0.1:{one.port}"}}'] == "1.0"
            assert float(
                values[f'agent_dns_upstream_outcomes_total{{outcome="failed",upstream="127.0.0.1:{gone.port}"}}']
            )


async def test_an_agent_without_forwarding_refuses_and_offers_no_recursion() -> None:
    async with standing(NOBODY) as agent:
        answer = await agent.dig("www.example")
        assert (rcode(answer), answer.header.ra) == ("REFUSED", 0)
        assert (await agent.get("/self")).body["forwarding"] is None
        assert "agent_dns_forwarded" not in (await agent.get("/metrics")).body.decode()


async def test_an_agent_that_forwards_to_the_system_sends_nothing_by_itself() -> None:
    """It only queries them on request: an agent without foreign lookups stays quiet."""
    async with standing(NOBODY, settings=msgspec.structs.replace(QUICK, dns_forward=ForwardRules())) as agent:
        assert (await agent.dig("nobody.vertice.internal")).header.ra == 1
        assert agent.sidecar.forwarder is not None
        report = agent.sidecar.forwarder.report()
        assert {(u.state.value, u.answered, u.failed) for u in report.upstreams} <= {("up", 0, 0)}
