"""Lookups that are answered at once: the answers, rights, limits and counts are those of the handlers.

aiohttp names itself in each answer of a handler, and nobody does in one that is given at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import pytest

from registry_core.api.connections import ConnectionLimits
from registry_core.api.limit_settings import LimitSettings, RequestRate
from registry_core.replica_settings import ReplicaSettings
from registry_core.security.access_settings import PlainForms
from registry_core.security.signing_keys import READER, SigningKey
from tests.integration.replicas import READY, Api, serving
from tests.integration.signed_requests import signed_request
from tests.samples import FakeClock

SECRET, READ_KEY = "a-long-random-word", "a-key-for-readers"
PROXIED = LimitSettings(trusted_proxies=("127.0.0.1/32",), lookup=RequestRate(4, 1), pause_s=0.0)
CLOSED = msgspec.structs.replace(
    READY,
    secrets=(SECRET,),
    access=msgspec.structs.replace(READY.access, reads_are_open=False, read_keys=(READ_KEY,), plain=PlainForms.OFF),
)
# Also the lengths: JSON in one piece is as long as in several, but compressed it need not be.
CHANCE: Final = frozenset({"X-Trace-Id", "Content-Length"})
BEARER: Final = {"Authorization": f"Bearer {READ_KEY}"}
FROM: Final = {"X-Forwarded-For": "203.0.113.7"}


class RawAnswer(NamedTuple):
    """An answer as it came, but for the date; `at_once` when no handler gave it."""

    status: int
    headers: dict[str, str]
    body: bytes
    at_once: bool

    @property
    def plain(self) -> bytes:
        """The body without its compression."""
        return gzip.decompress(self.body) if self.headers.get("Content-Encoding") == "gzip" else self.body

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.plain)

    @property
    def told(self) -> tuple[int, dict[str, str], Any]:
        """What it says, but for random ids: of its trace, and of the store's history."""
        headers = {name: value for name, value in self.headers.items() if name not in CHANCE}
        body: Any = self.json if self.body else None
        return self.status, headers, {**body, "cursor": ""} if isinstance(body, dict) and "cursor" in body else body


