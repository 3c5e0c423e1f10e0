"""The TLS of the one-shot commands, from the same settings as an agent's."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TypeVar

from registry_core.ports.clock import SystemClock
from registry_core.security.client_settings import CLIENT_TLS_SETTINGS, ClientTlsSettings, client_tls_settings
from registry_core.security.tls_clients import ClientTls
from registry_core.setting_sources import read_settings

T = TypeVar("T")
# Of an agent whose settings are known, which need not be those of the environment.
_settings: ContextVar[ClientTlsSettings | None] = ContextVar("tls_settings", default=None)


def speaking(settings: ClientTlsSettings, work: Callable[[], T]) -> T:
    """Return what `work` returns, which speaks TLS by these settings instead of those in the environment."""
    token = _settings.set(settings)
    try:
        return work()
    finally:
        _settings.reset(token)


def context_from(environment: Mapping[str, str]) -> ssl.SSLContext:
    """Return the context for connections to registries. Raises SettingsError when a file cannot be used."""
    settings = _settings.get()
    if settings is None:
        settings = client_tls_settings(read_settings(CLIENT_TLS_SETTINGS, environment))
    return ClientTls(settings, SystemClock()).context
