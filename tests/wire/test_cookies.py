"""DNS cookies: RFC 7873, and RFC 9018's own examples."""

from __future__ import annotations

import struct
from typing import Any

import dnslib
import pytest

from dns.cookies import KEY_LIFETIME_S, MAX_AGE_S, MAX_AHEAD_S, RENEW_AFTER_S, Cookies, server_hash, siphash
from dns.responder import Responder
from tests.samples import FakeClock, instance
from tests.views import StandingView
from tests.wire.asking import ZONE, data, parsed, question, rcode, responder
from tests.wire.packets import header

CLIENT = b"\x24\x64\xc4\xab\xcf\x10\xc9\x57"
NOW_S = 1_764_000_000
HOST = "10.0.0.9"


def bare(*options: bytes) -> bytes:
    """Return a query without a question, and these options."""
    return header(qd=0, ar=1) + b"\0" + struct.pack("!HHIH", 41, 1232, 0, sum(map(len, options))) + b"".join(options)


def option(data: bytes, code: int = 10) -> bytes:
    return struct.pack("!HH", code, len(data)) + data


def asked(cookie: bytes, name: str = f"ip-intel.{ZONE}") -> bytes:
    return question(name, edns=1232, options=(dnslib.EDNSOption(10, cookie),))


def cookie_of(answer: Any) -> bytes | None:
    found = [bytes(o.data) for rr in answer.ar if rr.rtype == 41 for o in rr.rdata if o.code == 10]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server(clock: FakeClock) -> Responder:
    return responder(StandingView([instance(host="10.0.0.1")]), clock=clock)


# -- how they are computed


def test_siphash_matches_its_reference_vectors() -> None:
    """The first, the ninth and the last of the reference implementation's vectors."""
    key = bytes(range(16))
    expected = {0: "310e0edd47db6f72", 8: "62 24 93 9a 79 f5 f5 93", 63: "724506eb4c328a95"}
    for length, digest in expected.items():
        assert siphash(key, bytes(range(length))) == bytes.fromhex(digest), length


@pytest.mark.parametrize(
    ("key", "host", "cookie"),
    [
        ("e5e973e5a6b2a43f48e7dc849e37bfcf", "198.51.100.100", "2464c4abcf10c957010000005cf79f111f8130c3eee29480"),
        ("e5e973e5a6b2a43f48e7dc849e37bfcf", "198.51.100.100", "2464c4abcf10c957010000005cf7a871d4a564a1442aca77"),
        ("e5e973e5a6b2a43f48e7dc849e37bfcf", "203.0.113.203", "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5"),
        ("e5e973e5a6b2a43f48e7dc849e37bfcf", "203.0.113.203", "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e"),
        (
            "dd3bdf9344b678b185a6f5cb60fca715",
            "2001:db8:220:1:59de:d0f4:8769:82b8",
            "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
        ),
        (
            "445536bcd2513298075a5d379663c962",
            "2001:db8:220:1:59de:d0f4:8769:82b8",
            "22681ab97d52c298010000005cf7c609a6bb79d16625507a",
        ),
    ],
)
def test_a_server_cookie_matches_the_examples_of_rfc_9018(key: str, host: str, cookie: str) -> None:
    whole = bytes.fromhex(cookie)
    assert server_hash(bytes.fromhex(key), whole[:8], whole[8:16], host) == whole[16:]


def test_a_cookie_is_valid_only_for_the_client_that_got_it() -> None:
    cookies = Cookies(bytes(16))
    cookie = cookies.answer(CLIENT, HOST, NOW_S)
    assert (len(cookie), cookie[:8], cookie[8:12]) == (24, CLIENT, b"\1\0\0\0")
    assert cookies.proves(cookie, HOST, NOW_S)
    assert cookies.proves(cookie, f"::ffff:{HOST}", NOW_S), "the same client, at a socket for both families"
    assert not cookies.proves(cookie, "10.0.0.8", NOW_S)
    assert not Cookies(bytes(15) + b"\1").proves(cookie, HOST, NOW_S)
    for at in range(len(cookie)):
        changed = bytes((*cookie[:at], cookie[at] ^ 1, *cookie[at + 1 :]))
        assert not cookies.proves(changed, HOST, NOW_S), f"octet {at} is not checked"
    for other in (CLIENT, cookie[:16], cookie + b"\0" * 8, cookie[:8] + b"\2" + cookie[9:]):
        assert not cookies.proves(other, HOST, NOW_S)


def test_a_young_cookie_is_kept_and_renewed_before_it_expires() -> None:
    cookies = Cookies(bytes(16))
    cookie = cookies.answer(CLIENT, HOST, NOW_S)
    assert cookies.answer(cookie, HOST, NOW_S + RENEW_AFTER_S) == cookie
    later = cookies.answer(cookie, HOST, NOW_S + RENEW_AFTER_S + 1)
    assert later != cookie
    assert cookies.proves(cookie, HOST, NOW_S + MAX_AGE_S)
    assert not cookies.proves(cookie, HOST, NOW_S + MAX_AGE_S + 1)
    assert cookies.proves(cookie, HOST, NOW_S - MAX_AHEAD_S)
    assert not cookies.proves(cookie, HOST, NOW_S - MAX_AHEAD_S - 1)


