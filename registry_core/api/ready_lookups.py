"""Answers lookups in the turn of the loop in which they arrive, from bytes that are ready or are made at once.

It does for a lookup what its handler would do, by the same functions in the same order: the steps of `steps.py`
(limits, credentials, rights), the operation, the notes, metrics and spans. It answers success alone. Whatever is
unusual is left to the handler: another form of a request, an answer that has to wait or is large, a registry that is
warming. So is a request that fails: its error is kept in it, so that nothing is checked or counted twice.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final, NamedTuple, cast

import msgspec
from aiohttp import hdrs, web

from registry_core.api.calls import PARTIAL, Call
from registry_core.api.catalog_answer import GZIP, CatalogAnswer, CatalogAnswers, takes_gzip
from registry_core.api.endpoints import ENDPOINTS, Endpoint
from registry_core.api.operations import Operations
from registry_core.api.queries import FILTERS, filter_of, read_query
from registry_core.api.ready_bodies import JSON_FIELDS, Body, HeaderFields, ReadyBodies
from registry_core.api.ready_heads import NO_ANSWER, ReadyAnswer, ReadyHeads
from registry_core.api.request_head import RequestHead
from registry_core.api.schemas import END, ZONE_HEADER, beginning_of
from registry_core.api.server_spans import noted, serving_request
from registry_core.api.steps import SETTLED, Reception
from registry_core.api.view import WARMING, ReplicaView
from registry_core.domain.events import Event, Registered, Renewed, StatusChanged
from registry_core.domain.names import label_of
from registry_core.domain.selection import Random
from registry_core.ports.clock import Clock
from registry_core.telemetry.metrics import LOOKUP, ReplicaMetrics
from registry_core.telemetry.spans import tracing
from registry_core.telemetry.trace_context import TRACEPARENT

# Bodies of a second, and their memory.
MAX_TARGETS: Final = 10_000
MAX_BYTES: Final = 16 * 1024 * 1024
# A larger catalogue is sent in pieces, each when the last has been read.
MOST_AT_ONCE: Final = 64 * 1024
_BY_NAME: Final = {endpoint.name: endpoint for endpoint in ENDPOINTS}
_SERVICE: Final = _BY_NAME["service"]
_SERVICES: Final = _BY_NAME["services"]
_CATALOG: Final = _BY_NAME["catalog"]
# Names that need no decoding; whether one is a service's is judged by the operation.
_TARGET: Final = re.compile(r"/services/([A-Za-z0-9_-]{1,100})(?:\?[!-~]{0,200})?", re.ASCII)
_OK: Final = HTTPStatus.OK
_NOT_MODIFIED: Final = HTTPStatus.NOT_MODIFIED
_NO_NAMES: Final = b"[]"
_ENCODER: Final = msgspec.json.Encoder()


class CatalogVariant(NamedTuple):
    """A catalogue in the form in which a request takes it."""

    status: HTTPStatus
    fields: HeaderFields
    pieces: Sequence[bytes] = ()


class LookupPlan:
    """An endpoint, and what counts its answers: those that are ready, those that are made, and 304."""

    __slots__ = ("endpoint", "made", "not_modified", "ready")

    def __init__(self, endpoint: Endpoint, metrics: ReplicaMetrics, operation: str = "") -> None:
        """`operation` is counted with each answer, but for those that are made: making it counts it."""
        self.endpoint = endpoint
        self.ready = metrics.at_once(endpoint.path, _OK, operation)
        self.made = metrics.at_once(endpoint.path, _OK)
        self.not_modified = metrics.at_once(endpoint.path, _NOT_MODIFIED, operation)


class ReadyLookups:
    """The lookups of one replica. `answer` is called with each request without a body."""

    def __init__(
        self,
        operations: Operations,
        catalogs: CatalogAnswers,
        view: ReplicaView,
        reception: Reception,
        *,
        random: Random,
        clock: Clock,
    ) -> None:
        self._operations = operations
        self._catalogs = catalogs
        self._view = view
        self._steps, self._limits, self._notes, metrics, zone = reception
        self._clock = clock
        self._zone: HeaderFields = ((ZONE_HEADER, zone),) if zone else ()
        self._fields = (*JSON_FIELDS, *self._zone)
        self._service = LookupPlan(_SERVICE, metrics, LOOKUP)
        self._catalog = LookupPlan(_CATALOG, metrics, _CATALOG.name)
        self._plans = {_SERVICES.path: LookupPlan(_SERVICES, metrics), _CATALOG.path: self._catalog}
        self._heads = ReadyHeads()
        self._ready = ReadyBodies(random, operations.asked, max_targets=MAX_TARGETS, max_bytes=MAX_BYTES)
        # Whether answers may be given at once. The composition root may set it.
        self.usable: Callable[[], bool] = lambda: True
        # What each answer says beside, in headers. The composition root may set it.
        self.said: Callable[[], Mapping[str, str]] | None = None
        view.subscribe(self, renewals=True)

    def answer(self, head: RequestHead) -> ReadyAnswer:
        """Return the answer, or nothing for what is left to a handler."""
        target, plan = head.raw_path, self._plans.get(head.raw_path)
        variant = None
        ready = self._ready.find(target, self._clock.monotonic())
        if ready is None:
            if plan is None:
                if _TARGET.fullmatch(target) is None:
                    return NO_ANSWER
            elif plan is self._catalog:
                variant = self._variant(head)
                if variant is None:
                    return NO_ANSWER
        if plan is None:
            plan = self._service
        view = self._view
        if not view.loaded or view.state is WARMING or not self.usable():
            return NO_ANSWER
        request = cast("web.Request", head)  # it has the members that are used below
        self._limits.arrived(request)
        if tracing.tracer is None and TRACEPARENT not in head.headers:
            return self._answered(request, plan, ready, variant)
        with serving_request(request, plan.endpoint.path) as own:
            answer = self._answered(request, plan, ready, variant)
            if answer:
                noted(own, request, plan.endpoint.path, _OK if variant is None else variant.status)
            else:
                own.drop()
            return answer

    def _answered(
        self, request: web.Request, plan: LookupPlan, ready: Body | None, variant: CatalogVariant | None
    ) -> ReadyAnswer:
        started = time.perf_counter()
        endpoint, status = plan.endpoint, _OK
        try:
            for step in self._steps:
                step(request, endpoint)
            more = self._limits.said(request)
            if self.said is not None:
                more = {**more, **self.said()}
            if ready is not None:
                answer = self._of_ready(ready, more)
            elif variant is None:
                answer = self._of_made(request, endpoint, more)
            else:
                answer, status = self._of_catalog(variant, more), variant.status
        except Exception as error:  # noqa: BLE001 - the handler of the request raises it, whatever it is
            request[SETTLED] = error
            return NO_ANSWER
        self._limits.succeeded(request)
        self._notes.done(request, endpoint, status)
        count = plan.made if ready is None and variant is None else plan.ready if status is _OK else plan.not_modified
        count.add(time.perf_counter() - started)
        return answer

    def _of_ready(self, body: Body, more: Mapping[str, str]) -> ReadyAnswer:
        at = self._ready.draw(body)
        if more:
            return self._heads.ok(body.fields, (self._ready.beginning(body, at), body.tail), self._clock.wall(), more)
        answer = body.answers.get(at)
        if answer is None:
            answer = self._heads.ok(body.fields, (self._ready.beginning(body, at), body.tail), self._clock.wall())
            body.answers[at] = answer
            self._ready.kept(len(answer[0]))
        return answer

    def _of_made(self, request: web.Request, endpoint: Endpoint, more: Mapping[str, str]) -> ReadyAnswer:
        """Make a body, and return an answer of it. Raises as the operation does."""
        body = self._of_one(request) if endpoint is _SERVICE else self._of_all()
        # That there is nothing is asked anew each time: it may no longer be certain.
        is_kept = endpoint is _SERVICE or bool(self._view.catalog)
        beginning = self._ready.put(request.raw_path, body) if is_kept else _NO_NAMES
        return self._heads.ok(body.fields, (beginning, body.tail), self._clock.wall(), more)

    def _of_catalog(self, variant: CatalogVariant, more: Mapping[str, str]) -> ReadyAnswer:
        if variant.status is _OK:
            return self._heads.ok(variant.fields, variant.pieces, self._clock.wall(), more)
        return self._heads.not_modified(variant.fields, self._clock.wall(), more)

    # -- services

    def _of_one(self, request: web.Request) -> Body:
        match = _TARGET.fullmatch(request.raw_path)
        assert match is not None  # it was tried before
        name = match[1]
        found = self._operations.usable(name, filter_of(read_query(request, FILTERS)))
        shown = self._operations.shown_now
        instances = _ENCODER.encode([shown(instance) for instance in found.ranked])

        def beginning(at: int) -> bytes:
            return beginning_of(shown(found.near[at]))

        return Body(label_of(name), found.near, beginning, tail=instances + END, fields=self._fields)

    def _of_all(self) -> Body:
        names = _ENCODER.encode(self._operations.services(Call()))
        fields = (*self._fields, *PARTIAL.items()) if self._operations.may_lack() else self._fields
        return Body("", (), lambda _at: names, fields=fields)

    # -- the catalogue

    def _variant(self, request: RequestHead) -> CatalogVariant | None:
        """Return the catalogue in the form that a request takes, if it is at hand."""
        answer = self._catalogs.at_hand(self._view.state.value)
        if answer is None:
            return None
        known = request.headers.get(hdrs.IF_NONE_MATCH, "").strip()
        if known == answer.etag:
            return CatalogVariant(_NOT_MODIFIED, (*_fields_of(answer), *self._zone))
        pieces: Sequence[bytes] | None = answer.pieces
        fields = (*JSON_FIELDS, *_fields_of(answer), *self._zone)
        if takes_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, "")):
            pieces = answer.zipped
            fields = (*fields, (hdrs.CONTENT_ENCODING, GZIP))
        if pieces is None or sum(map(len, pieces)) > MOST_AT_ONCE or not _is_one_etag(known):
            return None
        return CatalogVariant(_OK, fields, pieces)

    # -- what the view says

    def on_event(self, event: Event, service_name: str) -> None:  # noqa: ARG002 - the label is enough
        """Drop what an event changes."""
        label = event.key.label
        self._ready.drop((label,))
        match event:
            case Renewed() | StatusChanged():
                return
            case Registered():
                is_listed_anew = self._view.catalog.instance_count(label) == 1
            case _:
                is_listed_anew = not self._view.catalog.instance_count(label)
        if is_listed_anew:
            self._ready.drop(("",))

    def on_moved(self, differences: Sequence[Event]) -> None:
        """Drop what the differences change."""
        for event in differences:
            self.on_event(event, "")

    def on_reset(self) -> None:
        """Drop everything."""
        self._ready.clear()


def _fields_of(answer: CatalogAnswer) -> HeaderFields:
    """Return the header fields of a catalogue in any form."""
    return (*answer.fields, *PARTIAL.items()) if answer.is_partial else answer.fields


def _is_one_etag(text: str) -> bool:
    """Return whether a header names at most one version; several, or any, are for the handler to read."""
    return "," not in text and text != "*"
