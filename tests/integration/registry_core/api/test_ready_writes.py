"""Writes that are carried out without a handler: what they say, do and count is what handlers do.

aiohttp names itself in each answer of a handler, and nobody does in another.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec
import pytest

from registry_core.api.limit_settings import LimitSettings, RequestRate
from registry_core.errors import NotReplicated
from registry_core.ports.store import Grant
from registry_core.replica_settings import ReplicaSettings
from registry_core.security.signing_keys import shared_key
from tests.integration.replicas import READY, Api, serving
from tests.integration.signed_requests import signed_request

SECRET: Final = "a-long-random-word"
CLAIM: Final = {"service_name": "ip_intel", "host": "10.0.0.7", "port": 8034, "metadata": {"team": "osint"}}
ID: Final = "10.0.0.7:8034"
BEAT: Final = {"service_name": "ip_intel", "instance_id": ID}
UNKNOWN: Final = {"service_name": "ip_intel", "instance_id": "nobody"}
CLOSED: Final = msgspec.structs.replace(READY, secrets=(SECRET,))
LIMITED: Final = msgspec.structs.replace(
    READY,
    limits=LimitSettings(trusted_proxies=("127.0.0.1/32",), register=RequestRate(4, 1), pause_s=0.0),
)
FROM: Final = {"X-Forwarded-For": "203.0.113.7"}
CHANCE: Final = frozenset({"X-Trace-Id", "Content-Length"})


class Said(NamedTuple):
    """An answer as it came, but for the date; `by_handler` when a handler gave it."""

    status: int
    headers: dict[str, str]
    body: Any
    by_handler: bool

    @property
    def told(self) -> tuple[int, dict[str, str], Any]:
        return self.status, {name: v for name, v in self.headers.items() if name not in CHANCE}, self.body


class Wire:
    """One connection, on which requests follow each other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def ask(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Said:
        self.writer.write(octets(path, body, headers))
        return await self.answer()

    async def answer(self) -> Said:
        async with asyncio.timeout(10):
            first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines if line)
            body = await self._reader.readexactly(int(headers.get("Content-Length", "0")))
        assert "GMT" in headers.pop("Date")
        by_handler = headers.pop("Server", None) is not None
        return Said(int(first.split(" ")[1]), headers, msgspec.json.decode(body), by_handler)

    async def end(self) -> bytes:
        """Return what still comes, until the other side closes."""
        async with asyncio.timeout(10):
            return await self._reader.read()


def octets(path: str, body: Any, headers: Mapping[str, str] | None = None) -> bytes:
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    lines = [f"POST {path} HTTP/1.1", "Host: registry", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in {"Content-Type": "application/json", **(headers or {})}.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + content


@contextlib.asynccontextmanager
async def wire_to(api: Api) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.replica.listen.port)
    try:
        writer.write(b"GET /live HTTP/1.1\r\nHost: registry\r\n\r\n")  # aiohttp's task begins with the first request
        wire = Wire(reader, writer)
        await wire.answer()
        yield wire
    finally:
        writer.close()


