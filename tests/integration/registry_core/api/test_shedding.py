"""A replica with too much to do refuses what is worth least, and bodies that never arrive are no load."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from registry_core.api.limit_settings import LimitSettings
from tests.integration.replicas import READY, Answer, Api, serving
from tests.programs import eventually
from tests.samples import FakeClock

TEN = msgspec.structs.replace(READY, limits=LimitSettings(max_requests=10))
LIST = ("GET", "/services", None)
LOOKUP = ("GET", "/services/billing", None)
RENEWAL = ("POST", "/heartbeat", {"service_name": "billing", "instance_id": "10.0.0.7:8034"})
NEW = ("POST", "/register", {"service_name": "geo", "host": "10.0.0.8", "port": 8034})
MAINTAIN = ("PUT", "/status/billing/10.0.0.7:8034", {"status": "maintenance"})
WARN = ("PUT", "/status/billing/10.0.0.7:8034", {"status": "warning"})
LEAVE = ("DELETE", "/deregister/billing/10.0.0.7:8034", None)


@contextlib.asynccontextmanager
async def busy_with(api: Api, count: int, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Have so many registrations wait for a store that does not answer; others are stored as ever."""
    store, release = api.replica.store, asyncio.Event()
    register = store.register

    async def slow(claim: Any, **more: Any) -> Any:
        if claim.service_name == "slow":
            await release.wait()
        return await register(claim, **more)

    monkeypatch.setattr(store, "register", slow)
    bodies = ({"service_name": "slow", "host": f"10.1.0.{number}", "port": 8034} for number in range(count))
    calls = [asyncio.ensure_future(api.call("POST", "/register", body)) for body in bodies]
    await eventually(lambda: api.replica.limits.shedding.in_flight == count, "all of them wait")
    try:
        yield
    finally:
        release.set()
        assert {answer.status for answer in await asyncio.gather(*calls)} == {201}


def told(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.body["error"] if answer.status >= 400 else ""


@pytest.mark.parametrize(
    ("in_flight", "served", "refused"),
    [
        (4, [LIST, LOOKUP, NEW, RENEWAL, WARN, MAINTAIN, LEAVE], []),
        (5, [LOOKUP, NEW, RENEWAL, WARN, MAINTAIN, LEAVE], [LIST]),
        (7, [LOOKUP, RENEWAL, MAINTAIN, LEAVE], [LIST, NEW, WARN]),
    ],
)
async def test_what_is_worth_least_is_refused_first(
    in_flight: int, served: list[Any], refused: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(TEN) as api:
        await api.register("billing")
        async with busy_with(api, in_flight, monkeypatch):
            for method, path, body in refused:
                answer = await api.call(method, path, body)
                assert told(answer) == (503, "Overloaded"), path
                assert answer.headers["Retry-After"] == "1"
            for method, path, body in served:
                assert (await api.call(method, path, body)).status in (200, 201), path
        assert (await api.call(*LIST)).status == 200


async def test_a_renewal_with_time_left_is_refused_before_one_without(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    async with serving(TEN, clock=clock) as api:
        await api.register("billing")
        async with busy_with(api, 7, monkeypatch):
            api.replica.limits.shedding.in_flight += 1
            assert told(await api.call(*RENEWAL)) == (503, "Overloaded")
            clock.pass_time(31)
            assert (await api.call(*RENEWAL)).status == 200
            api.replica.limits.shedding.in_flight -= 1


async def test_bodies_that_never_arrive_are_no_load() -> None:
    """The attack: half a body on each of many connections, for as long as a body may take."""
    async with serving(TEN) as api:
        writers = []
        for _ in range(20):
            _, writer = await asyncio.open_connection("127.0.0.1", api.replica.listen.port)
            writer.write(b"POST /register HTTP/1.1\r\nHost: registry\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: 99\r\n\r\n{")
            await writer.drain()
            writers.append(writer)
        await eventually(lambda: len(api.replica._connections.open) >= 20, "all are connected")
        assert (await api.call(*LIST)).status == 200
        assert (await api.call(*NEW)).status == 201
        for writer in writers:
            writer.close()
