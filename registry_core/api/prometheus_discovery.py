"""`GET /sd/prometheus` at a replica: every registered instance as a target, whatever its status.

Prometheus drops each target that an answer lacks, but keeps all of them when there is no answer. So there is none (503)
while something may be registered that this replica does not know. The bytes are made once for the readers who ask at
about the same time.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec

from registry_core.api.prometheus_targets import target_group
from registry_core.api.view import ReplicaState, ReplicaView
from registry_core.domain.records import Instance
from registry_core.domain.selection import Filter
from registry_core.errors import StoreUnavailable, Warming

# How many instances to encode before other tasks get a turn. They are one piece of the answer, too.
SLICE: Final = 128
# How long an answer is kept for further readers, and how many: one for each query.
SHARED_S: Final = 1.0
MAX_SHARED: Final = 8
RETRY_AFTER_S: Final = 30.0
_ENCODER: Final = msgspec.json.Encoder()


class TargetQuery(msgspec.Struct, frozen=True):
    """Which targets are asked for: those of one service, or with "" of all, that match the filter."""

    service: str
    wanted: Filter


class TargetsAnswer:
    """One list of targets, as the pieces of its JSON, of the catalogue with that digest."""

    def __init__(self, pieces: tuple[bytes, ...], digest: str) -> None:
        self.pieces = pieces
        self.size = sum(map(len, pieces))
        self.digest = digest


class PrometheusDiscovery:
    """Makes the answers from `view`."""

    def __init__(self, view: ReplicaView) -> None:
        self._view = view
        self._making = asyncio.Lock()
        self._shared: dict[TargetQuery, TargetsAnswer] = {}

    def require_all(self) -> None:
        """Raise Warming or StoreUnavailable while the view may lack instances that are registered."""
        view = self._view
        if view.state is ReplicaState.WARMING:
            wait_s = view.warm_in_s()
            raise Warming(
                "this registry started empty and does not know all targets yet",
                retry_after_s=min(wait_s, RETRY_AFTER_S) if math.isfinite(wait_s) else RETRY_AFTER_S,
            )
        unread = view.store().unread
        if unread:
            shards = ", ".join(f"shard {shard!r}" for shard in unread)
            raise StoreUnavailable(f"not all targets are known: {shards} cannot be read")

    async def answer(self, query: TargetQuery) -> TargetsAnswer:
        """Return the targets as of now. Raises as `require_all` does."""
        async with self._making:
            self.require_all()
            digest = self._view.catalog.digest
            shared = self._shared.get(query)
            if shared is not None and shared.digest == digest:
                return shared
            made = TargetsAnswer(await _encoded(self._found(query), query.wanted), digest)
            while len(self._shared) >= MAX_SHARED:
                self._shared.pop(next(iter(self._shared)))
            self._shared[query] = made
            # From then on only those who still read it keep it.
            asyncio.get_running_loop().call_later(SHARED_S, self._forget, query, made)
            return made

    def _found(self, query: TargetQuery) -> Iterator[Instance]:
        catalog = self._view.catalog
        if not query.service:
            return (lived.instance for lived in catalog.all())
        service = catalog.find(query.service)
        return iter(() if service is None else service.instances)

    def _forget(self, query: TargetQuery, answer: TargetsAnswer) -> None:
        if self._shared.get(query) is answer:
            del self._shared[query]


async def _encoded(instances: Iterator[Instance], wanted: Filter) -> tuple[bytes, ...]:
    """Return the JSON of the targets in pieces."""
    pieces, comma = [b"["], b""
    while part := list(islice(instances, SLICE)):
        groups = [target_group(instance) for instance in part if wanted.admits(instance)]
        if groups:
            pieces.append(comma + _ENCODER.encode(groups)[1:-1])
            comma = b","
        await asyncio.sleep(0)
    pieces.append(b"]")
    return tuple(pieces)
