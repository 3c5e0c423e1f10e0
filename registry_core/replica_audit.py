"""Builds a replica's audit: it is loaded only where there is one, since it needs a package of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from registry_core.api.peers import Peers
from registry_core.errors import MissingPackage
from registry_core.ports.clock import Clock
from registry_core.security.audit.settings import AUDIT, AuditSettings
from registry_core.supervision import Background

if TYPE_CHECKING:
    from registry_core.security.audit.service import AuditService

# How often the other replicas are asked to countersign the head, if it has changed.
EXCHANGE_EVERY_S: Final = 10.0


def audit_of(settings: AuditSettings, clock: Clock, background: Background) -> AuditService | None:
    """Return the audit of a replica; None when it keeps none. Raises MissingPackage."""
    if settings.folder is None:
        return None
    try:
        from registry_core.security.audit.service import AuditService  # noqa: PLC0415 - it loads cryptography
    except ModuleNotFoundError as error:
        raise MissingPackage(
            f"{AUDIT.name} needs the Python package {error.name}, which is not installed: install Vértice with its "
            "extra `registry`, or pip install cryptography"
        ) from None
    return AuditService(settings, clock, background)


def exchange_of(audit: AuditService, peers: Peers) -> Callable[[], Awaitable[None]]:
    """Return what asks the other replicas to countersign the head of the log."""
    from registry_core.api.audit_exchange import AuditExchange  # noqa: PLC0415 - it loads cryptography

    return AuditExchange(audit, peers).exchange
