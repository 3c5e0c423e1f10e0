"""Which forwarders are asked for the agent's own names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from agent.hosts.own_names import OwnNames
from dns.codec import Name, Type
from dns.foreign import ForeignReply
from dns.forward_rules import NOBODY, ForwardRules, read_rules
from dns.forwarding import Forwarder
from dns.resolver_client import Unanswered
from registry_core.supervision import Background
from tests.samples import FakeClock, instance, lived

CLOCK = FakeClock()


def forwarder(rules: ForwardRules) -> Forwarder:
    return Forwarder(rules, CLOCK)


@pytest.mark.parametrize(
    ("rules", "further"),
    [
        (read_rules("system"), []),
        (read_rules("system,corp.example=10.0.0.2"), []),
        (read_rules("10.0.0.2"), ["system"]),
        (read_rules("nxdomain,corp.example=system"), ["system"]),
        (NOBODY, ["system"]),
    ],
)
async def test_the_systems_resolvers_are_asked_for_names_without_a_dot(rules: ForwardRules, further: list[str]) -> None:
    made: list[str] = []

    def new_forwarder(rules: ForwardRules) -> Forwarder:
        made.append(str(rules))
        return forwarder(rules)

    serves = forwarder(rules) if rules.forwards else None
    names = OwnNames(
        serves,
        rules,
        new_forwarder,
        zone="vertice.internal",
        clock=CLOCK,
        background=Background(CLOCK),
        most_lookups=1,
    )
    assert made == further
    if serves is not None:
        assert names.ask == serves.look_up
    names.listens_on("127.0.0.1", 53)
    await names.close()


async def test_an_agent_that_resolv_conf_alone_names_asks_by_its_rules(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    asked: list[str] = []

    class Recorded(Forwarder):
        async def look_up(self, name: Name, qtype: int) -> ForeignReply | Unanswered:
            asked.append(f"{self.report().rules} {name[0].decode()} {qtype}")
            return Unanswered()

    def new_forwarder(rules: ForwardRules) -> Forwarder:
        return Recorded(rules, CLOCK, resolv_conf=tmp_path / "resolv.conf")

    rules = read_rules("127.0.0.11")
    names = OwnNames(
        new_forwarder(rules),
        rules,
        new_forwarder,
        zone="vertice.internal",
        clock=CLOCK,
        background=Background(CLOCK),
        most_lookups=1,
    )
    await names.start()
    try:
        await names.ask_here((b"orders",), Type.A)
        names.listens_on("0.0.0.0", 53)
        await names.ask_here((b"orders",), Type.A)
    finally:
        await names.close()
    assert asked == ["system orders 1", "127.0.0.11:53 orders 1"]


async def test_the_own_services_of_the_last_run_are_recalled_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    names = OwnNames(
        None,
        NOBODY,
        forwarder,
        zone="vertice.internal",
        clock=CLOCK,
        background=Background(CLOCK),
        most_lookups=1,
    )
    recalled: list[str] = []

    async def recall(host: str, _addresses: Iterable[str]) -> None:
        recalled.append(host)

    monkeypatch.setattr(names.book, "recall", recall)
    own, other = instance("billing", "billing-1"), instance("orders", "orders-1")
    await names.recall([lived(own), lived(other)], {own.key})
    await names.close()
    assert recalled == ["billing-1"]
