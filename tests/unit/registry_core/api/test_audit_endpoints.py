"""The rows of the audit: who may read it, and who may exchange heads."""

from __future__ import annotations

from registry_core.api.audit_endpoints import AUDIT_ENDPOINTS
from registry_core.api.audit_schemas import AuditHeadBody
from registry_core.api.endpoint import TEXT
from registry_core.security.identities import Role
from registry_core.security.rights import MAY


def test_lines_and_proofs_are_for_operators_and_heads_for_replicas_as_well() -> None:
    allowed = {endpoint.name: MAY[endpoint.right] for endpoint in AUDIT_ENDPOINTS}
    heads = {"audit_head", "witness_head"}
    assert {name for name, roles in allowed.items() if Role.REPLICA in roles} == heads
    assert all(Role.OPERATOR in roles for roles in allowed.values())
    assert not any(roles & {Role.ANYONE, Role.READER, Role.SERVICE} for roles in allowed.values())


def test_a_countersignature_is_no_write_since_it_would_make_a_line_that_asks_for_the_next() -> None:
    assert not any(endpoint.writes for endpoint in AUDIT_ENDPOINTS)


def test_a_head_is_text_and_is_offered_in_json() -> None:
    rows = {endpoint.name: endpoint for endpoint in AUDIT_ENDPOINTS}
    assert rows["audit_head"].media_type == TEXT
    assert rows["witness_head"].body is AuditHeadBody
    assert rows["witness_head"].path_parameters == ()
