"""Carries out the writes of which there are most, without aiohttp's task, routing and response.

It does for a registration or a heartbeat what its handler would do, by the same functions in the same order, and
answers success alone. Whatever is unusual is left to the handler: a body that has yet to come, a registry that has not
read its store, traces that are recorded. So is a write that fails: its error is kept in the request, so that nothing is
done or counted twice, and its handler answers with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Sequence
from http import HTTPStatus
from typing import Any, Final, NamedTuple, cast

import msgspec
from aiohttp import StreamReader, hdrs, web

from registry_core.api.auth import CALLER
from registry_core.api.calls import Writing
from registry_core.api.endpoints import ENDPOINTS, JSON
from registry_core.api.operations import Operations
from registry_core.api.ready_bodies import JSON_FIELDS
from registry_core.api.ready_heads import NO_ANSWER, ReadyAnswer, ReadyHeads
from registry_core.api.request_head import RequestHead
from registry_core.api.request_limits import RequestLimits
from registry_core.api.schemas import MAX_BODY_BYTES, ZONE_HEADER
from registry_core.api.server_spans import CONTEXT
from registry_core.api.steps import SETTLED, Reception, passed
from registry_core.api.view import ReplicaView
from registry_core.ports.clock import Clock
from registry_core.telemetry.spans import tracing
from registry_core.telemetry.trace_context import TRACEPARENT, carried, parent, trace_id

WRITES: Final = frozenset({"register", "heartbeat"})
_ENCODER: Final = msgspec.json.Encoder()


class _Answered(NamedTuple):
    """A write, and the heads of its answers."""

    writing: Writing
    heads: ReadyHeads


class ReadyWrites:
    """The writes of one replica that are carried out so. `begin` is called with each request whose body has come."""

    def __init__(self, writes: Sequence[Writing], view: ReplicaView, reception: Reception, clock: Clock) -> None:
        self._writes = {each.endpoint.path: _Answered(each, ReadyHeads(HTTPStatus(each.status))) for each in writes}
        self._view = view
        self._steps, self._limits, self._notes, self._metrics, zone = reception
        self._clock = clock
        self._fields = (*JSON_FIELDS, (ZONE_HEADER, zone)) if zone else JSON_FIELDS
        # Whether writes may be carried out so. The composition root may set it.
        self.usable: Callable[[], bool] = lambda: True

    def begin(self, head: RequestHead, body: StreamReader) -> Coroutine[Any, Any, ReadyAnswer] | None:
        """Return what carries a request out and returns its answer, or nothing; None for what is left to a handler."""
        found = self._writes.get(head.raw_path)
        if found is None or not self._view.loaded or tracing.tracer is not None or not self.usable():
            return None
        if head.headers.get(hdrs.CONTENT_TYPE) != JSON or hdrs.CONTENT_ENCODING in head.headers:
            return None
        if body.total_bytes > MAX_BODY_BYTES:
            return None
        # A head has what the steps look at.
        return self._carried_out(cast("web.Request", head), body.read_nowait(), found)

    async def _carried_out(self, request: web.Request, content: bytes, found: _Answered) -> ReadyAnswer:
        writing, heads = found
        endpoint = writing.endpoint
        # The task of this coroutine does nothing else, so that its context needs no end.
        context = carried(request.headers.get(TRACEPARENT))
        trace_id.set(context.trace_id)
        parent.set(context)
        self._limits.arrived(request)
        started = time.perf_counter()
        try:
            passed(request, endpoint, self._steps)
            request[CALLER].require_body(content)
            result = await writing.carry_out(request, content)
            self._limits.succeeded(request)
            self._notes.done(request, endpoint, writing.status)
            took_s = time.perf_counter() - started
            self._metrics.request(endpoint.path, endpoint.method, writing.status, took_s, context.trace_id)
            return heads.ok(self._fields, (_ENCODER.encode(result),), self._clock.wall(), self._limits.said(request))
        except Exception as error:  # noqa: BLE001 - the handler of the request raises it, whatever it is
            request[SETTLED], request[CONTEXT] = error, context
            return NO_ANSWER


def writes_of(operations: Operations, limits: RequestLimits) -> tuple[Writing, ...]:
    """Return the writes that are carried out so."""
    return tuple(
        Writing(endpoint, getattr(operations, endpoint.name), limits)
        for endpoint in ENDPOINTS
        if endpoint.name in WRITES
    )
