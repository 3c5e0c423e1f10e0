"""The doctor's findings on the zone's name: private, public, reserved, or taken."""

from __future__ import annotations

import pytest

from cli.doctor.facts import ZoneAnswer
from cli.doctor.zone import judge
from tests.unit.cli.doctor.samples import facts, ids


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("vertice.internal", "zone"),
        ("internal", "zone"),
        ("a.b.home.arpa", "zone"),
        ("home.arpa", "zone"),
        ("my_zone.test", "zone"),
        ("local", "zone-local"),
        ("vertice.local", "zone-local"),
        ("vertice.localhost", "zone-special"),
        ("example", "zone-special"),
        ("vertice.onion", "zone-special"),
        ("com", "zone-public-suffix"),
        ("dev", "zone-public-suffix"),
        ("br", "zone-public-suffix"),
        ("zz", "zone-public-suffix"),
        ("co.uk", "zone-public-suffix"),
        ("github.io", "zone-public-suffix"),
        ("vertice.co.uk", "zone-public"),
        ("example.com", "zone-public"),
        ("vertice.zz", "zone-public"),
        ("nothome.arpa", "zone-public"),
        ("10.in-addr.arpa", "zone-public"),
        ("vertice", "zone-single-label"),
        ("a1", "zone-single-label"),
        ("myinternal", "zone-single-label"),
        ("vertice.corp", "zone-unreserved"),
        ("internal.lan", "zone-unreserved"),
    ],
)
def test_a_zone_is_judged_by_its_parent_domain(zone: str, expected: str) -> None:
    assert ids(list(judge(facts(subject={"zone": zone})))) == [expected]


@pytest.mark.parametrize(("zone", "https"), [("vertice.dev", True), ("vertice.com", False)])
def test_names_that_browsers_open_only_with_https_are_reported(zone: str, *, https: bool) -> None:
    (finding,) = judge(facts(subject={"zone": zone}))
    assert ("only with https" in finding.why) is https


@pytest.mark.parametrize(
    ("zone", "cure"),
    [("vertice", "AGENT_DNS_ZONE=vertice.internal"), ("vertice.lan", "AGENT_DNS_ZONE=vertice.internal")],
)
def test_the_cure_is_a_name_for_private_use(zone: str, cure: str) -> None:
    (finding,) = judge(facts(subject={"zone": zone}))
    assert finding.cure == cure
    (cured,) = judge(facts(subject={"zone": cure.partition("=")[2]}))
    assert cured.id == "zone"


@pytest.mark.parametrize("answer", [one for one in ZoneAnswer if one is not ZoneAnswer.ELSEWHERES])
def test_a_name_server_without_a_zone_of_that_name_is_fine(answer: ZoneAnswer) -> None:
    assert ids(list(judge(facts(nameservers={"10.0.0.53": answer})))) == ["zone"]


def test_the_servers_that_know_another_zone_of_that_name_are_listed() -> None:
    nameservers = {
        "10.0.0.53": ZoneAnswer.ELSEWHERES,
        "127.0.0.1": ZoneAnswer.OURS,
        "2001:db8::53": ZoneAnswer.ELSEWHERES,
    }
    _, finding = judge(facts(nameservers=nameservers))
    assert finding.id == "zone-taken"
    assert finding.what == "the zone vertice.internal also exists elsewhere: 10.0.0.53, 2001:db8::53 knows it"
