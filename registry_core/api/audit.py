"""The endpoints of the audit: its lines and proofs for operators, and heads for the other replicas."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from aiohttp import web

from registry_core.api.audit_schemas import (
    AuditConsistencyView,
    AuditEntriesView,
    AuditHeadBody,
    AuditProofView,
    CountersignedView,
)
from registry_core.api.calls import answer, body_of
from registry_core.api.endpoints import TEXT
from registry_core.api.queries import QueryParameters, boolean, integer
from registry_core.api.request_bodies import decode
from registry_core.errors import NotFound, ValidationError

if TYPE_CHECKING:  # it needs a package that a registry without an audit does not
    from registry_core.security.audit.service import AuditService

DEFAULT_LINES: Final = 100
MAX_OLD_SIZE: Final = 2**48


class AuditHandlers:
    """One method for each endpoint of the audit; each answers 404 when this registry keeps none."""

    def __init__(self, audit: AuditService | None) -> None:
        self._audit = audit

    @property
    def _service(self) -> AuditService:
        if self._audit is None:
            raise NotFound("this registry keeps no audit log", field="REGISTRY_AUDIT", example="/var/lib/vertice/audit")
        return self._audit

    async def audit_head(self, _request: web.Request, query: QueryParameters) -> web.StreamResponse:
        service = self._service
        head = service.countersigned if boolean(query, "countersigned") else service.head
        if head is None:
            raise NotFound("no other replica has countersigned a head of this log yet", field="countersigned")
        return web.Response(text=str(head), content_type=TEXT)

    async def audit_entries(self, _request: web.Request, query: QueryParameters) -> web.StreamResponse:
        service = self._service
        start, count = integer(query, "from") or 0, integer(query, "count")
        page = await service.page(start, DEFAULT_LINES if count is None else count)
        view = AuditEntriesView(
            first=page.first,
            size=service.log.size,
            frontier=_encoded(page.frontier),
            lines=[line.decode("utf-8", "replace") for line in page.lines],
        )
        return answer(view)

    async def audit_proof(self, _request: web.Request, query: QueryParameters) -> web.StreamResponse:
        service = self._service
        size = _number(query, "size", service.log.size, service.log.size)
        index = _number(query, "index", None, size - 1)
        hashes = await service.inclusion(index, size)
        return answer(AuditProofView(index=index, size=size, hashes=_encoded(hashes)))

    async def audit_consistency(self, _request: web.Request, query: QueryParameters) -> web.StreamResponse:
        service = self._service
        second = _number(query, "second", service.log.size, service.log.size)
        first = _number(query, "first", None, second)
        hashes = await service.consistency(first, second)
        return answer(AuditConsistencyView(first=first, second=second, hashes=_encoded(hashes)))

    async def witness_head(self, request: web.Request, _query: QueryParameters) -> web.StreamResponse:
        service = self._service
        body = decode(await body_of(request), AuditHeadBody, {"head": "vertice-audit/eu-1a\n...", "key": "..."})
        return answer(await countersigned(service, body))


async def countersigned(service: AuditService, body: AuditHeadBody) -> CountersignedView:
    """Return the answer to a head that another replica offers. Raises ValidationError, and what a witness raises."""
    # A registry without an audit need not have the package that these need.
    from registry_core.security.audit.heads import BadHead, parse_head  # noqa: PLC0415 - it loads cryptography
    from registry_core.security.audit.notes import COSIGNATURE, BadNote  # noqa: PLC0415 - it loads cryptography
    from registry_core.security.audit.proofs import decoded_hashes  # noqa: PLC0415 - it loads cryptography
    from registry_core.security.audit.witness import NeedsProof, OfferedHead  # noqa: PLC0415 - it loads cryptography

    try:
        head = parse_head(body.head)
    except BadHead:
        raise ValidationError("it is no signed head of a log", field="head", provided=body.head[:100]) from None
    try:
        hashes = decoded_hashes(body.hashes)
    except BadNote:
        raise ValidationError("these are no hashes of a proof", field="hashes", provided=body.hashes[:3]) from None
    if not 0 <= body.old_size <= MAX_OLD_SIZE:
        raise ValidationError("it is no number of lines", field="old_size", provided=body.old_size, example=0)
    found = await service.witness(OfferedHead(head, body.key, body.old_size, hashes))
    if found is None:
        return CountersignedView(status="own")
    if isinstance(found, NeedsProof):
        return CountersignedView(status="proof-needed", size=found.size)
    key = service.opened.signer.verifier.of_kind(COSIGNATURE)
    return CountersignedView(status="countersigned", signature=str(found), key=str(key), size=head.head.size)


def _number(query: QueryParameters, name: str, default: int | None, most: int) -> int:
    number = integer(query, name)
    number = default if number is None else number
    if number is None or not 0 <= number <= most:
        raise ValidationError(
            f"it is the number of a line or of lines, {most} at most", field=name, provided=number, example=0
        )
    return number


def _encoded(hashes: tuple[bytes, ...]) -> list[str]:
    return [base64.b64encode(one).decode() for one in hashes]
