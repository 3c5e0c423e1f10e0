"""Looks services up at replicas and agents all the time, over HTTP and DNS, from its own process.

Every unexpected answer counts as failed, except the statuses that a target may give. On SIGTERM it ends and writes
its result to its file.

usage: python -m tests.chaos.asking TARGETS SEED FILE
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import aiohttp
import dnslib
import msgspec

from tests.chaos.load import Failure, Result

PAUSE_S: Final = 0.01
# A lookup never waits for the store, so a slower one has failed.
TIMEOUT_S: Final = 2.0


class Target(msgspec.Struct, frozen=True):
    """A server to query: a URL for HTTP, or a loopback port for DNS; and its services with their expected hosts."""

    at: str
    services: dict[str, str]
    may_say: frozenset[int] = frozenset()


class Asking:
    """Looks up each service at each target in turn."""

    def __init__(self, seed: int, session: aiohttp.ClientSession) -> None:
        self.result = Result(seed)
        self._session = session

    async def run(self, targets: list[Target], ended: asyncio.Event) -> None:
        """Run until `ended`."""
        tasks = [asyncio.create_task(self._ask_all(target, ended)) for target in targets]
        await asyncio.gather(*tasks)

    async def _ask_all(self, target: Target, ended: asyncio.Event) -> None:
        ask: Callable[[Target, str, str], Awaitable[tuple[int, str]]] = (
            self._ask_http if target.at.startswith("http") else self._ask_dns
        )
        while not ended.is_set():
            for service, host in target.services.items():
                began = time.monotonic()
                try:
                    async with asyncio.timeout(TIMEOUT_S):
                        status, said = await ask(target, service, host)
                except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
                    status, said = 0, repr(error)
                self.result.lookups += 1
                took_s = time.monotonic() - began
                self.result.longest_lookup_s = max(self.result.longest_lookup_s, took_s)
                if status != 200 and status not in target.may_say:
                    said = f"{target.at} {service}: {said}"[:300]
                    self.result.failures.append(Failure("lookup", began, took_s, status, said))
                await asyncio.sleep(PAUSE_S)

    async def _ask_http(self, target: Target, service: str, host: str) -> tuple[int, str]:
        async with self._session.get(f"{target.at}/services/{service}") as response:
            text = await response.text()
            missing = response.status == 200 and f'"{host}"' not in text
            return (0, f"without {host}: {text}") if missing else (response.status, text)

    async def _ask_dns(self, target: Target, service: str, host: str) -> tuple[int, str]:
        loop = asyncio.get_running_loop()
        question = dnslib.DNSRecord.question(f"{service.replace('_', '-')}.vertice.internal", "A")
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(("127.0.0.1", int(target.at)))
            await loop.sock_sendall(sock, question.pack())
            answer = dnslib.DNSRecord.parse(await loop.sock_recv(sock, 4096))
        found = [str(record.rdata) for record in answer.rr]
        return (200, "") if host in found else (0, f"{dnslib.RCODE[answer.header.rcode]} {found}")


async def main(targets: list[Target], seed: int, file: Path) -> None:
    """Run until SIGTERM, and write the result."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with aiohttp.ClientSession() as session:
        asking = Asking(seed, session)
        await asking.run(targets, ended)
    await asyncio.to_thread(file.write_bytes, msgspec.json.encode(asking.result))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(msgspec.json.decode(sys.argv[1], type=list[Target]), int(sys.argv[2]), Path(sys.argv[3])))
