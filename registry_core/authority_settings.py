"""The settings of a replica that is the fleet's certificate authority, and the checks between them. Opens no file."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from registry_core.errors import SettingsError
from registry_core.security.authority.lifetimes import DAY_S, DEFAULT_LIFETIME_S, MAX_LIFETIME_S, MIN_LIFETIME_S
from registry_core.security.pem_paths import path
from registry_core.security.spiffe import DEFAULT_TRUST_DOMAIN
from registry_core.security.tls_settings import TRUST_DOMAIN
from registry_core.setting_values import Values
from registry_core.settings import Setting, positive_seconds


def _lifetime(value: str) -> float:
    lifetime_s = positive_seconds(value)
    if not MIN_LIFETIME_S <= lifetime_s <= MAX_LIFETIME_S:
        raise ValueError(f"it is not between {MIN_LIFETIME_S:g} s and {MAX_LIFETIME_S / DAY_S:g} days (2160h)")
    return lifetime_s


CA_CERT: Final = Setting(
    "REGISTRY_CA_CERT",
    path,
    "",
    "the file of the certificate authority (PEM), as `vertice ca init` writes it: its intermediate, and the roots to "
    "trust; re-read when it changes. If unset, this replica issues no certificates",
    "/etc/vertice/authority.crt",
)
CA_KEY: Final = Setting(
    "REGISTRY_CA_KEY",
    path,
    "",
    "the file with the key of that intermediate (PEM)",
    "/run/secrets/authority.key",
)
CERT_LIFETIME: Final = Setting(
    "REGISTRY_CERT_LIFETIME",
    _lifetime,
    DEFAULT_LIFETIME_S,
    "how long a service's certificate is valid, at most 90 days (2160h); agents renew it at two thirds",
    "168h",
)
AUTHORITY_SETTINGS: Final[tuple[Setting[Any], ...]] = (CA_CERT, CA_KEY, CERT_LIFETIME)


class AuthoritySettings(msgspec.Struct, frozen=True):
    """The authority of a replica; without a certificate it has none."""

    cert: str = ""
    key: str = ""
    trust_domain: str = DEFAULT_TRUST_DOMAIN
    lifetime_s: float = DEFAULT_LIFETIME_S


def authority_settings(values: Values) -> AuthoritySettings:
    """Return the settings of the authority. Raises SettingsError when only one of the two files is given."""
    found = AuthoritySettings(values[CA_CERT], values[CA_KEY], values[TRUST_DOMAIN], values[CERT_LIFETIME])
    if bool(found.cert) != bool(found.key):
        missing, given = (CA_KEY, CA_CERT) if found.cert else (CA_CERT, CA_KEY)
        raise SettingsError(f"{missing.name}: it is missing, but {given.name} is set (example: {missing.example})")
    return found
