"""Forwarding before resolvers that misbehave: what reaches the asker, and who is asked."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import dnslib
import msgspec
import pytest

from dns.foreign import VIA
from dns.foreign_cache import ForeignLimits
from dns.resolver_client import Patience
from tests.foreign import SOA, name_in, read, reply_to
from tests.malformed import MALFORMED
from tests.programs import eventually
from tests.resolvers import QUICK, STEADY, Face, Resolver, face, honest, is_check, resolver, silent, to
from tests.samples import FakeClock, instance
from tests.views import StandingView
from tests.wire.asking import ZONE, data, extended_errors, question, rcode


async def asked(one: Face, query: bytes) -> bytes:
    """Ask over UDP as a stub does; return the answer."""
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as asker:
        asker.setblocking(False)
        asker.connect(("127.0.0.1", one.port))
        await loop.sock_sendall(asker, query)
        async with asyncio.timeout(10):
            return await loop.sock_recv(asker, 65535)


async def asked_over_tcp(one: Face, *queries: bytes) -> list[bytes]:
    """Ask everything on one connection, say that this was all, and return the answers as they come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
    writer.write(b"".join(len(query).to_bytes(2) + query for query in queries))
    writer.write_eof()
    async with asyncio.timeout(10):
        answers = [await reader.readexactly(int.from_bytes(await reader.readexactly(2))) for _ in queries]
    writer.close()
    await writer.wait_closed()
    return answers


# -- what is passed on


async def test_a_foreign_name_is_forwarded_and_cached() -> None:
    clock = FakeClock()
    async with resolver() as one, face(to(one), clock=clock) as ours:
        first = read(await asked(ours, question("WWW.Example.com", edns=1232)))
        assert (first.header.id, first.header.ra, first.header.aa) == (4711, 1, 0)
        assert (data(first), str(first.q.qname)) == (["192.0.2.1"], "WWW.Example.com.")
        clock.pass_time(100.4)
        again = read(await asked(ours, question("www.example.COM", id_=5)))
        assert (again.header.id, str(again.q.qname), again.rr[0].ttl) == (5, "www.example.COM.", 200)
        assert len(one.asked) == 1
        clock.pass_time(200)
        assert read(await asked(ours, question("www.example.com"))).rr[0].ttl == 300
        assert len(one.asked) == 2


async def test_our_own_names_are_never_forwarded() -> None:
    async with resolver() as one, face(to(one), view=StandingView([instance("ip_intel", "10.0.0.1")])) as ours:
        found = read(await asked(ours, question(f"ip-intel.{ZONE}")))
        assert (data(found), found.header.aa, found.header.ra) == (["10.0.0.1"], 1, 1)
        assert rcode(read(await asked(ours, question(f"nobody.{ZONE}")))) == "NXDOMAIN"
        assert rcode(read(await asked(ours, question(f"a.b.c.{ZONE}", "TXT")))) == "NXDOMAIN"
        assert (one.asked, one.checks) == ([], 0), "nothing is sent before somebody asks for a name of others"


async def test_each_query_has_its_own_port_id_and_case() -> None:
    async with resolver() as one, face(to(one)) as ours:
        for n in range(40):
            await asked(ours, question(f"host-number-{n}.a-rather-long-domain.example"))
        assert len(set(one.ports)) > 35
        assert len({query[:2] for query in one.asked}) > 35
        mixed = [name for name in one.names if name not in (name.lower(), name.upper())]
        assert len(mixed) == 40


async def test_the_dnssec_flags_are_passed_both_ways() -> None:
    def script(query: bytes, _: str) -> list[bytes]:
        return [reply_to(query, f"{name_in(query)} 300 IN A 192.0.2.1", ad=1)]

    async with resolver(script) as one, face(to(one)) as ours:
        plain = await ours.dig("a.example", "+noadflag")
        assert " ad" not in plain.split("QUERY:")[0]
        flags = (await ours.dig("a.example", "+adflag")).split("QUERY:")[0]
        assert " ad" in flags
        with_do = await ours.dig("a.example", "+dnssec", "+noadflag", "+cdflag")
        assert "flags: do;" in with_do
        assert " ad cd" in with_do.split("QUERY:")[0]
        sent = [read(query) for query in one.asked]
        assert [(q.header.ad, q.header.cd, q.ar[0].ttl) for q in sent] == [(0, 0, 0), (1, 0, 0), (0, 1, 0x8000)]


