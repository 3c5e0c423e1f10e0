"""Asks the other replicas to countersign the head of this replica's audit log, whenever it has grown.

Each of them signs a head only if it continues the one that it signed before. So who asks begins with the size that it
remembers of that replica, and proves from the size that the replica names if it was another.
"""

from __future__ import annotations

import base64
import time
from typing import Final

import msgspec
import structlog

from registry_core.api.audit_schemas import AuditHeadBody, CountersignedView
from registry_core.api.peers import Peers
from registry_core.api.schemas import Problem
from registry_core.bodies import decoded
from registry_core.errors import Unavailable
from registry_core.security.audit.heads import SignedHead
from registry_core.security.audit.service import AuditService
from registry_core.telemetry.log_thinning import Thinning

_TRIES: Final = 2

log = structlog.get_logger(component="audit")


class AuditExchange:
    """The countersignatures of one log, from the replicas that `peers` knows."""

    def __init__(self, service: AuditService, peers: Peers) -> None:
        self._service = service
        self._peers = peers
        self._thinning = Thinning()
        self._sizes: dict[str, int] = {}  # by URL: the newest head that the replica there has signed

    async def exchange(self) -> None:
        """Ask every replica that has not signed the newest head. It raises nothing while the log cannot be used."""
        try:
            await self._exchange()
        except Unavailable as error:
            failures = self._thinning.failed(error.message, time.monotonic())
            if failures is not None:
                log.warning("audit_heads_not_exchanged", because=error.message, failures=failures)

    async def _exchange(self) -> None:
        head = self._service.head
        signatures: list[tuple[str, str]] = []
        for url in self._peers.urls:
            if head.head.size and self._sizes.get(url) != head.head.size:
                signed = await self._asked(url, head)
                if signed is not None:
                    signatures.append((signed.signature, signed.key))
        await self._service.countersigned_by(head, signatures)

    async def _asked(self, url: str, head: SignedHead) -> CountersignedView | None:
        for _ in range(_TRIES):
            status, body = await self._peers.ask(
                "POST", url, "/audit/head", msgspec.json.encode(await self._body(url, head))
            )
            if status == 409:
                problem = decoded(body, Problem)
                self._service.refused_by(url, problem.message if problem is not None else "it does not say why")
                return None
            view = decoded(body, CountersignedView) if status == 200 else None
            if view is None:
                return None  # away, without an audit, or of an earlier release: it is asked again next time
            if view.status == "proof-needed":
                if not 0 < view.size <= head.head.size:
                    self._service.refused_by(url, f"it has signed {view.size} lines, and there are {head.head.size}")
                    return None
                self._sizes[url] = view.size
                continue
            self._sizes[url] = head.head.size
            self._service.refused_by(url, "")
            return view if view.status == "countersigned" else None
        return None

    async def _body(self, url: str, head: SignedHead) -> AuditHeadBody:
        old = self._sizes.get(url, 0)
        hashes = await self._service.consistency(old, head.head.size) if old else ()
        return AuditHeadBody(
            head=str(head),
            key=str(self._service.opened.signer.verifier),
            old_size=old,
            hashes=[base64.b64encode(one).decode() for one in hashes],
        )
