"""The agent's HTTP interface, for programs on the same machine. It decides nothing, and reads no bodies itself.

`routes.py` has the paths and the right that each needs, `hosts.py` judges under which name the agent is asked, and
`own_machine.py` who asks.

It uses aiohttp's low-level server: a router, middlewares and a full Request cost more than the answer. Most answers are
ready (`ready_bodies.py`), and are given at once, without a handler.

Every answer from the view states the view's age: `Age` in seconds, and `X-Cache: fresh`, `stale` or `expired`. With
`X-Cache: partial` a fresh answer may lack something, because the registry does not know everything yet.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeAlias

import msgspec
import structlog
from aiohttp import HttpVersion11, web
from aiohttp.hdrs import HOST
from aiohttp.http_exceptions import HttpProcessingError

from agent.http.check_api import CheckReports
from agent.http.hosts import AcceptedHosts
from agent.http.lookups import RETRY_AFTER_S, Lookups
from agent.http.own_machine import LocalCallers
from agent.http.prometheus_discovery import AgentTargets
from agent.http.routes import ROUTES, matched, path_of, target_of
from agent.http.summaries import ServiceSummary, summary
from agent.registration.drain import OperatorDrain
from agent.settings.local_port import HTTP_HOSTS
from agent.view.view import AgentView
from dns.askers import asker_of
from dns.dear_work import DearWork
from registry_core.api import log_level
from registry_core.api.expectations import close_if_unasked
from registry_core.api.problems import error_response, problem_response
from registry_core.api.queries import FILTERS, QueryParameters, boolean, filter_of, read_query
from registry_core.api.ready_bodies import JSON_FIELDS, Body, HeaderFields, ReadyBodies
from registry_core.api.ready_heads import NO_ANSWER, ReadyAnswer, ReadyHeads
from registry_core.api.request_head import RequestHead
from registry_core.api.schemas import END, Problem, beginning_of
from registry_core.domain.names import label_of, name_in_zone
from registry_core.domain.records import Status
from registry_core.domain.selection import Random
from registry_core.errors import Misdirected, NotFound, Overloaded, Unauthorized, ValidationError, VerticeError, Warming
from registry_core.ports.clock import Clock
from registry_core.telemetry.spans import serving
from registry_core.telemetry.trace_context import TRACEPARENT

JSON: Final = "application/json"
PLAIN_FIELDS: Final[HeaderFields] = (("Content-Type", "text/plain"),)
PROMETHEUS: Final = "prometheus"
FORMATS: Final = ("json", "url", "hostport")
SUMMARIES_AT_ONCE: Final = 200
# It is called with the request, and with the names in its path.
Handler: TypeAlias = Callable[..., Awaitable[web.StreamResponse]]

_ENCODER: Final = msgspec.json.Encoder()
_log = structlog.get_logger(component="agent.http")


class LocalApi:
    """The handlers.

    `zone` is the DNS zone, `work` the budget for dear answers that DNS has, too. `about` returns the agent's state,
    `health` its health, `exposition` its metrics.
    """

    def __init__(
        self,
        lookups: Lookups,
        view: AgentView,
        drain: OperatorDrain,
        reports: CheckReports,
        *,
        callers: LocalCallers,
        hosts: AcceptedHosts,
        zone: str,
        random: Random,
        clock: Clock,
        work: DearWork,
        about: Callable[[], object],
        health: Callable[[], tuple[bool, object]],
        exposition: Callable[[str], Awaitable[tuple[bytes, str]]],
    ) -> None:
        self._lookups = lookups
        self._view = view
        self._callers = callers
        self._hosts = hosts
        self._clock = clock
        self._zone = zone
        self._work = work
        self._operator_drain = drain
        self._about = about
        self._health = health
        self._exposition = exposition
        self._ready = ReadyBodies(random, lookups.asked.add)
        self._counts = lookups.counts
        self._discovery = AgentTargets(lookups, view)
        self._heads = ReadyHeads()
        self.handlers: dict[str, dict[str, Handler]] = {
            "/services": _read(self._services),
            "/services/{name}": _read(self._service),
            "/resolve/{name}": _read(self._resolve),
            "/explain/{name}": _read(self._explain),
            "/sd/{program}": _read(self._targets),
            "/drain": self._tending(Status.DRAINING),
            "/maintenance": self._tending(Status.MAINTENANCE),
            "/check/{service}": {"PUT": reports.take},
            "/check/{service}/{instance}": {"PUT": reports.take},
            "/log-level": {**_read(_log_level), "PUT": _set_log_level, "DELETE": _reset_log_level},
            "/self": _read(self._self),
            "/health": _read(self._get_health),
            "/live": _read(self._live),
            "/ready": _read(self._get_ready),
            "/metrics": _read(self._metrics),
        }
        view.subscribe(self._ready.changed)

    def server(self) -> web.Server:
        """Return the server, ready to listen."""
        return web.Server(self._serve)

    def answer_at_once(self, request: RequestHead) -> ReadyAnswer:
        """Return the answer to a request without a body if it is ready, or nothing."""
        if not self._hosts.remembers(request.headers.get(HOST)):
            return NO_ANSWER
        ready = self._ready.take(request.raw_path, self._clock.monotonic())
        if ready is None:
            return NO_ANSWER
        self._lookups.hits += 1
        beginning, body = ready
        age_s, freshness = self._view.age_s(), self._view.freshness
        self._counts.looked_up(freshness, age_s)
        fields = (*body.fields, *_said_of(age_s, self._view.trust.confidence(freshness)))
        return self._heads.ok(fields, (beginning, body.tail), self._clock.wall())

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        with serving("", request.headers.get(TRACEPARENT)):
            response = await self._answered(request)
            close_if_unasked(request, response)
            path = path_of(request.raw_path)
            self._counts.answered(path, response.status, self._view.freshness, self._view.age_s())
            return response

    async def _answered(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except VerticeError as error:
            response = error_response(error)
            if isinstance(error, Unauthorized):
                response.headers["WWW-Authenticate"] = "Bearer"  # RFC 6750 section 3
            return response
        except Exception:  # noqa: BLE001 - the top of a request: a failure must not affect others
            _log.exception("request_failed", method=request.method, path=request.path)
            return problem_response(500, Problem(error="InternalError", message="the agent failed; see its log"))

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        target = target_of(request.raw_path)
        self._require_host(request, target.authority)
        route = matched(target.path)
        if route is None:
            said = f"there is no such path; there are {', '.join(ROUTES)}"
            return problem_response(404, Problem(error="NotFound", message=said))
        rights = ROUTES[route.path]
        if request.method not in rights:
            allowed = {"Allow": ",".join(rights)}
            problem = Problem(error="MethodNotAllowed", message=f"this path takes {allowed['Allow']}")
            return problem_response(405, problem, allowed)
        self._callers.require(request, rights[request.method])
        return await self.handlers[route.path][request.method](request, *route.names)

    def _require_host(self, request: web.BaseRequest, authority: str | None) -> None:
        """Raise ValidationError unless the request names one host, and Misdirected when it is not the agent's."""
        given = [authority] if authority is not None else request.headers.getall(HOST, [])
        if not given and request.version < HttpVersion11:
            return  # no browser speaks so
        if len(given) != 1:
            raise ValidationError("a request names one host", field="Host", example="Host: localhost")
        if not self._hosts.accepts(given[0]):
            raise Misdirected(
                f"this agent has no such name: ask it by its address or as localhost, or add the name to "
                f"{HTTP_HOSTS.name}",
                field="Host",
                provided=given[0],
                example="Host: localhost",
            )

    # -- lookups

    async def _services(self, request: web.BaseRequest) -> web.Response:
        summed_up = boolean(read_query(request, ("summary",)), "summary")
        known = self._lookups.names()
        names = _ENCODER.encode(await self._summaries(known) if summed_up else known)
        return self._keep(request, Body("", (), lambda _at: names))

    async def _summaries(self, names: Sequence[str]) -> list[ServiceSummary]:
        found: list[ServiceSummary] = []
        for name in names:
            found.append(summary(name, self._view.services.find(label_of(name))))
            if len(found) % SUMMARIES_AT_ONCE == 0:
                await asyncio.sleep(0)  # a large fleet takes longer than other requests should wait
        return found

    async def _service(self, request: web.BaseRequest, name: str) -> web.Response:
        wanted = filter_of(read_query(request, FILTERS))
        name = self._named(name)
        await self._lookups.fetched(name)
        found = self._lookups.find(name, wanted)
        instances = _ENCODER.encode(self._lookups.ranked(found))

        def beginning(at: int) -> bytes:
            return beginning_of(self._lookups.shown(found.near[at]))

        return self._keep(request, Body(label_of(name), found.near, beginning, tail=instances + END))

    async def _resolve(self, request: web.BaseRequest, name: str) -> web.Response:
        query = read_query(request, (*FILTERS, "format"))
        form = query.get("format") or "json"
        if form not in FORMATS:
            raise ValidationError(
                f"a format is one of {', '.join(FORMATS)}", field="format", provided=form, example="url"
            )
        wanted = filter_of(query)
        name = self._named(name)
        await self._lookups.fetched(name)
        near = self._lookups.find(name, wanted).near

        def made(at: int) -> bytes:
            if form == "json":
                return _ENCODER.encode(self._lookups.shown(near[at]))
            # A line, as curl(1) prints it; `$(...)` in a shell takes the line end away.
            endpoint = near[at].endpoint
            return f"{endpoint if form == 'url' else endpoint.partition('://')[2]}\n".encode()

        return self._keep(
            request, Body(label_of(name), near, made, fields=JSON_FIELDS if form == "json" else PLAIN_FIELDS)
        )

    async def _targets(self, request: web.BaseRequest, program: str) -> web.Response:
        if program != PROMETHEUS:
            raise NotFound("there are targets for this program only", field="path", example=f"/sd/{PROMETHEUS}")
        query = read_query(request, (*FILTERS, "service"))
        service = self._named(query.get("service", ""))
        targets = await self._discovery.found(service, filter_of(query))
        body = _ENCODER.encode(targets)
        return self._keep(request, Body(label_of(service), (), lambda _at: body))

    def _named(self, text: str) -> str:
        """Return the name that is looked up, which may be written with capitals and with the zone."""
        return name_in_zone(text, self._zone)

    def _keep(self, request: web.BaseRequest, body: Body) -> web.Response:
        body.counter = self._counts.cell(path_of(request.raw_path), 200)
        return self._aged(self._ready.put(request.raw_path, body) + body.tail, body.fields)

    async def _explain(self, request: web.BaseRequest, name: str) -> web.Response:
        wanted = filter_of(read_query(request, FILTERS))
        name = self._named(name)
        await self._lookups.fetched(name)
        peer = request.transport.get_extra_info("peername") if request.transport is not None else None
        asker = asker_of(peer[0], peer[1], over_tcp=True) if peer else ""
        explain = partial(self._lookups.explain, name, wanted)
        explained = await self._work.in_turn(asker, self._lookups.explanation_us(name), explain)
        if explained is None:
            raise Overloaded("too many explanations are asked for at a time", retry_after_s=RETRY_AFTER_S)
        return self._aged(_ENCODER.encode(explained))

    def _aged(self, body: bytes, fields: HeaderFields = JSON_FIELDS) -> web.Response:
        view = self._view
        said = _said_of(view.age_s(), view.trust.confidence(view.freshness))
        return web.Response(body=body, headers=dict((*fields, *said)))

    # -- this agent's own services

    async def _stands(self, request: web.BaseRequest) -> web.Response:
        held = await self._operator_drain.stands(*self._own(request))
        return web.Response(body=_ENCODER.encode(held), content_type=JSON)

    def _tending(self, status: Status) -> dict[str, Handler]:
        async def hold(request: web.BaseRequest) -> web.Response:
            held = self._operator_drain.hold(*self._own(request), status)
            return web.Response(body=_ENCODER.encode(held), content_type=JSON)

        async def let_go(request: web.BaseRequest) -> web.Response:
            held = self._operator_drain.let_go(*self._own(request), status)
            return web.Response(body=_ENCODER.encode(held), content_type=JSON)

        return {**_read(self._stands), "POST": hold, "DELETE": let_go}

    def _own(self, request: web.BaseRequest) -> tuple[str | None, str | None]:
        """Return the service and the instance that a request names."""
        query = own_query(request)
        service = query.get("service")
        return None if service is None else self._named(service), query.get("instance")

    # -- about the agent

    async def _self(self, request: web.BaseRequest) -> web.Response:
        read_query(request, ())
        return web.Response(body=_ENCODER.encode(self._about()), content_type=JSON)

    async def _get_health(self, request: web.BaseRequest) -> web.Response:
        read_query(request, ())
        well, health = self._health()
        return web.Response(status=200 if well else 503, body=_ENCODER.encode(health), content_type=JSON)

    async def _live(self, request: web.BaseRequest) -> web.Response:
        read_query(request, ())
        return web.Response(body=b'{"status":"live"}', content_type=JSON)

    async def _get_ready(self, request: web.BaseRequest) -> web.Response:
        read_query(request, ())
        if not self._view.loaded:
            raise Warming("this agent has heard nothing from the registry yet")
        return web.Response(body=b'{"status":"ready"}', content_type=JSON)

    async def _metrics(self, request: web.BaseRequest) -> web.Response:
        read_query(request, ())
        body, content_type = await self._exposition(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})


