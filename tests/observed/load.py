"""A steady, low load on everything, in its own process: `python -m tests.observed.load FILE`.

The file is JSON: `agents` (each with `http` and `dns` ports), `replicas` (URLs), `services` (names), `zone`. It asks
the agents over DNS (UDP and TCP, known names, unknown ones, foreign ones) and HTTP, and the replicas for services; it
registers and renews instances of its own, as clients without an agent do. What fails is ignored: faults are expected.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import socket
import sys
from pathlib import Path
from typing import Any, Final

import aiohttp
import dnslib

PAUSE_S: Final = 0.03
TIMEOUT_S: Final = 2.0
OWN: Final = 8  # instances that it registers
FOREIGN: Final = ("www.example.org", "mail.example.net", "a.example.com", "b.example.com")


async def main(plan: dict[str, Any]) -> None:
    """Run until the process ends."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        await asyncio.gather(_dns(plan), _lookups(session, plan), _writes(session, plan))


async def _dns(plan: dict[str, Any]) -> None:
    chance, names = random.Random(1), plan["services"]
    for number in itertools.count():
        agent = plan["agents"][number % len(plan["agents"])]
        name, kind = chance.choice(
            [(f"{chance.choice(names)}.{plan['zone']}", "A"), (f"_{chance.choice(names)}._tcp.{plan['zone']}", "SRV")]
            * 4
            + [(f"nobody.{plan['zone']}", "A"), (chance.choice(FOREIGN), "A")]
        )
        query = bytes(dnslib.DNSRecord.question(name, kind).pack())
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            await (_over_tcp if number % 10 == 0 else _over_udp)(agent["dns"], query)
        await asyncio.sleep(PAUSE_S)


async def _over_udp(port: int, query: bytes) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.setblocking(False)
        udp.connect(("127.0.0.1", port))
        udp.send(query)
        await asyncio.wait_for(loop.sock_recv(udp, 4096), TIMEOUT_S)


async def _over_tcp(port: int, query: bytes) -> None:
    reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), TIMEOUT_S)
    try:
        writer.write(len(query).to_bytes(2) + query)
        await asyncio.wait_for(reader.readexactly(2), TIMEOUT_S)
    finally:
        writer.close()


async def _lookups(session: aiohttp.ClientSession, plan: dict[str, Any]) -> None:
    chance = random.Random(2)
    for number in itertools.count():
        agent = plan["agents"][number % len(plan["agents"])]
        replica = plan["replicas"][number % len(plan["replicas"])]
        name = chance.choice([*plan["services"], "nobody"])
        for url in (f"http://127.0.0.1:{agent['http']}/resolve/{name}", f"{replica}/services/{name}"):
            await _sent(session, "GET", url)
        await asyncio.sleep(PAUSE_S)


async def _writes(session: aiohttp.ClientSession, plan: dict[str, Any]) -> None:
    for number in itertools.count():
        replica = plan["replicas"][number % len(plan["replicas"])]
        own = number % OWN
        instance = {"service_name": "load", "instance_id": f"load-{own}"}
        if number // OWN % 2 == 0:
            # The version changes, so that there is something to tell the readers of the watch.
            version = f"1.0.{number // OWN}"
            body = {**instance, "host": "127.0.0.1", "port": 6000 + own, "version": version}
            await _sent(session, "POST", f"{replica}/register", body)
        else:
            await _sent(session, "POST", f"{replica}/heartbeat", instance)
        await asyncio.sleep(PAUSE_S * 2)


async def _sent(session: aiohttp.ClientSession, method: str, url: str, body: object = None) -> None:
    with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
        async with session.request(method, url, json=body) as answer:
            await answer.read()


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
