"""An agent answers every packet as it should, or not at all where it must not, survives, and does not leak memory."""

from __future__ import annotations

import secrets
import struct
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.campaign import Finding
from tests.fuzz.mutants import LARGEST_DATAGRAM, TYPES, ZONE, Mutants, corpus, read_hex
from tests.fuzz.run import fuzz
from tests.fuzz.verdict import complaints, wants_silence
from tests.samples import instance
from tests.views import StandingView
from tests.wire.asking import responder
from tests.wire.packets import GOOD

COUNT = 20_000
# From nothing to well-filled caches of ready answers; there are two of 8 MiB.
MOST_GROWTH_MB = 20.0
SERVER = responder(
    StandingView(
        [
            instance("ip_intel", "10.0.0.1", addresses=("10.0.0.1", "2001:db8::1"), tags=("canary",)),
            *(instance("large", f"10.1.0.{number}") for number in range(1, 100)),
        ]
    )
)


def objections(packet: bytes) -> list[str]:
    """Return the errors in our answers to a packet, over UDP and over TCP."""
    found = []
    for answer, over_tcp in ((SERVER.udp(packet), False), (SERVER.tcp(packet), True)):
        if answer is not None:
            found += complaints(packet, answer, over_tcp=over_tcp)
        elif not wants_silence(packet):
            found.append("no answer")
    return found


def test_a_real_agent_survives_twenty_thousand_odd_packets(tmp_path: Path) -> None:
    seed = secrets.randbelow(1_000_000)
    report = fuzz(seed, COUNT, tmp_path)
    assert report.findings == [], f"seed {seed}\n" + "\n".join(map(str, report.findings))
    assert report.sent == COUNT
    assert report.answered > COUNT / 2, "most packets require an answer"
    assert report.connections > 100
    assert report.lost < COUNT / 1000
    assert report.resident_mb[-1] - report.resident_mb[0] < MOST_GROWTH_MB, f"seed {seed}: {report}"


@pytest.mark.parametrize("name", corpus())
def test_a_packet_on_file_is_answered_as_it_should_be(name: str) -> None:
    assert objections(corpus()[name]) == []


# Parts of messages for hypothesis, which finds the smallest message that is answered wrongly.
LABELS = st.one_of(st.sampled_from([b"ip-intel", b"ip_intel", b"_tcp", b"canary", *ZONE]), st.binary(max_size=70))
NAMES = st.tuples(
    st.lists(LABELS.map(lambda label: bytes((len(label),)) + label), max_size=6).map(b"".join),
    st.one_of(st.just(b"\0"), st.just(b"\x07vertice\x08internal\0"), st.binary(min_size=1, max_size=2)),
).map(b"".join)
QUESTIONS = st.tuples(NAMES, st.sampled_from(TYPES), st.sampled_from([1, 1, 1, 255])).map(
    lambda parts: parts[0] + struct.pack("!HH", *parts[1:])
)
RECORDS = st.tuples(
    st.one_of(st.just(b"\0"), NAMES), st.sampled_from([41, 1, 250]), st.integers(0, 65535), st.binary(max_size=20)
).map(lambda parts: parts[0] + struct.pack("!HHIH", parts[1], parts[2], 0, len(parts[3])) + parts[3])


@given(
    st.integers(0, 65535),
    st.lists(QUESTIONS, max_size=2),
    st.lists(RECORDS, max_size=3),
    st.integers(-1, 1),
    st.binary(max_size=3),
)
def test_what_is_put_together_by_hypothesis_is_answered_as_it_should_be(
    flags: int, questions: list[bytes], records: list[bytes], lie: int, tail: bytes
) -> None:
    counts = (len(questions), 0, 0, max(0, len(records) + lie))
    packet = struct.pack("!HHHHHH", 4711, flags, *counts) + b"".join((*questions, *records, tail))
    assert objections(packet) == []


# -- tests of the judges


def test_a_seed_gives_the_same_packets_each_time() -> None:
    first, second, other = (list(Mutants(seed).packets(2000)) for seed in (1, 1, 2))
    assert first == second
    assert first != other
    assert len(set(first)) > 1800