async def _log_level(request: web.BaseRequest) -> web.Response:
    read_query(request, ())
    return web.Response(body=_ENCODER.encode(log_level.shown("agent")), content_type=JSON)


async def _set_log_level(request: web.BaseRequest) -> web.Response:
    view = log_level.set_by(read_query(request, log_level.LOG_LEVEL_QUERY), "agent")
    return web.Response(body=_ENCODER.encode(view), content_type=JSON)


async def _reset_log_level(request: web.BaseRequest) -> web.Response:
    read_query(request, ())
    return web.Response(body=_ENCODER.encode(log_level.reset("agent")), content_type=JSON)


def _said_of(age_s: float, confidence: str) -> HeaderFields:
    """Return what each answer from the view says of it."""
    return ("Age", str(int(age_s))), ("X-Cache", confidence)


def own_query(request: web.BaseRequest) -> QueryParameters:
    """Return the query of a request about this agent's own services. Raises ValidationError when it has a body."""
    if request.can_read_body:
        raise ValidationError("this path takes no body; use the query", field="body", example="?service=x")
    return read_query(request, ("service", "instance"))


def _read(handler: Handler) -> dict[str, Handler]:
    return {"GET": handler, "HEAD": handler}


def http_logger() -> logging.Logger:
    """Return the logger for aiohttp, without a traceback for every malformed request."""
    logger = logging.getLogger("agent.http")
    if _is_ours not in logger.filters:
        logger.addFilter(_is_ours)
    return logger


def _is_ours(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)
