"""Messages of resolvers: which answer a query, and what the client gets of them."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dns import codec
from dns.codec import Query
from dns.foreign import VIA_OCTETS, ForeignReply, Odd, Sent, inquiry_of, judge, mixed_case, outgoing, via_of
from dns.relay import AgedMessages, Relayed, relay_draft
from tests.foreign import read, reply_to
from tests.wire.asking import question

LABELS = st.lists(st.from_regex(r"[a-zA-Z0-9_-]{1,20}", fullmatch=True), min_size=1, max_size=6)
NAMES = LABELS.map(".".join)
TTLS = st.integers(0, 2**32 - 1)


def query_of(message: bytes) -> Query:
    query = codec.read(message)
    assert isinstance(query, Query)
    return query


def sent_for(name: str, id_: int = 99, bits: int = 0, *, edns: bool = True) -> Sent:
    asked = inquiry_of(query_of(question(name)))
    return outgoing(asked, id_, mixed_case(asked.question, bits), bytes(VIA_OCTETS), with_edns=edns)


def addresses(name: str, ttls: list[int]) -> list[str]:
    return [f"{name}. {ttl} IN A 192.0.2.{n}" for n, ttl in enumerate(ttls)]


@given(NAMES, st.integers(0, 2**200), st.integers(0, 0xFFFF))
def test_the_case_is_randomised_and_the_question_stays_the_same(name: str, bits: int, qtype: int) -> None:
    original = question(name)[12:-4] + qtype.to_bytes(2) + b"\0\1"
    mixed = mixed_case(original, bits)
    assert mixed[-4:] == original[-4:]
    assert mixed[:-4].lower() == original[:-4].lower()
    assert mixed_case(original, 0)[:-4] == original[:-4].lower()
    assert mixed_case(original, 2**2000 - 1)[:-4] == original[:-4].upper()


@given(NAMES, st.booleans(), st.booleans(), st.booleans(), st.integers(0, 0xFFFF))
def test_the_forwarded_query_equals_the_received_one(
    name: str, dnssec_ok: bool, checking_off: bool, edns: bool, id_: int
) -> None:
    message = bytearray(question(name, "AAAA", edns=1232))
    if dnssec_ok:
        message[-4] |= 0x80
    if checking_off:
        message[3] |= 0x10
    asked = inquiry_of(query_of(bytes(message)))
    sent = read(outgoing(asked, id_, asked.question, b"12345678", with_edns=edns).message)
    assert (sent.header.id, sent.header.rd, sent.header.cd, sent.header.qr) == (id_, 1, checking_off, 0)
    assert (str(sent.q.qname).lower(), sent.q.qtype) == (f"{name.lower()}.", 28)
    if edns:
        (opt,) = sent.ar
        assert (opt.rclass, opt.ttl) == (1232, 0x8000 if dnssec_ok else 0)
        assert [(o.code, bytes(o.data)) for o in opt.rdata] == [(65313, b"12345678")]
    else:
        assert sent.ar == []


@given(NAMES, st.lists(TTLS, max_size=8), st.integers(0, 2**100))
def test_an_answer_to_exactly_the_query_is_accepted(name: str, ttls: list[int], bits: int) -> None:
    sent = sent_for(name, bits=bits)
    reply = judge(reply_to(sent.message, *addresses(name, ttls)), sent)
    assert isinstance(reply, ForeignReply)
    assert [mark.ttl_s for mark in reply.marks] == [ttl if ttl < 2**31 else 0 for ttl in ttls]


@given(NAMES, st.integers(0, 2**100), st.integers(0, 11), st.integers(1, 255))
def test_a_different_header_is_classified_correctly(name: str, bits: int, at: int, change: int) -> None:
    sent = sent_for(name, bits=bits)
    answer = bytearray(reply_to(sent.message, *addresses(name, [300])))
    answer[at] ^= change
    reply = judge(bytes(answer), sent)
    strange = at < 2 or (at == 2 and change & 0xF8) or at in (4, 5)
    if strange:
        assert reply is None
    if isinstance(reply, ForeignReply):
        assert answer[:2] == sent.message[:2]
        assert answer[12:].startswith(sent.question)


@given(NAMES, NAMES)
def test_an_answer_to_another_query_is_rejected(name: str, other: str) -> None:
    sent, wrong = sent_for(name), sent_for(other)
    found = judge(reply_to(wrong.message, *addresses(other, [300])), sent)
    assert isinstance(found, ForeignReply) == (sent.question == wrong.question)


@given(NAMES)
def test_an_answer_in_another_case_is_recognised_as_such(name: str) -> None:
    sent, upper = sent_for(name), sent_for(name, bits=2**2000 - 1)
    found = judge(reply_to(upper.message, *addresses(name, [300])), sent)
    assert found is Odd.OTHER_CASE if upper.question != sent.question else isinstance(found, ForeignReply)
    aaaa = bytearray(reply_to(upper.message))
    aaaa[12 + len(upper.question) - 3] = 28
    assert judge(bytes(aaaa), sent) is None, "but not one of another type"


@given(st.binary(max_size=600), st.booleans())
def test_no_bytes_make_it_raise(noise: bytes, follows: bool) -> None:
    sent = sent_for("www.example")
    start = reply_to(sent.message, *addresses("www.example", [300]))
    judge(noise, sent)
    judge(start[: 12 + len(sent.question)] + noise, sent)
    judge(start[:4] + noise if follows else start[:2] + b"\x81\x80\0\1" + noise, sent)


def fails(found: ForeignReply | Odd | None) -> bool:
    """Return whether a message was taken for the resolver's failure, of which nothing is passed on."""
    return isinstance(found, ForeignReply) and (found.rcode, found.marks, found.aliases) == (2, (), ())


