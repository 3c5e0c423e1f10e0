"""What a client that may be forged gets instead of an answer: never more than it sent, but for its half of a cookie."""

from __future__ import annotations

import dnslib
import pytest

from dns.advice import RetryAdvice
from dns.codec import Answer, Query, Rcode, read
from dns.drafts import draft_of
from dns.hop import Hops
from tests.samples import FakeClock
from tests.wire.asking import parsed, question, rcode
from tests.wire.test_cookies import CLIENT, asked, cookie_of

HOPS = Hops(FakeClock(), 1232, recursion=False)
ADVICE = RetryAdvice(HOPS)
HOST = "10.0.0.9"
NAME = "crowd.example"


@pytest.mark.parametrize("edns", [None, 1232])
def test_a_client_is_told_to_retry_over_tcp(edns: int | None) -> None:
    query = question(NAME, edns=edns, id_=7)
    packed = ADVICE.instead_of_any(query, HOST)
    answer = parsed(packed)
    assert (answer.header.id, answer.header.tc, rcode(answer), answer.rr) == (7, 1, "NOERROR", [])
    assert packed is not None
    assert len(packed) == len(query)


def test_half_a_cookie_is_completed() -> None:
    answer = parsed(ADVICE.instead_of_any(asked(CLIENT, NAME), HOST))
    cookie = cookie_of(answer)
    assert (rcode(answer), answer.header.tc) == ("BADCOOKIE", 0)
    assert cookie is not None
    assert (cookie[:8], len(cookie)) == (CLIENT, 24)


@pytest.mark.parametrize("message", [b"", b"\0" * 11, question(NAME)[:20], b"\0\7\x81" + question(NAME)[3:]])
def test_what_is_no_question_gets_none(message: bytes) -> None:
    assert ADVICE.instead_of_any(message, HOST) is None


def test_only_truncated_answers_lose_their_records() -> None:
    query = question(NAME)
    record = dnslib.DNSRecord.parse(query).reply()
    record.add_answer(dnslib.RR(NAME, rdata=dnslib.A("10.0.0.1")))
    whole = bytes(record.pack())
    assert ADVICE.brief(whole, query, HOST) == whole
    record.header.tc = 1
    brief = ADVICE.brief(bytes(record.pack()), query, HOST)
    asked_ = read(query)
    assert isinstance(asked_, Query)
    hop = HOPS.of(asked_, HOST, None)
    expected = draft_of(asked_, Answer(Rcode.NOERROR, authoritative=False, ask_over_tcp=True), hop.room)
    assert brief == hop.finish(expected)
