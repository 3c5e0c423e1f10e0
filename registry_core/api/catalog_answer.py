"""`GET /catalog`: the catalogue as JSON, encoded once for the readers who ask at about the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice
from typing import Final

import msgspec

from registry_core.api.schemas import CatalogView, InstanceView
from registry_core.domain.catalog import Lived
from registry_core.ports.clock import Clock

# How many instances to encode before other tasks get a turn. They are one piece of the answer, too.
SLICE: Final = 128
# How old the times of heartbeats may be in a shared answer.
SHARED_S: Final = 1.0
_ENCODER: Final = msgspec.json.Encoder()


class CatalogAnswer:
    """One catalogue, as the pieces of its JSON."""

    def __init__(self, frame: CatalogView, pieces: tuple[bytes, ...], at: float) -> None:
        self.frame = frame
        self.pieces = pieces
        self.at = at
        self.size = sum(map(len, pieces))


class CatalogAnswers:
    """Makes the answers. `catalog` returns the frame and the instances as of now, `shown` one instance's view."""

    def __init__(
        self,
        catalog: Callable[[], tuple[CatalogView, tuple[Lived, ...]]],
        shown: Callable[[Lived], InstanceView],
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._shown = shown
        self._clock = clock
        self._making = asyncio.Lock()
        self._latest: CatalogAnswer | None = None

    async def current(self) -> CatalogAnswer:
        """Return the catalogue as of now; its times may be SHARED_S old."""
        async with self._making:
            frame, instances = self._catalog()
            if self._latest is not None and self._still_holds(self._latest, frame):
                return self._latest
            at = self._clock.monotonic()
            answer = self._latest = CatalogAnswer(frame, await self._encoded(frame, instances), at)
            # From then on only those who still read it keep it.
            asyncio.get_running_loop().call_later(SHARED_S, self._forget, answer)
            return answer

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
