"""A steady 1,000 lookups a second at one agent, over DNS and HTTP, from its own process.

Every answer without the right host counts as failed. The ages in the answers are recorded by the second. On SIGTERM
it ends and writes its result to its file.

usage: python -m tests.chaos.lookups DNS_PORT HTTP_URL HOST FILE SERVICE...
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, cast

import aiohttp
import dnslib
import msgspec

DNS_PER_S: Final = 800
HTTP_PER_S: Final = 200
TIMEOUT_S: Final = 2.0
STALE_ANSWER: Final = 3  # RFC 8914 section 4.4
_EXTENDED_ERROR: Final = 15


class Second(msgspec.Struct):
    """The queries and answers of one second of the machine's monotonic clock."""

    asked: int = 0
    failed: int = 0
    stale: int = 0  # DNS answers with the Extended DNS Error 3
    fresh: int = 0  # DNS answers without it
    oldest_s: int = 0  # by the header Age


class Lookups(msgspec.Struct):
    """The outcome of all lookups."""

    seconds: dict[int, Second] = {}
    failures: list[str] = []  # the first hundred, as text
    longest_s: float = 0.0

    @property
    def asked(self) -> int:
        return sum(second.asked for second in self.seconds.values())

    @property
    def failed(self) -> int:
        return sum(second.failed for second in self.seconds.values())


class Asker(asyncio.DatagramProtocol):
    """Sends queries at a steady pace, whatever the answers."""

    def __init__(self, host: str, services: list[str]) -> None:
        self.result = Lookups()
        self._host = host
        self._names = itertools.cycle(services)
        self._ids = itertools.cycle(range(1, 65536))
        self._open: dict[int, tuple[float, str]] = {}
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 - asyncio's
        asked = self._open.pop(int.from_bytes(data[:2]), None)
        if asked is None:
            return
        answer = dnslib.DNSRecord.parse(data)
        second = self._ended(asked[0])
        codes = [
            int.from_bytes(option.data[:2])
            for record in answer.ar
            if record.rtype == dnslib.QTYPE.OPT
            for option in record.rdata
            if option.code == _EXTENDED_ERROR
        ]
        second.stale += STALE_ANSWER in codes
        second.fresh += not codes
        if self._host not in [str(record.rdata) for record in answer.rr]:
            self._failed(second, f"{asked[1]}: {dnslib.RCODE[answer.header.rcode]} {codes}")

    def error_received(self, exc: Exception) -> None:
        self._failed(self._second(), repr(exc))

    async def run(self, http: str, ended: asyncio.Event) -> None:
        """Run until `ended`, and then wait for pending queries."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
            running: set[asyncio.Task[None]] = set()
            paces = [
                asyncio.create_task(_pace(1 / DNS_PER_S, self._ask_dns)),
                asyncio.create_task(_pace(1 / HTTP_PER_S, lambda: _spawn(running, self._ask_http(session, http)))),
            ]
            ending = asyncio.create_task(ended.wait())
            await asyncio.wait([ending, *paces], return_when=asyncio.FIRST_COMPLETED)
            for task in (ending, *paces):
                task.cancel()
            ended_as = await asyncio.gather(*paces, return_exceptions=True)
            await asyncio.gather(*running, return_exceptions=True)
        for how in ended_as:
            if isinstance(how, Exception):
                raise how
        await asyncio.sleep(0.5)  # for the answers to the last queries
        self._give_up(time.monotonic() + TIMEOUT_S)

    def _ask_dns(self) -> None:
        now = time.monotonic()
        self._give_up(now)
        name, id_ = next(self._names), next(self._ids)
        record = dnslib.DNSRecord(
            dnslib.DNSHeader(id=id_, rd=1), q=dnslib.DNSQuestion(f"{name.replace('_', '-')}.vertice.internal")
        )
        record.add_ar(dnslib.EDNS0(udp_len=1232))
        self._open[id_] = (now, name)
        self._second().asked += 1
        assert self._transport is not None
        self._transport.sendto(record.pack())

    async def _ask_http(self, session: aiohttp.ClientSession, url: str) -> None:
        name, began = next(self._names), time.monotonic()
        self._second().asked += 1
        try:
            async with session.get(f"{url}/services/{name}") as response:
                text = await response.text()
                second = self._ended(began)
                second.oldest_s = max(second.oldest_s, int(response.headers.get("Age", "0")))
                if f'"{self._host}"' not in text:
                    self._failed(second, f"{name}: HTTP {response.status} {text[:200]}")
        except (aiohttp.ClientError, OSError) as error:
            self._failed(self._ended(began), f"{name}: {error!r}")

    def _give_up(self, now: float) -> None:
        while self._open and now - (first := next(iter(self._open.values())))[0] > TIMEOUT_S:
            self._open.pop(next(iter(self._open)))
            self._failed(self._second(), f"{first[1]}: no answer over DNS")

    def _ended(self, began: float) -> Second:
        self.result.longest_s = max(self.result.longest_s, time.monotonic() - began)
        return self._second()

    def _second(self) -> Second:
        return self.result.seconds.setdefault(int(time.monotonic()), Second())

    def _failed(self, second: Second, said: str) -> None:
        second.failed += 1
        if len(self.result.failures) < 100:
            self.result.failures.append(said)


async def _pace(every_s: float, work: Callable[[], None]) -> None:
    """Run `work` at fixed times; it catches up when it is late."""
    at = time.monotonic()
    while True:
        work()
        at += every_s
        await asyncio.sleep(max(0.0, at - time.monotonic()))


def _spawn(running: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(work)
    running.add(task)
    task.add_done_callback(running.discard)


async def main(dns_port: int, http: str, host: str, file: Path, services: list[str]) -> None:
    """Run until SIGTERM, and write the result."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    transport, asker = await loop.create_datagram_endpoint(
        lambda: Asker(host, services), remote_addr=("127.0.0.1", dns_port)
    )
    try:
        await asker.run(http, ended)
    finally:
        transport.close()
    await asyncio.to_thread(file.write_bytes, msgspec.json.encode(asker.result))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]), sys.argv[5:]))