def test_the_mutants_are_of_every_sort() -> None:
    packets = list(islice(Mutants(3).packets(20_000), 500, None))
    answers = [answer for packet in packets if (answer := SERVER.udp(packet)) is not None]
    rcodes = {answer[3] & 0xF for answer in answers}
    assert rcodes == {0, 1, 3, 4, 5, 9}
    assert sum(answer[6:8] > b"\0\0" for answer in answers) > 1000, "many are good questions"
    assert sum(answer[2] & 2 for answer in answers) > 20, "and some are about much"
    assert sum(wants_silence(packet) for packet in packets) > 100
    assert max(map(len, packets)) == LARGEST_DATAGRAM


def test_the_verdict_objects_to_what_is_wrong() -> None:
    right = SERVER.udp(GOOD)
    assert right is not None
    assert complaints(GOOD, right, over_tcp=False) == []
    plain = GOOD[:11] + b"\0" + GOOD[12:-11]
    opt, records_at = right[-11:], right.index(b"\xc0\x0c")
    wrong = {
        "it answers a message that must not be answered": (GOOD[:2] + b"\x81" + GOOD[3:], right),
        "it is shorter than a DNS header": (GOOD, right[:11]),
        "the id differs": (GOOD, b"\0\0" + right[2:]),
        "QR is not set": (GOOD, right[:2] + bytes((right[2] & 0x7F,)) + right[3:]),
        "RD is not copied": (GOOD, right[:2] + bytes((right[2] & 0xFE,)) + right[3:]),
        "rcode 2 is not justified": (GOOD, right[:3] + b"\2" + right[4:]),
        "NOTIMP is not justified": (GOOD, right[:3] + b"\4" + right[4:]),
        "another opcode is not NOTIMP": (GOOD[:2] + b"\x29" + GOOD[3:], right[:2] + b"\xad" + right[3:]),
        "the question is missing": (GOOD, right[:4] + b"\0\0\0\0\0\0\0\0"),
        "a malformed query does not get FORMERR": (GOOD + b"\0", right),
        "several questions do not get FORMERR": (GOOD[:5] + b"\2" + GOOD[6:-11] + GOOD[12:], right),
        "several OPT records are not FORMERR": (GOOD[:11] + b"\2" + GOOD[12:] + opt, right),
        "a record of another name than queried": (GOOD, right[: records_at + 1] + b"\x15" + right[records_at + 2 :]),
        "the question differs": (GOOD, right[:13] + b"I" + right[14:]),
        "an error with answers": (GOOD, right[:3] + b"\3" + right[4:]),
        "an NXDOMAIN without SOA": (GOOD, right[:3] + b"\3" + right[4:]),
        "OPT in an answer to a query without one": (plain, right),
        "it is truncated over TCP": (GOOD, right[:2] + bytes((right[2] | 2,)) + right[3:]),
        "a record lives too long, or is of another class": (
            GOOD,
            right[: records_at + 6] + b"\0\0\1\0" + right[records_at + 10 :],
        ),
        "OPT is out of place": (GOOD, right[:10] + b"\0\2" + right[12:] + opt),
        "another type than was asked for": (GOOD, right[: records_at + 3] + b"\x63" + right[records_at + 4 :]),
    }
    for complaint, (query, answer) in wrong.items():
        assert complaint in complaints(query, answer, over_tcp=True), complaint
    assert any(c.startswith("it cannot be parsed") for c in complaints(GOOD, right + b"\0", over_tcp=False))
    long = right[:10] + b"\0\x3d" + right[12:] + opt * 60
    assert any("more than the limit" in c for c in complaints(plain, long, over_tcp=False))


def test_a_finding_becomes_an_entry_of_the_corpus(tmp_path: Path) -> None:
    finding = Finding("it is answered twice", (b"before", GOOD), b"\1\2")
    saved = finding.save(tmp_path, seed=9)
    assert read_hex(saved.read_text()) == GOOD
    assert saved.name.startswith("found-")
    assert "it is answered twice (seed 9)" in saved.read_text()
    assert GOOD.hex() in str(finding)
