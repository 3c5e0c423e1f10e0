"""The stand-ins are real HTTP servers, each on its own address."""

from __future__ import annotations

import asyncio
import socket

import aiohttp

from cli.dev.plan import PlannedInstance
from cli.dev.standin import StandIns
from tests.programs import free_port


async def ask(http: aiohttp.ClientSession, url: str, method: str = "GET") -> tuple[int, dict[str, str]]:
    async with http.request(method, url) as response:
        return response.status, await response.json() if method != "HEAD" else {}


async def test_each_stand_in_identifies_itself_and_can_be_made_to_fail_alone() -> None:
    port = free_port()
    first, second = (PlannedInstance("abc", f"127.120.0.{n}", port, "/-/ready?deep=1") for n in (1, 2))
    stand_ins = StandIns()
    assert await stand_ins.start([first, second]) == {}
    base = f"http://{first.address}"
    try:
        async with aiohttp.ClientSession() as http:
            who = {"service": "abc", "instance": first.address, "status": "ok"}
            for path in ("/", "/health", "/-/ready", "/-/ready?deep=1"):
                assert await ask(http, base + path) == (200, who)
            assert await ask(http, f"{base}/health", "HEAD") == (200, {})
            assert (await ask(http, f"{base}/other"))[0] == 404
            assert (await ask(http, f"{base}/health", "DELETE"))[0] == 404
            assert (await ask(http, f"{base}/fail", "POST"))[0] == 200
            assert await ask(http, f"{base}/health") == (503, {**who, "status": "failing"})
            assert (await ask(http, f"{base}/-/ready"))[0] == 503
            assert (await ask(http, f"{base}/"))[0] == 200
            assert (await ask(http, f"http://{second.address}/health"))[0] == 200
            assert (await ask(http, f"{base}/recover", "POST"))[0] == 200
            assert (await ask(http, f"{base}/health"))[0] == 200
    finally:
        await stand_ins.close()
        await stand_ins.close()
    assert stand_ins.listening == []


async def test_a_taken_address_costs_only_its_own_instance() -> None:
    with socket.create_server(("127.120.1.1", 0)) as taken:
        port = taken.getsockname()[1]
        instances = [PlannedInstance("abc", f"127.120.1.{n}", port, "/health") for n in (1, 2)]
        stand_ins = StandIns()
        try:
            refused = await stand_ins.start(instances)
            assert list(refused) == instances[:1]
            assert stand_ins.listening == instances[1:]
        finally:
            await stand_ins.close()
            await asyncio.sleep(0)