async def test_a_large_answer_is_fetched_over_tcp_and_truncated_over_udp() -> None:
    def script(query: bytes, transport: str) -> list[bytes]:
        if transport == "udp":
            return [reply_to(query, tc=1)]
        return [reply_to(query, *(f"{name_in(query)} 300 IN A 192.0.2.{n}" for n in range(200)))]

    async with resolver(script) as one, face(to(one)) as ours:
        cut = read(await asked(ours, question("large.example")))
        assert (cut.header.tc, 20 < len(cut.rr) < 31) == (1, True)
        whole = read((await asked_over_tcp(ours, question("large.example")))[0])
        assert (whole.header.tc, len(whole.rr)) == (0, 200)
        assert one.over_tcp >= 1
        assert len(one.asked) == 2, "once over each, for both askers"
        assert len((await ours.dig("+short", "large.example")).split()) == 200, "dig comes again over TCP by itself"


async def test_additional_records_are_dropped_without_truncation() -> None:
    def script(query: bytes, _: str) -> list[bytes]:
        record = read(reply_to(query, f"{name_in(query)} 300 IN MX 10 mail.example."))
        for n in range(60):
            record.add_ar(*(read(reply_to(query, f"mail{n}.example. 300 IN A 192.0.2.{n}")).rr))
        return [bytes(record.pack())]

    async with resolver(script) as one, face(to(one)) as ours:
        answer = read(await asked(ours, question("example.com", "MX")))
        assert (answer.header.tc, len(answer.rr)) == (0, 1)
        assert 0 < len(answer.ar) < 60


async def test_additional_records_never_answer_another_query() -> None:
    def script(query: bytes, _: str) -> list[bytes]:
        record = read(honest(query)[0])
        record.add_ar(*read(reply_to(query, "bank.example. 9999 IN A 198.51.100.66")).rr)
        record.add_auth(*read(reply_to(query, "bank.example. 9999 IN A 198.51.100.66")).rr)
        return [bytes(record.pack())]

    async with resolver(script) as one, face(to(one)) as ours:
        await asked(ours, question("www.evil.example"))
        assert data(read(await asked(ours, question("bank.example")))) == ["192.0.2.1"]
        assert [name.lower() for name in one.names] == ["www.evil.example.", "bank.example."]


async def test_options_go_from_neighbour_to_neighbour_and_are_never_kept() -> None:
    """RFC 6891 section 6.1.1: neither the client's to the resolver, nor the resolver's to this or another client."""

    def script(query: bytes, _: str) -> list[bytes]:
        record = read(honest(query)[0])
        theirs = (dnslib.EDNSOption(10, b"r" * 16), dnslib.EDNSOption(3, b"name"), dnslib.EDNSOption(15, b"\0\6bad"))
        record.add_ar(dnslib.EDNS0(opts=list(theirs)))
        return [bytes(record.pack())]

    async with resolver(script) as one, face(to(one)) as ours:
        for client in (b"a" * 8, b"b" * 8, b"c" * 8):
            options = (dnslib.EDNSOption(10, client), dnslib.EDNSOption(8, b"\0\1\x18\0\x0a\0\0"))
            (opt,) = read(await asked(ours, question("www.example", edns=1232, options=options))).ar
            assert sorted((each.code, each.data[:8]) for each in opt.rdata) == [(10, client), (15, b"\0\6bad")]
            assert read(await asked(ours, question("www.example"))).ar == []
        (query,) = one.asked
        assert [each.code for each in read(query).ar[0].rdata] == [VIA], "our own alone"


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
async def test_a_resolver_may_have_an_ipv6_address(transport: str) -> None:
    def large(query: bytes, over: str) -> list[bytes]:
        return [reply_to(query, tc=1)] if over == "udp" else honest(query)

    async with resolver(large, "::1") as one, face(f"[::1]:{one.port}") as ours:
        assert await ours.short(transport, "www.example") == ["192.0.2.1"]
        assert one.over_tcp >= 1


# -- what is ignored


def other_id(query: bytes) -> bytes:
    return bytes((query[0] ^ 1,)) + honest(query)[0][1:]


def forged(query: bytes, *, name: str = "", qtype: int = 0) -> bytes:
    record = read(reply_to(query, f"{name_in(query)} 300 IN A 198.51.100.66"))
    if name:
        record.q.qname = name
    if qtype:
        record.q.qtype = qtype
    return bytes(record.pack())


