"""c-ares, the resolver of aiodns, Envoy and Node.js, through pycares: it discards answers without its cookie.

pycares without aiodns: aiohttp would resolve by an installed aiodns in every other test as well.
"""

from __future__ import annotations

import asyncio

import pycares

from tests.foreign import name_in, reply_to
from tests.resolvers import Face, face, honest, is_check, resolver, to
from tests.samples import instance
from tests.views import StandingView
from tests.wire.asking import ZONE

OWN = f"billing.{ZONE}"


class CAres:
    """One channel of c-ares with one server, as a program keeps it."""

    def __init__(self, ours: Face) -> None:
        # As most programs have it. c-ares shortens its first wait to 250 ms once a server was quick, which a busy
        # test machine may exceed; answers without a cookie it discards in every try.
        self._channel = pycares.Channel(servers=[f"127.0.0.1:{ours.port}"], domains=[], timeout=5.0, tries=4)

    async def ask(self, name: str) -> list[str] | str:
        """Return the addresses of a name, or the error."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[list[str] | str] = loop.create_future()

        def answer(result: pycares.DNSResult | None, error: int | None) -> None:
            found = _addresses(result) if result else pycares.errno.errorcode[error or 0]
            loop.call_soon_threadsafe(answered.set_result, found)

        self._channel.query(name, pycares.QUERY_TYPE_A, callback=answer)
        async with asyncio.timeout(30):
            return await answered

    def close(self) -> None:
        self._channel.close()


def _addresses(result: pycares.DNSResult) -> list[str]:
    return sorted(one.data.addr for one in result.answer if isinstance(one.data, pycares.ARecordData))


def large(query: bytes, transport: str) -> list[bytes]:
    """Answer as `honest`, but one name has too many addresses for a datagram, and one has none."""
    name = name_in(query).lower()
    if name == "failing.example.":
        return [reply_to(query, rcode=2)]
    if name == "large.example." and not is_check(query):
        if transport == "udp":
            return [reply_to(query, tc=1)]
        return [reply_to(query, *(f"{name_in(query)} 300 IN A 192.0.2.{n}" for n in range(200)))]
    return honest(query)


def test_the_judge_knows_cookies() -> None:
    version = tuple(map(int, pycares.ARES_VERSION.split(".")[:2]))
    assert version >= (1, 33), "the first release that sends cookies"


async def test_c_ares_gets_own_and_foreign_names_in_turn() -> None:
    view = StandingView([instance("billing", "10.0.0.1")])
    async with resolver(large) as one, face(to(one), view=view) as ours:
        judge = CAres(ours)
        for number in range(3):
            assert await judge.ask(OWN) == ["10.0.0.1"]
            assert await judge.ask(f"www{number}.example") == ["192.0.2.1"]
            assert await judge.ask("www0.example") == ["192.0.2.1"], "also from the cache"
            assert await judge.ask(f"a{number}.localhost") == ["127.0.0.1"]
            assert await judge.ask(f"nobody.{ZONE}") == "ARES_ENOTFOUND"
            assert await judge.ask("x.invalid") == "ARES_ENOTFOUND"
        assert len(await judge.ask("large.example")) == 200, "over TCP"
        assert await judge.ask("failing.example") == "ARES_ESERVFAIL", "not a timeout"
        judge.close()


async def test_c_ares_is_told_at_once_that_a_name_is_not_forwarded() -> None:
    async with face("none", view=StandingView([instance("billing", "10.0.0.1")])) as ours:
        judge = CAres(ours)
        assert await judge.ask(OWN) == ["10.0.0.1"]
        assert await judge.ask("www.example") == "ARES_EREFUSED"
        judge.close()


async def test_c_ares_gets_every_instance_of_a_large_service() -> None:
    view = StandingView(instance("billing", f"10.0.1.{n}") for n in range(200))
    async with face("none", view=view) as ours:
        judge = CAres(ours)
        assert len(await judge.ask(OWN)) == 200
        judge.close()
