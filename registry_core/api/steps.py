"""What a request passes before its handler: one list of steps, in order, for every endpoint of a replica.

A step lets a request through, or refuses it by raising one of the errors in `problems.py`. No step reads a body, and
none waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from aiohttp import web

from registry_core.api.auth import Authenticator
from registry_core.api.endpoints import Endpoint
from registry_core.api.request_limits import RequestLimits
from registry_core.api.standstill import WriteGate
from registry_core.ports.audit import AuditTrail

# It returns to let a request through.
RequestStep: TypeAlias = Callable[[web.Request, Endpoint], None]


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