BAD: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "less than a header": lambda query: query[:11],
    "garbage": lambda _: b"\xff" * 40,
    "another id": other_id,
    "the question itself": lambda query: query,
    "another question": lambda query: forged(query, name="bank.example."),
    "another type": lambda query: forged(query, qtype=28),
    "no question": lambda query: query[:2] + b"\x81\x80" + bytes(8),
    "another opcode": lambda query: reply_to(query, opcode=4),
}


@pytest.mark.parametrize("what", BAD)
async def test_a_mismatched_answer_is_ignored_and_the_wait_continues(what: str) -> None:
    def script(query: bytes, _: str) -> list[bytes]:
        return honest(query) if is_check(query) else [*([BAD[what](query)] * 40), *honest(query)]

    async with resolver(script) as one, face(to(one)) as ours:
        assert data(read(await asked(ours, question("www.example")))) == ["192.0.2.1"]
        assert len(one.asked) == 1, "nobody asked twice because of it"


@pytest.mark.parametrize("what", MALFORMED)
async def test_a_malformed_answer_is_not_passed_on_and_the_next_resolver_is_asked_at_once(what: str) -> None:
    def script(query: bytes, _: str) -> list[bytes]:
        return honest(query) if is_check(query) else [MALFORMED[what](query)]

    async with resolver(script) as bad, resolver() as good, face(to(bad, good)) as ours:
        assert data(read(await asked(ours, question("www.example", edns=1232)))) == ["192.0.2.1"]
        assert (len(bad.asked), len(good.asked)) == (1, 1)
        assert ours.state(bad) == "up", "one bad name of somebody's says nothing about the resolver"
    async with resolver(script) as bad, face(to(bad)) as ours:
        answer = read(await asked(ours, question("www.example", edns=1232)))
        assert (rcode(answer), answer.rr, extended_errors(answer)) == ("SERVFAIL", [], [23])
        answer = read((await asked_over_tcp(ours, question("www.example", edns=1232)))[0])
        assert rcode(answer) == "SERVFAIL"


async def test_an_answer_that_was_cut_in_a_record_and_says_so_is_fetched_over_tcp() -> None:
    def script(query: bytes, transport: str) -> list[bytes]:
        if is_check(query) or transport == "tcp":
            return honest(query)
        return [reply_to(query, f"{name_in(query)} 300 IN A 192.0.2.1", tc=1)[:-3]]

    async with resolver(script) as one, face(to(one)) as ours:
        assert data(read(await asked(ours, question("www.example")))) == ["192.0.2.1"]
        assert one.over_tcp == 1


async def test_an_answer_from_another_address_is_not_seen() -> None:
    ports: list[int] = []

    def script(query: bytes, _: str) -> list[bytes]:
        if not is_check(query):
            with socket.socket(type=socket.SOCK_DGRAM) as other:
                other.setblocking(False)
                other.sendto(forged(query), ("127.0.0.1", ports[-1] if ports else one.ports[-1]))
        return honest(query)

    async with resolver(script) as one, face(to(one)) as ours:
        assert data(read(await asked(ours, question("www.example")))) == ["192.0.2.1"]


async def test_a_resolver_that_folds_case_is_retried_without_random_case_and_then_believed() -> None:
    def script(query: bytes, _: str) -> list[bytes]:
        lower = query[:12] + query[12:].lower() if not is_check(query) else query
        return honest(lower)

    async with resolver(script) as one, face(to(one)) as ours:
        for n in range(3):
            assert data(read(await asked(ours, question(f"Some-Long-Name-{n}.example")))) == ["192.0.2.1"]
        assert one.names[0] != one.names[0].lower()
        assert one.names[1:] == [f"some-long-name-{n}.example." for n in (0, 1, 2)]
        assert ours.forwarder.report().upstreams[0].keeps_case is False


