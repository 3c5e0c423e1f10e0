"""The audit of one replica: its log, and its part as a witness of the other replicas' logs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import msgspec
import structlog

from registry_core.blocking import NoThread, Threads
from registry_core.causes import cause_of
from registry_core.errors import AuditUnavailable, Conflict, Forbidden, Overloaded
from registry_core.ports.audit import AuditReport, WitnessedLog
from registry_core.ports.clock import Clock
from registry_core.security.audit.batches import LogHandle
from registry_core.security.audit.folder import COUNTERSIGNED_FILE
from registry_core.security.audit.heads import SignedHead
from registry_core.security.audit.lines import DISPUTED, about_log
from registry_core.security.audit.log import AuditLog
from registry_core.security.audit.notes import COSIGNATURE, BadNote, NoteSignature, parse_key, parse_signature
from registry_core.security.audit.reading import AuditPage, consistency_in, inclusion_in, page_of
from registry_core.security.audit.settings import AuditSettings
from registry_core.security.audit.witness import (
    MAX_LOGS,
    HeadDispute,
    NeedsProof,
    OfferedHead,
    WitnessedHead,
    judged,
    keep_witnessed,
    witnessed_in,
)
from registry_core.security.audit.writing import keep_head
from registry_core.supervision import Background

READ_S: Final = 5.0
READERS: Final = 2
# Of what another replica answers, in a report.
MAX_PROBLEM: Final = 300

R = TypeVar("R")

log = structlog.get_logger(component="audit")


class AuditService:
    """The audit in the folder of `settings`: a trail for entries, and what the endpoints answer from."""

    def __init__(self, settings: AuditSettings, clock: Clock, background: Background) -> None:
        self.log = AuditLog(settings, clock, background)
        self.disputes = 0
        assert settings.folder is not None  # without one there is no log
        self._folder = settings.folder
        self._clock = clock
        self._countersigned: SignedHead | None = None
        self._witnessed: dict[str, WitnessedHead] | None = None  # None: not read yet
        self._disputed: dict[str, str] = {}  # logs of other replicas, by origin
        self._refused_by: dict[str, str] = {}  # the replicas that refuse the head of this log, and why
        self._one_at_a_time = asyncio.Lock()
        self._readers = Threads("audit reads", READERS)
        self._witness = Threads("audit witness", 1)
        self.require_room = self.log.require_room
        self.wants = self.log.wants
        self.note = self.log.note

    async def start(self) -> None:
        """Open the log. What cannot be opened is tried again; nothing is raised."""
        await self.log.start()

    async def close(self) -> None:
        """Write what waits, and let go of the folder. Safe to call twice."""
        await self.log.close()

    def report(self) -> AuditReport:
        """Return the state of the log, and of those that this replica countersigns."""
        handle, counter = self.log.handle, self.countersigned
        is_disputed = bool(self._refused_by or self._disputed)
        problems = [self.log.problem, *(f"{who}: {why}" for who, why in self._refused_by.items())]
        problems += self._disputed.values()
        return AuditReport(
            status="failing" if self.log.problem else "disputed" if is_disputed else "ok",
            log="" if handle is None else handle.signer.verifier.name,
            key="" if handle is None else str(handle.signer.verifier),
            size=self.log.size,
            countersigned_size=0 if counter is None else counter.head.size,
            countersigned_by=() if counter is None else tuple(one.name for one in counter.note.signatures[1:]),
            waiting=self.log.waiting,
            lost=self.log.lost,
            problem="; ".join(filter(None, problems)),
            disputes=self.disputes,
            witnessed=tuple(self._witnessed_logs()),
        )

    def _witnessed_logs(self) -> list[WitnessedLog]:
        now = self._clock.wall()
        return [
            WitnessedLog(
                log=origin,
                size=one.signed.head.size,
                seen_seconds_ago=round(now - one.at, 1),
                dispute=self._disputed.get(origin, ""),
            )
            for origin, one in (self._witnessed or {}).items()
        ]

    # -- the own log

    @property
    def opened(self) -> LogHandle:
        """The open log. Raises AuditUnavailable."""
        if self.log.handle is None:
            raise AuditUnavailable(f"the audit log cannot be opened: {self.log.problem}")
        return self.log.handle

    @property
    def head(self) -> SignedHead:
        """The newest head. Raises AuditUnavailable."""
        head = self.log.head
        if head is None:
            raise AuditUnavailable(f"the audit log cannot be opened: {self.log.problem}")
        return head

    @property
    def countersigned(self) -> SignedHead | None:
        """The newest head that other replicas have signed as well; None when there is none."""
        return self._countersigned or (self.log.handle.countersigned if self.log.handle is not None else None)

    async def page(self, start: int, most: int) -> AuditPage:
        """Return lines from number `start` on. Raises Unavailable."""
        return await self._read(partial(page_of, self._folder, start, most, self.log.size))

    async def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """Return the proof that line `index` is one of the first `size`, which is no more than the log has."""
        return await self._read(partial(inclusion_in, self._folder, index, size))

    async def consistency(self, first: int, second: int) -> tuple[bytes, ...]:
        """Return the proof that the first `second` lines continue the first `first`. Raises Unavailable."""
        return await self._read(partial(consistency_in, self._folder, first, second))

    async def _read(self, work: Callable[[], R]) -> R:
        try:
            return await self._readers.run(work, timeout_s=READ_S)
        except NoThread as error:
            raise Overloaded(f"others read the audit log: {cause_of(error)}") from None
        except OSError as error:
            raise AuditUnavailable(f"the audit log cannot be read: {cause_of(error)}") from None

    # -- its head, and the other replicas

    async def countersigned_by(self, head: SignedHead, signatures: list[tuple[str, str]]) -> None:
        """Keep the countersignatures of `head`, each a line of a note with its verifier key; wrong ones are left out.

        Raises AuditUnavailable.
        """
        valid = [one for line, key in signatures if (one := _valid(head, line, key)) is not None]
        if not valid:
            return
        before = self.countersigned
        base = before if before is not None and before.head == head.head else head
        kept = SignedHead(base.head, base.note.with_signatures(valid))
        try:
            await self._witness.run(partial(keep_head, self._folder, COUNTERSIGNED_FILE, kept), timeout_s=READ_S)
        except OSError as error:
            raise AuditUnavailable(f"a countersigned head cannot be kept: {cause_of(error)}") from None
        self._countersigned = kept

    def refused_by(self, replica: str, because: str) -> None:
        """Note that another replica refuses the head of this log; with an empty reason, that it does not any more."""
        because = because[:MAX_PROBLEM]
        if not because:
            self._refused_by.pop(replica, None)
        elif self._refused_by.get(replica) != because:
            self._refused_by[replica] = because
            self.disputes += 1
            log.error("audit_head_refused", replica=replica, because=because)

    # -- as a witness

    async def witness(self, offered: OfferedHead) -> NoteSignature | NeedsProof | None:
        """Return the countersignature of another log's head, or what is missing; None for a head of this very log.

        Raises Conflict for a head that contradicts what this replica has seen of that log, Forbidden for a log too
        many, and AuditUnavailable.
        """
        signer = self.opened.signer
        head = offered.signed.head
        if head.origin == signer.verifier.name and offered.key == str(signer.verifier):
            return None
        async with self._one_at_a_time:
            witnessed = await self._known()
            if head.origin not in witnessed and len(witnessed) >= MAX_LOGS:
                raise Forbidden(f"this replica countersigns {MAX_LOGS} logs at most", field="head")
            is_own = head.origin == signer.verifier.name
            verdict = HeadDispute("it has the name of this replica") if is_own else None
            match verdict or judged(witnessed.get(head.origin), offered):
                case NeedsProof() as needs:
                    return needs
                case HeadDispute() as dispute:
                    self._dispute(offered, dispute)
                    raise Conflict(dispute.because, field="head", provided=f"{head.size} lines")
                case WitnessedHead() as accepted:
                    accepted = msgspec.structs.replace(accepted, at=self._clock.wall())
                    await self._keep(accepted)
                    if head.origin not in witnessed:
                        log.warning("audit_log_first_seen", log=head.origin, key=accepted.key, size=head.size)
                    witnessed[head.origin] = accepted
                    if self._disputed.pop(head.origin, None) is not None:
                        log.warning("audit_log_consistent_again", log=head.origin, size=head.size)
                    return signer.cosign(head.body, int(accepted.at))

    def _dispute(self, offered: OfferedHead, dispute: HeadDispute) -> None:
        origin = offered.signed.head.origin
        self.disputes += 1
        if self._disputed.get(origin) == dispute.because:
            return
        if origin in self._disputed or len(self._disputed) < MAX_LOGS:
            self._disputed[origin] = dispute.because
        log.error("audit_log_disputed", log=origin, because=dispute.because)
        # The head is evidence: it bears the signature of its log.
        evidence = f"{dispute.because}: {str(offered.signed)[:1000]}"
        self.note(about_log(DISPUTED, self._clock.wall(), evidence, result="Conflict"))

    async def _known(self) -> dict[str, WitnessedHead]:
        if self._witnessed is None:
            try:
                self._witnessed = await self._witness.run(partial(witnessed_in, self._folder), timeout_s=READ_S)
            except OSError as error:
                raise AuditUnavailable(f"the heads of other logs cannot be read: {cause_of(error)}") from None
        return self._witnessed

    async def _keep(self, head: WitnessedHead) -> None:
        try:
            await self._witness.run(partial(keep_witnessed, self._folder, head), timeout_s=READ_S)
        except OSError as error:
            raise AuditUnavailable(f"the heads of other logs cannot be kept: {cause_of(error)}") from None


def _valid(head: SignedHead, line: str, key: str) -> NoteSignature | None:
    try:
        signature, verifier = parse_signature(line), parse_key(key)
    except BadNote:
        return None
    note = head.note.with_signatures([signature])
    return signature if verifier.kind == COSIGNATURE and verifier.signed_at(note) is not None else None
