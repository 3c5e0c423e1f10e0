"""TLS towards registries, for every program that connects to one: agents, commands, and replicas among each other.

One context lasts as long as the program. The files behind it may change: new connections use the new ones, and open
ones, such as a watch, go on.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from functools import partial
from typing import Final, TypeAlias

from registry_core.blocking import Threads
from registry_core.causes import cause_of
from registry_core.errors import SettingsError
from registry_core.ports.clock import Clock, SystemClock
from registry_core.security.certificate_health import CertificateHealth
from registry_core.security.client_settings import CA, CLIENT_CERT, ClientTlsSettings
from registry_core.security.tls_contexts import Certificate, UnusableFile, client_context
from registry_core.security.tls_renewal import Renewal, RenewedContext

LOAD_S: Final = 10.0
# The context, our certificate in it, and why there is none although there should be one.
_ClientFiles: TypeAlias = tuple[ssl.SSLContext, Certificate | None, str]


class ClientTls:
    """The TLS of one program towards registries. Reading blocks; `client_tls` does it in a thread.

    Raises SettingsError when the authorities cannot be used. Without its own certificate, because that does not exist
    yet or cannot be used, a program connects all the same: another proof of who it is may do.
    """

    def __init__(self, settings: ClientTlsSettings, clock: Clock) -> None:
        self._settings = settings
        pair = settings.pair
        files = (*((settings.ca,) if settings.ca else ()), *(pair.files if pair is not None else ()))
        try:
            self._renewal: Renewal[_ClientFiles] = Renewal(
                self._make, files, use="registry client", certificate=lambda value: value[1], clock=clock
            )
        except UnusableFile as error:
            raise SettingsError(f"{CA.name}: {error}") from None
        self.context = RenewedContext(lambda: self._renewal.current[0])
        self.expect({})

    def expect(self, names: Mapping[str, str]) -> None:
        """Set which names the certificates of some hosts must have; REGISTRY_TLS_NAME goes before all of them."""
        self.context.names = {"": self._settings.name} if self._settings.name else dict(names)

    def health(self) -> CertificateHealth:
        """Return the program's own certificate, and what is wrong with the files."""
        health, without_pair = self._renewal.health(), self._renewal.current[2]
        return health if health.problem or not without_pair else CertificateHealth(problem=without_pair)

    async def run(self) -> None:
        """Look at the files regularly, until cancelled."""
        await self._renewal.run()

    async def look(self) -> bool:
        """Look at the files now; return whether new ones were taken into use."""
        return await self._renewal.look()

    def _make(self) -> _ClientFiles:
        # The first time there is no value yet, and so no certificate to keep.
        has_pair = hasattr(self, "_renewal") and self._renewal.certificate is not None
        return _made(self._settings, has_pair=has_pair)


def _made(settings: ClientTlsSettings, *, has_pair: bool) -> _ClientFiles:
    pair = settings.pair
    try:
        context, certificate = client_context(settings.ca, pair)
    except UnusableFile as error:
        if pair is None or error.path not in pair.files or has_pair:
            raise
        return client_context(settings.ca)[0], None, f"{CLIENT_CERT.name}: {error}"
    return context, certificate, ""


async def client_tls(settings: ClientTlsSettings, clock: Clock | None = None) -> ClientTls:
    """Return the TLS of a program with an event loop. Raises SettingsError when the authorities cannot be used."""
    making = partial(ClientTls, settings, clock if clock is not None else SystemClock())
    try:
        return await Threads("read certificates", 1).run(making, timeout_s=LOAD_S)
    except OSError as error:
        raise SettingsError(f"{CA.name}: {settings.ca}: {cause_of(error)}") from None
