"""The settings of a replica's authority."""

from __future__ import annotations

import pytest

from registry_core.authority_settings import AuthoritySettings
from registry_core.errors import SettingsError
from registry_core.replica_settings import replica_settings
from registry_core.security.authority.lifetimes import DAY_S


def settings(**given: str) -> AuthoritySettings:
    return replica_settings({f"REGISTRY_{name.upper()}": value for name, value in given.items()}).authority


def test_a_replica_is_no_authority_unless_it_is_told() -> None:
    assert settings() == AuthoritySettings("", "", "vertice.internal", 7 * DAY_S)


def test_the_two_files_go_together() -> None:
    assert settings(ca_cert="/a.crt", ca_key="/a.key").cert == "/a.crt"
    with pytest.raises(SettingsError, match="REGISTRY_CA_KEY: it is missing, but REGISTRY_CA_CERT is set"):
        settings(ca_cert="/a.crt")
    with pytest.raises(SettingsError, match="REGISTRY_CA_CERT: it is missing, but REGISTRY_CA_KEY is set"):
        settings(ca_key="/a.key")


def test_a_certificate_lasts_ninety_days_at_most() -> None:
    assert settings(cert_lifetime="2160h").lifetime_s == 90 * DAY_S
    for wrong in ("2161h", "5s", "0", "never"):
        with pytest.raises(SettingsError, match="REGISTRY_CERT_LIFETIME"):
            settings(cert_lifetime=wrong)


def test_a_trust_domain_is_a_name() -> None:
    assert settings(trust_domain="fleet.example").trust_domain == "fleet.example"
    with pytest.raises(SettingsError, match="REGISTRY_TRUST_DOMAIN"):
        settings(trust_domain="spiffe://fleet.example")