@pytest.mark.parametrize("bare", [True, False], ids=["a bare header", "a whole answer"])
async def test_a_resolver_without_edns_is_queried_without_it(bare: bool) -> None:
    def script(query: bytes, _: str) -> list[bytes]:
        if read(query).ar:
            return [query[:2] + b"\x81\x81" + bytes(8)] if bare else [reply_to(query[:-1], rcode=1)]
        return honest(query)

    def whole(query: bytes, transport: str) -> list[bytes]:
        plain = read(query)
        if plain.ar:
            plain.ar.clear()
            return [reply_to(bytes(plain.pack()), rcode=1)]
        return honest(query)

    async with resolver(script if bare else whole) as one, face(to(one)) as ours:
        for n in range(3):
            assert data(read(await asked(ours, question(f"n{n}.example", edns=1232)))) == ["192.0.2.1"]
        assert [len(read(query).ar) for query in one.asked][-2:] == [0, 0]
        assert ours.forwarder.report().upstreams[0].edns is False


# -- resolvers that fail


def refuses(query: bytes, _: str) -> Iterable[bytes]:
    return [reply_to(query, rcode=5)]


def fails(query: bytes, _: str) -> Iterable[bytes]:
    return [reply_to(query, rcode=2)]


@pytest.mark.parametrize("script", [silent, refuses, fails])
async def test_the_next_resolver_is_tried_when_one_has_no_answer(script: object) -> None:
    async with resolver(script) as bad, resolver() as good, face(to(bad, good), limits=QUICK) as ours:  # type: ignore[arg-type]
        for n in range(5):
            assert data(read(await asked(ours, question(f"n{n}.example")))) == ["192.0.2.1"]
        assert len(good.asked) == 5
        if script is silent:
            assert len(bad.asked) == 1, "who was silent is asked last, and tried by questions of our own"
            assert ours.state(bad) == "failing"


async def test_a_dead_resolver_costs_no_wait_and_is_used_again_when_it_returns() -> None:
    async with resolver() as gone, resolver() as good, face(to(gone, good)) as ours:
        await gone.stop()
        assert data(read(await asked(ours, question("a.example")))) == ["192.0.2.1"]
        assert ours.state(gone) == "failing"
    clock = FakeClock()
    async with resolver(silent) as back, resolver() as good, face(to(back, good), clock=clock, limits=QUICK) as ours:
        await asked(ours, question("a.example"))
        await eventually(lambda: ours.state(back) == "failing", "it is found to fail")
        await eventually(lambda: not ours.forwarder._asking._tries, "the first try has ended")
        back.script = honest
        clock.pass_time(60)
        await asked(ours, question("b.example"))
        await eventually(lambda: ours.state(back) == "up", "it answers a question of our own")
        await asked(ours, question("c.example"))
        assert [name.lower() for name in back.names][1:] == ["c.example."]


async def test_a_late_answer_is_still_used_and_a_lost_packet_is_sent_again() -> None:
    dropped: list[bytes] = []

    def loses_one(query: bytes, _: str) -> list[bytes]:
        if not is_check(query) and not dropped:
            dropped.append(query)
            return []
        return honest(query)

    async with resolver(loses_one) as one, face(to(one), limits=QUICK) as ours:
        assert data(read(await asked(ours, question("a.example")))) == ["192.0.2.1"]
        assert len(one.asked) == 2
        assert one.ports[0] != one.ports[1]

    late: list[bytes] = []

    def answers_the_first_at_last(query: bytes, _: str) -> list[bytes]:
        if is_check(query):
            return honest(query)
        late.append(query)
        if len(late) == 2:
            assert one._transport is not None
            one._transport.sendto(honest(late[0])[0], ("127.0.0.1", one.ports[0]))
        return []

    async with resolver(answers_the_first_at_last) as one, face(to(one), limits=QUICK) as ours:
        assert data(read(await asked(ours, question("a.example")))) == ["192.0.2.1"]


async def test_a_resolver_that_cannot_reach_the_root_does_not_count_as_failing() -> None:
    def only_its_own(query: bytes, _: str) -> list[bytes]:
        return [] if is_check(query) else honest(query)

    limits = msgspec.structs.replace(STEADY, patience=Patience(next_s=10.0, total_s=20.0, try_s=0.05))
    async with resolver(only_its_own) as one, face(to(one), limits=limits) as ours:
        await asked(ours, question("www.example"))
        await eventually(lambda: one.checks == 1 and not ours.forwarder._asking._tries, "it was tried")
        assert ours.state(one) == "up"


@pytest.mark.parametrize(("script", "code"), [(silent, 22), (refuses, 23), (fails, 23)])
async def test_no_answer_from_any_resolver_is_servfail_with_the_reason(script: object, code: int) -> None:
    async with resolver(script) as one, resolver(script) as two, face(to(one, two), limits=QUICK) as ours:  # type: ignore[arg-type]
        answer = read(await asked(ours, question("www.example", edns=1232)))
        assert (rcode(answer), extended_errors(answer)) == ("SERVFAIL", [code])
        assert one.asked
        assert two.asked
        assert ours.forwarder.counts == {"failed": 1}


