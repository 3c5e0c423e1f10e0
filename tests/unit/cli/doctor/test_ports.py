"""The doctor's findings on the agent's own ports: free, the agent's, taken, or unavailable."""

from __future__ import annotations

from typing import Any

import pytest

from cli.doctor.facts import Agent, ZoneAnswer
from cli.doctor.finding import DoctorFinding
from cli.doctor.ports import judge
from registry_core.listening_sockets import Listener
from registry_core.settings import Listen, listen
from tests.unit.cli.doctor.samples import facts, ids


def of_dns(where: str, *listeners: Listener, **machine: Any) -> DoctorFinding:
    """Return the findings on the DNS address while no agent runs."""
    subject = {"dns_listen": listen(where), "allows_only_loopback": False}
    _, _, finding = judge(facts(subject=subject, machine={"listeners": listeners, "may_bind_low": True, **machine}))
    return finding


def test_without_an_agent_both_ports_are_judged() -> None:
    found = list(judge(facts(machine={"may_bind_low": True})))
    assert ids(found) == ["agent-not-running", "port", "port"]
    assert [finding.what for finding in found[1:]] == [
        "127.0.0.1:8880 (tcp) is free for HTTP",
        "127.0.0.1:53 (udp, tcp) is free for DNS",
    ]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (ZoneAnswer.OURS, "port-ours"),
        (ZoneAnswer.SILENT, "agent-dns-elsewhere"),
        (ZoneAnswer.UNKNOWN, "agent-dns-zone"),
        (ZoneAnswer.REFUSES, "agent-dns-zone"),
        (ZoneAnswer.ELSEWHERES, "agent-dns-zone"),
    ],
)
def test_a_running_agents_dns_is_judged_by_its_answer(answer: ZoneAnswer, expected: str) -> None:
    listeners = (Listener("tcp", "127.0.0.1", 8880), Listener("udp", "127.0.0.1", 53))
    given = facts(agent=Agent(), dns_answer=answer, machine={"listeners": listeners})
    assert ids(list(judge(given))) == ["agent", "port-ours", expected]


def test_dns_that_was_not_queried_is_not_judged() -> None:
    assert ids(list(judge(facts(agent=Agent())))) == ["agent", "port-ours"]


def test_an_answered_zone_needs_no_agent_on_http() -> None:
    assert ids(list(judge(facts(dns_answer=ZoneAnswer.OURS)))) == ["agent-not-running", "port", "port-ours"]


@pytest.mark.parametrize(
    ("where", "held"),
    [
        ("127.0.0.1:53", "127.0.0.1"),
        ("127.0.0.1:53", "0.0.0.0"),
        ("127.0.0.1:53", "::"),
        ("127.0.0.1:53", "::ffff:127.0.0.1"),
        (":53", "127.0.0.53"),
        (":53", "::"),
        (":53", "::1"),
        ("[::]:53", "::1"),
        ("[::]:53", "0.0.0.0"),
        ("[::1]:53", "::1"),
        ("[0:0::1]:53", "::1"),
        ("localhost:53", "127.0.0.1"),
        ("localhost:53", "::1"),
        ("localhost:53", "0.0.0.0"),
    ],
)
@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_a_port_is_taken_by_a_listener_on_that_or_every_address(where: str, held: str, kind: str) -> None:
    finding = of_dns(where, Listener(kind, held, 53, "dnsmasq (pid 7)"))
    assert finding.id == "port-taken"
    assert f"({kind}), which the agent needs for DNS, is taken by dnsmasq (pid 7)" in finding.what


@pytest.mark.parametrize(
    ("where", "held"),
    [
        ("127.0.0.1:53", Listener("udp", "127.0.0.53", 53)),
        ("127.0.0.1:53", Listener("udp", "127.0.0.1", 5353)),
        ("127.0.0.1:53", Listener("raw", "127.0.0.1", 53)),
        ("localhost:53", Listener("udp", "127.0.0.53", 53)),
        ("localhost:53", Listener("udp", "10.0.0.7", 53)),
        ("0.0.0.0:53", Listener("udp", "::1", 53)),
        ("[::1]:53", Listener("udp", "0.0.0.0", 53)),
        ("[::1]:53", Listener("udp", "127.0.0.1", 53)),
    ],
)
def test_listeners_on_other_addresses_ports_and_kinds_do_not_matter(where: str, held: Listener) -> None:
    assert of_dns(where, held).id == "port"


