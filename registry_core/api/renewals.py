"""Renews leases: one, or many at once, as an agent with many services sends them.

An instance costs a few microseconds here, so that what is the same for all of a request is done once for all of them,
and what only a refusal needs is made for a refusal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from registry_core.api.auth import Caller
from registry_core.api.beats import beats_of, refusal_of
from registry_core.api.by_name import ByName
from registry_core.api.calls import WriteCall
from registry_core.api.refusal_log import RefusalLog
from registry_core.api.schemas import BeatBody, BeatView, HeartbeatBody, HeartbeatView
from registry_core.api.standstill import WriteGate
from registry_core.domain.catalog import Catalog
from registry_core.domain.names import check_instance_id, check_known_name, is_instance_id
from registry_core.errors import Fenced
from registry_core.ports.store import Beat, BeatResult, Store
from registry_core.security.rights import Right

RENEWED: Final = "renewed"
# What a refusal by the store is not: the lease is renewed, or it is unknown whether it is.
_NO_REFUSAL: Final = frozenset({RENEWED, "unavailable"})


class Renewals:
    """Carries out heartbeats for one replica."""

    def __init__(
        self, store: Store, catalog: Catalog, by_name: ByName, *, gate: WriteGate, refusals: RefusalLog
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._by_name = by_name
        self._gate = gate
        self._refusals = refusals

    async def renew(self, call: WriteCall[HeartbeatBody]) -> HeartbeatView:
        """Renew the leases of a call. Raises as `Operations.heartbeat` does."""
        beats, field = beats_of(call.body)
        _check(beats, field, call.caller)
        self._gate.check()
        results = await self._results(call, beats)
        views = [
            BeatView(
                service_name=beat.service_name,
                instance_id=beat.instance_id if result.key is None else result.key.instance_id,
                status=result.outcome,
            )
            for beat, result in zip(beats, results, strict=True)
        ]
        refused = [at for at, result in enumerate(results) if result.outcome not in _NO_REFUSAL]
        for at in refused:
            self._refuse(call, beats[at], views[at], results[at])
        lost = [result for result in results if result.outcome == "unavailable"]
        if lost:
            self._refusals.beats_failed(len(lost))
        return HeartbeatView(status="partial" if refused or lost else RENEWED, instances=views)

    async def _results(self, call: WriteCall[HeartbeatBody], beats: Sequence[BeatBody]) -> Sequence[BeatResult]:
        named = [
            self._by_name.beat(beat, call.origin)
            if beat.instance_id is None
            else Beat(beat.service_name, beat.instance_id, beat.epoch)
            for beat in beats
        ]
        meant = [beat for number, beat in enumerate(named) if beat is not None and number not in call.too_many]
        known = await self._store.renew(meant) if meant else []
        if len(known) == len(beats):
            return known
        rest = iter(known)
        return [
            BeatResult("unknown")
            if beat is None
            else BeatResult(RENEWED)  # a moment ago: the limit knows that more than half of the TTL is left
            if number in call.too_many
            else next(rest)
            for number, beat in enumerate(named)
        ]

    def _refuse(self, call: WriteCall[HeartbeatBody], beat: BeatBody, view: BeatView, result: BeatResult) -> None:
        """Raise the refusal of a single heartbeat; note that of one among many when it has a newer owner."""
        owner = self._catalog.get(result.key) if result.key is not None else None
        refusal = refusal_of(view, beat, owner)
        if refusal is not None and call.body.instances is None:
            raise refusal
        if isinstance(refusal, Fenced):
            there = {"service": view.service_name, "instance": view.instance_id or ""}
            self._refusals.note("heartbeat", refusal, **there, client=call.origin.peer)


def _check(beats: Sequence[BeatBody], field: str, caller: Caller) -> None:
    """Raise ValidationError and Forbidden for the first heartbeat that is not valid, or not its sender's to send."""
    allowed: set[str] = set()
    for number, beat in enumerate(beats):
        name, instance_id = beat.service_name, beat.instance_id
        if name not in allowed:
            check_known_name(name, field=f"{field.format(number)}service_name")
        if instance_id is not None and not is_instance_id(instance_id):
            check_instance_id(instance_id, field=f"{field.format(number)}instance_id")
        if name not in allowed:
            caller.require(Right.WRITE, name)
            allowed.add(name)
