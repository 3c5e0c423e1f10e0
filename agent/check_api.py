"""`PUT /check/{service}[/{instance}]`: where a service with a ttl check reports how it is.

Taken from this machine alone, whatever address the agent listens on, and from no browser: a report decides
who is sent here.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from typing import Final, Literal

import msgspec
from aiohttp import web

from agent.session import Session
from registry_core.api.queries import read_query
from registry_core.api.reading import decode
from registry_core.domain.records import Status
from registry_core.errors import AmbiguousInstance, Forbidden, NotFound, ValidationError, Warming

BODY_S: Final = 5.0
EXAMPLE: Final = {"status": "passing", "output": "42 jobs"}


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a service says of itself. `output` is shown to people, cut to one short line."""

    status: Literal["passing", "warning", "critical"]
    output: str = ""


class CheckReports:
    """Takes reports for the checks of a session, which is not there yet in an agent's first moment."""

    def __init__(self, session: Callable[[], Session | None]) -> None:
        self._session = session

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.put("/check/{service}", self._take), web.put("/check/{service}/{instance}", self._take)]

    async def _take(self, request: web.Request) -> web.Response:
        query = read_query(request, ("check",))
        _refuse_others(request)
        session = self._session()
        if session is None:
            raise Warming("this agent has only just begun")
        service, instance = request.match_info["service"], request.match_info.get("instance", "")
        checks = session.checks_of(service)
        if not checks or (instance and instance not in checks):
            raise NotFound("this agent checks no such service", field="service", provided=f"{service}/{instance}"[:100])
        if not instance and len(checks) > 1:
            raise AmbiguousInstance(
                f"this agent has several instances of it: PUT /check/{service}/<instance>",
                field="instance",
                example=next(iter(checks)),
            )
        try:
            async with asyncio.timeout(BODY_S):
                body = await request.read()
        except TimeoutError:
            raise ValidationError(f"the body did not come within {BODY_S:g} s", field="body", example=EXAMPLE) from None
        report = decode(body, Report)
        chosen = checks[instance] if instance else next(iter(checks.values()))
        chosen.take(Status(report.status), report.output, query.get("check", ""))
        return web.Response(status=204)


def _refuse_others(request: web.Request) -> None:
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    try:
        own = peer is not None and ipaddress.ip_address(str(peer[0]).partition("%")[0]).is_loopback
    except ValueError:
        own = False
    if not own:
        raise Forbidden("a service reports from the machine that it runs on, over loopback")
    if "Origin" in request.headers:
        raise Forbidden("a report comes from the service itself, not from a page in a browser")
