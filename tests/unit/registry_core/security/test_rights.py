"""The table of rights: complete, and with the answers that it is meant to give."""

from __future__ import annotations

import pytest

from registry_core.api.endpoints import ENDPOINTS
from registry_core.security.identities import ANYONE, EVERYBODY, Identity, Proof, Role
from registry_core.security.rights import FOR_ITSELF, MAY, MEANINGS, OPEN_READS, Right, permits

IP_INTEL = Identity(Role.SERVICE, Proof.SIGNATURE, "ip_intel")


def test_the_table_names_every_right() -> None:
    assert set(MAY) == set(Right) == set(MEANINGS)


def test_every_endpoint_that_writes_needs_a_right_that_a_stranger_lacks() -> None:
    for endpoint in ENDPOINTS:
        if endpoint.writes:
            assert not permits(ANYONE, endpoint.right, reads_are_open=True), endpoint.name


@pytest.mark.parametrize("right", sorted(FOR_ITSELF))
def test_a_service_has_its_rights_for_itself_alone(right: Right) -> None:
    assert permits(IP_INTEL, right)  # it may have it: whether for this service, the body tells
    assert permits(IP_INTEL, right, "ip-intel")
    assert not permits(IP_INTEL, right, "billing")


@pytest.mark.parametrize("right", [Right.RESTORE, Right.RELEASE_GUARD, Right.DENY, Right.AUDIT])
def test_what_concerns_every_service_is_for_operators(right: Right) -> None:
    assert permits(EVERYBODY, right)
    for role in set(Role) - {Role.OPERATOR}:
        assert not permits(Identity(role), right)


@pytest.mark.parametrize("right", sorted(OPEN_READS))
def test_reading_is_open_to_everybody_where_a_setting_says_so(right: Right) -> None:
    assert permits(ANYONE, right, reads_are_open=True)
    assert not permits(ANYONE, right)
    assert permits(Identity(Role.READER), right)


def test_a_reader_writes_nothing() -> None:
    reader = Identity(Role.READER, Proof.READ_KEY)
    assert not permits(reader, Right.WRITE, "ip_intel", reads_are_open=True)


def test_a_service_writes_certifies_and_reports_for_no_other() -> None:
    assert {Right.WRITE, Right.CERTIFY, Right.REPORT_USAGE} == FOR_ITSELF
