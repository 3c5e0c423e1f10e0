"""unbound, an unmodified resolver, stands between the clients and the agent and finds nothing to complain about.

It is as strict as possible: it sends each name in mixed case and expects it back unchanged, and it resolves a name
label by label and gives up at an NXDOMAIN on the way (RFC 9156).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.programs import Program, free_port, wait_until
from tests.scenarios.judged import TTL_S, ZONE, Judged, claim, judged

CONFIG = """
server:
    directory: "{folder}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    interface: 127.0.0.1@{port}
    do-ip6: no
    do-not-query-localhost: no
    module-config: "iterator"
    use-caps-for-id: yes
    qname-minimisation: yes
    qname-minimisation-strict: yes
    harden-below-nxdomain: yes
    harden-referral-path: yes
    aggressive-nsec: no
    local-zone: "{zone}." nodefault
    domain-insecure: "{zone}."
    local-zone: "10.in-addr.arpa." nodefault
    domain-insecure: "{reverse}."
    extended-statistics: yes
    verbosity: 2
remote-control:
    control-enable: yes
    control-interface: {folder}/control
    control-use-cert: no
stub-zone:
    name: "{zone}."
    stub-addr: 127.0.0.1@{dns}
stub-zone:
    name: "{reverse}."
    stub-addr: 127.0.0.1@{dns}
"""
REVERSE = "0.0.10.in-addr.arpa"
# What it logs about bad answers: in another case than queried, unsolicited, lame, ...
COMPLAINT = re.compile(r"0x20|unwanted|scrub|error:|warning:|query response was (?!(nodata |NXDOMAIN )?ANSWER)")
LARGE = 200
ONE = claim(
    "ip_intel",
    "10.0.0.1",
    addresses=["10.0.0.1", "2001:db8::1"],
    weight=3,
    tags=["canary"],
    metadata={"team": "osint"},
    version="1.4.2",
)
TWO = claim("ip_intel", "10.0.0.2", weight=7)


class Reply(NamedTuple):
    """What dig shows of one answer."""

    status: str
    flags: set[str]
    answers: list[str]  # the data alone
    ttls: list[int]  # of all records


class Unbound:
    """An unbound that queries an agent for the zone, and no server for anything else."""

    def __init__(self, system: Judged, port: int, config: Path, program: Program) -> None:
        self.system = system
        self.port = port
        self.config = config
        self.program = program

    def dig(self, name: str, qtype: str = "A", *words: str) -> Reply:
        """Return unbound's answer."""
        return dig(self.system, self.port, f"{name}.{ZONE}", qtype, *words)

    def fetched_over_tcp(self) -> float:
        """Return how often unbound has connected to us over TCP."""
        said = self.system.run("unbound-control", "-c", str(self.config), "stats_noreset")
        return float(dict(line.split("=") for line in said.splitlines())["num.query.tcpout"])


def dig(system: Judged, port: int, name: str, qtype: str, *words: str) -> Reply:
    shown = ("+noall", "+comments", "+answer", "+authority", "+additional")
    out = system.run("dig", "@127.0.0.1", "-p", str(port), name, qtype, *shown, *words)
    assert "WARNING" not in out, out
    header = re.search(r"status: (\w+).*\n;; flags: ([a-z ]*);", out)
    assert header is not None, out
    sections = out.split(";; ANSWER SECTION:\n")
    answers = [line.split(maxsplit=4) for line in sections[1].split("\n\n")[0].splitlines()] if sections[1:] else []
    records = [line.split(maxsplit=4) for line in out.splitlines() if line and not line.startswith(";")]
    return Reply(header[1], set(header[2].split()), sorted(r[4] for r in answers), [int(r[1]) for r in records])


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unbound]:
    folder = tmp_path_factory.mktemp("u")
    with judged(folder) as system:
        system.register(ONE, TWO)
        system.register(*(claim("large", f"10.1.0.{number}") for number in range(1, LARGE + 1)))
        config = folder / "unbound.conf"
        port = free_port()
        config.write_text(CONFIG.format(folder=folder, port=port, zone=ZONE, reverse=REVERSE, dns=system.ports.dns))
        with system.program("unbound", "-d", "-p", "-c", str(config), log="unbound.log") as program:
            wait_until(lambda: "start of service" in program.output(), "unbound has started")
            yield Unbound(system, port, config, program)


@pytest.fixture
def unbound(standing: Unbound) -> Iterator[Unbound]:
    """The unbound of all tests; it must not have complained about us by the end of any."""
    yield standing
    assert [line for line in standing.program.output().splitlines() if COMPLAINT.search(line)] == []


@pytest.mark.parametrize("name", ["ip-intel", "ip_intel", "IP-intel"])
def test_a_service_is_found(unbound: Unbound, name: str) -> None:
    assert unbound.dig(name).answers == ["10.0.0.1", "10.0.0.2"]
    assert unbound.dig(name, "AAAA").answers == ["2001:db8::1"]
    assert unbound.dig(name, "TXT").answers == ['"team=osint"', '"version=1.4.2"']
    assert unbound.dig(f"canary.{name}").answers == ["10.0.0.1"]


