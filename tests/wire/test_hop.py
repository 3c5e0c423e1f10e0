"""What belongs to the hop is in every answer of any origin, and only where the client asked for it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import dnslib
import pytest
from structlog.testing import capture_logs

from dns.codec import Answer, Query, Rcode
from dns.dns_settings import DnsSettings
from dns.drafts import error_option
from dns.forward_rules import read_rules
from dns.forwarding import ForeignAnswer, Forwarder, Forwards
from dns.relay import Relayed
from dns.responder import Responder
from tests.foreign import reply_of
from tests.samples import FakeClock, instance
from tests.views import StandingView
from tests.wire.asking import ZONE, data, extended_errors, parsed, question, rcode
from tests.wire.packets import header
from tests.wire.test_cookies import CLIENT, cookie_of
from tests.wire.test_protocol import keepalive_of

HOST = "10.0.0.9"
WWW = "www.example"
LATE = "late.example"
LONG = f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 40}.example"
COOKIE = dnslib.EDNSOption(10, CLIENT)
KEEPALIVE = dnslib.EDNSOption(11, b"")
RELAYED = Relayed(reply_of(WWW, f"{WWW}. 300 IN A 192.0.2.1"))
LARGE = Relayed(reply_of("large.example", *(f"large.example. 300 IN A 192.0.2.{n}" for n in range(200))))
# A failure with as many of a resolver's errors as are ever passed on.
FAILED = Answer(Rcode.SERVFAIL, authoritative=False, extended_error=23, more_errors=error_option(6, "x" * 250))
SAID: dict[str, ForeignAnswer] = {
    WWW: RELAYED,
    LATE: RELAYED,
    "large.example": LARGE,
    "stale.example": Relayed(RELAYED.reply, most_ttl_s=30, stale=True),
    "failed.example": FAILED,
    "late-failure.example": FAILED,
    LONG: FAILED,
}


class Elsewhere(Forwards):
    """Answers some foreign names as `SAID`, at once or later, and others as a real forwarder without resolvers does."""

    def __init__(self) -> None:
        self._rules = Forwarder(read_rules("none"), FakeClock())

    def answer(
        self, query: Query, message: bytes, asker: Hashable = None
    ) -> ForeignAnswer | asyncio.Future[ForeignAnswer]:
        name = b".".join(query.name).decode().lower()
        said = SAID.get(name)
        if said is None:
            return self._rules.answer(query, message, asker)
        if not name.startswith("late"):
            return said
        later: asyncio.Future[ForeignAnswer] = asyncio.get_running_loop().create_future()
        later.set_result(said)
        return later


class BrokenView(StandingView):
    """Has a fault."""

    def find(self, name: str) -> Any:
        raise RuntimeError(name)


def server(view: StandingView | None = None) -> Responder:
    settings = DnsSettings(allow_networks=("10.0.0.0/8",), rate_limit=1)
    known = StandingView([instance("billing", "10.0.0.1")]) if view is None else view
    return Responder(known, settings, random.Random(7), Elsewhere(), clock=FakeClock())


class Path(NamedTuple):
    """A way to an answer: the name, the type and the rcode, and how to ask."""

    name: str
    code: str
    qtype: str = "A"
    view: Callable[[], StandingView] = lambda: StandingView([instance("billing", "10.0.0.1")])
    host: str = HOST
    change: Callable[[bytes], bytes] = bytes
    before: int = 0  # questions before, for the limit of answers


def without_rd(query: bytes) -> bytes:
    return query[:2] + b"\0" + query[3:]


def notify(query: bytes) -> bytes:
    return query[:2] + b"\x20" + query[3:]


def twice(query: bytes) -> bytes:
    end = query.index(b"\0", 12) + 5
    return query[:5] + b"\2" + query[6:end] + query[12:end] + query[end:]


PATHS = {
    "an own name": Path(f"billing.{ZONE}", "NOERROR"),
    "an own name that is not there": Path(f"nobody.{ZONE}", "NXDOMAIN"),
    "an own name of another type": Path(f"billing.{ZONE}", "NOERROR", "MX"),
    "a name that nobody can tell": Path(f"nobody.{ZONE}", "SERVFAIL", view=lambda: StandingView(complete=False)),
    "a type that is refused": Path(f"billing.{ZONE}", "REFUSED", "AXFR"),
    "a fault of ours": Path(f"billing.{ZONE}", "SERVFAIL", view=BrokenView),
    "a resolver's answer": Path(WWW, "NOERROR"),
    "a resolver's answer that comes later": Path(LATE, "NOERROR"),
    "a resolver's answer that is large": Path("large.example", "NOERROR"),
    "a stale answer": Path("stale.example", "NOERROR"),
    "a failure": Path("failed.example", "SERVFAIL"),
    "a failure that comes later": Path("late-failure.example", "SERVFAIL"),
    "localhost": Path("localhost", "NOERROR"),
    "a name that is not in DNS": Path("x.onion", "NXDOMAIN"),
    "a name that is not forwarded": Path("other.example", "REFUSED"),
    "a name without RD": Path("other.example", "REFUSED", change=without_rd),
    "a client that may not ask": Path(f"billing.{ZONE}", "REFUSED", host="192.0.2.9"),
    "another opcode": Path(f"billing.{ZONE}", "NOTIMP", change=notify),
    "two questions": Path(f"billing.{ZONE}", "FORMERR", change=twice),
}


async def asked(path: Path, *options: Any, edns: int | None = None, idle_s: float | None = None) -> Any:
    """Return the answer as a client gets it, over TCP with `idle_s`, and check its size."""
    one = server(path.view())
    query = path.change(question(path.name, path.qtype, edns=edns, options=options))
    with capture_logs():
        if idle_s is None:
            packed = one.remote(query, path.host)
        else:
            packed = (one.tcp if one.admits(path.host) else one.refuse)(query, path.host, idle_s)
    if packed is None:
        later = one.take_later()
        assert later is not None
        packed = await later
    assert len(packed) <= (65535 if idle_s is not None else max(512, edns or 0))
    answer = parsed(packed)
    assert rcode(answer) == path.code
    return answer


def opts(answer: Any) -> int:
    return sum(rr.rtype == 41 for rr in answer.ar)


@pytest.mark.parametrize("idle_s", [None, 10.0], ids=["UDP", "TCP"])
@pytest.mark.parametrize("name", PATHS)
async def test_each_answer_has_the_clients_cookie_and_no_option_that_nobody_sent(
    name: str, idle_s: float | None
) -> None:
    path = PATHS[name]
    plain = await asked(path, idle_s=idle_s)
    assert opts(plain) == 0, "no OPT record for a client that sent none"
    bare = await asked(path, edns=1232, idle_s=idle_s)
    assert (opts(bare), cookie_of(bare), keepalive_of(bare)) == (1, None, [])
    cookie = cookie_of(await asked(path, COOKIE, edns=512, idle_s=idle_s))
    assert cookie is not None
    assert (len(cookie), cookie[:8]) == (24, CLIENT)


@pytest.mark.parametrize("name", PATHS)
async def test_each_answer_over_tcp_says_how_long_the_connection_is_kept(name: str) -> None:
    both = await asked(PATHS[name], COOKIE, KEEPALIVE, edns=1232, idle_s=10.0)
    assert keepalive_of(both) == [(100).to_bytes(2)]
    assert cookie_of(both) is not None
    assert keepalive_of(await asked(PATHS[name], COOKIE, KEEPALIVE, edns=1232)) == [], "and none over UDP"


async def test_what_another_version_of_edns_asks_for_is_not_known() -> None:
    query = question(WWW, edns=1232, version=1, options=(COOKIE, KEEPALIVE))
    answer = parsed(server().tcp(query, HOST, 10.0))
    assert (rcode(answer), cookie_of(answer), keepalive_of(answer)) == ("BADVERS", None, [])


def test_who_is_limited_gets_a_cookie_and_then_any_foreign_name() -> None:
    one = server()
    query = question(WWW, edns=1232, options=(COOKIE,))
    slipped = [answer for _ in range(3) if (answer := one.remote(query, HOST)) is not None][-1]
    assert rcode(parsed(slipped)) == "BADCOOKIE"
    cookie = cookie_of(parsed(slipped))
    assert cookie is not None
    proven = question(WWW, edns=1232, options=(dnslib.EDNSOption(10, cookie),))
    for _ in range(5):
        answer = parsed(one.remote(proven, HOST))
        assert (data(answer), cookie_of(answer)) == (["192.0.2.1"], cookie)


def test_who_is_limited_without_a_cookie_gets_an_opt_record_if_one_was_sent() -> None:
    for edns in (None, 1232):
        one = server()
        slipped = [answer for _ in range(3) if (answer := one.remote(question(WWW, edns=edns), HOST)) is not None][-1]
        assert (parsed(slipped).header.tc, opts(parsed(slipped))) == (1, int(edns is not None))


def test_a_fault_before_the_query_is_read_is_answered_with_a_header(monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(_: bytes) -> None:
        raise RuntimeError

    one = server()
    monkeypatch.setattr("dns.responder.codec.read", raises)
    with capture_logs():
        answer = parsed(one.udp(question(WWW)))
    assert (rcode(answer), answer.header.q, answer.header.id) == ("SERVFAIL", 0, 4711)


def test_a_cookie_takes_room_and_never_makes_an_answer_too_large() -> None:
    """The longest cookie that may be sent, in the smallest message, with a long name and a resolver's errors."""
    query = question(LONG, edns=512, options=(dnslib.EDNSOption(10, CLIENT + bytes(32)),))
    packed = server().udp(query, HOST)
    assert packed is not None
    assert len(packed) <= 512
    answer = parsed(packed)
    assert cookie_of(answer) is not None
    assert extended_errors(answer) == [23], "the resolver's own does not fit"


def test_ra_is_set_for_those_for_whom_foreign_names_are_looked_up() -> None:
    one = server()
    for query in (question(WWW), question(f"billing.{ZONE}"), question("localhost"), header(qd=0)):
        answer = one.udp(query, HOST)
        assert answer is not None
        assert answer[3] & 0x80
    refused = one.refuse(question(WWW), "192.0.2.9")
    assert refused is not None
    assert not refused[3] & 0x80
