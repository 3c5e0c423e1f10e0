"""Replies of resolvers: which are malformed, and what an alias leads to."""

from __future__ import annotations

from itertools import pairwise

import pytest

from dns.codec import TC
from dns.foreign import MAX_ALIASES, ForeignReply, judge, lifetime_s
from tests.foreign import SOA, reply_of, reply_to, sent_for
from tests.malformed import ASKED, MALFORMED, with_record

SENT = sent_for("www.example")


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_reply_is_the_resolvers_failure_and_nothing_of_it_is_kept(kind: str) -> None:
    reply = judge(MALFORMED[kind](SENT.message), SENT)
    assert isinstance(reply, ForeignReply)
    assert (reply.rcode, reply.marks, reply.errors, reply.aliases) == (2, (), b"", ())
    assert reply.message == MALFORMED[kind](SENT.message)[: 12 + len(SENT.question)]


def test_a_malformed_reply_to_another_question_is_none() -> None:
    other = sent_for("bank.example")
    for kind, reply in MALFORMED.items():
        assert judge(reply(other.message), SENT) is None, kind


def test_a_reply_that_was_cut_in_the_middle_of_a_record_may_be_whole_over_tcp() -> None:
    cut = reply_to(SENT.message, "www.example. 300 IN A 192.0.2.1", tc=1)[:-3]
    reply = judge(cut, SENT)
    assert isinstance(reply, ForeignReply)
    assert reply.flags & TC


@pytest.mark.parametrize(
    ("owner", "type_", "data"),
    [
        (b"\3www" + b"\xc0\x10", 1, b"abcd"),
        (ASKED, 5, b"\4mail" + b"\xc0\x10"),
        (b"\0", 2, b"\0"),
        (b"\x09_sip\xff\0\1\2\3" + ASKED, 33, bytes(6) + ASKED),
        (ASKED, 16, b"\0"),
        (ASKED, 16, b"\3abc\4defg"),
        (ASKED, 35, b"\0\1\0\2\1u\0\0" + ASKED),
        (ASKED, 65280, b"\xc0\xff"),
        (ASKED, 46, b"\xc0"),
    ],
)
@pytest.mark.parametrize("section", [0, 1, 2])
def test_what_is_unusual_but_right_is_passed_on(owner: bytes, type_: int, data: bytes, section: int) -> None:
    reply = judge(with_record(SENT.message, owner, type_, data, section=section), SENT)
    assert isinstance(reply, ForeignReply)
    assert (reply.rcode, [mark.type for mark in reply.marks]) == (0, [1, type_])


def test_a_reply_with_as_many_records_as_a_message_holds_is_walked_once() -> None:
    """Owners are pointers to the one before, in chains of 100: without a memory, that is a walk of many steps."""
    fields = bytes.fromhex("0001000100000001000401020304")
    places = [12 + len(SENT.question) + 16 * number for number in range(4000)]
    farthest = max(place for place in places if place <= 0x3FFF)
    owners = [
        (0xC000 | min(place, farthest)).to_bytes(2) if number % 100 else ASKED
        for number, place in enumerate((0, *places[:-1]))
    ]
    message = SENT.message[:2] + b"\x81\x80\0\1" + len(owners).to_bytes(2) + bytes(4) + SENT.question
    message += b"".join(owner + fields for owner in owners)
    reply = judge(message, SENT)
    assert isinstance(reply, ForeignReply)
    assert (reply.rcode, len(reply.marks)) == (0, len(owners))


# -- aliases


def alias(owner: str, target: str) -> str:
    return f"{owner} 300 IN CNAME {target}"


def test_a_reply_in_which_a_name_is_thousands_of_pointers_away_is_malformed() -> None:
    """Each alias would be followed over all of them: one message took many seconds."""
    chain_at = 12 + len(SENT.question) + 11
    targets = [12, *range(chain_at, chain_at + 4000, 2)]
    chain = b"".join((0xC000 | target).to_bytes(2) for target in targets)
    opaque = b"\0\xff\0\0\1\0\0\0\1" + len(chain).to_bytes(2) + chain
    far = (0xC000 | targets[-1]).to_bytes(2)
    message = SENT.message[:2] + b"\x81\x80\0\1\0\2" + bytes(4) + SENT.question + opaque
    message += far + b"\0\5\0\1\0\0\0\1\0\2" + far
    reply = judge(message, SENT)
    assert isinstance(reply, ForeignReply)
    assert (reply.rcode, reply.marks) == (2, ())


def test_aliases_are_followed_in_whatever_order_they_come() -> None:
    reply = reply_of("WWW.example", alias("b.example.", "C.Example."), alias("www.EXAMPLE.", "B.example."))
    assert reply.aliases == (b"\1b\7example\0", b"\1c\7example\0")


def test_what_is_no_alias_of_the_questions_name_is_none() -> None:
    assert reply_of("www.example", alias("b.example.", "c.example.")).aliases == ()
    assert reply_of("www.example", "www.example. 300 IN A 192.0.2.1", authority=SOA).aliases == ()


def test_a_loop_of_aliases_ends() -> None:
    names = ["www", "a", "b", "c"]
    loop = [alias(f"{one}.example.", f"{other}.example.") for one, other in zip(names, [*names[1:], "a"], strict=True)]
    assert len(reply_of("www.example", *loop).aliases) == 3
    assert reply_of("www.example", alias("www.example.", "www.example.")).aliases == (b"\3www\7example\0",)


def test_so_many_aliases_are_followed_and_no_more() -> None:
    names = ["www", *(f"a{n}" for n in range(40))]
    chain = [alias(f"{one}.example.", f"{other}.example.") for one, other in pairwise(names)]
    assert len(reply_of("www.example", *chain).aliases) == MAX_ALIASES


def test_a_negative_reply_is_kept_as_its_soa_says() -> None:
    assert lifetime_s(reply_of("www.example", authority=SOA, rcode=3), 1) == 60
    assert lifetime_s(reply_of("www.example", rcode=3), 1) == 0
