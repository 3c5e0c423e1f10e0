"""Writers that send writes to replicas all the time, and record each with its answer, from their own process.

Each owns its instances, and sends one write after the other. A write that was refused or not answered may have
happened or not: the writer goes on from either, often with the same instance, and at another replica if there is one.
Every second writer numbers its writes (`X-Registry-Sequence`, and an epoch). On SIGTERM it ends and writes its record
to its file.

usage: python -m tests.chaos.writers URLS SEED FILE WRITERS PATIENCE_S

PATIENCE_S is the timeout of an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from tests.chaos.history import RecordedWrite, WriteKind

SEQUENCE_HEADER: Final = "X-Registry-Sequence"
EPOCH: Final = 1_764_000_000_000
SERVICES: Final = 24
STATUSES: Final = ("passing", "warning", "draining", "maintenance")
# Small enough that most instances from before a fault stay unchanged until the comparison at the end.
NEW_SHARE: Final = 0.35
RECENT: Final = 20
# Of a writer after a refusal, so that a refusing replica gets more than just retries.
PAUSE_S: Final = 0.1
# How often the other replica is asked although the last one answered.
OTHER_SHARE: Final = 0.1
_KINDS: Final = (WriteKind.REGISTER, WriteKind.SET_STATUS, WriteKind.DEREGISTER, WriteKind.RESTORE)
# The weights of these kinds for an instance that is registered, one that is not, and one of unknown state.
_WEIGHTS: Final = {True: (4, 4, 2, 0), False: (5, 0, 0, 5), None: (4, 2, 2, 2)}


class _Owned:
    """One instance of a writer: its last description, and whether it is registered, as far as is known."""

    def __init__(self, number: int, writer: int) -> None:
        self.service_name = f"service_{number % SERVICES}"
        self.instance_id = f"w{writer}-{number}"
        self.key = f"{self.service_name}/{self.instance_id}"
        self.host = f"10.{writer}.{number // 250 % 250}.{number % 250 + 1}"
        self.content = 0
        self.status = STATUSES[0]
        self.is_there: bool | None = False


class RecordingWriter:
    """One writer, and its record."""

    def __init__(self, number: int, urls: list[str], seed: int, session: aiohttp.ClientSession) -> None:
        self.writes: list[RecordedWrite] = []
        self._number = number
        self._urls = urls
        self._session = session
        self._random = random.Random(f"{seed}/{number}")
        self._replica = number % len(urls)
        self._owned: list[_Owned] = []
        self._doubtful: _Owned | None = None
        self._epoch = EPOCH + number if number % 2 else None

    async def run(self, ended: asyncio.Event) -> None:
        """Run until `ended`."""
        while not ended.is_set():
            owned = self._chosen()
            write = self._next(owned)
            # Recorded before it is sent: whatever happens, it may have been carried out.
            self.writes.append(write)
            await self._ask(write, owned)
            self._doubtful = None if write.acknowledged else owned
            if write.acknowledged:
                owned.is_there = _is_there(write)
            else:
                owned.is_there = None
                self._replica = (self._replica + 1) % len(self._urls)
                await asyncio.sleep(PAUSE_S * self._random.uniform(0.5, 1.5))

    def _chosen(self) -> _Owned:
        draw = self._random
        if self._doubtful is not None and draw.random() < 0.5:
            return self._doubtful
        if not self._owned or draw.random() < NEW_SHARE:
            self._owned.append(_Owned(len(self._owned), self._number))
            return self._owned[-1]
        return draw.choice(self._owned[-RECENT:] if draw.random() < 0.5 else self._owned)

    def _next(self, owned: _Owned) -> RecordedWrite:
        draw, number = self._random, len(self.writes)
        (kind,) = draw.choices(_KINDS, _WEIGHTS[owned.is_there])
        if owned.content == 0:
            kind = WriteKind.REGISTER
        status = draw.choice(STATUSES)
        # Sometimes the same description again, which changes nothing but the lease.
        same = kind is WriteKind.REGISTER and owned.is_there and draw.random() < 0.2
        if kind is WriteKind.REGISTER and not same:
            owned.content, owned.status = number + 1, status if draw.random() < 0.3 else STATUSES[0]
        if len(self._urls) > 1 and draw.random() < OTHER_SHARE:
            self._replica = draw.randrange(len(self._urls))
        return RecordedWrite(
            number=number,
            key=owned.key,
            kind=kind,
            content=owned.content,
            status=status if kind is WriteKind.SET_STATUS else owned.status,
            sequence=None if self._epoch is None or kind is WriteKind.RESTORE else number + 1,
            replica=self._replica,
        )

    async def _ask(self, write: RecordedWrite, owned: _Owned) -> None:
        method, path, body = self._request(write, owned)
        headers = {} if write.sequence is None else {SEQUENCE_HEADER: str(write.sequence)}
        url = self._urls[write.replica] + path
        write.asked_at = time.monotonic()
        try:
            async with self._session.request(method, url, json=body, headers=headers) as response:
                text = await response.text()
                write.code = response.status
        except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
            write.code, text = 0, repr(error)
        write.told_at = time.monotonic()
        write.said, write.shown = _told(write, text)

    def _request(self, write: RecordedWrite, owned: _Owned) -> tuple[str, str, dict[str, Any] | None]:
        body: dict[str, Any] = {}
        match write.kind:
            case WriteKind.REGISTER:
                body = _description(owned, write)
                method, path = "POST", "/register"
            case WriteKind.RESTORE:
                saved = {"protocol": "http", "version": "", "weight": 1, "tags": [], "zone": "", "epoch": 0}
                body = {**_description(owned, write), **saved, "registered_at": 1_764_000_000.0}
                method, path = "POST", "/restore"
            case WriteKind.SET_STATUS:
                body = {"status": write.status}
                method, path = "PUT", f"/status/{owned.key}"
            case WriteKind.DEREGISTER:
                epoch = "" if self._epoch is None else f"?epoch={self._epoch}"
                return "DELETE", f"/deregister/{owned.key}{epoch}", None
        if self._epoch is not None:
            body["epoch"] = self._epoch
        return method, path, body


def _description(owned: _Owned, write: RecordedWrite) -> dict[str, Any]:
    return {
        "service_name": owned.service_name,
        "instance_id": owned.instance_id,
        "host": owned.host,
        "port": 8034,
        "addresses": [owned.host],
        "health_endpoint": "/health",
        "metadata": {"content": write.content},
        "status": write.status,
    }


def _told(write: RecordedWrite, text: str) -> tuple[str, tuple[int, str] | None]:
    """Return what an answer tells beyond its status."""
    if not write.acknowledged or write.code == 404:
        return text[:300], None
    answer = msgspec.json.decode(text)
    match write.kind:
        case WriteKind.REGISTER:
            return "created" if answer["created"] else "replaced", None
        case WriteKind.SET_STATUS:
            return "", (answer["metadata"]["content"], answer["status"])
        case WriteKind.RESTORE | WriteKind.DEREGISTER:
            return answer["status"], None


def _is_there(write: RecordedWrite) -> bool:
    """Return whether the instance is registered after this write was acknowledged."""
    return write.kind is not WriteKind.DEREGISTER and write.code != 404


async def main(urls: list[str], seed: int, file: Path, writers: int, patience_s: float) -> None:
    """Write until SIGTERM, then save the record."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=patience_s)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        all_of_them = [RecordingWriter(number, urls, seed, session) for number in range(writers)]
        await asyncio.gather(*(writer.run(ended) for writer in all_of_them))
    record = [write for writer in all_of_them for write in writer.writes]
    await asyncio.to_thread(file.write_bytes, msgspec.json.encode(record))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(
            main(sys.argv[1].split(","), int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
        )
