"""Packed snapshots and turns over real HTTP: an agent behind nginx, readers that do not read, and those sent away."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import aiohttp
import msgspec

from registry_core.api.hub import HubLimits
from registry_core.watch.limits import PROTOCOL_HEADER
from registry_core.watch.packing import DEFLATE, PACKING_HEADER
from tests.integration.agent.view.test_sync import following
from tests.integration.registry_core.api.test_behind_nginx import CONFIG, X_FORWARDED_FOR, behind, nginx
from tests.integration.replicas import READY, Api, serving
from tests.programs import eventually
from tests.samples import instance, lived

PACKED = {PROTOCOL_HEADER: "2", PACKING_HEADER: DEFLATE}
# Compressed by nginx as well, for clients that accept it.
COMPRESSED = f"{X_FORWARDED_FOR}; gzip on; gzip_types *; gzip_proxied any; gzip_min_length 1"


def fill(api: Api, count: int, filler: int = 300) -> int:
    """Put a fleet into the replica's view; return the octets of its records."""
    fleet = [
        lived(instance(f"service{n // 10}", f"10.0.{n // 250}.{n % 250 + 1}", metadata={"filler": "x" * filler}))
        for n in range(count)
    ]
    api.replica.view.catalog.merge(fleet)
    return sum(len(msgspec.json.encode(one)) for one in fleet)


async def test_an_agent_behind_a_proxy_gets_a_packed_snapshot_and_then_each_change(tmp_path: Path) -> None:
    assert "{header}" in CONFIG
    for header in (X_FORWARDED_FOR, COMPRESSED):
        async with serving(msgspec.structs.replace(READY, limits=behind())) as api:
            plain = fill(api, 2000)
            async with nginx(api, tmp_path, header) as url, following(url) as agent:
                await eventually(lambda: len(agent.view.catalog) == 2000, "it has all")
                assert agent.view.trust.whole
                assert api.replica.hub.counts.octets < plain / 10
                await api.register("osint_service", "10.9.0.1")
                await eventually(lambda: agent.view.find("osint_service") is not None, "it is told")
                assert (agent.view.snapshots, agent.sync.losses) == (1, 0)


async def test_the_answer_says_whether_it_is_packed(api: Api) -> None:
    for headers, said in ((PACKED, DEFLATE), ({PROTOCOL_HEADER: "2"}, None), ({PACKING_HEADER: "zstd"}, None)):
        async with api.session.get(f"{api.url}/watch?once=1", headers=headers) as answer:
            assert answer.headers.get(PACKING_HEADER) == said
            lines = [msgspec.json.decode(line)["type"] for line in (await answer.read()).splitlines()]
            assert lines[-1] == "sync"
            assert len(lines) == (3 if said else 2), "the parts of a packed snapshot stand between plain lines"


async def test_a_reader_that_reads_nothing_keeps_the_next_only_for_a_while() -> None:
    async with serving(hub_limits=HubLimits(openings_at_once=1, openings_waiting=1)) as api:
        fill(api, 4000, filler=3000)
        with socket.create_connection(("127.0.0.1", api.replica.listen.port), timeout=20) as idle:
            idle.sendall(b"GET /watch HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await eventually(lambda: len(api.replica.hub) == 1, "it has begun")
            second = asyncio.create_task(snapshot_of(api))
            await eventually(lambda: len(api.replica.hub) == 2, "the next one waits")
            async with api.session.get(f"{api.url}/watch", headers=PACKED) as refused:
                assert refused.status == 503
                assert 1 <= int(refused.headers["Retry-After"]) <= 60
                assert (await refused.json())["error"] == "Overloaded"
            assert len(api.replica.hub) == 2
            assert await second == 4000


async def snapshot_of(api: Api) -> int:
    """Return how many instances a reader gets."""
    async with following(api.url) as agent:
        await eventually(lambda: agent.view.snapshots == 1, "it has everything")
        return len(agent.view.catalog)


async def test_many_readers_that_come_together_all_get_everything() -> None:
    async with serving(hub_limits=HubLimits(openings_at_once=2)) as api:
        fill(api, 500)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def one() -> bytes:
                async with session.get(f"{api.url}/watch", headers=PACKED) as answer:
                    return await asyncio.wait_for(answer.content.readuntil(b'"type":"sync"'), 20)

            read = await asyncio.gather(*(one() for _ in range(50)))
        assert len(set(read)) == 1, "the very same octets"
        assert api.replica.hub.counts.snapshots["start"] == 50
