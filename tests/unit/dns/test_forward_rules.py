"""AGENT_DNS_FORWARD: which rules it accepts, and where each name is forwarded."""

from __future__ import annotations

import pytest

from dns.forward_rules import MAX_RULES, NOBODY, SYSTEM, ForwardRules, ResolverAddress, read_rules
from dns.record_data import name_of


def asked_of(rules: str, name: str) -> object:
    return read_rules(rules).rule_for(name_of(name)).target


def test_the_systems_resolvers_are_the_default() -> None:
    assert read_rules("system") == ForwardRules()
    assert asked_of("system", "example.com") is SYSTEM
    assert asked_of("corp.example=10.0.0.2", "example.com") is SYSTEM


def test_none_forwards_nothing() -> None:
    assert read_rules(" None ") == NOBODY
    assert not NOBODY.forwards
    assert read_rules("none,corp.example=10.0.0.2").forwards


def test_servers_are_asked_in_the_order_given() -> None:
    assert asked_of("10.0.0.2, 10.0.0.3:5353,[2001:DB8::1]:53,2001:db8::2,[::1],10.0.0.2", "example.com") == (
        ResolverAddress("10.0.0.2"),
        ResolverAddress("10.0.0.3", 5353),
        ResolverAddress("2001:db8::1"),
        ResolverAddress("2001:db8::2"),
        ResolverAddress("::1"),
    )


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("corp.example", "10.0.0.2"),
        ("a.b.corp.example", "10.0.0.2"),
        ("lab.corp.example", "10.0.0.3"),
        ("x.lab.corp.example", "10.0.0.3"),
        ("notcorp.example", "10.0.0.1"),
        ("example", "10.0.0.1"),
        ("corp.example.com", "10.0.0.1"),
        ("", "10.0.0.1"),
    ],
)
def test_the_longest_suffix_wins_and_labels_are_whole(name: str, host: str) -> None:
    rules = "10.0.0.1,corp.example=10.0.0.2,.LAB.corp.example.=10.0.0.3"
    assert asked_of(rules, name) == (ResolverAddress(host),)


def test_a_suffix_can_have_several_servers_or_none_or_the_system() -> None:
    rules = "10.0.0.1,a.example=10.0.0.2,a.example=10.0.0.3:53,b.example=none,c.example=system"
    assert asked_of(rules, "a.example") == (ResolverAddress("10.0.0.2"), ResolverAddress("10.0.0.3"))
    assert asked_of(rules, "x.b.example") == ()
    assert asked_of(rules, "c.example") is SYSTEM


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("resolver.example", "not an IP address"),
        ("10.0.0.2:", "port"),
        ("10.0.0.2:0", "port"),
        ("10.0.0.2:65536", "port"),
        ("10.0.0.2:domain", "port"),
        ("[::1", "not an address"),
        ("[::1]x", "not an address"),
        ("[::1]:", "not an address"),
        ("=10.0.0.2", "no suffix"),
        ("a..b=10.0.0.2", "not a domain name"),
        (f"{'a' * 64}=10.0.0.2", "not a domain name"),
        (f"{'a.' * 127}a=10.0.0.2", "not a domain name"),
        ("bücher.example=10.0.0.2", "not a domain name"),
        ("corp.example=", "not an IP address"),
        ("system,10.0.0.2", "either"),
        ("system,none", "either"),
        ("a.example=none,a.example=10.0.0.2", "for a.example"),
        (",".join(f"10.0.0.{n}" for n in range(9)), "at most 8"),
        (",".join(f"s{n}.example=10.0.0.1" for n in range(MAX_RULES + 1)), "at most 64"),
    ],
)
def test_an_invalid_rule_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_rules(text)


@pytest.mark.parametrize(
    "text",
    ["system", "none", "10.0.0.2:53,[::1]:5353", "system,a.example=10.0.0.2:53,a.example=[::1]:53", "none,b=system"],
)
def test_rules_are_shown_as_a_user_would_write_them(text: str) -> None:
    assert str(read_rules(text)) == text
    assert read_rules(str(read_rules(text))) == read_rules(text)
