"""Addresses of the registry from SRV records: by priority, by weight, and never from a broken answer."""

from __future__ import annotations

from random import Random

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.registries.addresses import (
    MAX_ADDRESSES,
    SrvName,
    SrvRecord,
    addresses,
    read_source,
    source_text,
    srv_records,
)
from dns.codec import HEADER, Type
from dns.foreign import ForeignReply, Mark, inquiry, judge, outgoing
from registry_core.upstreams.choice import RegistryAddress

NAME = SrvName((b"_registry", b"_tcp", b"example"))
SEED = b"0123456789abcdef"

records = st.builds(
    SrvRecord,
    st.integers(0, 3),
    st.integers(0, 100),
    st.integers(1, 65535),
    st.from_regex(r"[a-z]{1,5}\.example", fullmatch=True),
)


def reply_with(listed: list[SrvRecord]) -> ForeignReply:
    """Return the result of dnslib's answer, whose targets are compressed."""
    asked = inquiry(bytes(dnslib.DNSRecord.question("_registry._tcp.example", "SRV").pack())[HEADER:])
    sent = outgoing(asked, 7, asked.question, b"", with_edns=False)
    answer = dnslib.DNSRecord.parse(sent.message).reply()
    for one in listed:
        data = dnslib.SRV(one.priority, one.weight, one.port, one.target)
        answer.add_answer(dnslib.RR("_registry._tcp.example", dnslib.QTYPE.SRV, rdata=data, ttl=30))
    reply = judge(answer.pack(), sent)
    assert isinstance(reply, ForeignReply)
    return reply


@given(st.lists(records, max_size=20))
def test_a_message_of_another_program_is_read(listed: list[SrvRecord]) -> None:
    assert srv_records(reply_with(listed)) == listed


@given(st.binary(max_size=300), st.integers(0, 300), st.integers(0, 310))
def test_an_odd_answer_is_read_to_its_end(message: bytes, ttl_at: int, end: int) -> None:
    mark = Mark(0, Type.SRV, 30, ttl_at, min(end, len(message)))
    srv_records(ForeignReply(message, 0, 0, (mark,), b"", 12))


@given(st.lists(records, max_size=30), st.binary(min_size=16, max_size=16))
def test_a_lower_priority_is_never_before_a_higher_one(listed: list[SrvRecord], seed: bytes) -> None:
    found = addresses([NAME], {NAME: listed}, seed)
    assert [one.tier for one in found] == sorted(one.tier for one in found)
    assert len(found) == min(MAX_ADDRESSES, len({(one.target, one.port) for one in listed}))


@given(st.lists(records, min_size=1, max_size=12), st.binary(min_size=16, max_size=16), st.randoms())
def test_the_order_of_the_records_does_not_matter(listed: list[SrvRecord], seed: bytes, random: Random) -> None:
    shuffled = sorted(listed, key=lambda _: random.random())
    assert addresses([NAME], {NAME: shuffled}, seed) == addresses([NAME], {NAME: listed}, seed)


def test_agents_spread_over_one_priority_by_weight() -> None:
    listed = [SrvRecord(0, weight, 1, f"w{weight}.example") for weight in (10, 30, 60, 0)]
    first = [addresses([NAME], {NAME: listed}, n.to_bytes(16))[0].url for n in range(4000)]
    shares = [first.count(f"http://w{weight}.example:1") / 4000 for weight in (10, 30, 60, 0)]
    assert shares[:3] == pytest.approx([0.1, 0.3, 0.6], abs=0.03)
    assert shares[3] < 0.01


def test_a_removed_record_moves_only_the_agents_that_used_it() -> None:
    listed = [SrvRecord(0, 10, 1, f"r{n}.example") for n in range(5)]
    for n in range(200):
        before = addresses([NAME], {NAME: listed}, n.to_bytes(16))
        after = addresses([NAME], {NAME: listed[1:]}, n.to_bytes(16))
        assert after == [one for one in before if one.url != "http://r0.example:1"]


def test_urls_and_names_may_be_mixed_and_each_address_counts_once() -> None:
    sources = [read_source("http://a:8888#zone=eu-1a"), NAME, read_source("http://b.example:1")]
    found = addresses(sources, {NAME: [SrvRecord(5, 1, 1, "b.example"), SrvRecord(9, 1, 1, "c.example")]}, SEED)
    assert found == [
        RegistryAddress("http://a:8888", "eu-1a"),
        RegistryAddress("http://b.example:1"),
        RegistryAddress("http://c.example:1", tier=1),
    ]
    assert addresses(sources, {}, SEED) == [
        RegistryAddress("http://a:8888", "eu-1a"),
        RegistryAddress("http://b.example:1"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a:8888",
        "http://a:8888#eu-1a",
        "http://a:8888#zone=",
        "http://a:8888?x=1",
        "srv:",
        "srv:registry.example",
        "srv:_registry._udp.example",
        "srv:_registry._tcp",
        "srv:_a._tcp." + "x" * 64,
        "srv:_a._tcp..b",
        "srv:_é._tcp.b",
    ],
)
def test_an_invalid_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"it is not|after (#|srv:)"):
        read_source(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (" http://a:8888/ ", "http://a:8888"),
        ("http://a:8888/#zone=eu-1a", "http://a:8888#zone=eu-1a"),
        ("SRV:_Registry._TCP.Example.", "srv:_registry._tcp.example"),
    ],
)
def test_an_address_has_one_spelling(text: str, wanted: str) -> None:
    assert source_text(text) == wanted
    assert source_text(wanted) == wanted
