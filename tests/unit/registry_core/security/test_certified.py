"""The identity that the SPIFFE id of a certificate names."""

from __future__ import annotations

import pytest

from registry_core.errors import Unauthorized
from registry_core.security.certified import identity_in
from registry_core.security.identities import Identity, Proof, Role


def test_a_service_and_each_role_have_an_id() -> None:
    service = identity_in(["spiffe://fleet.example/service/ip_intel"], "fleet.example", 0xAB)
    assert service == Identity(Role.SERVICE, Proof.CERTIFICATE, service="ip_intel", key_id="serial:ab")
    for role in (Role.OPERATOR, Role.REPLICA, Role.READER, Role.FOLLOWER):
        found = identity_in([f"spiffe://fleet.example/role/{role}"], "fleet.example")
        assert (found.role, found.proof, found.service) == (role, Proof.CERTIFICATE, "")


@pytest.mark.parametrize(
    "uris",
    [
        [],
        ["spiffe://fleet.example/service/billing", "spiffe://fleet.example/service/billing"],
        ["spiffe://fleet.example"],
        ["spiffe://fleet.example/"],
        ["spiffe://fleet.example/service/"],
        ["spiffe://fleet.example/service/billing/"],
        ["spiffe://fleet.example/service/billing/x"],
        ["spiffe://fleet.example//service/billing"],
        ["spiffe://fleet.example/service/../role/operator"],
        ["spiffe://fleet.example/service/bill%69ng"],
        ["spiffe://fleet.example/service/billing?x"],
        ["spiffe://fleet.example/service/billing#x"],
        ["spiffe://fleet.example/service/Billing\n"],
        ["spiffe://fleet.example:443/service/billing"],
        ["spiffe://root@fleet.example/service/billing"],
        ["spiffe://Fleet.example/service/billing"],
        ["spiffe://fleet.example.evil/service/billing"],
        ["SPIFFE://fleet.example/service/billing"],
        ["https://fleet.example/service/billing"],
        ["spiffe://fleet.example/role/anyone"],
        ["spiffe://fleet.example/role/service"],
        ["spiffe://fleet.example/role/operator/x"],
        ["spiffe://fleet.example/roles/operator"],
        ["spiffe://other.example/service/billing"],
        ["fleet.example/service/billing"],
        ["spiffe://fleet.example/service/b\0illing"],
    ],
)
def test_every_other_form_is_refused_with_an_example(uris: list[str]) -> None:
    with pytest.raises(Unauthorized) as refusal:
        identity_in(uris, "fleet.example")
    assert refusal.value.field == "certificate"
    assert refusal.value.example == "spiffe://fleet.example/service/billing" or "trust domain" in str(refusal.value)
