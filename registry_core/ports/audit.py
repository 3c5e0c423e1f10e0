"""The audit trail: who did what, when, where, and with which result: for every write and every refusal."""

from __future__ import annotations

from typing import Protocol

import msgspec


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One request, as the audit keeps it. Every text is bounded by its maker; none is a secret.

    The order of the fields is that of a line.
    """

    time: float  # Unix seconds, of the replica
    operation: str  # the endpoint's name
    result: str  # `done`, or the name of the error
    status: int = 0  # of the answer (HTTP); 0: the entry is about the log itself
    service: str = ""
    instance: str = ""
    who: str = ""  # the identity's name
    proof: str = ""
    key_id: str = ""
    client: str = ""  # the address
    reason: str = ""  # why it was refused; of what was done, its details
    trace_id: str = ""


class WitnessedLog(msgspec.Struct, frozen=True, kw_only=True):
    """Another replica's log, as far as this one has countersigned its heads."""

    log: str
    size: int
    seen_seconds_ago: float
    dispute: str = ""  # why its latest head was refused; empty when it was countersigned


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the audit log of one replica. All but the status is empty while it is off."""

    status: (
        str  # "off" | "ok" | "failing": entries cannot be written now | "disputed": another replica refuses its head
    )
    log: str = ""  # the name of the log
    key: str = ""  # its public key
    size: int = 0  # lines, in all time
    countersigned_size: int = 0  # lines in the newest head that another replica has signed as well
    countersigned_by: tuple[str, ...] = ()  # the other replicas that signed it
    waiting: int = 0  # entries that are not written yet
    lost: int = 0  # entries that could not be kept, since the start
    problem: str = ""
    disputes: int = 0  # of heads, of this log and by this replica, since the start
    witnessed: tuple[WitnessedLog, ...] = ()


class AuditTrail(Protocol):
    """Where entries go."""

    def require_room(self, operation: str) -> None:
        """Raise Unavailable when entries of `operation` cannot be kept, and writes are to be refused for that."""
        ...

    def wants(self, operation: str, status: int) -> bool:
        """Return whether an entry of `operation` with this status is of any use."""
        ...

    def note(self, entry: AuditEntry) -> None:
        """Keep `entry`. It does not wait, and raises nothing."""
        ...

    def report(self) -> AuditReport:
        """Return its state."""
        ...


class NoAudit:
    """The trail of a registry that keeps none."""

    def require_room(self, operation: str) -> None:
        """There is always room."""

    def wants(self, operation: str, status: int) -> bool:  # noqa: ARG002 - the same for all
        """Nothing is of use."""
        return False

    def note(self, entry: AuditEntry) -> None:
        """Forget the entry."""

    def report(self) -> AuditReport:
        """Say that it is off."""
        return AuditReport(status="off")
