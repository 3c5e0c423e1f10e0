"""The certificates as a part of the agent: none without AGENT_CERT_DIR, and then no `cryptography` is loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

from agent.certificates.certificate_files import CertificateFiles
from agent.certificates.registry_requests import CertificateRequests
from agent.certificates.reports import CertificateReport
from agent.registries.client import RegistryClient
from agent.settings.settings import AgentSettings
from registry_core.domain.selection import Random
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


def begin_certificates(
    keep: Callable[[str, Callable[[], Coroutine[Any, Any, None]]], asyncio.Task[None]],
    settings: Callable[[], AgentSettings],
    client: RegistryClient,
    clock: Clock,
    random: Random,
) -> tuple[CertificatesPart | None, list[asyncio.Task[None]]]:
    """Begin to keep certificates, with `keep`; return the keeper, and its task. Without AGENT_CERT_DIR there is none.

    `settings` returns the settings as they are at present. Raises MissingPackage.
    """
    own = settings().certificates
    if not own.folder:
        return None, []
    try:
        from agent.certificates.keeper import CertificateKeeper  # noqa: PLC0415 - see the module's docstring
    except ModuleNotFoundError as error:
        raise MissingPackage(
            f"AGENT_CERT_DIR needs the Python package {error.name}, which is not installed: install Vértice with its "
            "extra `certificates`, or pip install 'cryptography>=45'"
        ) from None
    keeper = CertificateKeeper(
        CertificateFiles(Path(own.folder), own.access),
        own.notice,
        CertificateRequests(client),
        lambda: [spec.claim.service_name for spec in settings().services],
        clock=clock,
        random=random,
    )
    return keeper, [keep("certificates", keeper.run)]
