"""`PUT /check/{service}[/{instance}]`: the reports of services with a ttl check.

`own_machine.py` decides from whom: a report decides whether the service gets traffic.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Literal

import msgspec
from aiohttp import web

from agent.registration.session import Session
from registry_core.api.expectations import ask_for_body
from registry_core.api.problems import PayloadTooLarge
from registry_core.api.queries import read_query
from registry_core.api.request_bodies import decode
from registry_core.bodies import read_whole
from registry_core.domain.records import Status
from registry_core.errors import AmbiguousInstance, NotFound, ValidationError, Warming

BODY_S: Final = 5.0
MAX_BODY_BYTES: Final = 1024
EXAMPLE: Final = {"status": "passing", "output": "42 jobs"}


class TtlReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A service's report of its status. `output` is shown to people, cut to one short line."""

    status: Literal["passing", "warning", "critical"]
    output: str = ""


class CheckReports:
    """Applies reports to the checks of a session, which does not exist yet while the agent starts."""

    def __init__(self, session: Callable[[], Session | None]) -> None:
        self._session = session

    async def take(self, request: web.BaseRequest, service: str, instance: str = "") -> web.Response:
        """Apply one report of a service, or of one instance of it."""
        query = read_query(request, ("check",))
        session = self._session()
        if session is None:
            raise Warming("this agent has just started")
        checks = session.checks_of(service)
        if not checks or (instance and instance not in checks):
            raise NotFound("this agent checks no such service", field="service", provided=f"{service}/{instance}"[:100])
        if not instance and len(checks) > 1:
            raise AmbiguousInstance(
                f"this agent has several instances of it: PUT /check/{service}/<instance>",
                field="instance",
                example=next(iter(checks)),
            )
        report = decode(await _body(request), TtlReport, example=EXAMPLE)
        chosen = checks[instance] if instance else next(iter(checks.values()))
        chosen.take(Status(report.status), report.output, query.get("check", ""))
        return web.Response(status=204)


async def _body(request: web.BaseRequest) -> bytes:
    ask_for_body(request)
    try:
        async with asyncio.timeout(BODY_S):
            body = await read_whole(request.content, MAX_BODY_BYTES)
    except TimeoutError:
        raise ValidationError(f"the body did not come within {BODY_S:g} s", field="body", example=EXAMPLE) from None
    if body is None:
        raise PayloadTooLarge(MAX_BODY_BYTES)
    return body
