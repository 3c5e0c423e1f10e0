"""The DNS codec over any bytes, and against dnslib over any query."""

from __future__ import annotations

import dnslib
from hypothesis import given
from hypothesis import strategies as st

from dns import codec
from dns.codec import Query, Refusal
from registry_core.domain.records import Instance
from tests.samples import instances
from tests.views import StandingView
from tests.wire.asking import ZONE, parsed, responder
from tests.wire.packets import GOOD, header

LABELS = st.lists(st.from_regex(r"[a-zA-Z0-9_-]{1,20}", fullmatch=True), min_size=1, max_size=8)


@given(st.one_of(st.binary(max_size=600), st.binary(max_size=200).map(lambda tail: header(ar=1) + tail)))
def test_reading_never_raises(message: bytes) -> None:
    read = codec.read(message)
    assert read is None or isinstance(read, Query | Refusal)


@given(st.integers(0, len(GOOD)), st.binary(max_size=20))
def test_parsing_a_truncated_or_extended_query_never_raises(at: int, more: bytes) -> None:
    codec.read(GOOD[:at] + more)


@given(LABELS, st.integers(1, 65535), st.integers(0, 65535), st.one_of(st.none(), st.integers(0, 65535)))
def test_a_query_written_by_dnslib_is_parsed(labels: list[str], qtype: int, id_: int, payload: int | None) -> None:
    record = dnslib.DNSRecord(dnslib.DNSHeader(id=id_), q=dnslib.DNSQuestion(".".join(labels), qtype))
    if payload is not None:
        record.add_ar(dnslib.EDNS0(udp_len=payload, flags="do"))
    query = codec.read(bytes(record.pack()))
    assert isinstance(query, Query)
    assert query.name == tuple(label.encode() for label in labels)
    assert (query.id, query.qtype, query.qclass) == (id_, qtype, 1)
    assert (query.edns is None) == (payload is None)
    if query.edns is not None:
        assert (query.edns.payload, query.edns.version, query.edns.dnssec_ok) == (payload, 0, True)


@given(st.lists(st.tuples(st.sampled_from([3, 10, 11, 12, 65001]), st.binary(max_size=45)), max_size=6))
def test_the_first_cookie_counts_and_must_have_a_valid_length(options: list[tuple[int, bytes]]) -> None:
    record = dnslib.DNSRecord(q=dnslib.DNSQuestion(f"ip-intel.{ZONE}"))
    record.add_ar(dnslib.EDNS0(opts=[dnslib.EDNSOption(code, data) for code, data in options]))
    query = codec.read(bytes(record.pack()))
    cookie = next((data for code, data in options if code == 10), None)
    if cookie is not None and len(cookie) != 8 and not 16 <= len(cookie) <= 40:
        assert isinstance(query, Refusal)
        assert query.rcode is codec.Rcode.FORMERR
        assert query.edns is not None
    else:
        assert isinstance(query, Query)
        assert query.edns is not None
        assert query.edns.cookie == cookie
        assert query.edns.keepalive == any(code == 11 for code, _ in options)
        assert query.edns.has_options == bool(options)


@given(
    st.lists(instances(), max_size=12, unique_by=lambda i: i.key),
    st.sampled_from(["ip-intel", "_ip_intel._tcp", "canary.osint-service", "nobody", "_services._dns-sd._udp", ""]),
    st.sampled_from([1, 2, 6, 12, 15, 16, 28, 33, 255]),
    st.one_of(st.none(), st.integers(0, 65535)),
    st.integers(0, 9),
)  # fmt: skip
def test_every_answer_fits_and_can_be_parsed_by_dnslib(
    records: list[Instance], name: str, qtype: int, payload: int | None, seed: int
) -> None:
    server = responder(StandingView(records), seed=seed)
    question = dnslib.DNSRecord(q=dnslib.DNSQuestion(f"{name}.{ZONE}" if name else ZONE, qtype))
    if payload is not None:
        question.add_ar(dnslib.EDNS0(udp_len=payload))
    query = bytes(question.pack())
    packed = server.udp(query)
    assert packed is not None
    assert len(packed) <= min(max(512, payload or 0), 1232)
    answer = parsed(packed)
    assert answer.q == question.q
    assert {rr.rtype for rr in answer.rr} <= {qtype} or (qtype == 255 and len({rr.rtype for rr in answer.rr}) == 1)
    whole = parsed(server.tcp(query))
    assert whole.header.tc == 0
    assert len(whole.rr) >= len(answer.rr)
