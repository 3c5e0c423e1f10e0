"""The rows about agents: they need the right to see the state of a replica, and none writes to the store."""

from __future__ import annotations

from registry_core.api.usage_endpoints import USAGE_ENDPOINTS
from registry_core.security.identities import Role
from registry_core.security.rights import MAY, Right


def test_they_are_for_readers_and_write_nothing() -> None:
    assert {endpoint.right for endpoint in USAGE_ENDPOINTS} == {Right.OBSERVE}
    assert not any(endpoint.writes or endpoint.from_store for endpoint in USAGE_ENDPOINTS)


def test_a_report_needs_a_credential_of_more_than_a_reader() -> None:
    assert not MAY[Right.REPORT_USAGE] & {Role.ANYONE, Role.READER, Role.FOLLOWER}
