"""What an agent and its DNS workers say to each other, over a socket that only they have.

To a worker: how it is to answer, then services as they change, and now and then how sure the agent is of
its view. From a worker: what it has counted, questions about names of others, which the agent alone has
forwarded, and services that are there and not held, which the agent reads from the registry. Lengths before
MessagePack. Nothing is decided here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec

from dns.responder import DnsSettings, Responder
from registry_core.domain.catalog import Lived
from registry_core.domain.records import Instance, Protocol
from registry_core.domain.selection import WhenNonePass

# A message has the instances of a few services; each instance has at most 8 KiB of metadata and 4 of the rest.
MAX_MESSAGE: Final = 256 * 1024 * 1024
# How often either says something, so that silence can be told from nothing new. Seconds.
PERIOD_S: Final = 1.0


class Setup(msgspec.Struct, frozen=True, tag=True):
    """The first message: where to answer, and how."""

    host: str
    port: int
    dns: DnsSettings
    cookie_secret: bytes  # all processes know each other's cookies
    forwards: bool


class Services(msgspec.Struct, frozen=True, tag=True):
    """All instances of these services now, by label; none is left of a service without any.

    `static_services` has in the same way what is said of them outside of the registry. `absent` are those of them
    that are there and not held, and what each is reached by.
    """

    instances: dict[str, tuple[Lived, ...]]
    static_services: dict[str, tuple[Instance, ...]]
    absent: dict[str, frozenset[Protocol]] = {}


class ViewState(msgspec.Struct, frozen=True, tag=True):
    """What was sent before this is all that the agent knows. The age in seconds, as of now."""

    complete: bool
    age_s: float


class Forwarded(msgspec.Struct, frozen=True, tag=True):
    """The answer to a `Foreign` of that number; None: there will be none."""

    number: int
    answer: bytes | None


class Preference(msgspec.Struct, frozen=True, tag=True):
    """Answer for this zone, and so when none passes, from now on."""

    local_zone: str
    when_none_pass: WhenNonePass


class Read(msgspec.Struct, frozen=True, tag=True):
    """Services that were to be read: what was sent before this is what became of it."""

    labels: tuple[str, ...]


ToWorker: TypeAlias = Setup | Services | ViewState | Forwarded | Read | Preference


class Foreign(msgspec.Struct, frozen=True, tag=True):
    """A question about a name of others, as it came, to be answered in at most `size` octets."""

    number: int
    message: bytes
    size: int


class DnsCounts(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What one responder and its socket have counted; or several, added up."""

    queries: dict[str, int] = {}  # by type and code, with a blank between
    hits: int = 0
    misses: int = 0
    malformed: int = 0
    prohibited: int = 0
    limited: int = 0
    failures: int = 0
    evictions: int = 0
    dropped: int = 0
    # As it is now, not since the start.
    entries: int = 0
    bytes: int = 0

    def ended(self) -> DnsCounts:
        """Return what remains when who has counted this is no more."""
        return msgspec.structs.replace(self, entries=0, bytes=0)


class Wanted(msgspec.Struct, frozen=True, tag=True):
    """A service that is there and not held is asked for."""

    label: str


class Asked(msgspec.Struct, frozen=True, tag=True):
    """Services that somebody asked for: they are not the ones that are to give way to others."""

    labels: tuple[str, ...]


FromWorker: TypeAlias = DnsCounts | Foreign | Wanted | Asked


def counts_of(responder: Responder, dropped: int) -> DnsCounts:
    """Return what a responder has counted."""
    return DnsCounts(
        queries={f"{type_} {rcode}": count for (type_, rcode), count in responder.counters.items()},
        hits=responder.hits,
        misses=responder.misses,
        malformed=responder.malformed,
        prohibited=responder.prohibited,
        limited=responder.limited,
        failures=responder.failures,
        evictions=responder.evictions,
        dropped=dropped,
        entries=responder.cache_entries,
        bytes=responder.cache_bytes,
    )


def added(all_counts: Iterable[DnsCounts]) -> DnsCounts:
    """Return the sum."""
    queries: Counter[str] = Counter()
    rest: Counter[str] = Counter()
    for counts in all_counts:
        queries.update(counts.queries)
        rest.update({name: getattr(counts, name) for name in DnsCounts.__struct_fields__ if name != "queries"})
    return DnsCounts(queries=dict(queries), **rest)


_ENCODER: Final = msgspec.msgpack.Encoder()
_TO_WORKER: Final = msgspec.msgpack.Decoder(ToWorker)
_FROM_WORKER: Final = msgspec.msgpack.Decoder(FromWorker)


def post(writer: asyncio.StreamWriter, message: ToWorker | FromWorker) -> None:
    """Send one message without waiting, unless the other side is gone."""
    if not writer.transport.is_closing():
        data = _ENCODER.encode(message)
        writer.write(len(data).to_bytes(4) + data)


async def send(writer: asyncio.StreamWriter, message: ToWorker | FromWorker) -> None:
    """Send one message; wait until the other side has read most of what there is."""
    post(writer, message)
    await writer.drain()


async def read_order(reader: asyncio.StreamReader) -> ToWorker:
    """Read what a worker is told. Raises EOFError when the agent is gone."""
    order: ToWorker = _TO_WORKER.decode(await _read(reader))
    return order


async def read_report(reader: asyncio.StreamReader) -> FromWorker:
    """Read what a worker says. Raises EOFError when it is gone."""
    report: FromWorker = _FROM_WORKER.decode(await _read(reader))
    return report


async def _read(reader: asyncio.StreamReader) -> bytes:
    length = int.from_bytes(await reader.readexactly(4))
    if length > MAX_MESSAGE:
        raise EOFError(f"a message of {length} octets")
    return await reader.readexactly(length)
