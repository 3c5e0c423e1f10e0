"""The settings of TLS towards a registry: the same for agents, the command line, and replicas among each other."""

from __future__ import annotations

from typing import Final

import msgspec

from registry_core.errors import SettingsError
from registry_core.security.pem_paths import KeyPair, path
from registry_core.setting_values import Values
from registry_core.settings import Setting, text

CA: Final = Setting(
    "REGISTRY_CA",
    path,
    "",
    "the file with the authorities that certificates of registries must come from, in PEM, in place of the system's; "
    "may hold old and new ones; read again when it changes",
    "/run/tls/ca.pem",
)
CLIENT_CERT: Final = Setting(
    "REGISTRY_CLIENT_CERT",
    path,
    "",
    "the file with the certificate that registries are shown (mutual TLS), and its chain; it may appear later, and is "
    "read again when it changes",
    "/run/tls/agent.pem",
)
CLIENT_KEY: Final = Setting(
    "REGISTRY_CLIENT_KEY",
    path,
    "",
    "the file with the key of that certificate; not needed when the key is in the same file",
    "/run/tls/agent.key",
)
TLS_NAME: Final = Setting(
    "REGISTRY_TLS_NAME",
    text,
    "",
    "the name that certificates of registries must have, in place of the host in their URL or the domain of their SRV "
    "name",
    "registry.example",
)
CLIENT_TLS_SETTINGS: Final[tuple[Setting[str], ...]] = (CA, CLIENT_CERT, CLIENT_KEY, TLS_NAME)


class ClientTlsSettings(msgspec.Struct, frozen=True):
    """TLS towards registries. Without any of these, the system's authorities decide."""

    ca: str = ""
    pair: KeyPair | None = None
    name: str = ""


def client_tls_settings(values: Values) -> ClientTlsSettings:
    """Return the settings. Raises SettingsError for a key without its certificate."""
    cert, key = values[CLIENT_CERT], values[CLIENT_KEY]
    if key and not cert:
        raise SettingsError(
            f"{values.label(CLIENT_KEY.name)}: it needs {CLIENT_CERT.name} (example: {CLIENT_CERT.example})"
        )
    return ClientTlsSettings(values[CA], KeyPair(cert, key) if cert else None, values[TLS_NAME].strip())
