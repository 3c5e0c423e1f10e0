"""SPIFFE ids and DNS names of services."""

from __future__ import annotations

import pytest

from registry_core.errors import ValidationError
from registry_core.security.spiffe import check_trust_domain, dns_names, domain_id, service_id


def test_a_service_has_one_id() -> None:
    assert service_id("fleet.example", "ip_intel") == "spiffe://fleet.example/service/ip_intel"
    assert domain_id("fleet.example") == "spiffe://fleet.example"


def test_a_service_is_found_under_both_spellings_of_its_name_in_every_zone() -> None:
    assert dns_names("ip_intel", ["a.b", "c"]) == ("ip-intel.a.b", "ip_intel.a.b", "ip-intel.c", "ip_intel.c")
    assert dns_names("billing", ["a.b"]) == ("billing.a.b",)


@pytest.mark.parametrize("wrong", ["", "Fleet", "a..b", ".a", "a.", "a/b", "a:1", "10.0.0.1", "a" * 64, "a b"])
def test_what_is_no_trust_domain_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match="trust domain"):
        check_trust_domain(wrong)


def test_a_name_that_no_service_has_gets_no_id() -> None:
    with pytest.raises(ValidationError):
        service_id("fleet.example", "../operator")
