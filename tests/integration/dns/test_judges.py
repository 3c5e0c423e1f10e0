"""Every name and type of the zone, as dig and kdig see them over UDP and TCP."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from registry_core.domain.names import short_id
from registry_core.domain.records import Instance, Protocol, Status
from tests.integration.dns_servers import Running, both
from tests.samples import instance
from tests.views import StandingView
from tests.wire.asking import ZONE, responder

ONE = instance(
    "ip_intel", "10.0.0.1", addresses=("10.0.0.1", "2001:db8::1"), weight=3, tags=("canary",), metadata={"team": "x"}
)
LEAVES = instance("ip_intel", "10.0.0.2", weight=9, status=Status.DRAINING)
SYSLOG = instance("syslog", "10.0.0.3", port=5140, protocol=Protocol.UDP)


def short(i: Instance) -> str:
    return f"i-{short_id(i.service_name, i.instance_id)}.{ZONE}."


SOA = f"ns.{ZONE}. hostmaster.{ZONE}. 1 3600 600 86400 5"
ROWS: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "A": ((f"ip-intel.{ZONE}", "A"), {"10.0.0.1"}),
    "A in the other spelling": ((f"IP_Intel.{ZONE}", "A"), {"10.0.0.1"}),
    "AAAA": ((f"ip-intel.{ZONE}", "AAAA"), {"2001:db8::1"}),
    "TXT": ((f"ip-intel.{ZONE}", "TXT"), {'"team=x"'}),
    "SRV": ((f"ip-intel.{ZONE}", "SRV"), {f"0 768 8034 {short(ONE)}", f"0 0 8034 {short(LEAVES)}"}),
    "SRV as in RFC 2782": (
        (f"_ip-intel._tcp.{ZONE}", "SRV"),
        {f"0 768 8034 {short(ONE)}", f"0 0 8034 {short(LEAVES)}"},
    ),
    "SRV of UDP": ((f"_syslog._udp.{ZONE}", "SRV"), {f"0 256 5140 {short(SYSLOG)}"}),
    "a tag": ((f"canary.ip-intel.{ZONE}", "A"), {"10.0.0.1"}),
    "a tag's SRV": ((f"canary.ip-intel.{ZONE}", "SRV"), {f"0 768 8034 {short(ONE)}"}),
    "an instance": ((short(LEAVES), "A"), {"10.0.0.2"}),
    "an instance's AAAA": ((short(ONE), "AAAA"), {"2001:db8::1"}),
    "the list of services": (
        (f"_services._dns-sd._udp.{ZONE}", "PTR"),
        {f"_ip-intel._tcp.{ZONE}.", f"_syslog._udp.{ZONE}."},
    ),
    "a reverse name": (("-x", "10.0.0.3"), {f"syslog.{ZONE}."}),
    "a reverse name of IPv6": (("-x", "2001:db8::1"), {f"ip-intel.{ZONE}."}),
    "the apex' SOA": ((ZONE, "SOA"), {SOA}),
    "the apex' NS": ((ZONE, "NS"), {f"ns.{ZONE}."}),
    "the name server": ((f"ns.{ZONE}", "A"), {"127.0.0.1"}),
    "ANY": ((f"ip-intel.{ZONE}", "ANY"), {"10.0.0.1"}),
}


@pytest_asyncio.fixture
async def running() -> AsyncIterator[Running]:
    view = StandingView([ONE, LEAVES, SYSLOG])
    server = responder(view)
    udp, tcp = await both(server)
    yield Running(view, server, udp, tcp)
    await udp.close()
    await tcp.close()


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
@pytest.mark.parametrize("program", ["dig", "kdig"])
@pytest.mark.parametrize("row", ROWS)
async def test_each_row_of_the_zone(running: Running, row: str, program: str, transport: str) -> None:
    words, expected = ROWS[row]
    out = await running.dig("+short", transport, *words, program=program)
    assert set(out.splitlines()) == expected


@pytest.mark.parametrize("program", ["dig", "kdig"])
@pytest.mark.parametrize(
    ("words", "status"),
    [
        ((f"nobody.{ZONE}",), "NXDOMAIN"),
        ((f"ip-intel.{ZONE}.{ZONE}",), "NXDOMAIN"),
        ((f"ip-intel.{ZONE}", "MX"), "NOERROR"),
        (("-x", "10.0.0.1", "-t", "TXT"), "NOERROR"),
        (("-x", "10.0.0.99"), "REFUSED"),
        (("example.com",), "REFUSED"),
        ((f"ip-intel.{ZONE}", "TYPE1000"), "NOERROR"),
        ((f"ip-intel.{ZONE}", "TYPE253"), "NOTIMP"),
    ],
)
async def test_each_kind_of_negative_answer(
    running: Running, program: str, words: tuple[str, ...], status: str
) -> None:
    out = await running.dig(*words, program=program)
    assert f"status: {status}" in out
    negative = status in {"NXDOMAIN", "NOERROR"}
    assert ("IN\tSOA" in out.replace("  ", "\t")) == negative, out
    if program == "dig":  # whether kdig shows it depends on its release
        assert ("EDE: 20" in out) == (status == "REFUSED"), out


async def test_dig_and_kdig_accept_our_cookies(running: Running) -> None:
    for more in ((), ("+tcp",)):
        assert "(good)" in await running.dig("+cookie", *more, f"ip-intel.{ZONE}")
        out = await running.dig("+cookie=0123456789abcdef", *more, f"ip-intel.{ZONE}", program="kdig")
        assert "COOKIE: 0123456789ABCDEF01000000" in out, "the version, then three reserved octets"


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
async def test_a_signed_query_is_rejected_for_its_key(running: Running, transport: str) -> None:
    words = (transport, "-y", "hmac-sha256:key.corp:c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", f"ip-intel.{ZONE}")
    out = await running.dig(*words)
    assert "status: NOTAUTH" in out
    assert re.search(r"TSIG\s+hmac-sha256\. \d+ 300 0 \d+ BADKEY 0", out), out
    assert "status: BADKEY" in await running.dig(*words, program="kdig")


async def test_dig_gets_a_cookie_without_a_question(running: Running) -> None:
    out = await running.dig("+header-only")
    assert "status: NOERROR" in out
    assert "(good)" in out


async def test_dig_sees_how_long_a_connection_is_kept(running: Running) -> None:
    assert re.search(r"TCP[ -]KEEPALIVE: 30\.0 secs", await running.dig("+tcp", "+keepalive", f"ip-intel.{ZONE}"))
