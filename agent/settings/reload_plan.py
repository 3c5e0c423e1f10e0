"""Plans a reload: which new settings take effect now, and which only after a restart. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from agent.settings import table
from agent.settings.certificates import CERTIFICATE_SETTINGS
from agent.settings.local_port import LOCAL_PORT_TABLE
from agent.settings.settings import AgentSettings, ServiceSpec
from agent.settings.usage import USAGE
from registry_core.domain.records import InstanceKey
from registry_core.errors import SettingsError
from registry_core.security.client_settings import CLIENT_TLS_SETTINGS
from registry_core.security.registry_keys import REGISTRY_KEY_TABLE
from registry_core.telemetry.trace_settings import TRACE_SETTINGS

# Sockets and what depends on them, and the state folder, which is locked from start to end.
NEED_RESTART: Final = {
    "http_listen": table.HTTP_LISTEN.name,
    "dns_listen": table.DNS_LISTEN.name,
    "dns_zone": table.DNS_ZONE.name,
    "dns_allow": table.DNS_ALLOW.name,
    "dns_rate_limit": table.DNS_RATE_LIMIT.name,
    "dns_forward": table.DNS_FORWARD.name,
    "dns_reverse": table.DNS_REVERSE.name,
    "follow_namespace": table.FOLLOW_NAMESPACE.name,
    "view": f"{table.VIEW_SERVICES.name}, {table.VIEW_MB.name}",
    "state_dir": table.STATE_DIR.name,
    "tls": ", ".join(setting.name for setting in CLIENT_TLS_SETTINGS),
    "log_format": table.LOG_FORMAT.name,
    "traces": ", ".join(setting.name for setting in TRACE_SETTINGS),
    "certificates": ", ".join(setting.name for setting in CERTIFICATE_SETTINGS),
    "counts_usage": USAGE.name,
}
LIVE: Final = {
    "registry_urls": table.REGISTRY_URL.name,
    "keys": ", ".join(setting.name for setting in REGISTRY_KEY_TABLE),
    "local_port": ", ".join(setting.name for setting in LOCAL_PORT_TABLE),
    "heartbeat_s": table.HEARTBEAT_INTERVAL.name,
    "initial_wait_s": table.INITIAL_WAIT_TIMEOUT.name,
    "zone": table.ZONE.name,
    "when_none_pass": table.WHEN_NONE_PASS.name,
    "drain_confirm_s": table.DRAIN_CONFIRM.name,
    "drain_srv_s": table.DRAIN_SRV.name,
    "drain_wait_s": table.DRAIN_WAIT.name,
    "static_services": table.STATIC_FILE.name,
    "log_level": table.LOG_LEVEL.name,
}


class ReloadPlan(msgspec.Struct, frozen=True):
    """The changes of a reload."""

    settings: AgentSettings  # in effect from now on
    changed: tuple[str, ...]  # names of settings
    need_restart: tuple[str, ...]  # names of settings that take effect after a restart
    services_changed: bool

    @property
    def is_empty(self) -> bool:
        return not (self.changed or self.need_restart or self.services_changed)


class ServiceChanges(msgspec.Struct, frozen=True):
    """The differences between two lists of services."""

    added: tuple[ServiceSpec, ...]
    removed: tuple[InstanceKey, ...]
    changed: tuple[ServiceSpec, ...]  # the same instance with another registration or other checks


def planned(old: AgentSettings, new: AgentSettings) -> ReloadPlan:
    """Return the plan for a change from `old` to `new`.

    Raises SettingsError when all services would go: a full disk may leave such a file, and the way to remove all of
    them is to stop the agent.
    """
    if old.services and not new.services:
        raise SettingsError("it has no services any more; stop the agent to deregister all of them")
    kept = {field: getattr(old, field) for field in NEED_RESTART}
    return ReloadPlan(
        msgspec.structs.replace(new, **kept),
        tuple(name for field, name in LIVE.items() if getattr(old, field) != getattr(new, field)),
        tuple(name for field, name in NEED_RESTART.items() if getattr(old, field) != getattr(new, field)),
        old.services != new.services,
    )


def service_changes(old: Iterable[ServiceSpec], new: Iterable[ServiceSpec]) -> ServiceChanges:
    """Return the differences between `old` and `new`, whose instances have their ids."""
    before = {spec.claim.key: spec for spec in old}
    after = {spec.claim.key: spec for spec in new}
    return ServiceChanges(
        tuple(spec for key, spec in after.items() if key not in before),
        tuple(key for key in before if key not in after),
        tuple(spec for key, spec in after.items() if key in before and spec != before[key]),
    )
