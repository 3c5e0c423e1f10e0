"""The endpoints about certificates: what is open to everybody, and what is not."""

from __future__ import annotations

from registry_core.api.certificate_endpoints import CERTIFICATE_ENDPOINTS
from registry_core.security.rights import Right


def test_roots_are_for_everybody_and_what_changes_something_is_not() -> None:
    rights = {endpoint.name: endpoint.right for endpoint in CERTIFICATE_ENDPOINTS}
    assert rights["certificate_bundle"] is rights["authority"] is Right.BE_PROBED
    assert rights["issue_certificate"] is Right.CERTIFY
    assert rights["deny"] is Right.DENY
    assert {endpoint.name for endpoint in CERTIFICATE_ENDPOINTS if endpoint.writes} == {"issue_certificate", "deny"}
