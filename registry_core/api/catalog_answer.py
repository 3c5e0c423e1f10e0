"""`GET /catalog`: the catalogue as JSON, encoded once for the readers who ask at about the same time.

It is compressed once as well, for those who take gzip.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Callable
from functools import lru_cache
from itertools import islice
from typing import Final

import msgspec

from registry_core.api.ready_bodies import HeaderFields
from registry_core.api.schemas import CatalogView, InstanceView
from registry_core.domain.catalog import Lived
from registry_core.ports.clock import Clock

# How many instances to encode before other tasks get a turn. They are one piece of the answer, too.
SLICE: Final = 128
# How old the times of heartbeats may be in a shared answer.
SHARED_S: Final = 1.0
GZIP: Final = "gzip"
# Leaves a ninth of a catalogue, in less than half of the time of the default, which leaves an eleventh.
_LEVEL: Final = 1
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
# A weight of zero refuses (RFC 9110 section 12.4.2).
_REFUSED: Final = re.compile(r";\s*q\s*=\s*0(?:\.0{0,3})?\s*$", re.ASCII | re.IGNORECASE)
_ENCODER: Final = msgspec.json.Encoder()


class CatalogAnswer:
    """One catalogue, as the pieces of its JSON, and compressed once anybody has asked for that."""

    def __init__(self, frame: CatalogView, pieces: tuple[bytes, ...], at: float, *, is_partial: bool) -> None:
        """`is_partial`: it may lack something that exists. `at` is when it was made, on the monotonic clock."""
        self.frame = frame
        self.pieces = pieces
        self.at = at
        self.is_partial = is_partial
        self.zipped: tuple[bytes, ...] | None = None
        self.version = f"{frame.digest}.{frame.state}"
        # Weak: heartbeats change how an instance is shown, but not the instance.
        self.etag = f'W/"{self.version}"'
        self.fields: HeaderFields = (("ETag", self.etag), ("Vary", "Accept-Encoding"))


class CatalogAnswers:
    """Makes the answers. `catalog` returns the frame and the instances as of now, `shown` one instance's view.

    `position` returns what differs after each change; `may_lack` whether the catalogue may be partial.
    """

    def __init__(
        self,
        catalog: Callable[[], tuple[CatalogView, tuple[Lived, ...]]],
        shown: Callable[[Lived], InstanceView],
        clock: Clock,
        *,
        position: Callable[[], object],
        may_lack: Callable[[], bool],
    ) -> None:
        self._catalog = catalog
        self._shown = shown
        self._clock = clock
        self._position = position
        self._may_lack = may_lack
        self._making = asyncio.Lock()
        self._latest: CatalogAnswer | None = None
        self._made_at: object = None
        # How many were begun, and which of them the latest is.
        self._begun = self._latest_number = 0

    async def current(self) -> CatalogAnswer:
        """Return the catalogue as of a moment after the call; its times may be SHARED_S old.

        While one is made, however many ask for the next one wait for the same.
        """
        before = self._begun
        async with self._making:
            if self._latest is not None and self._latest_number > before:
                return self._latest
            frame, instances = self._catalog()
            if self._latest is not None and self._still_holds(self._latest, frame):
                return self._latest
            self._begun += 1
            at, position, is_partial = self._clock.monotonic(), self._position(), self._may_lack()
            pieces = await self._encoded(frame, instances)
            answer = self._latest = CatalogAnswer(frame, pieces, at, is_partial=is_partial)
            self._made_at, self._latest_number = position, self._begun
            # From then on only those who still read it keep it.
            asyncio.get_running_loop().call_later(SHARED_S, self._forget, answer)
            return answer

    async def zipped(self, answer: CatalogAnswer) -> tuple[bytes, ...]:
        """Return the pieces of an answer, compressed as one stream (RFC 1952)."""
        async with self._making:
            if answer.zipped is None:
                compressor = zlib.compressobj(_LEVEL, wbits=_GZIP_WINDOW)
                pieces: list[bytes] = []
                for piece in answer.pieces:
                    pieces.append(compressor.compress(piece))
                    await asyncio.sleep(0)
                answer.zipped = tuple(filter(None, (*pieces, compressor.flush())))
            return answer.zipped

    def at_hand(self, state: str) -> CatalogAnswer | None:
        """Return the shared answer while it holds: nothing has changed, and it is SHARED_S old at most."""
        latest = self._latest
        if latest is None or self._made_at != self._position() or latest.frame.state != state:
            return None
        return latest if self._clock.monotonic() - latest.at <= SHARED_S else None

    def _forget(self, answer: CatalogAnswer) -> None:
        if self._latest is answer:
            self._latest = None

    def _still_holds(self, answer: CatalogAnswer, frame: CatalogView) -> bool:
        then = answer.frame
        same = (then.cursor, then.digest, then.state) == (frame.cursor, frame.digest, frame.state)
        return same and self._clock.monotonic() - answer.at <= SHARED_S

    async def _encoded(self, frame: CatalogView, instances: tuple[Lived, ...]) -> tuple[bytes, ...]:
        """Return the frame with the instances between the brackets that it ends with."""
        pieces = [_ENCODER.encode(frame)[: -len(b"]}")]]
        remaining, comma = iter(instances), b""
        while part := list(islice(remaining, SLICE)):
            pieces.append(comma + _ENCODER.encode([self._shown(lived) for lived in part])[1:-1])
            comma = b","
            await asyncio.sleep(0)
        pieces.append(b"]}")
        return tuple(pieces)


@lru_cache(maxsize=64)  # clients use a handful of them
def takes_gzip(accepted: str) -> bool:
    """Return whether the reader who sends this Accept-Encoding takes gzip (RFC 9110 section 12.5.3)."""
    codings = {part.partition(";")[0].strip().lower(): part for part in accepted.split(",")}
    found = codings.get(GZIP, codings.get("x-gzip", codings.get("*")))
    return found is not None and _REFUSED.search(found) is None
