"""The trail of a registry that keeps none."""

from __future__ import annotations

from registry_core.ports.audit import AuditEntry, NoAudit


def test_no_audit_has_room_and_keeps_nothing() -> None:
    NoAudit().require_room("register")
    assert not NoAudit().wants("register", 201)
    NoAudit().note(AuditEntry(time=0.0, operation="register", status=201, result="done"))
