"""The settings of TLS: which need which."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from registry_core.errors import SettingsError
from registry_core.security.certificate_health import CertificateHealth
from registry_core.security.client_settings import CLIENT_TLS_SETTINGS, ClientTlsSettings, client_tls_settings
from registry_core.security.pem_paths import KeyPair, path
from registry_core.security.tls_settings import TLS_SETTINGS, TlsSettings, tls_settings
from registry_core.setting_sources import read_settings


def port(given: Mapping[str, str]) -> TlsSettings:
    return tls_settings(read_settings(TLS_SETTINGS, given))


def client(given: Mapping[str, str]) -> ClientTlsSettings:
    return client_tls_settings(read_settings(CLIENT_TLS_SETTINGS, given))


def test_without_settings_nothing_changes() -> None:
    assert port({}) == TlsSettings()
    assert client({}) == ClientTlsSettings()
    assert CertificateHealth().problem == ""


def test_a_certificate_turns_tls_on() -> None:
    assert port({"REGISTRY_TLS_CERT": " /c "}).pair == KeyPair("/c")
    found = port(
        {
            "REGISTRY_TLS_CERT": "/c",
            "REGISTRY_TLS_KEY": "/k",
            "REGISTRY_TLS_CLIENT_CA": "/ca",
            "REGISTRY_TLS_CLIENT_AUTH": "Required",
            "REGISTRY_TRUST_DOMAIN": "fleet.example",
        }
    )
    assert found == TlsSettings(KeyPair("/c", "/k"), "/ca", client_required=True, trust_domain="fleet.example")
    assert KeyPair("/c", "/k").files == ("/c", "/k")
    assert client({"REGISTRY_CLIENT_CERT": "/c", "REGISTRY_TLS_NAME": " r.example "}).name == "r.example"


@pytest.mark.parametrize(
    ("given", "because"),
    [
        ({"REGISTRY_TLS_KEY": "/k"}, "REGISTRY_TLS_KEY: it needs REGISTRY_TLS_CERT"),
        ({"REGISTRY_TLS_CLIENT_CA": "/k"}, "REGISTRY_TLS_CLIENT_CA: it needs REGISTRY_TLS_CERT"),
        (
            {"REGISTRY_TLS_CERT": "/c", "REGISTRY_TLS_CLIENT_AUTH": "required"},
            "REGISTRY_TLS_CLIENT_AUTH: required needs REGISTRY_TLS_CLIENT_CA",
        ),
        ({"REGISTRY_TLS_CLIENT_AUTH": "maybe"}, "REGISTRY_TLS_CLIENT_AUTH: 'maybe'"),
        ({"REGISTRY_TRUST_DOMAIN": "Fleet/x"}, "REGISTRY_TRUST_DOMAIN: 'Fleet/x'"),
    ],
)
def test_what_does_not_go_together_is_said(given: Mapping[str, str], because: str) -> None:
    with pytest.raises(SettingsError, match=f"^{because}"):
        port(given)


def test_a_key_needs_its_certificate() -> None:
    with pytest.raises(SettingsError, match=r"^REGISTRY_CLIENT_KEY: it needs REGISTRY_CLIENT_CERT"):
        client({"REGISTRY_CLIENT_KEY": "/k"})
    with pytest.raises(ValueError, match="it is not a path"):
        path("a\0b")
