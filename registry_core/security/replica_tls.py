"""TLS of one replica: its port with or without it, the certificates of its clients, and what health says about them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, TypeAlias

from registry_core.blocking import Threads
from registry_core.causes import cause_of
from registry_core.errors import SettingsError
from registry_core.ports.clock import Clock
from registry_core.security.certificate_health import CertificateHealth
from registry_core.security.mutual_tls import MutualTls
from registry_core.security.tls_contexts import Certificate, UnusableFile, server_context
from registry_core.security.tls_port import HandshakeLimits, PlainPort, TlsPort
from registry_core.security.tls_renewal import Renewal
from registry_core.security.tls_settings import TLS_CERT, TLS_CLIENT_CA, TLS_KEY, TlsSettings
from registry_core.supervision import Background

# For the disk to deliver the files at the start.
LOAD_S: Final = 10.0
_PortFiles: TypeAlias = tuple[ssl.SSLContext, Certificate]
# The outcome of a handshake at a port without TLS.
MISPLACED: Final = "misplaced"


class ReplicaTls:
    """TLS of one replica. `load` its files before anything else."""

    def __init__(
        self,
        settings: TlsSettings,
        clock: Clock,
        *,
        limits: HandshakeLimits | None = None,
        is_denied: Callable[[int, str], bool] = lambda _serial, _id: False,
        is_shared: Callable[[str], bool] = lambda _address: False,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self.mutual = MutualTls(settings.trust_domain, clock, context=self._context, is_denied=is_denied)
        self._renewal: Renewal[_PortFiles] | None = None
        self._port = (
            PlainPort(clock=clock)
            if settings.pair is None
            else TlsPort(self._context, clock=clock, limits=limits, opened=self.mutual.opened, is_shared=is_shared)
        )

    async def load(self) -> None:
        """Read the files. Raises SettingsError when one cannot be used."""
        if self._settings.pair is None:
            return
        reading = partial(read_files, self._settings, self._clock)
        try:
            self._renewal = await Threads("read certificates", 1).run(reading, timeout_s=LOAD_S)
        except OSError as error:
            raise SettingsError(f"{TLS_CERT.name}: {self._settings.pair.cert}: {cause_of(error)}") from None

    def _context(self) -> ssl.SSLContext:
        assert self._renewal is not None  # the port opens after load()
        return self._renewal.current[0]

    @property
    def is_on(self) -> bool:
        """Whether the port speaks TLS."""
        return self._settings.pair is not None

    @property
    def scheme(self) -> str:
        """The scheme of the replica's URLs."""
        return "https" if self.is_on else "http"

    @property
    def renewals(self) -> int:
        """How often new files were taken into use."""
        return self._renewal.renewals if self._renewal is not None else 0

    def guarding(self, inner: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """Return a factory of protocols in front of those that `inner` makes."""
        return self._port.guarding(inner)

    def start(self, background: Background) -> list[asyncio.Task[None]]:
        """Start to look at the files, and at the certificates of clients."""
        if self._renewal is None:
            return []
        tasks = [background.keep("certificates", self._renewal.run)]
        if self._settings.client_ca:
            tasks.append(background.keep("client certificates", self.mutual.run))
        return tasks

    async def look(self) -> bool:
        """Look at the files now; return whether new ones were taken into use."""
        return self._renewal is not None and await self._renewal.look()

    def health(self) -> CertificateHealth | None:
        """Return the certificate in use; None without TLS."""
        return self._renewal.health() if self._renewal is not None else None

    def handshakes(self) -> Mapping[str, int]:
        """Return how many handshakes ended how; `misplaced` are those that a plain port saw begin."""
        if isinstance(self._port, TlsPort):
            return self._port.outcomes
        return {MISPLACED: self._port.with_tls}


def read_files(settings: TlsSettings, clock: Clock) -> Renewal[_PortFiles] | None:
    """Read the files of `settings`; None without TLS. Blocks. Raises SettingsError when one cannot be used."""
    pair, client_ca = settings.pair, settings.client_ca
    if pair is None:
        return None
    files = (*pair.files, *((client_ca,) if client_ca else ()))
    make = partial(server_context, pair, client_ca, required=settings.client_required)
    try:
        return Renewal(make, files, use="port", certificate=lambda value: value[1], clock=clock)
    except UnusableFile as error:
        setting = TLS_CLIENT_CA if error.path == client_ca else TLS_KEY if error.path == pair.key else TLS_CERT
        raise SettingsError(f"{setting.name}: {error}") from None
