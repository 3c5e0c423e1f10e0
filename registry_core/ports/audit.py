"""The audit trail: who did what, when, where, and with which result: for every write and every refusal."""

from __future__ import annotations

from typing import Protocol

import msgspec


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One request, as the audit keeps it. Every text is bounded by its maker; none is a secret."""

    time: float  # Unix seconds, of the replica
    operation: str  # the endpoint's name
    status: int  # of the answer (HTTP)
    result: str  # `done`, or the name of the error
    service: str = ""
    instance: str = ""
    who: str = ""  # the identity's name
    proof: str = ""
    key_id: str = ""
    client: str = ""  # the address
    reason: str = ""  # why it was refused
    trace_id: str = ""


class AuditTrail(Protocol):
    """Where entries go."""

    def require_room(self) -> None:
        """Raise Unavailable when entries cannot be kept, and writes are to be refused for that."""
        ...

    def note(self, entry: AuditEntry) -> None:
        """Keep `entry`. It does not wait, and raises nothing."""
        ...


class NoAudit:
    """The trail of a registry that keeps none."""

    def require_room(self) -> None:
        """There is always room."""

    def note(self, entry: AuditEntry) -> None:
        """Forget the entry."""
