"""The addresses in the environments of services played by stand-ins: which are read, and which lead nowhere."""

from __future__ import annotations

import pytest

from cli.compose.errors import NOWHERE
from cli.compose.listening_ports import ListeningPorts, PortProof
from cli.compose.model import EnvEntry
from cli.dev.addresses import EnvAddress, TcpPorts, addresses_in, judged
from cli.dev.plan import PlanFinding, Weight

PROOF = PortProof(8010, "EXPOSE names 8010", NOWHERE, over_http=False)
KNOWN = ListeningPorts((), {}, (), 8010, proofs=(PROOF,))
LISTENING = {
    "back-end": TcpPorts((8010, 8011, 8012, 8013), (":9000", "10.0.0.7:9001", "[::1]:9002"), KNOWN),
    "foreign": TcpPorts((8010,), (":9000",)),
    "silent": TcpPorts(),
}


def findings(address: EnvAddress, *users: str) -> list[PlanFinding]:
    return list(judged({address: list(users or ("front",))}, LISTENING))


@pytest.mark.parametrize(
    ("value", "addresses"),
    [
        ("http://back_end:8010/x", [EnvAddress("back_end", 8010, is_url=True, is_http=True)]),
        ("redis://back_end:8010/x", [EnvAddress("back_end", 8010, is_url=True)]),
        ("back_end:8010,b:1", [EnvAddress("back_end", 8010, is_url=False), EnvAddress("b", 1, is_url=False)]),
        ("at 12:30", [EnvAddress("12", 30, is_url=False)]),
        ("http://back_end", []),
        ("back_end", []),
        ("http://[2001:db8::b:80]:8010", []),
        ("", []),
        (None, []),
    ],
)
def test_an_address_must_contain_its_port(value: str | None, addresses: list[EnvAddress]) -> None:
    assert list(addresses_in([EnvEntry("X", value, value or "", NOWHERE)])) == addresses


@pytest.mark.parametrize(
    ("host", "port", "is_url"),
    [
        ("back_end", 8010, True),
        ("Back-End", 8013, False),
        ("foreign", 4318, True),  # nothing says that it does not listen there
        ("silent", 80, True),
        ("silent", 65535, True),
        ("12", 30, False),
        ("repository", 70000, False),
        ("api.example.org", 1, True),
        ("localhost", 1, True),
        ("host.docker.internal", 1, True),
        ("10.0.0.7", 1, True),
    ],
)
def test_an_address_of_the_fleet_or_outside_is_fine(host: str, port: int, *, is_url: bool) -> None:
    assert findings(EnvAddress(host, port, is_url)) == []


@pytest.mark.parametrize(
    ("host", "port", "weight", "reason"),
    [
        ("back_end", 0, Weight.UNUSABLE, "a port is a number from 1 to 65535"),
        ("nobody", 65536, Weight.UNUSABLE, "a port is a number from 1 to 65535"),
        ("nobody", 80, Weight.DOUBTFUL, "no service of the file has that name"),
        ("back_end", 80, Weight.DOUBTFUL, "it listens on 8010 or 8011 or 8012"),
        ("back_end", 9000, Weight.DOUBTFUL, "it listens on 8010 or 8011 or 8012, and 9000 is the host's port"),
        ("back_end", 9001, Weight.DOUBTFUL, "it listens on 8010 or 8011 or 8012, and 9001 is the host's port"),
        ("back_end", 9002, Weight.DOUBTFUL, "it listens on 8010 or 8011 or 8012, and 9002 is the host's port"),
    ],
)
def test_a_dead_address_is_reported_with_the_reason(host: str, port: int, weight: Weight, reason: str) -> None:
    (finding,) = findings(EnvAddress(host, port, is_url=True))
    assert (finding.weight, finding.reason) == (weight, reason)


def test_a_wrong_address_of_a_service_of_the_file_needs_no_scheme() -> None:
    assert len(findings(EnvAddress("back_end", 80, is_url=False))) == 1


@pytest.mark.parametrize("host_ip", ["[::1]", "[half", "no:address"])
def test_a_published_address_in_an_odd_form_does_not_stop_the_others(host_ip: str) -> None:
    listening = {"back-end": TcpPorts((8010,), (f"[{host_ip}]:9000", f"{host_ip}:9001"))}
    (finding,) = judged({EnvAddress("back_end", 9001, is_url=True): ["front"]}, listening)
    assert finding.reason == "it listens on 8010, and 9001 is the host's port"


@pytest.mark.parametrize(
    ("users", "text"),
    [
        (["a"], "nobody:80 in the environment of a"),
        (["a", "b", "c"], "nobody:80 in the environment of a, b, c"),
        (["a", "b", "c", "d", "e"], "nobody:80 in the environment of a, b, c and 2 more"),
    ],
)
def test_a_finding_names_the_first_services_with_the_address(users: list[str], text: str) -> None:
    (finding,) = findings(EnvAddress("nobody", 80, is_url=True), *users)
    assert finding.subject == text


@pytest.mark.parametrize(
    ("name", "value"),
    [("CORS_ORIGINS", "http://nobody:1"), ("OPTIONS", "-Dissuer=http://nobody:1"), ("VIRTUAL_HOST", "nobody:1")],
)
def test_a_name_that_is_compared_is_no_address(name: str, value: str) -> None:
    assert list(addresses_in([EnvEntry(name, value, value, NOWHERE)])) == []
