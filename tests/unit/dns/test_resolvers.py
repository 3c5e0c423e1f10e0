"""Which resolvers are used: by the rules, with the system's current ones, and never the agent itself."""

from __future__ import annotations

import pytest

from dns.codec import Name
from dns.forward_rules import read_rules
from dns.record_data import name_of
from dns.resolvers import Group, Resolvers


def resolvers(rules: str, *system: str) -> Resolvers:
    found = Resolvers(read_rules(rules))
    found.system_is(system)
    return found


def servers(group: Group) -> list[str]:
    return [str(one.server) for one in group.upstreams]


def asked_of(found: Resolvers, name: str) -> list[str]:
    return servers(found.group_for(name_of(name)))


def known(found: Resolvers) -> list[str]:
    return [str(one.server) for one in found.all()]


def test_without_rules_the_systems_resolvers_are_used_in_order() -> None:
    found = resolvers("system", "10.0.0.3", "10.0.0.2")
    assert asked_of(found, "example.com") == ["10.0.0.3:53", "10.0.0.2:53"]


@pytest.mark.parametrize(
    ("name", "suffix", "hosts"),
    [
        ("example.com", (), ["10.0.0.1:53"]),
        ("corp.example", (b"corp", b"example"), ["10.0.0.2:53", "[fd00::2]:5353"]),
        ("a.corp.example", (b"corp", b"example"), ["10.0.0.2:53", "[fd00::2]:5353"]),
        ("a.home.example", (b"home", b"example"), ["10.9.9.9:53"]),
        ("", (), ["10.0.0.1:53"]),
    ],
)
def test_a_name_is_sent_to_the_resolvers_of_its_rule(name: str, suffix: Name, hosts: list[str]) -> None:
    rules = "10.0.0.1,corp.example=10.0.0.2,corp.example=[fd00::2]:5353,home.example=system"
    group = resolvers(rules, "10.9.9.9").group_for(name_of(name))
    assert (group.suffix, servers(group), group.forwards) == (suffix, hosts, True)


def test_a_rule_without_resolvers_differs_from_a_system_without_resolvers() -> None:
    found = resolvers("system,corp.example=none")
    on_purpose, for_now = found.group_for(name_of("a.corp.example")), found.group_for(name_of("example.com"))
    assert (on_purpose.upstreams, on_purpose.forwards) == ((), False)
    assert (for_now.upstreams, for_now.forwards) == ((), True)


@pytest.mark.parametrize(
    ("rules", "uses"),
    [("system", True), ("none", False), ("10.0.0.1", False), ("none,a.example=system", True), ("a.example=none", True)],
)
def test_the_use_of_the_system_is_reported(rules: str, uses: bool) -> None:
    assert Resolvers(read_rules(rules)).uses_system is uses


def test_a_resolver_in_several_rules_counts_once() -> None:
    found = resolvers("10.0.0.1,a.example=10.0.0.1,b.example=system", "10.0.0.1")
    (one,) = found.all()
    for name in ("example.com", "a.example", "b.example"):
        assert found.group_for(name_of(name)).upstreams == (one,)
        assert found.group_for(name_of(name)).upstreams[0] is one


def test_one_address_with_two_ports_is_two_resolvers() -> None:
    assert known(resolvers("10.0.0.1,10.0.0.1:5353")) == ["10.0.0.1:53", "10.0.0.1:5353"]


def test_all_resolvers_are_listed_once_in_the_order_of_the_rules() -> None:
    found = resolvers("system,b.example=10.0.0.2,a.example=10.0.0.3", "10.0.0.2", "10.0.0.1")
    assert known(found) == ["10.0.0.2:53", "10.0.0.1:53", "10.0.0.3:53"]


def test_a_change_of_the_system_is_reported() -> None:
    found = Resolvers(read_rules("system"))
    assert not found.system_is([]), "it had none before"
    assert found.system_is(["10.0.0.1", "10.0.0.2"])
    assert not found.system_is(iter(["10.0.0.1", "10.0.0.2"]))
    assert found.system_is(["10.0.0.2", "10.0.0.1"]), "another order is another system"
    assert known(found) == ["10.0.0.2:53", "10.0.0.1:53"]


def test_the_state_of_a_remaining_resolver_is_kept() -> None:
    found = resolvers("system,corp.example=10.0.0.9", "10.0.0.1", "10.0.0.2")
    first, second, other = found.all()
    for one in (first, second, other):
        one.has_failed(1.0)
    found.system_is(["10.0.0.2", "10.0.0.3"])
    assert found.all()[0] is second
    assert found.all()[2] is other
    found.system_is(["10.0.0.1"])
    assert found.all()[0] is not first, "one that comes back starts with a new state"
    assert found.all()[0].failed == 0


@pytest.mark.parametrize(
    ("host", "left"),
    [
        ("127.0.0.1", ["[::1]:53", "10.0.0.1:53"]),
        ("::1", ["127.0.0.1:53", "10.0.0.1:53"]),
        ("0.0.0.0", ["[::1]:53", "10.0.0.1:53"]),
        ("::", ["10.0.0.1:53"]),
        ("10.0.0.1", ["127.0.0.1:53", "[::1]:53"]),
    ],
)
def test_the_agent_never_queries_itself(host: str, left: list[str]) -> None:
    found = resolvers("system,corp.example=127.0.0.1,corp.example=10.0.0.1", "127.0.0.1", "::1", "10.0.0.1")
    found.listens_on(host, 53)
    assert sorted(known(found)) == sorted(left)
    assert asked_of(found, "example.com") == left
    assert set(asked_of(found, "corp.example")) == set(left) - {"[::1]:53"}


def test_another_port_of_this_machine_is_another_resolver() -> None:
    found = resolvers("system,corp.example=127.0.0.1:5353", "127.0.0.1")
    found.listens_on("127.0.0.1", 5353)
    assert asked_of(found, "example.com") == ["127.0.0.1:53"]
    assert asked_of(found, "corp.example") == []
    assert found.group_for(name_of("corp.example")).forwards
    found.listens_on("127.0.0.1", 53)
    assert asked_of(found, "corp.example") == ["127.0.0.1:5353"]