async def test_a_failure_is_cached_briefly() -> None:
    clock = FakeClock()
    limits = msgspec.structs.replace(STEADY, failure_s=1.0)
    async with resolver(fails) as one, face(to(one), clock=clock, limits=limits) as ours:
        for _ in range(5):
            assert rcode(read(await asked(ours, question("www.example")))) == "SERVFAIL"
        assert len(one.asked) == 1
        one.script = honest
        clock.pass_time(1.0)
        assert data(read(await asked(ours, question("www.example")))) == ["192.0.2.1"]


async def test_a_resolvers_reason_for_a_failure_reaches_the_client() -> None:
    def bogus(query: bytes, _: str) -> list[bytes]:
        opt = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 10) + struct.pack("!HHH", 15, 6, 6) + b"sigs"
        answer = reply_to(query, rcode=2)
        return [answer[:10] + b"\0\1" + answer[12:] + opt]

    async with resolver(bogus) as one, face(to(one)) as ours:
        out = await ours.dig("www.example")
        assert "EDE: 6 (DNSSEC Bogus): (sigs)" in out
        assert "EDE: 23 (Network Error)" in out


async def test_a_stale_answer_is_used_without_a_fresh_one_and_marked_as_stale() -> None:
    clock = FakeClock()
    async with resolver() as one, face(to(one), clock=clock, limits=QUICK) as ours:
        await asked(ours, question("www.example"))
        one.script = silent
        clock.pass_time(4000)
        answer = read(await asked(ours, question("www.example", edns=1232)))
        assert (data(answer), extended_errors(answer), answer.rr[0].ttl) == (["192.0.2.1"], [3], 30)
        await eventually(lambda: ours.state(one) == "failing", "it is found to fail")
        answer = read(await asked(ours, question("www.example", edns=1232)))
        assert (data(answer), extended_errors(answer)) == (["192.0.2.1"], [3])
        assert ours.forwarder.counts["stale"] == 2
        await eventually(lambda: ours.forwarder.report().in_flight == 0, "the attempt ends")
        await eventually(lambda: not ours.forwarder._asking._tries, "the last try has ended")
        one.script = honest
        clock.pass_time(60)
        await asked(ours, question("www.example"))
        await eventually(lambda: ours.state(one) == "up", "it is found to be back")
        answer = read(await asked(ours, question("www.example", edns=1232)))
        assert (data(answer), extended_errors(answer)) == (["192.0.2.1"], [])


async def test_a_stale_answer_spares_the_wait_for_failing_resolvers() -> None:
    clock = FakeClock()
    patient = msgspec.structs.replace(STEADY, stale_after_s=60.0)
    async with resolver() as one, face(to(one), clock=clock, limits=patient) as ours:
        await asked(ours, question("www.example"))
        await eventually(lambda: not ours.forwarder._asking._tries, "the first try has ended")
        one.script = silent
        ours.forwarder._resolvers.all()[0].has_failed(clock.monotonic())
        clock.pass_time(4000)
        answer = read(await asked(ours, question("www.example", edns=1232)))
        assert (data(answer), extended_errors(answer)) == (["192.0.2.1"], [3])
        await eventually(lambda: len(one.asked) == 2, "and it is asked all the same")


async def test_a_stale_negative_answer_is_marked_as_stale() -> None:
    clock = FakeClock()

    def absent(query: bytes, _: str) -> list[bytes]:
        return [reply_to(query, authority=SOA, rcode=3)]

    async with resolver(absent) as one, face(to(one), clock=clock) as ours:
        assert rcode(read(await asked(ours, question("no.example")))) == "NXDOMAIN"
        assert rcode(read(await asked(ours, question("no.example")))) == "NXDOMAIN"
        assert len(one.asked) == 1
        one.script = fails
        clock.pass_time(61)
        answer = read(await asked(ours, question("no.example", edns=1232)))
        assert (rcode(answer), extended_errors(answer)) == ("NXDOMAIN", [19])


# -- many at once


