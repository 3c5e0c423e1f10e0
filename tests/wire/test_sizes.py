"""What fits: a service with 1, 3, 200 and 2,000 instances over UDP and TCP, as docs/reference/dns.md says."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from dns.drafts import PART
from tests.samples import instance
from tests.views import StandingView
from tests.wire.asking import ZONE, ask, data, extended_errors, parsed, question, rcode, responder

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reference" / "dns.md"
COUNTS = (1, 3, 200, 2000)
TRANSPORTS = ((None, False), (1232, False), (1232, True))


def many(count: int) -> StandingView:
    return StandingView(instance(host=f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}") for n in range(1, count + 1))


@pytest.mark.parametrize(("edns", "limit"), [(None, 512), (512, 512), (1, 512), (1232, 1232), (4096, 1232)])
@pytest.mark.parametrize("count", [1, 3, 200, 2000])
@pytest.mark.parametrize("qtype", ["A", "SRV"])
def test_an_answer_over_udp_fits_or_is_marked_as_truncated(
    qtype: str, count: int, edns: int | None, limit: int
) -> None:
    query = question(f"ip-intel.{ZONE}", qtype, edns=edns)
    packed = responder(many(count)).udp(query)
    assert packed is not None
    assert len(packed) <= limit
    answer = parsed(packed)
    assert answer.rr, "a service with instances never gets an empty answer"
    whole = len(answer.rr) == count
    assert answer.header.tc == (0 if whole or (qtype == "A" and edns is None) else 1), (
        "a part is an answer only for stubs that want an address; a resolver would cache it as the whole"
    )
    if count == 3:
        assert whole


def cell(count: int, name: str, qtype: str, edns: int | None, *, tcp: bool) -> str:
    """Return the table's row for one answer: answer records, additional ones, and whether TC is set."""
    answer = ask(responder(many(count)), f"{name}.{ZONE}", qtype, edns=edns, tcp=tcp)
    glue = len(data(answer, "ar"))
    return f"{len(answer.rr)}" + (f" + {glue}" if glue else "") + (", TC" if answer.header.tc else "")


def test_the_answers_match_the_table_in_the_document() -> None:
    rows = re.findall(
        r"^\| ([\d,]+) \|((?:[^|\n]*\|){5}[^|\n]*)\|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert [int(count.replace(",", "")) for count, _ in rows] == list(COUNTS)
    for count, cells in rows:
        expected = [
            cell(int(count.replace(",", "")), name, qtype, edns, tcp=tcp)
            for name, qtype in (("ip-intel", "A"), ("_ip-intel._tcp", "SRV"))
            for edns, tcp in TRANSPORTS
        ]
        assert [text.strip() for text in cells.split("|")] == expected, f"{count} instances"


@pytest.mark.parametrize("edns", [None, 1232])
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("qtype", ["A", "SRV"])
def test_an_answer_over_tcp_is_as_complete_as_64_kib_allow(qtype: str, count: int, edns: int | None) -> None:
    packed = responder(many(count)).tcp(question(f"ip-intel.{ZONE}", qtype, edns=edns))
    assert packed is not None
    assert len(packed) <= 65535
    answer = parsed(packed)
    assert answer.header.tc == 0, "there is no other transport: some clients would discard the answer"
    if qtype == "A" or count < 2000:
        assert len(answer.rr) == count
        assert extended_errors(answer) == []
    else:
        assert 1250 < len(answer.rr) < count, "2,000 SRV records with names are more than 64 KiB"
        assert len({str(rr.rdata) for rr in answer.rr}) == len(answer.rr)
        assert extended_errors(answer) == ([] if edns is None else [0]), "and clients that can read it are told"
        assert (PART.encode() in packed) == (edns is not None)


def test_a_partial_answer_over_tcp_varies_and_prefers_heavy_instances() -> None:
    light = [instance(host=f"10.1.{n >> 8}.{n & 255}", weight=1) for n in range(1000)]
    heavy = [instance(host=f"10.2.{n >> 8}.{n & 255}", weight=100) for n in range(1000)]
    server = responder(StandingView([*light, *heavy]))
    query = question(f"_ip-intel._tcp.{ZONE}", "SRV")
    parts = [frozenset(data(parsed(server.tcp(query)))) for _ in range(2)]
    assert parts[0] != parts[1]
    weights = Counter(line.split()[1] for line in parts[0])
    assert weights["100"] > 950
    assert weights["1"] > 200


def test_a_stale_partial_answer_is_marked_as_both() -> None:
    view = many(2000)
    server = responder(view)
    view.age(3600)
    packed = server.tcp(question(f"_ip-intel._tcp.{ZONE}", "SRV", edns=1232))
    assert extended_errors(parsed(packed)) == [3]
    assert packed is not None
    assert PART.encode() in packed


@pytest.mark.parametrize("qtype", ["A", "AAAA"])
def test_a_client_without_tcp_gets_enough_addresses(qtype: str) -> None:
    """Musl before 1.2.4 uses what came in 512 octets, and discards a truncated answer."""
    instances = [instance(host=f"10.9.{n >> 8}.{n & 255}", addresses=(f"10.9.0.{n % 250}", f"2001:db8::{n:x}"))
                 for n in range(1, 500)]  # fmt: skip
    packed = responder(StandingView(instances)).udp(question(f"ip-intel.{ZONE}", qtype))
    assert packed is not None
    answer = parsed(packed)
    assert (len(packed) <= 512, answer.header.tc, len(answer.rr) >= 16) == (True, 0, True)


def test_a_record_too_large_for_a_datagram_is_truncated() -> None:
    record = instance(metadata={f"key{n}": "x" * 200 for n in range(10)})
    server = responder(StandingView([record]))
    cut = ask(server, f"ip-intel.{ZONE}", "TXT", edns=1232)
    assert (rcode(cut), cut.header.tc, len(cut.rr)) == ("NOERROR", 1, 5)
    whole = ask(server, f"ip-intel.{ZONE}", "TXT", edns=1232, tcp=True)
    assert (whole.header.tc, len(whole.rr)) == (0, 10)


def test_glue_is_dropped_first_when_space_is_short() -> None:
    answer = ask(responder(many(8)), f"_ip-intel._tcp.{ZONE}", "SRV")
    assert len(answer.rr) == 8
    assert answer.header.tc == 0
    assert len(answer.ar) < 8


def test_an_soa_that_does_not_fit_is_truncated() -> None:
    zone = ".".join(["a" * 60] * 3)
    server = responder(StandingView(), zone=zone)
    short_of_room = ask(server, f"nobody.{zone}")
    assert (rcode(short_of_room), short_of_room.header.tc, short_of_room.auth) == ("NXDOMAIN", 1, [])
    whole = ask(server, f"nobody.{zone}", tcp=True)
    assert (rcode(whole), whole.header.tc, len(whole.auth)) == ("NXDOMAIN", 0, 1)
