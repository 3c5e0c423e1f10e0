"""The settings of TLS on a replica's port."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from registry_core.errors import SettingsError
from registry_core.security.pem_paths import KeyPair, path
from registry_core.security.spiffe import DEFAULT_TRUST_DOMAIN
from registry_core.setting_values import Values
from registry_core.settings import Setting, choice

OPTIONAL: Final = "optional"
REQUIRED: Final = "required"
_DOMAIN: Final = re.compile(r"[a-z0-9_]([a-z0-9._-]{0,253}[a-z0-9_])?", re.ASCII)


def _trust_domain(value: str) -> str:
    found = value.strip()
    if not _DOMAIN.fullmatch(found):
        raise ValueError("a trust domain has lower-case letters, digits and . - _ only")
    return found


TLS_CERT: Final = Setting(
    "REGISTRY_TLS_CERT",
    path,
    "",
    "the file with the certificate of this replica and its chain, in PEM: the port then speaks HTTPS only; read again "
    "when it changes",
    "/run/tls/registry.pem",
)
TLS_KEY: Final = Setting(
    "REGISTRY_TLS_KEY",
    path,
    "",
    "the file with the key of that certificate; not needed when the key is in the same file",
    "/run/tls/registry.key",
)
TLS_CLIENT_CA: Final = Setting(
    "REGISTRY_TLS_CLIENT_CA",
    path,
    "",
    "the file with the authorities whose certificates say who a client is (mutual TLS); may hold old and new ones",
    "/run/tls/clients-ca.pem",
)
TLS_CLIENT_AUTH: Final = Setting(
    "REGISTRY_TLS_CLIENT_AUTH",
    choice(OPTIONAL, REQUIRED),
    OPTIONAL,
    "`required` refuses every connection without a certificate from REGISTRY_TLS_CLIENT_CA, health checks included",
    REQUIRED,
)
TRUST_DOMAIN: Final = Setting(
    "REGISTRY_TRUST_DOMAIN",
    _trust_domain,
    DEFAULT_TRUST_DOMAIN,
    "the SPIFFE trust domain of the fleet: clients are known by certificates for spiffe://DOMAIN/service/NAME",
    "fleet.example",
)
TLS_SETTINGS: Final[tuple[Setting[str], ...]] = (TLS_CERT, TLS_KEY, TLS_CLIENT_CA, TLS_CLIENT_AUTH, TRUST_DOMAIN)


class TlsSettings(msgspec.Struct, frozen=True):
    """TLS on a replica's port; without `pair` it speaks plain HTTP."""

    pair: KeyPair | None = None
    client_ca: str = ""
    client_required: bool = False
    trust_domain: str = DEFAULT_TRUST_DOMAIN


def tls_settings(values: Values) -> TlsSettings:
    """Return the settings. Raises SettingsError when one is given without another that it needs."""
    cert, key, client_ca = values[TLS_CERT], values[TLS_KEY], values[TLS_CLIENT_CA]
    if not cert:
        for setting in (TLS_KEY, TLS_CLIENT_CA):
            if values[setting]:
                raise SettingsError(
                    f"{values.label(setting.name)}: it needs {TLS_CERT.name} (example: {TLS_CERT.example})"
                )
    required = values[TLS_CLIENT_AUTH] == REQUIRED
    if required and not client_ca:
        raise SettingsError(
            f"{values.label(TLS_CLIENT_AUTH.name)}: {REQUIRED} needs {TLS_CLIENT_CA.name} "
            f"(example: {TLS_CLIENT_CA.example})"
        )
    pair = KeyPair(cert, key) if cert else None
    return TlsSettings(pair, client_ca, required, values[TRUST_DOMAIN])