async def test_identical_queries_are_forwarded_once() -> None:
    held: list[bytes] = []

    def hold(query: bytes, _: str) -> list[bytes]:
        if is_check(query):
            return honest(query)
        held.append(query)
        return []

    limits = msgspec.structs.replace(STEADY, patience=Patience(next_s=20.0, total_s=30.0))
    async with resolver(hold) as one, face(to(one), limits=limits) as ours:
        many = [asyncio.create_task(asked(ours, question("WWW.example", id_=n))) for n in range(50)]
        await eventually(lambda: ours.forwarder._flights.waiting == 50 and bool(held), "all wait")
        assert one._transport is not None
        one._transport.sendto(honest(held[0])[0], ("127.0.0.1", one.ports[0]))
        answers = await asyncio.gather(*many)
        assert [int.from_bytes(answer[:2]) for answer in answers] == list(range(50))
        assert ours.forwarder._flights.waiting == 0
        assert len(held) == 1


async def test_the_number_of_concurrent_queries_is_limited() -> None:
    limits = msgspec.structs.replace(STEADY, in_flight=5, jostle_s=30.0, patience=Patience(next_s=20.0, total_s=30.0))
    async with resolver(silent) as one, face(to(one), limits=limits) as ours:
        many = [asyncio.create_task(asked(ours, question(f"n{n}.example"))) for n in range(5)]
        await eventually(lambda: ours.forwarder.report().in_flight == 5, "five are asked")
        assert rcode(read(await asked(ours, question("one-more.example")))) == "SERVFAIL"
        assert ours.forwarder.counts == {"overloaded": 1}
        for task in many:
            task.cancel()
        await asyncio.gather(*many, return_exceptions=True)


async def test_the_number_of_waiting_clients_is_limited() -> None:
    limits = msgspec.structs.replace(STEADY, waiting=5, patience=Patience(next_s=20.0, total_s=30.0))
    async with resolver(silent) as one, face(to(one), limits=limits) as ours:
        many = [asyncio.create_task(asked(ours, question("n.example", id_=n))) for n in range(5)]
        await eventually(lambda: ours.forwarder._flights.waiting == 5, "five wait")
        many.append(asyncio.create_task(asked(ours, question("n.example"))))
        assert rcode(read(await many[0])) == "SERVFAIL", "the one that has waited longest gives way"
        assert ours.forwarder._flights.waiting == 5
        for task in many:
            task.cancel()
        await asyncio.gather(*many, return_exceptions=True)


async def test_the_cache_of_answers_is_bounded() -> None:
    limits = msgspec.structs.replace(STEADY, cache=ForeignLimits(entries=10))
    async with resolver() as one, face(to(one), limits=limits) as ours:
        for n in range(30):
            await asked(ours, question(f"n{n}.example"))
        assert ours.forwarder.report().cached == 10


async def test_a_slow_name_delays_no_other_over_tcp() -> None:
    def one_is_slow(query: bytes, _: str) -> list[bytes]:
        return [] if name_in(query).lower().startswith("slow") else honest(query)

    view = StandingView([instance("ip_intel", "10.0.0.1")])
    async with resolver(one_is_slow) as one, face(to(one), view=view, limits=QUICK) as ours:
        names = ["slow.example", f"ip-intel.{ZONE}", "quick.example"]
        answers = await asked_over_tcp(ours, *(question(name, id_=n) for n, name in enumerate(names)))
        assert [int.from_bytes(answer[:2]) for answer in answers] == [1, 2, 0]
        assert [rcode(read(answer)) for answer in answers] == ["NOERROR", "NOERROR", "SERVFAIL"]


# -- what is not forwarded


async def test_a_query_without_recursion_desired_is_refused() -> None:
    async with resolver() as one, face(to(one)) as ours:
        await asked(ours, question("www.example"))
        out = await ours.dig("+norecurse", "www.example")
        assert "status: REFUSED" in out
        assert "EDE: 20 (Not Authoritative)" in out
        assert "192.0.2.1" not in out, "nor told what others have asked for"


