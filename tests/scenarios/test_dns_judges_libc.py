"""The resolvers of glibc and musl, which only read /etc/resolv.conf, find services through the agent."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.judged import ZONE, Judged, claim, judged, own_network

# As an orchestrator writes it: every name with fewer than five dots is first tried under each suffix, including
# those that are not ours.
RESOLV_CONF = f"""
nameserver 127.0.0.1
search {ZONE} default.svc.cluster.local
options ndots:5 timeout:2 attempts:2
"""
LARGE = 200
# The number of addresses in an answer of 512 octets: 12 for the header, 31 for the question, 16 for each.
FIT_A_DATAGRAM = 29
BOTH = ["10.0.0.1", "2001:db8::1"]
SPELLINGS = ["ip-intel", "ip_intel", "IP-Intel", "canary.ip-intel", f"ip-intel.{ZONE}", f"ip-intel.{ZONE}."]
PYTHON = """
import json, socket, sys
def found(host):
    try:
        return sorted({info[4][0] for info in socket.getaddrinfo(host, 80, socket.AddressFamily(int(sys.argv[1])))})
    except socket.gaierror as error:
        return error.errno
print(json.dumps([found(host) for host in sys.argv[2:]]))
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    folder = tmp_path_factory.mktemp("libc")
    with (
        own_network(folder, resolv_conf=RESOLV_CONF, nsswitch_conf="hosts: files dns\n") as network,
        judged(folder, network) as system,
    ):
        system.register(
            claim("ip_intel", BOTH[0], addresses=BOTH, tags=["canary"]),
            claim("billing", "127.9.0.1"),
            *(claim("large", f"10.1.0.{number}") for number in range(1, LARGE + 1)),
        )
        yield system


@pytest.fixture(scope="module")
def musl(system: Judged) -> str:
    """The path of a program that resolves with musl."""
    program = system.folder / "resolve"
    system.run("musl-gcc", "-O1", "-Wall", "-o", str(program), str(Path(__file__).with_name("resolve.c")))
    return str(program)


def by_python(system: Judged, *hosts: str, family: int = socket.AF_UNSPEC, options: str = "") -> list[object]:
    """Return the addresses of each host, or the error's number, as Python gets them from glibc."""
    argv = (sys.executable, "-c", PYTHON, str(int(family)), *hosts)
    found: list[object] = json.loads(system.run("env", f"RES_OPTIONS={options}", *argv))
    return found


# By default A and AAAA are queried at once from one socket, and the answers may come in any order.
@pytest.mark.parametrize(
    "options", ["", "single-request", "single-request-reopen", "use-vc", "edns0 trust-ad", "ndots:1"]
)
def test_glibc_finds_both_kinds_of_addresses_under_every_spelling(system: Judged, options: str) -> None:
    assert by_python(system, *SPELLINGS, options=options) == [BOTH] * len(SPELLINGS)


def test_glibc_finds_the_only_existing_kind(system: Judged) -> None:
    assert by_python(system, "billing") == [["127.9.0.1"]]
    assert by_python(system, "billing", family=socket.AF_INET) == [["127.9.0.1"]]
    assert by_python(system, f"billing.{ZONE}.", family=socket.AF_INET6) == [socket.EAI_NODATA]


def test_glibc_reports_no_such_name_and_not_try_again(system: Judged) -> None:
    hosts = [f"nobody.{ZONE}.", f"blue.ip-intel.{ZONE}."]
    assert by_python(system, *hosts) == [socket.EAI_NONAME] * len(hosts)


def test_glibc_gets_part_of_a_large_service_in_a_datagram_and_all_of_it_over_tcp(system: Judged) -> None:
    (part,) = by_python(system, "large")
    assert isinstance(part, list)
    assert len(part) == FIT_A_DATAGRAM
    (whole,) = by_python(system, "large", options="use-vc")
    assert isinstance(whole, list)
    assert len(whole) == LARGE
    assert set(part) < set(whole)


def test_getent_finds_a_service(system: Judged) -> None:
    for database in ("ahosts", "ahostsv4"):
        lines = [line.split() for line in system.run("getent", database, "ip-intel").splitlines()]
        assert {line[0] for line in lines} == {BOTH[0]}, "of the kind that this network has an address of"
    missing = system.attempt("getent", "ahosts", f"nobody.{ZONE}.")
    assert (missing.returncode, missing.stdout) == (2, "")


def test_getent_finds_the_service_at_an_address(system: Judged) -> None:
    for address in BOTH:
        assert system.run("getent", "hosts", address).split() == [address, f"ip-intel.{ZONE}"]


def test_curl_reaches_a_service_by_its_name(system: Judged) -> None:
    server = (sys.executable, "-m", "tests.scenarios.server", "billing", "127.9.0.1", "8034")
    with system.program(*server, log="server.log"):
        for host in ("billing", f"billing.{ZONE}"):
            words = ("--retry", "20", "--retry-connrefused", "--retry-delay", "1", "-sS", "--fail")
            answer = json.loads(system.run("curl", *words, f"http://{host}:8034/"))
            assert answer["service"] == "billing"


def test_musl_finds_both_kinds_of_addresses(system: Judged, musl: str) -> None:
    hosts = ["ip-intel", "ip_intel", "IP-Intel", "canary.ip-intel", f"ip-intel.{ZONE}."]
    assert [sorted(line.split()) for line in system.run(musl, *hosts).splitlines()] == [BOTH] * len(hosts)
    assert system.run(musl, "billing").split() == ["127.9.0.1"]


def test_musl_gets_part_of_a_large_service_without_tcp(system: Judged, musl: str) -> None:
    found = system.run(musl, "large").split()
    assert len(found) == len(set(found)) == FIT_A_DATAGRAM
    assert all(address.startswith("10.1.0.") for address in found)


def test_musl_reports_no_such_name(system: Judged, musl: str) -> None:
    assert system.run(musl, f"nobody.{ZONE}.").strip() == "EAI_NONAME"