@pytest.mark.parametrize("name", ["_ip-intel._tcp", "_ip_intel._tcp", "ip-intel"])
def test_srv_leads_to_every_instance_and_its_target_to_the_addresses(unbound: Unbound, name: str) -> None:
    found = sorted((answer.split() for answer in unbound.dig(name, "SRV").answers), key=lambda words: int(words[1]))
    assert [words[:3] for words in found] == [["0", "768", "8034"], ["0", "1792", "8034"]]
    one, two = (words[3].removesuffix(f".{ZONE}.") for words in found)
    assert (unbound.dig(one).answers, unbound.dig(one, "AAAA").answers) == (["10.0.0.1"], ["2001:db8::1"])
    assert (unbound.dig(two).answers, unbound.dig(two, "AAAA").answers) == (["10.0.0.2"], [])


def test_every_zone_has_its_standard_records(unbound: Unbound) -> None:
    assert unbound.system.run("dig", "@127.0.0.1", "-p", str(unbound.port), ZONE, "NS", "+short").split() == [
        f"ns.{ZONE}."
    ]
    assert unbound.dig("ns").answers == ["127.0.0.1"]
    assert f"_ip-intel._tcp.{ZONE}." in unbound.dig("_services._dns-sd._udp", "PTR").answers


def test_an_address_leads_back_to_its_service(unbound: Unbound) -> None:
    found = dig(unbound.system, unbound.port, f"1.{REVERSE}", "PTR")
    assert found.answers == [f"ip-intel.{ZONE}."]
    nothing = dig(unbound.system, unbound.port, f"1.{REVERSE}", "TXT")
    assert (nothing.status, nothing.answers) == ("NOERROR", [])


@pytest.mark.parametrize(
    ("name", "qtype"),
    [
        ("ip-intel", "MX"),
        ("ip-intel", "HTTPS"),
        ("_tcp", "A"),
        ("_udp", "A"),
        ("_dns-sd._udp", "A"),
        ("_ip-intel._tcp", "A"),
    ],
)
def test_a_name_without_such_records_exists_without_them(unbound: Unbound, name: str, qtype: str) -> None:
    reply = unbound.dig(name, qtype)
    assert (reply.status, reply.answers) == ("NOERROR", [])
    assert 0 < max(reply.ttls) <= TTL_S, "the SOA gives the negative TTL"


@pytest.mark.parametrize("name", ["nobody", "_nobody._tcp", "blue.ip-intel", "a.b.ip-intel", "i-000000000000"])
def test_a_missing_name_does_not_exist(unbound: Unbound, name: str) -> None:
    reply = unbound.dig(name)
    assert (reply.status, reply.answers) == ("NXDOMAIN", [])
    assert 0 < max(reply.ttls) <= TTL_S, "the SOA gives the negative TTL"


def test_a_name_that_does_not_exist_hides_none_that_does(unbound: Unbound) -> None:
    """RFC 8020: below a NXDOMAIN there is nothing. unbound takes our word for it, of every name on the way."""
    # Names of this test's own: another test reads the TTL of its names, which unbound counts down to 0.
    for name in ("dns-sd._udp", "nothing", "_ip-intel", "canary", "green.ip-intel", "ip-intel._tcp"):
        assert unbound.dig(name).status == "NXDOMAIN"
    assert unbound.dig("_ip-intel._tcp", "SRV").answers
    assert unbound.dig("canary.ip-intel").answers
    assert unbound.dig("_services._dns-sd._udp", "PTR").answers


def test_an_answer_too_large_for_a_datagram_is_fetched_completely_over_tcp(unbound: Unbound) -> None:
    assert len(set(unbound.dig("_large._tcp", "SRV").answers)) == LARGE
    # It counts connections, and uses one for several queries.
    assert unbound.fetched_over_tcp() > 0
    # Any part of the addresses is enough, and comes in the first datagram.
    some = unbound.dig("large").answers
    assert len(set(some)) == len(some) > 20


def test_a_change_of_the_fleet_is_seen_after_the_ttl(unbound: Unbound) -> None:
    stays, goes, comes, returns = (claim("moving", f"10.3.0.{n}") for n in range(1, 5))
    late = claim("late", "10.3.1.1")
    unbound.system.register(stays, goes, returns)

    def seen() -> tuple[list[str], str]:
        reply = unbound.dig("moving")
        assert all(0 <= ttl <= TTL_S for ttl in reply.ttls)
        return reply.answers, unbound.dig("late").status

    assert seen() == (["10.3.0.1", "10.3.0.2", "10.3.0.4"], "NXDOMAIN")
    unbound.system.deregister(goes, returns)
    unbound.system.register(comes, returns, late)
    wait_until(lambda: seen() == (["10.3.0.1", "10.3.0.3", "10.3.0.4"], "NOERROR"), "unbound has the new fleet")


def test_delv_accepts_our_answers_and_those_of_unbound(unbound: Unbound) -> None:
    for port, how in ((unbound.system.ports.dns, "authoritative"), (unbound.port, "answer not validated")):
        at = ("@127.0.0.1", "-p", str(port), "-i")
        found = unbound.system.run("delv", *at, f"canary.ip-intel.{ZONE}", "A", "+nottl")
        assert found.split() == f"; {how} canary.ip-intel.{ZONE}. IN A 10.0.0.1".split()
        large = unbound.system.run("delv", *at, f"_large._tcp.{ZONE}", "SRV", "+short")
        assert len(large.splitlines()) == LARGE
        missing = unbound.system.attempt("delv", *at, f"nobody.{ZONE}", "A")
        assert "ncache nxdomain" in missing.stderr
        nothing = unbound.system.attempt("delv", *at, f"ip-intel.{ZONE}", "MX")
        assert "ncache nxrrset" in nothing.stderr