@pytest.mark.parametrize(
    ("words", "status", "answer"),
    [
        (("localhost",), "NOERROR", ["127.0.0.1"]),
        (("localhost", "AAAA"), "NOERROR", ["::1"]),
        (("app.LocalHost",), "NOERROR", ["127.0.0.1"]),
        (("localhost", "MX"), "NOERROR", []),
        (("-x", "127.0.0.1"), "NOERROR", ["localhost."]),
        (("-x", "::1"), "NOERROR", ["localhost."]),
        (("-x", "127.9.9.9"), "NXDOMAIN", []),
        (("facebookcorewwwi.onion",), "NXDOMAIN", []),
        (("onion",), "NXDOMAIN", []),
        (("a.invalid",), "NXDOMAIN", []),
        (("a.alt",), "NXDOMAIN", []),
    ],
)
async def test_names_with_a_fixed_meaning_are_answered_here(
    words: tuple[str, ...], status: str, answer: list[str]
) -> None:
    async with resolver() as one, face(to(one)) as ours:
        out = await ours.dig(*words)
        assert f"status: {status}" in out
        assert " ra" in out.split("QUERY:")[0]
        assert await ours.short(*words) == answer
        assert one.asked == []


async def test_a_rule_overrides_a_fixed_meaning_and_a_suffix_can_be_excluded() -> None:
    async with resolver() as one, resolver() as tor, face(f"{to(one)},onion={to(tor)},secret.example=none") as ours:
        assert await ours.short("x.onion") == ["192.0.2.1"]
        assert [name.lower() for name in tor.names] == ["x.onion."]
        assert await ours.short("a.test") == ["192.0.2.1"]
        out = await ours.dig("a.secret.example")
        assert "status: REFUSED" in out
        assert [name.lower() for name in one.names] == ["a.test."]


async def test_a_suffix_is_denied_where_that_is_configured_and_nobody_is_asked() -> None:
    async with resolver() as one, face(f"{to(one)},cluster.local=nxdomain") as ours:
        out = await ours.dig("+edns", "billing.svc.cluster.local")
        assert "status: NXDOMAIN" in out
        assert re.search(r"^cluster\.local\.\s+5\s+IN\s+SOA\s", out, re.MULTILINE)
        assert "EDE: 20" in out
        assert "flags: qr rd ra;" in out, "it is not ours"
        assert await ours.short("a.test") == ["192.0.2.1"]
        assert [name.lower() for name in one.names] == ["a.test."]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        (".", "NOERROR"),
        ("internal", "NOERROR"),
        ("corp.example", "NOERROR"),
        ("example", "NOERROR"),
        ("in-addr.arpa", "NOERROR"),
        ("arpa", "NOERROR"),
        ("nternal", "NXDOMAIN"),
        ("www.internal", "NXDOMAIN"),
        ("other.example", "NXDOMAIN"),
        ("above.secret.example", "NXDOMAIN"),
        ("secret.example", "NXDOMAIN"),
        ("home.arpa", "NXDOMAIN"),
    ],
)
async def test_no_name_is_denied_above_one_that_exists(name: str, status: str) -> None:
    """RFC 8020: a client that was told NXDOMAIN need not ask for anything below."""
    async with resolver() as one:
        rules = f"nxdomain,lab.corp.example={to(one)},a.secret.example=nxdomain"
        async with face(rules) as ours:
            out = await ours.dig(name)
            assert f"status: {status}" in out
            assert "ANSWER: 0, AUTHORITY: 1" in out
            assert one.asked == []


@pytest.mark.parametrize("words", [("AXFR",), ("-c", "CH", "TXT"), ("IXFR=1",)])
async def test_transfers_and_other_classes_are_not_forwarded(words: tuple[str, ...]) -> None:
    async with resolver() as one, face(to(one)) as ours:
        await ours.dig(*words, "example.com")
        assert one.asked == []


# -- the system's resolvers


async def test_the_resolvers_of_the_system_are_read_again_when_they_change(tmp_path: Path) -> None:
    """A test cannot bind port 53: the report shows what is read, and no resolver is queried."""
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 127.0.0.2\nnameserver 127.0.0.3\n")
    async with face("system", resolv_conf=conf, limits=QUICK) as ours:

        def servers() -> list[str]:
            return [one.server for one in ours.forwarder.report().upstreams]

        assert servers() == ["127.0.0.2:53", "127.0.0.3:53"]
        conf.write_text("nameserver 127.0.0.4\n")
        await eventually(lambda: servers() == ["127.0.0.4:53"], "the new ones are read")
        conf.unlink()
        await asyncio.sleep(0.1)
        assert servers() == ["127.0.0.4:53"], "a file that is gone changes nothing"


