"""What a request passes before its handler: one list of steps, in order, for every endpoint of a replica.

A step lets a request through, or refuses it by raising one of the errors in `problems.py`. No step reads a body, and
none waits. A request passes each step once, also when it was tried at once (`ready_lookups.py`) before its handler.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

from aiohttp import web

from registry_core.api.auth import Authenticator
from registry_core.api.endpoints import Endpoint
from registry_core.api.request_limits import RequestLimits
from registry_core.api.request_notes import RequestNotes
from registry_core.api.standstill import WriteGate
from registry_core.ports.audit import AuditTrail
from registry_core.telemetry.metrics import ReplicaMetrics

# It returns to let a request through.
RequestStep: TypeAlias = Callable[[web.Request, Endpoint], None]
# How a request failed that was tried at once: its handler fails with the same, and does nothing twice.
SETTLED: Final = web.RequestKey("settled", Exception)


class Reception(NamedTuple):
    """What every request of a replica passes, and what it is counted and noted by; `zone` is named in its answer."""

    steps: Sequence[RequestStep]
    limits: RequestLimits
    notes: RequestNotes
    metrics: ReplicaMetrics
    zone: str = ""


def steps(
    gate: WriteGate, audit: AuditTrail, authenticator: Authenticator, limits: RequestLimits
) -> tuple[RequestStep, ...]:
    """Return the steps in their order: the cheapest first."""

    def stand(_: web.Request, endpoint: Endpoint) -> None:
        if endpoint.writes:
            gate.enter()

    def have_room(_: web.Request, endpoint: Endpoint) -> None:
        if endpoint.writes:
            audit.require_room(endpoint.name)

    return (stand, limits.check, have_room, authenticator.check)


def passed(request: web.Request, endpoint: Endpoint, every: Sequence[RequestStep]) -> None:
    """Let a request through, or raise what refuses it, or what it failed with before."""
    if (settled := request.get(SETTLED)) is not None:
        raise settled
    for step in every:
        step(request, endpoint)