class Line:
    """One connection, on which requests follow each other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, octets: bytes) -> None:
        self._writer.write(octets)

    async def ask(self, target: str, headers: Mapping[str, str] | None = None) -> RawAnswer:
        self.send(head_of(target, headers))
        return await self.answer()

    async def answer(self) -> RawAnswer:
        async with asyncio.timeout(10):
            first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines if line)
            body = await self._reader.readexactly(int(headers.get("Content-Length", "0")))
        assert "GMT" in headers.pop("Date")
        at_once = headers.pop("Server", None) is None
        return RawAnswer(int(first.split(" ")[1]), headers, body, at_once)


def head_of(target: str, headers: Mapping[str, str] | None = None) -> bytes:
    lines = [f"GET {target} HTTP/1.1", "Host: registry"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@contextlib.asynccontextmanager
async def line_to(api: Api) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.replica.listen.port)
    try:
        line = Line(reader, writer)
        await line.ask("/live")  # aiohttp's task begins with the first request
        yield line
    finally:
        writer.close()


async def filled(api: Api) -> None:
    """Register a few instances, whatever the credentials of the registry."""
    for name, port in (("ip_intel", 8034), ("billing", 8035)):
        body = {"service_name": name, "host": "10.0.0.7", "port": port, "tags": ["blue"], "epoch": 1}
        answer = await api.call("POST", "/register", body, headers={"X-Registry-Token": SECRET})
        assert answer.status == 201, answer.body


def counted(api: Api) -> dict[str, Any]:
    """Return what the replica has counted."""
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in api.replica.metrics.registry.collect()
        if family.type in ("counter", "histogram")
        for sample in family.samples
        if sample.name.endswith(("_total", "_count"))
    }
    return {"samples": samples, "limited": api.replica.limits.refused, "asked": api.replica.reports.asked.take()}


class Case(NamedTuple):
    """Requests that follow each other on one connection, and how many of them are answered at once."""

    asks: Sequence[tuple[str, dict[str, str]]]
    at_once: int
    statuses: Sequence[int]
    settings: ReplicaSettings = READY


CASES: Final = {
    "a service": Case([("/services/ip_intel", {})] * 3, 3, [200] * 3),
    "in the other spelling": Case([("/services/ip-intel", {})] * 2, 2, [200] * 2),
    "unknown": Case([("/services/nobody", {})] * 2, 0, [404] * 2),
    "no name": Case([("/services/NO", {})] * 2, 0, [400] * 2),
    "encoded": Case([("/services/ip%5Fintel", {})], 0, [200]),
    "by a filter": Case([("/services/billing?tag=blue", {})] * 2, 2, [200] * 2),
    "by a filter that nothing passes": Case([("/services/billing?tag=red", {})], 0, [404]),
    "by what is no filter": Case([("/services/billing?colour=red", {})], 0, [400]),
    "by a filter twice": Case([("/services/billing?tag=red&tag=blue", {})], 0, [400]),
    "the names": Case([("/services", {})] * 2, 2, [200] * 2),
    "the names, with a query": Case([("/services?x=1", {})], 0, [400]),
    "the catalogue": Case([("/catalog", {})] * 3, 2, [200] * 3),
    "the catalogue, compressed": Case([("/catalog", {"Accept-Encoding": "br, gzip;q=0.5"})] * 3, 2, [200] * 3),
    "the catalogue, again": Case(
        [("/catalog", {}), *[("/catalog", {"If-None-Match": "ETAG"})] * 2, ("/catalog", {"If-None-Match": 'W/"x"'})],
        3,
        [200, 304, 304, 200],
    ),
    "the catalogue, again in other words": Case(
        [("/catalog", {}), ("/catalog", {"If-None-Match": "*"}), ("/catalog", {"If-None-Match": 'W/"x", ETAG'})],
        0,
        [200, 304, 304],
    ),
    "in a zone": Case([("/services/billing", {})] * 2, 2, [200] * 2, msgspec.structs.replace(READY, zone="eu-1")),
    "too often": Case(
        [("/services/billing", FROM)] * 6, 4, [200] * 4 + [429] * 2, msgspec.structs.replace(READY, limits=PROXIED)
    ),
    "too often, behind a proxy that is not trusted": Case(
        [("/services/billing", FROM)] * 6,
        4,
        [200] * 4 + [429] * 2,
        msgspec.structs.replace(READY, limits=msgspec.structs.replace(PROXIED, trusted_proxies=())),
    ),
    "by nobody": Case([("/services/billing", {})] * 2, 0, [401] * 2, CLOSED),
    "by a reader": Case([("/services/billing", BEARER)] * 2, 2, [200] * 2, CLOSED),
    "with a wrong key": Case([("/services/billing", {"Authorization": "Bearer x"})] * 2, 0, [401] * 2, CLOSED),
    "in plain sight": Case([("/services/billing", {**BEARER, **FROM})], 0, [401], CLOSED),
    "in a trace": Case([("/services/billing", {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})] * 2, 2, [200] * 2),
}


async def played(case: Case, *, usable: bool) -> tuple[list[RawAnswer], dict[str, Any]]:
    """Return the answers of a registry, with or without answering at once, and what it counted meanwhile."""
    async with serving(case.settings, clock=FakeClock()) as api:
        await filled(api)
        api.replica.ready.usable = lambda: usable
        async with line_to(api) as line:
            etag, answers = "", []
            for target, headers in case.asks:
                sent = {name: value.replace("ETAG", etag) for name, value in headers.items()}
                answers.append(await line.ask(target, sent))
                etag = answers[-1].headers.get("ETag", etag)
        return answers, counted(api)


@pytest.mark.parametrize("name", CASES)
async def test_an_answer_at_once_is_that_of_the_handler(name: str) -> None:
    case = CASES[name]
    at_once, counted_at_once = await played(case, usable=True)
    handled, counted_handled = await played(case, usable=False)
    assert [answer.status for answer in at_once] == case.statuses
    assert sum(answer.at_once for answer in at_once) == case.at_once
    assert not any(answer.at_once for answer in handled)
    for one, other in zip(at_once, handled, strict=True):
        assert one.told == other.told
    assert counted_at_once == counted_handled


async def test_a_signature_is_good_for_one_lookup() -> None:
    async with serving(CLOSED) as api:
        await filled(api)
        target = "/services/billing"
        async with line_to(api) as line:
            once = dict(signed_request(SigningKey(READER, READ_KEY), "GET", target).headers)
            first, second = await line.ask(target, once), await line.ask(target, once)
            assert (first.status, first.at_once) == (200, True)
            assert (second.status, second.json["error"]) == (401, "Replayed")
            another = dict(signed_request(SigningKey(READER, READ_KEY), "GET", "/services/ip_intel").headers)
            assert (await line.ask(target, another)).json["error"] == "WrongSignature"
        assert len(api.replica._connections.heads) == 0, "nobody sends those octets again"


async def test_every_change_shows_at_once() -> None:
    clock = FakeClock()
    async with serving(clock=clock) as api, line_to(api) as line:
        assert (await line.ask("/services")).json == []
        await filled(api)
        assert (await line.ask("/services")).json == ["billing", "ip_intel"]
        found = (await line.ask("/services/billing")).json
        assert found["ttl_remaining"] == 60
        clock.pass_time(0.5)
        instance = found["instances"][0]["instance_id"]
        await api.call("POST", "/heartbeat", {"service_name": "billing", "instance_id": instance})
        assert (await line.ask("/services/billing")).json["last_heartbeat"] == clock.wall()
        await api.call("PUT", f"/status/billing/{instance}", {"status": "warning"})
        assert (await line.ask("/services/billing")).json["instances"][0]["status"] == "warning"
        clock.pass_time(2)
        assert (await line.ask("/services/billing")).json["ttl_remaining"] == 58, "a lease that runs shows, too"
        await api.call("DELETE", "/deregister/billing")
        assert (await line.ask("/services/billing")).status == 404
        assert (await line.ask("/services")).json == ["ip_intel"]
        await api.call("DELETE", "/deregister/ip_intel")
        assert (await line.ask("/services")).json == []


async def test_the_catalogue_is_not_kept_beyond_a_change_or_a_second() -> None:
    clock = FakeClock()
    async with serving(clock=clock) as api, line_to(api) as line:
        await filled(api)
        kinds = []
        for wait_s in (0, 0, 1.5, 0):
            clock.pass_time(wait_s)
            kinds.append((await line.ask("/catalog")).at_once)
        assert kinds == [False, True, False, True]
        await api.register("another", port=8036)
        answer = await line.ask("/catalog")
        assert (answer.at_once, len(answer.json["instances"])) == (False, 3)


async def test_a_large_catalogue_is_sent_in_pieces_and_small_when_compressed() -> None:
    async with serving() as api, line_to(api) as line:
        for number in range(250):
            await api.register(f"service-{number}", port=2000 + number)
        for _ in range(2):
            answer = await line.ask("/catalog")
            assert (answer.at_once, len(answer.json["instances"])) == (False, 250)
        zipped = [await line.ask("/catalog", {"Accept-Encoding": "gzip"}) for _ in range(2)]
        assert [one.at_once for one in zipped] == [False, True]
        assert {one.plain for one in zipped} == {answer.body}
        again = await line.ask("/catalog", {"If-None-Match": answer.headers["ETag"]})
        assert (again.status, again.at_once) == (304, True)


async def test_instances_are_drawn_by_weight() -> None:
    async with serving() as api, line_to(api) as line:
        for port, weight in ((8001, 1), (8002, 99)):
            await api.register(port=port, weight=weight)
        answers = [await line.ask("/services/ip_intel") for _ in range(200)]
        assert all(answer.at_once for answer in answers)
        drawn = [answer.json["port"] for answer in answers]
        assert drawn.count(8002) > 150
        assert {tuple(one["port"] for one in answer.json["instances"]) for answer in answers} == {(8002, 8001)}


async def test_no_answer_is_given_at_once_before_everything_is_known() -> None:
    settings = msgspec.structs.replace(READY, warming_s=30.0)
    clock = FakeClock()
    async with serving(settings, clock=clock) as api, line_to(api) as line:
        await filled(api)
        answer = await line.ask("/services/billing")
        assert (answer.status, answer.headers["X-Cache"], answer.at_once) == (200, "partial", False)
        clock.pass_time(31)
        answer = await line.ask("/services/billing")
        assert (answer.status, "X-Cache" in answer.headers, answer.at_once) == (200, False, True)


PLAIN: Final = head_of("/services/billing")
LIVE: Final = head_of("/live")
UNENDED: Final = b"GET /live HTTP/1.1\r\nX-Smuggled: "
POST: Final = b"POST /none HTTP/1.1\r\nHost: r\r\nContent-Length: %d\r\n\r\n" % len(PLAIN)
OLD: Final = PLAIN.replace(b"1.1", b"1.0").replace(b"Host: registry", b"Host: registry\r\nConnection: keep-alive")
SPLIT: Final = (
    ("whole", [PLAIN]),
    ("two at once", [PLAIN + PLAIN]),
    ("in two parts", [PLAIN[:30], PLAIN[30:]]),
    ("the end apart", [PLAIN[:-2], PLAIN[-2:]]),
    ("one and a part of the next", [PLAIN + PLAIN[:20], PLAIN[20:]]),
    ("one and a part of another, which looks like a known one", [LIVE + UNENDED, PLAIN]),
    ("the same after one that is ready", [PLAIN + UNENDED, PLAIN]),
    ("a body that looks like a known one", [POST, PLAIN]),
    ("a header that ends in a known one", [UNENDED, PLAIN]),
    ("one with more empty lines than it needs", [PLAIN + b"\r\n\r\n", PLAIN]),
    ("an old version", [OLD]),
)


@pytest.mark.parametrize(("name", "parts"), SPLIT)
async def test_octets_mean_the_same_however_they_arrive(name: str, parts: list[bytes]) -> None:
    """A request whose octets are known is not parsed: only where the parser would have found it at that place."""
    found = []
    for usable in (True, False):
        async with serving(clock=FakeClock()) as api, line_to(api) as line:
            await filled(api)
            api.replica.ready.usable = lambda usable=usable: usable  # type: ignore[misc]  # it takes no arguments
            answers = [await line.ask("/services/billing") for _ in range(3)]
            assert {answer.at_once for answer in answers} == {usable}
            for part in parts:
                line.send(part)
                await asyncio.sleep(0.02)  # so that each part arrives apart
            line.send(head_of("/whoami"))
            told = [(await line.answer()).told]
            while told[-1][2] != {"address": "127.0.0.1"}:
                told.append((await line.answer()).told)
            found.append(told)
    assert found[0] == found[1], name


async def test_a_reader_that_does_not_read_gets_no_further_answers_at_once() -> None:
    async with serving() as api, line_to(api) as line:
        for number in range(400):
            await api.register(port=2000 + number, metadata={"text": "x" * 500})
        size = len((await line.ask("/services/ip_intel")).body)
        for _ in range(60):
            line.send(head_of("/services/ip_intel"))
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.2)
        waiting = [one.transport.get_write_buffer_size() for one in api.replica._connections.open if one.transport]
        assert size / 2 < max(waiting) < 2 * size
        answers = [await line.answer() for _ in range(60)]
        assert {len(answer.json["instances"]) for answer in answers} == {400}


async def test_an_idle_connection_is_kept_after_an_answer_at_once() -> None:
    limits = ConnectionLimits(keepalive_s=0.6)
    async with serving(connection_limits=limits) as api, line_to(api) as line:
        await filled(api)
        for _ in range(4):
            assert (await line.ask("/services/billing")).at_once
            await asyncio.sleep(0.3)
        await asyncio.sleep(1)
        with pytest.raises(asyncio.IncompleteReadError):
            await line.answer()
