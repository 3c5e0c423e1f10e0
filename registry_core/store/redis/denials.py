"""The deny list in Redis: in every shard, so that any one of them is enough to know it.

The newest entry about a subject counts, wherever it is, and what this replica has read once it keeps until it ends: a
shard that comes back empty, or was away while an entry was made, is given what it lacks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, cast

import msgspec
import structlog
from redis.exceptions import RedisError

from registry_core.causes import cause_of
from registry_core.errors import Overloaded, Unavailable
from registry_core.ports.clock import Clock
from registry_core.ports.denials import Denial, DenialsRead
from registry_core.security.denied import MAX_DENIALS, merged
from registry_core.store.redis.scripts import ScriptName
from registry_core.store.redis.shard import Shard

READ_S: Final = 2.0
# A shard that lacks more gets the rest at the next reads.
MOST_PUT_BACK: Final = 64
_ENCODER: Final = msgspec.json.Encoder()
_DECODE: Final = msgspec.json.Decoder(Denial).decode

_log = structlog.get_logger(component="store.redis")


class DenialsInRedis:
    """A `DenialStore` over all shards."""

    def __init__(self, shards: Sequence[Shard], prefix: str, clock: Clock) -> None:
        self._shards = shards
        self._key = f"{prefix}:denied"
        self._clock = clock
        self._known: tuple[Denial, ...] = ()
        self._was_read = False

    async def add(self, denial: Denial) -> None:
        """Keep `denial` in every shard that can be reached. Raises Unavailable when none can, or the list is full."""
        outcomes = await asyncio.gather(
            *(self._add_to(shard, denial) for shard in self._shards), return_exceptions=True
        )
        failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        for error in failed:
            if len(failed) == len(outcomes) or not isinstance(error, Unavailable):
                raise error
        self._known = merged((self._known, (denial,)), self._clock.wall())

    async def read(self) -> DenialsRead:
        """Return what any shard holds, and what was read before."""
        outcomes = await asyncio.gather(*(self._read_from(shard) for shard in self._shards))
        read = [outcome for outcome in outcomes if not isinstance(outcome, str)]
        self._was_read = self._was_read or bool(read)
        self._known = merged((self._known, *read), self._clock.wall())
        for shard, outcome in zip(self._shards, outcomes, strict=True):
            if not isinstance(outcome, str):
                await self._put_back(shard, outcome)
        unread = [(s.name, why) for s, why in zip(self._shards, outcomes, strict=True) if isinstance(why, str)]
        return DenialsRead(self._known, tuple(unread), self._was_read)

    async def _read_from(self, shard: Shard) -> tuple[Denial, ...] | str:
        """Return the entries of one shard, or why they cannot be read."""
        try:
            async with asyncio.timeout(READ_S):
                client = await shard.masters.current()
                values = cast("list[bytes]", await client.hvals(self._key))
        except Unavailable as error:
            return error.message
        except (RedisError, OSError, TimeoutError) as error:
            return cause_of(error)
        entries = [_entry(value) for value in values[: 2 * MAX_DENIALS]]
        return tuple(entry for entry in entries if entry is not None)

    async def _put_back(self, shard: Shard, there: tuple[Denial, ...]) -> None:
        """Give a shard the entries that it lacks, a few at a time; what fails is tried at the next read."""
        held = {denial.subject: (denial.at, denial.denied) for denial in there}
        lacking = [one for one in self._known if held.get(one.subject, (-1.0, False)) < (one.at, one.denied)]
        try:
            for denial in lacking[:MOST_PUT_BACK]:
                await self._add_to(shard, denial)
        except Unavailable:
            return
        if lacking:
            _log.info("denials_put_back", shard=shard.name, count=len(lacking[:MOST_PUT_BACK]))

    async def _add_to(self, shard: Shard, denial: Denial) -> None:
        (outcome,) = await shard.queue.call(
            ScriptName.DENY,
            denial.subject,
            _ms(denial.at),
            _ms(denial.until),
            "1" if denial.denied else "0",
            _ENCODER.encode(denial),
            str(MAX_DENIALS),
            _ms(self._clock.wall()),
        )
        if outcome == b"full":
            raise Overloaded(f"the deny list is full: it has {MAX_DENIALS} entries", retry_after_s=60.0)


def _ms(seconds: float) -> str:
    return str(round(seconds * 1000))


def _entry(value: bytes) -> Denial | None:
    """Return the entry in a value; None for one that cannot be read, which is another release's or damaged."""
    try:
        return _DECODE(value.partition(b"\n")[2])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