async def test_the_cache_is_cleared_when_the_systems_resolvers_change(tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 127.0.0.2\n")
    limits = msgspec.structs.replace(STEADY, system_s=0.05)
    async with resolver() as one, face(f"system,example={to(one)}", resolv_conf=conf, limits=limits) as ours:
        await asked(ours, question("www.example"))
        assert ours.forwarder.report().cached == 1
        conf.write_text("nameserver 127.0.0.3\n")
        await eventually(lambda: ours.forwarder.report().cached == 0, "another network may have other answers")
        assert ours.forwarder.report().upstreams[1].answered > 0, "a resolver that stays is known as before"


async def test_the_agent_is_not_its_own_resolver() -> None:
    async with resolver() as one, face(to(one)) as ours:
        ours.forwarder.listens_on("127.0.0.1", one.port)
        assert ours.forwarder.report().upstreams == []
        answer = read(await asked(ours, question("www.example", edns=1232)))
        assert (rcode(answer), extended_errors(answer)) == ("SERVFAIL", [22])
        assert one.asked == []


async def test_closing_leaves_no_client_waiting() -> None:
    limits = msgspec.structs.replace(STEADY, patience=Patience(next_s=20.0, total_s=30.0))
    async with resolver(silent) as one:
        async with face(to(one), limits=limits) as ours:
            waiting = ours.responder.udp(question("www.example"))
            later = ours.responder.take_later()
            assert (waiting, ours.responder.take_later()) == (None, None)
            assert later is not None
            await eventually(lambda: bool(one.asked), "it is asked")
        assert later.cancelled()


def test_every_bad_packet_is_really_bad() -> None:
    """The packets of the tests above are what they are called: none equals the right answer."""
    query = question("www.example")
    assert [what for what, make in BAD.items() if make(query) == honest(query)[0]] == []
    assert isinstance(Resolver(honest).names, list)


# -- aliases of our names


def leads_to_ours(rcode_: int, ttl_s: int = 300) -> Callable[[bytes, str], list[bytes]]:
    """Return a resolver that has an alias of a name in our zone, and answers with that rcode."""

    def script(query: bytes, _: str) -> list[bytes]:
        if is_check(query):
            return honest(query)
        return [reply_to(query, f"{name_in(query)} {ttl_s} IN CNAME billing.{ZONE}.", rcode=rcode_)]

    return script


@pytest.mark.parametrize("rcode_", [0, 2, 3, 5])
async def test_an_alias_of_our_name_is_completed_and_kept_whatever_the_resolver_says_of_it(rcode_: int) -> None:
    view, clock = StandingView([instance("billing", "10.0.0.1")]), FakeClock()
    async with resolver(leads_to_ours(rcode_)) as one, face(to(one), view=view, clock=clock) as ours:
        expected = ["10.0.0.1", f"billing.{ZONE}."]
        for _ in range(2):
            answer = read(await asked(ours, question("old.corp", edns=1232)))
            assert (rcode(answer), data(answer)) == ("NOERROR", expected)
        assert data(read((await asked_over_tcp(ours, question("old.corp")))[0])) == expected
        assert len(one.asked) == 1, "kept for as long as the alias lives, though there is no SOA"
        view.become(instance("billing", "10.0.0.2"))
        assert data(read(await asked(ours, question("old.corp"))))[0] == "10.0.0.2"
        clock.pass_time(300)
        await asked(ours, question("old.corp"))
        assert len(one.asked) == 2


async def test_an_alias_of_our_name_is_completed_while_no_resolver_answers() -> None:
    view, clock = StandingView([instance("billing", "10.0.0.1")]), FakeClock()
    async with resolver(leads_to_ours(3)) as one, face(to(one), view=view, clock=clock, limits=QUICK) as ours:
        await asked(ours, question("old.corp"))
        one.script = silent
        clock.pass_time(400)
        answer = read(await asked(ours, question("old.corp", edns=1232)))
        assert (data(answer), [rr.ttl for rr in answer.rr]) == (["10.0.0.1", f"billing.{ZONE}."], [30, 5])
        assert extended_errors(answer) == [3]


async def test_an_alias_of_another_name_is_a_failure_when_the_resolver_says_so() -> None:
    def script(query: bytes, _: str) -> list[bytes]:
        return [reply_to(query, f"{name_in(query)} 300 IN CNAME www.example.", rcode=2)]

    async with resolver(script) as one, face(to(one)) as ours:
        assert rcode(read(await asked(ours, question("old.corp")))) == "SERVFAIL"