def test_http_needs_only_tcp() -> None:
    held = (Listener("udp", "127.0.0.1", 8880),)
    assert ids(list(judge(facts(machine={"listeners": held, "may_bind_low": True})))).count("port") == 2


@pytest.mark.parametrize(
    ("where", "held", "proposed"),
    [
        (":53", "127.0.0.53", "127.0.0.1:53"),
        (":53", "::", "127.0.0.1:1053"),
        ("127.0.0.1:53", "127.0.0.1", "127.0.0.1:1053"),
        ("127.0.0.1:64535", "127.0.0.1", "127.0.0.1:65535"),
        ("127.0.0.1:64536", "127.0.0.1", "127.0.0.1:63536"),
        ("127.0.0.1:65535", "127.0.0.1", "127.0.0.1:64535"),
    ],
)
def test_the_cure_for_a_taken_port_is_a_possible_address(where: str, held: str, proposed: str) -> None:
    finding = of_dns(where, Listener("udp", held, listen(where).port))
    assert finding.cure == f"AGENT_DNS_LISTEN={proposed}    # or stop another program"


@pytest.mark.parametrize(
    ("port", "low_ports_end", "may_bind_low", "expected"),
    [
        (53, 1024, False, "port-privileged"),
        (1023, 1024, False, "port-privileged"),
        (1024, 1024, False, "port"),
        (53, 1024, True, "port"),
        (53, 53, False, "port"),
        (0, 1024, False, "port"),
    ],
)
def test_a_low_port_needs_a_privilege(port: int, low_ports_end: int, *, may_bind_low: bool, expected: str) -> None:
    assert of_dns(f"127.0.0.1:{port}", low_ports_end=low_ports_end, may_bind_low=may_bind_low).id == expected


@pytest.mark.parametrize(
    ("where", "addresses", "expected"),
    [
        ("10.0.0.7:53", ("10.0.0.7",), "port"),
        ("10.0.0.7:53", ("10.0.0.8", "2001:db8::7"), "listen-address"),
        ("10.0.0.7:53", (), "port"),
        ("[2001:db8::7]:53", ("2001:db8::7",), "port"),
        ("[2001:DB8:0::7]:53", ("2001:db8::7",), "port"),
        ("[2001:db8::7]:53", ("10.0.0.8",), "listen-address"),
        ("127.1.2.3:53", ("10.0.0.8",), "port"),
        ("[::1]:53", ("10.0.0.8",), "port"),
        ("[::]:53", ("10.0.0.8",), "port"),
        (":53", ("10.0.0.8",), "port"),
        ("some_host:53", ("10.0.0.8",), "port"),
    ],
)
def test_the_machine_must_have_the_address(where: str, addresses: tuple[str, ...], expected: str) -> None:
    assert of_dns(where, addresses=addresses).id == expected


def test_a_missing_address_is_reported_with_the_existing_ones() -> None:
    finding = of_dns("[2001:db8::7]:53", addresses=("10.0.0.7", "10.0.0.8"))
    assert finding.what == "[2001:db8::7]:53: this machine has no address 2001:db8::7 (it has 10.0.0.7, 10.0.0.8)"
    assert finding.cure == "AGENT_DNS_LISTEN=127.0.0.1:53"


@pytest.mark.parametrize(
    ("where", "only_loopback", "noted"),
    [
        (Listen("0.0.0.0", 53), True, True),
        (Listen("2001:db8::7", 53), True, True),
        (Listen("0.0.0.0", 53), False, False),
        (Listen("localhost", 53), True, False),
        (Listen("::1", 53), True, False),
    ],
)
def test_an_open_address_that_allows_only_loopback_is_noted(where: Listen, *, only_loopback: bool, noted: bool) -> None:
    given = facts(subject={"dns_listen": where, "allows_only_loopback": only_loopback})
    assert ("dns-allow" in ids(list(judge(given)))) is noted
