"""Identities: how logs and the audit name them."""

from __future__ import annotations

from registry_core.security.identities import ANYONE, Identity, Proof, Role


def test_a_service_is_named_by_its_label_so_that_both_spellings_are_one() -> None:
    assert Identity(Role.SERVICE, Proof.SIGNATURE, "ip_intel").name == "service:ip-intel"


def test_other_identities_are_named_by_their_role() -> None:
    assert ANYONE.name == "anyone"
    assert Identity(Role.OPERATOR, Proof.TOKEN).name == "operator"