@given(st.data())
def test_a_message_that_was_cut_or_counts_wrongly_is_a_failure_of_the_resolver(data: st.DataObject) -> None:
    sent = sent_for("www.example")
    whole = reply_to(sent.message, *addresses("www.example", [300, 300, 300]))
    cut = data.draw(st.integers(0, len(whole) - 1))
    found = judge(whole[:cut], sent)
    question_end = 12 + len(sent.question)
    assert found is None if cut < question_end else fails(found)
    more = struct.pack("!H", data.draw(st.integers(4, 0xFFFF)))
    assert fails(judge(whole[:6] + more + whole[8:], sent))


@given(
    NAMES,
    st.lists(st.integers(0, 2**31 - 1), max_size=60),
    st.integers(512, 4096),
    st.integers(0, 2**31),
    st.booleans(),
)
def test_the_client_gets_what_fits_with_the_remaining_ttls(
    name: str, ttls: list[int], size: int, age_s: int, edns: bool
) -> None:
    sent = sent_for(name, bits=2**2000 - 1)
    reply = judge(reply_to(sent.message, *addresses(name, ttls)), sent)
    assert isinstance(reply, ForeignReply)
    asker = query_of(question(name, id_=4711, edns=size if edns else None))
    draft = relay_draft(asker, Relayed(reply, age_s=age_s), size, AgedMessages())
    message = draft.message
    assert len(message) + len(draft.errors) <= size
    answer: Any = read(message)
    assert message[12 : 12 + len(asker.question)] == asker.question, "in the asker's own spelling"
    assert (answer.header.id, answer.header.aa) == (4711, 0)
    assert [rr.ttl for rr in answer.rr] == [max(0, ttl - age_s) for ttl in ttls[: len(answer.rr)]]
    assert answer.header.tc == (len(answer.rr) < len(ttls))
    assert answer.ar == [], "the resolver's OPT record was for us"


@given(st.lists(st.binary(min_size=8, max_size=8), max_size=8))
def test_the_loop_marks_of_agents_survive_a_round_trip(ids: list[bytes]) -> None:
    asked = inquiry_of(query_of(question("www.example")))
    message = outgoing(asked, 1, asked.question, b"".join(ids), with_edns=True).message
    assert via_of(message, query_of(message)) == b"".join(ids)
    plain = outgoing(asked, 1, asked.question, b"".join(ids), with_edns=False).message
    assert via_of(plain, query_of(plain)) == b""


# Octets of which names and records are made: lengths, pointers into the message, types and classes.
SCRAPS = st.one_of(
    st.integers(12, 80).map(lambda at: (0xC000 | at).to_bytes(2)),
    st.sampled_from([b"\0", b"\1a", b"\3www", b"\7example", b"\0\5\0\1", b"\0\1\0\1", b"\0\0\1\0", b"\0\2", b"\0\4"]),
    st.binary(max_size=6),
)


@given(st.integers(1, 4), st.integers(0, 2), st.integers(0, 2), st.lists(SCRAPS, max_size=40).map(b"".join))
def test_whatever_is_passed_on_can_be_read_by_dnslib(
    answers: int, authority: int, additional: int, rest: bytes
) -> None:
    sent = sent_for("www.example")
    counts = struct.pack("!HHH", answers, authority, additional)
    found = judge(sent.message[:2] + b"\x81\x80\0\1" + counts + sent.question + rest, sent)
    assert isinstance(found, ForeignReply)
    message = relay_draft(query_of(question("www.example")), Relayed(found), 65535, AgedMessages()).message
    assert len(read(message).rr) == (0 if fails(found) else answers)