def counted(api: Api) -> dict[Any, float]:
    """Return what the replica has counted of its operations and requests."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in api.replica.metrics.registry.collect()
        if family.type in ("counter", "histogram")
        for sample in family.samples
        if sample.name.endswith(("_total", "_count")) and sample.labels.get("endpoint") != "/live"
    }


class WriteCase(NamedTuple):
    """Requests that follow each other on one connection, and how many of them a handler answers."""

    asks: Sequence[tuple[str, Any, dict[str, str]]]
    statuses: Sequence[int]
    by_handler: int = 0
    settings: ReplicaSettings = READY


OPEN: Final[dict[str, str]] = {}
TOKEN: Final = {"X-Registry-Token": SECRET}
CASES: Final = {
    "a registration, twice": WriteCase([("/register", CLAIM, OPEN)] * 2, [201, 201]),
    "heartbeats": WriteCase([("/register", CLAIM, OPEN), ("/heartbeat", BEAT, OPEN)], [201, 200]),
    "many": WriteCase([("/register", CLAIM, OPEN), ("/heartbeat", {"instances": [BEAT, UNKNOWN]}, OPEN)], [201, 200]),
    "unknown": WriteCase([("/heartbeat", UNKNOWN, OPEN)], [404], 1),
    "by name alone": WriteCase(
        [("/register", CLAIM, OPEN), ("/heartbeat", {"service_name": "ip_intel"}, OPEN)], [201, 200]
    ),
    "not valid": WriteCase([("/register", {**CLAIM, "port": 80}, OPEN), ("/register", CLAIM, OPEN)], [400, 201], 1),
    "no JSON": WriteCase([("/register", b"{", OPEN), ("/register", CLAIM, OPEN)], [400, 201], 1),
    "a taken address": WriteCase(
        [("/register", CLAIM, OPEN), ("/register", {**CLAIM, "service_name": "billing"}, OPEN)], [201, 409], 1
    ),
    "late": WriteCase(
        [("/register", {**CLAIM, "epoch": 1}, {"X-Registry-Sequence": n}) for n in ("7", "6", "7")], [201, 409, 201], 1
    ),
    "no credential": WriteCase([("/register", CLAIM, OPEN)], [401], 1, CLOSED),
    "a token": WriteCase([("/register", CLAIM, TOKEN)], [201], 0, CLOSED),
    "another key": WriteCase([("/register", CLAIM, {"X-Registry-API-Key": "0" * 64})], [403], 1, CLOSED),
    "compressed": WriteCase([("/register", CLAIM, {"Content-Encoding": "gzip"})], [415], 1),
    "text": WriteCase([("/register", CLAIM, {"Content-Type": "text/plain"})], [415], 1),
    "with a character set": WriteCase(
        [("/register", CLAIM, {"Content-Type": "application/json; charset=utf-8"})], [201], 1
    ),
    "too large": WriteCase([("/register", b" " * 65 * 1024, OPEN)], [413], 1),
    "with a query": WriteCase([("/register?x=1", CLAIM, OPEN)], [400], 1),
    "too many": WriteCase(
        [("/register", {**CLAIM, "port": 8000 + n, "service_name": f"svc-{n}"}, FROM) for n in range(6)],
        [201, 201, 201, 201, 429, 429],
        2,
        LIMITED,
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_an_answer_without_a_handler_is_that_of_the_handler(name: str) -> None:
    case = CASES[name]
    told, counts, views = [], [], []
    for at_once in (True, False):
        async with serving(case.settings) as api, wire_to(api) as wire:
            api.replica.writes.usable = partial(bool, at_once)
            said = [await wire.ask(*ask) for ask in case.asks]
            assert [one.status for one in said] == list(case.statuses)
            assert sum(one.by_handler for one in said) == (case.by_handler if at_once else len(said))
            told.append([one.told for one in said])
            counts.append(counted(api))
            views.append({(i.service_name, i.instance_id, i.port) for i in api.replica.view.catalog})
    assert told[0] == told[1]
    assert counts[0] == counts[1], "nothing is counted twice"
    assert views[0] == views[1]


async def test_a_signed_registration_is_carried_out_once_and_another_body_refused() -> None:
    async with serving(CLOSED) as api, wire_to(api) as wire:
        request = signed_request(shared_key(SECRET))
        assert request.body is not None
        headers = dict(request.headers)
        first = await wire.ask("/register", request.body, headers)
        assert (first.status, first.by_handler) == (201, False)
        assert (await wire.ask("/register", request.body, headers)).status == 401, "the same request again"
        headers = dict(signed_request(shared_key(SECRET)).headers)
        assert (await wire.ask("/register", request.body.replace(b"8034", b"8035"), headers)).status == 401
        assert len(api.replica.view.catalog) == 1


async def test_requests_behind_a_write_wait_for_it(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    may_go, register = asyncio.Event(), api.replica.store.register

    async def slowly(*args: Any, **more: Any) -> Grant:
        await may_go.wait()
        return await register(*args, **more)

    monkeypatch.setattr(api.replica.store, "register", slowly)
    async with wire_to(api) as wire:
        wire.writer.write(octets("/register", CLAIM))
        await asyncio.sleep(0.02)
        wire.writer.write(b"GET /services HTTP/1.1\r\nHost: registry\r\n\r\n")
        wire.writer.write(octets("/heartbeat", BEAT))
        await asyncio.sleep(0.02)
        may_go.set()
        assert [(await wire.answer()).status for _ in range(3)] == [201, 200, 200]
        assert (await wire.ask("/heartbeat", BEAT)).by_handler is False


async def test_a_write_whose_client_has_left_is_carried_out(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    may_go, register, done = asyncio.Event(), api.replica.store.register, asyncio.Event()

    async def slowly(*args: Any, **more: Any) -> Grant:
        await may_go.wait()
        granted = await register(*args, **more)
        done.set()
        return granted

    monkeypatch.setattr(api.replica.store, "register", slowly)
    async with wire_to(api) as wire:
        wire.writer.write(octets("/register", CLAIM))
        await asyncio.sleep(0.02)
    may_go.set()
    async with asyncio.timeout(5):
        await done.wait()
    assert (await api.call("GET", "/services")).body == ["ip_intel"]


async def test_a_replica_that_stops_answers_the_write_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(READY) as api, wire_to(api) as wire:
        may_go, register = asyncio.Event(), api.replica.store.register

        async def slowly(*args: Any, **more: Any) -> Grant:
            await may_go.wait()
            return await register(*args, **more)

        monkeypatch.setattr(api.replica.store, "register", slowly)
        wire.writer.write(octets("/register", CLAIM))
        await asyncio.sleep(0.02)
        closing = asyncio.ensure_future(api.replica.close())
        await asyncio.sleep(0.05)
        may_go.set()
        assert (await wire.answer()).status == 201
        assert await wire.end() == b"", "and its connection is closed"
        await closing


async def test_a_write_that_fails_while_the_replica_stops_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(READY) as api, wire_to(api) as wire:
        may_go = asyncio.Event()

        async def failing(*_args: Any, **_more: Any) -> Grant:
            await may_go.wait()
            raise NotReplicated("no replica confirmed it")

        monkeypatch.setattr(api.replica.store, "register", failing)
        wire.writer.write(octets("/register", CLAIM))
        await asyncio.sleep(0.02)
        closing = asyncio.ensure_future(api.replica.close())
        await asyncio.sleep(0.05)
        may_go.set()
        said = await wire.answer()
        assert (said.status, said.body["error"]) == (503, "NotReplicated")
        await closing


async def test_a_connection_with_a_write_in_flight_is_not_closed_as_idle(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go, register = asyncio.Event(), api.replica.store.register

    async def slowly(*args: Any, **more: Any) -> Grant:
        await may_go.wait()
        return await register(*args, **more)

    monkeypatch.setattr(api.replica.store, "register", slowly)
    async with wire_to(api) as wire:
        wire.writer.write(octets("/register", CLAIM))
        await asyncio.sleep(0.02)
        (connection,) = [one for one in api.replica._connections.open if one.is_busy]
        connection._next_keepalive_close_time = 0.0
        connection._process_keepalive()
        may_go.set()
        assert (await wire.answer()).status == 201


async def test_the_trace_of_a_refused_write_is_in_its_answer(api: Api) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    async with wire_to(api) as wire:
        said = await wire.ask("/heartbeat", UNKNOWN, {"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    assert (said.status, said.headers["X-Trace-Id"]) == (404, trace)
