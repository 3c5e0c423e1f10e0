"""The TLS of the one-shot commands, from the same settings as an agent's."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from registry_core.ports.clock import SystemClock
from registry_core.security.client_settings import CLIENT_TLS_SETTINGS, client_tls_settings
from registry_core.security.tls_clients import ClientTls
from registry_core.setting_sources import read_settings


def context_from(environment: Mapping[str, str]) -> ssl.SSLContext:
    """Return the context for connections to registries. Raises SettingsError when a file cannot be used."""
    return ClientTls(client_tls_settings(read_settings(CLIENT_TLS_SETTINGS, environment)), SystemClock()).context
