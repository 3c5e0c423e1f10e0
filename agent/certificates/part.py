"""The certificates as a part of the agent: none without AGENT_CERT_DIR, and then no `cryptography` is loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any, Protocol

from agent.certificates.certificate_files import CertificateFiles
from agent.certificates.registry_requests import CertificateRequests
from agent.certificates.reports import CertificateReport
from agent.registries.client import RegistryClient
from agent.settings.settings import AgentSettings
from registry_core.errors import MissingPackage
from registry_core.ports.clock import Clock


class CertificatesPart(Protocol):
    """What the agent does with its keeper of certificates, and reads of it."""

    @property
    def outcomes(self) -> dict[str, int]:
        """How many requests were `renewed`, and how many `failed`."""
        ...

    async def run(self) -> None:
        """Keep the certificates, for ever."""
        ...

    def faults(self) -> list[str]:
        """Return a sentence for each certificate that is not well."""
        ...

    def report(self) -> list[CertificateReport]:
        """Return a report for each service."""
        ...


class Configured(Protocol):
    """What has the agent's settings, which a reload replaces."""

    @property
    def settings(self) -> AgentSettings:
        """The settings in effect."""
        ...


def begin_certificates(
    keep: Callable[[str, Callable[[], Coroutine[Any, Any, None]]], asyncio.Task[None]],
    tasks: list[asyncio.Task[None]],
    configured: Configured,
    client: RegistryClient,
    clock: Clock,
) -> CertificatesPart | None:
    """Begin to keep certificates, in one more of `tasks`; return the keeper. Without AGENT_CERT_DIR there is none.

    `configured` has the settings as they are at present. Raises MissingPackage.
    """
    own = configured.settings.certificates
    if not own.folder:
        return None
    try:
        from agent.certificates.keeper import CertificateKeeper  # noqa: PLC0415 - it loads cryptography, which takes 8 MB
    except ModuleNotFoundError as error:
        raise MissingPackage(
            f"AGENT_CERT_DIR needs the Python package {error.name}, which is not installed: install Vértice with its "
            "extra `certificates`, or pip install 'cryptography>=45'"
        ) from None
    keeper = CertificateKeeper(
        CertificateFiles(Path(own.folder), own.access),
        own.notice,
        CertificateRequests(client),
        lambda: [spec.claim.service_name for spec in configured.settings.services],
        clock=clock,
        random=Random(),  # noqa: S311 - only spreads renewals; not security-relevant
    )
    tasks.append(keep("service certificates", keeper.run))
    return keeper