def test_the_key_changes_daily_and_yesterdays_cookie_stays_valid_for_its_hour() -> None:
    cookies = Cookies(bytes(16))
    midnight_s = NOW_S - NOW_S % KEY_LIFETIME_S
    before, after = (cookies.answer(CLIENT, HOST, at) for at in (midnight_s - 1, midnight_s))
    assert cookies.proves(before, HOST, midnight_s + 60)
    assert cookies.proves(after, HOST, midnight_s + 60)
    assert server_hash(cookies._key(midnight_s - 1), CLIENT, before[8:16], HOST) == before[16:]
    assert server_hash(cookies._key(midnight_s - 1), CLIENT, after[8:16], HOST) != after[16:]


def test_the_time_in_a_cookie_may_wrap_around() -> None:
    cookies = Cookies(bytes(16))
    cookie = cookies.answer(CLIENT, HOST, 2**32 - 10)
    assert cookies.proves(cookie, HOST, 2**32 + 10)
    assert cookies.proves(cookies.answer(CLIENT, HOST, 2**32 + 10), HOST, 2**32 + 20)


# -- answers


def test_a_client_cookie_is_answered_with_a_server_cookie(server: Responder) -> None:
    answer = parsed(server.udp(asked(CLIENT), HOST))
    assert data(answer) == ["10.0.0.1"]
    cookie = cookie_of(answer)
    assert cookie is not None
    assert (len(cookie), cookie[:8]) == (24, CLIENT)
    assert cookie_of(parsed(server.udp(asked(cookie), HOST))) == cookie
    assert cookie_of(parsed(server.tcp(asked(cookie), HOST))) == cookie, "over TCP as well"


def test_a_query_without_a_cookie_gets_none(server: Responder) -> None:
    assert cookie_of(parsed(server.udp(question(f"ip-intel.{ZONE}", edns=1232), HOST))) is None


def test_a_wrong_cookie_is_answered_with_a_fresh_one(server: Responder) -> None:
    for wrong in (CLIENT + b"x" * 8, CLIENT + b"\1" + b"x" * 15, CLIENT + b"x" * 32):
        answer = parsed(server.udp(asked(wrong), HOST))
        assert (rcode(answer), data(answer)) == ("NOERROR", ["10.0.0.1"])
        fresh = cookie_of(answer)
        assert fresh is not None
        assert (fresh[:8], len(fresh)) == (CLIENT, 24)
        assert fresh != wrong


def test_a_step_of_the_wall_clock_invalidates_no_cookie(server: Responder, clock: FakeClock) -> None:
    cookie = cookie_of(parsed(server.udp(asked(CLIENT), HOST)))
    assert cookie is not None
    clock.step_wall(-86_400)
    assert cookie_of(parsed(server.udp(asked(cookie), HOST))) == cookie


def test_a_clients_cookie_is_in_no_other_clients_answer(server: Responder) -> None:
    for client in (b"a" * 8, b"b" * 8, b"a" * 8):
        cookie = cookie_of(parsed(server.udp(asked(client), HOST)))
        assert cookie is not None
        assert cookie[:8] == client
    assert server.cache_entries == 0, "such an answer is not cached"


@pytest.mark.parametrize("length", [*range(8), *range(9, 16), 41, 48])
def test_a_cookie_of_invalid_length_is_a_format_error_with_an_opt_record(server: Responder, length: int) -> None:
    answer = parsed(server.udp(asked(b"x" * length), HOST))
    assert (rcode(answer), data(answer)) == ("FORMERR", [])
    assert [rr.rtype for rr in answer.ar] == [41]


def test_all_but_the_first_cookie_are_ignored(server: Responder) -> None:
    answer = parsed(server.udp(bare(option(CLIENT), option(b"y" * 8), option(b"bad")), HOST))
    cookie = cookie_of(answer)
    assert cookie is not None
    assert cookie[:8] == CLIENT


def test_a_cookie_can_be_requested_without_a_question(server: Responder) -> None:
    answer = parsed(server.udp(bare(option(CLIENT)), HOST))
    assert (rcode(answer), answer.header.q, answer.rr, answer.header.aa) == ("NOERROR", 0, [], 0)
    cookie = cookie_of(answer)
    assert cookie is not None
    good = parsed(server.udp(bare(option(cookie)), HOST))
    assert (rcode(good), cookie_of(good)) == ("NOERROR", cookie)
    bad = parsed(server.udp(bare(option(CLIENT + b"x" * 16)), HOST))
    assert rcode(bad) == "BADCOOKIE"
    assert cookie_of(bad) == cookie
    assert server.malformed == 0


def test_no_question_and_no_cookie_is_a_format_error(server: Responder) -> None:
    for packet in (bare(), bare(option(b"x", code=65001)), header(qd=0)):
        assert rcode(parsed(server.udp(packet, HOST))) == "FORMERR"
    version_1 = bytearray(bare(option(CLIENT)))
    version_1[12 + 6] = 1
    assert rcode(parsed(server.udp(bytes(version_1), HOST))) == "BADVERS"
