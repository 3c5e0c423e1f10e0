"""What every name server must handle, by the tests in RFC 8906: each is its own dig command.

The numbers are those of its section 8; `expect` lists what dig's output must have, `never` what it must not.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.integration.dns_servers import Running, both
from tests.samples import instance
from tests.views import StandingView
from tests.wire.asking import ZONE, responder

SOA = f"\n{ZONE}. 5 IN SOA "
NOERROR, BADVERS, NOTIMP, REFUSED = (f"status: {code}," for code in ("NOERROR", "BADVERS", "NOTIMP", "REFUSED"))
OPT = "OPT PSEUDOSECTION"
V0 = "; EDNS: version: 0,"
AA = "<aa>"
PLAIN = ("+noedns", "+noad", "+norec")
EDNS = ("+nocookie", "+edns=0", "+noad", "+norec")
V1 = ("+nocookie", "+edns=1", "+noednsneg", "+noad", "+norec")

CASES: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "8.1.1 the zone": ((*PLAIN, "soa", ZONE), (NOERROR, SOA, AA), (OPT,)),
    "8.1.2 unknown types": ((*PLAIN, "type1000", ZONE), (NOERROR, "ANSWER: 0", AA), (OPT,)),
    "8.1.3.1 CD": ((*PLAIN, "+cd", "soa", ZONE), (NOERROR, SOA, AA), (OPT,)),
    "8.1.3.2 AD": (("+noedns", "+norec", "+ad", "soa", ZONE), (NOERROR, SOA, AA), (OPT, "<ad>")),
    "8.1.3.3 reserved bit": ((*PLAIN, "+zflag", "soa", ZONE), (NOERROR, SOA, AA), (OPT, "MBZ")),
    "8.1.3.4 RD": (("+noedns", "+noad", "+rec", "soa", ZONE), (NOERROR, SOA, AA, "<rd>"), (OPT, "<ra>")),
    "8.1.4 unknown opcodes": ((*PLAIN, "+opcode=15", "+header-only"), (NOTIMP, "RESERVED15"), (SOA, AA, OPT)),
    "8.1.5 TCP": ((*PLAIN, "+tcp", "soa", ZONE), (NOERROR, SOA, AA), (OPT,)),
    "8.2.1 minimal EDNS": ((*EDNS, "soa", ZONE), (NOERROR, SOA, OPT, V0, AA), ()),
    "8.2.2 version": ((*V1, "soa", ZONE), (BADVERS, OPT, V0), (SOA, AA)),
    "8.2.3 unknown options": ((*EDNS, "+ednsopt=100", "soa", ZONE), (NOERROR, SOA, OPT, V0, AA), ("OPT=100",)),
    "8.2.4 unknown flags": ((*EDNS, "+ednsflags=0x40", "soa", ZONE), (NOERROR, SOA, OPT, V0, AA), ("MBZ",)),
    "8.2.5 version, flags": ((*V1, "+ednsflags=0x40", "soa", ZONE), (BADVERS, OPT, V0), (SOA, AA, "MBZ")),
    "8.2.6 version, options": ((*V1, "+ednsopt=100", "soa", ZONE), (BADVERS, OPT, V0), (SOA, AA, "OPT=100")),
    "8.2.7 truncated": (
        ("+norec", "+dnssec", "+bufsize=512", "+ignore", f"_large._tcp.{ZONE}", "SRV"),
        (NOERROR, OPT, V0, AA, "<tc>"),
        (),
    ),
    "8.2.8 DO": ((*EDNS, "+dnssec", "soa", ZONE), (NOERROR, SOA, OPT, V0, AA), ("RRSIG",)),
    "8.2.9 version, DO": ((*V1, "+dnssec", "soa", ZONE), (BADVERS, OPT, V0), (SOA, AA)),
    "8.2.10 many options": (
        ("+edns=0", "+noad", "+norec", "+cookie", "+nsid", "+expire", "+subnet=0.0.0.0/0", "soa", ZONE),
        (NOERROR, SOA, OPT, V0, AA, "(good)"),
        ("NSID", "SUBNET", "EXPIRE"),
    ),
    "3.2.7 EDNS over TCP": ((*EDNS, "+tcp", "soa", ZONE), (NOERROR, SOA, OPT, V0, AA), ()),
    "3.1.1 somebody else's zone": ((*PLAIN, "soa", "example.com"), (REFUSED,), (SOA, AA, OPT)),
    "3.1 another class": (("-c", "HS", *PLAIN, "soa", ZONE), (REFUSED,), (SOA, AA)),
}


@pytest_asyncio.fixture
async def running() -> AsyncIterator[Running]:
    view = StandingView(instance("large", f"10.1.0.{n}") for n in range(200))
    server = responder(view)
    udp, tcp = await both(server)
    yield Running(view, server, udp, tcp)
    await udp.close()
    await tcp.close()


def shown(output: str) -> str:
    """Return dig's output with each header flag in <>, to tell it from similar words, and with single blanks."""
    flagged = re.sub(r";; flags: ([a-z ]*)(.*)", lambda m: "".join(f"<{f}>" for f in m[1].split()) + m[2], output)
    return re.sub(r"[\t ]+", " ", flagged)


@pytest.mark.parametrize("case", CASES)
async def test_dig_sees_what_rfc_8906_expects(running: Running, case: str) -> None:
    words, expected, never = CASES[case]
    # The second answer may be a ready one, which must be as good (section 6: whole-answer caches).
    for _ in range(2):
        out = shown(await running.dig("+tries=1", *words))
        for text in expected:
            assert text in out, f"{text}\n{out}"
        for text in never:
            assert text not in out, f"{text}\n{out}"


async def test_a_ready_answer_is_used_only_for_an_equal_query(running: Running) -> None:
    """Section 6: caches of whole answers got the EDNS version and the options wrong."""
    for words, status in ((EDNS, NOERROR), (V1, BADVERS), (PLAIN, NOERROR), (EDNS, NOERROR), (V1, BADVERS)):
        out = await running.dig("+tries=1", *words, "soa", ZONE)
        assert status in out
        assert (OPT in out) == (words is not PLAIN)
        assert "COOKIE" not in out
