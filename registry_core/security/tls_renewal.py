"""Keeps what was made of files up to date: makes it anew when they change, and keeps the old one when that fails.

Certificates are replaced while connections live: those go on with what they began with, and new ones get the new.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, Generic, Self, TypeVar

import structlog

from registry_core.blocking import Threads
from registry_core.ports.clock import Clock
from registry_core.security.certificate_health import CertificateHealth
from registry_core.security.tls_contexts import Certificate, UnusableFile
from registry_core.telemetry.log_thinning import Thinning

T = TypeVar("T")
LOOK_EVERY_S: Final = 2.0
# A disk that does not answer in this time is asked again at the next look.
LOOK_S: Final = 5.0
# A certificate and its key are replaced one after the other: a look in between finds a pair that does not fit.
TRIES_BEFORE_ALARM: Final = 2
# A certificate with less than this share of its time left should have been renewed long ago.
LAST_SHARE: Final = 0.1

_Stamp = tuple[tuple[int, int, int] | None, ...]
_log = structlog.get_logger(component="tls")


class Renewal(Generic[T]):
    """What `make` returns, and again whenever one of `files` changes. `make` blocks, and raises UnusableFile.

    `certificate` says which of our own certificates stands in a value, if any; `use` names it in the log.
    """

    def __init__(
        self,
        make: Callable[[], T],
        files: Iterable[str],
        *,
        use: str,
        certificate: Callable[[T], Certificate | None],
        clock: Clock,
    ) -> None:
        self._make = make
        self._files = tuple(files)
        self._use = use
        self._certificate = certificate
        self._clock = clock
        self._threads = Threads("read certificates", 1)
        self._thinning = Thinning()
        self._stamp, self._value = self._read()
        self._tries = 0
        self._unusable = ""
        self.renewals = 0
        self.failures = 0

    @property
    def current(self) -> T:
        """The value in use."""
        return self._value

    @property
    def certificate(self) -> Certificate | None:
        """Our certificate in the value in use."""
        return self._certificate(self._value)

    def health(self) -> CertificateHealth:
        """Return the certificate in use, and what is wrong with it or with the files that should replace it."""
        certificate, now = self.certificate, self._clock.wall()
        problem = self._unusable
        if certificate is None:
            return CertificateHealth(problem=problem)
        left_s = certificate.not_after - now
        if left_s <= 0:
            problem = f"the certificate has expired; {problem}".removesuffix("; ")
        elif left_s < LAST_SHARE * (certificate.not_after - certificate.not_before):
            hours = left_s / 3600
            problem = problem or f"the certificate expires in {hours:.1f} h and was not renewed"
        return CertificateHealth(serial=f"{certificate.serial:x}", expires_at=certificate.not_after, problem=problem)

    async def run(self) -> None:
        """Look at the files regularly, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> bool:
        """Look at the files once, and use them if they changed and are good; return whether that was so."""
        try:
            stamp = await self._threads.run(partial(_stamp_of, self._files), timeout_s=LOOK_S)
            if stamp == self._stamp and not self._tries:
                return False
            self._stamp, self._value = await self._threads.run(self._read, timeout_s=LOOK_S)
        except UnusableFile as error:
            self._failed(str(error))
            return False
        except OSError as error:  # no thread, or a disk that is silent: TimeoutError is one
            _log.debug("tls_files_not_read", use=self._use, because=type(error).__name__)
            return False
        self._tries, self._unusable = 0, ""
        self.renewals += 1
        self._thinning.succeeded(self._clock.monotonic())
        certificate = self.certificate
        serial = f"{certificate.serial:x}" if certificate is not None else ""
        _log.info("tls_files_read", use=self._use, files=self._files, serial=serial)
        return True

    def _read(self) -> tuple[_Stamp, T]:
        stamp = _stamp_of(self._files)  # first: a change while they are read is seen at the next look
        return stamp, self._make()

    def _failed(self, because: str) -> None:
        self._tries += 1
        if self._tries < TRIES_BEFORE_ALARM:
            return
        self.failures += 1
        self._unusable = because
        times = self._thinning.failed(because, self._clock.monotonic())
        if times is not None:
            _log.error("tls_files_unusable", use=self._use, because=because, times=times, kept="the old ones")


def _stamp_of(files: Iterable[str]) -> _Stamp:
    return tuple(map(_stamp_of_one, files))


def _stamp_of_one(path: str) -> tuple[int, int, int] | None:
    try:
        about = Path(path).stat()
    except OSError:
        return None
    return about.st_ino, about.st_size, about.st_mtime_ns


class RenewedContext(ssl.SSLContext):
    """A context for clients that begins each new connection with the context in use at that moment.

    A holder of the context, such as a pool of connections, keeps this one. `names` maps hosts to the names that the
    certificates of those servers must have instead; the empty one stands for all others.
    """

    _current: Callable[[], ssl.SSLContext]
    names: Mapping[str, str]

    def __new__(cls, current: Callable[[], ssl.SSLContext]) -> Self:
        """Make the context that stands for the others; OpenSSL never sees a connection of it."""
        new = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        new._current = current
        new.names = {}
        return new

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Begin a connection."""
        return self._current().wrap_bio(incoming, outgoing, server_side, self._name_of(server_hostname), session)

    def wrap_socket(  # noqa: PLR0917 - the signature is the standard library's
        self,
        sock: socket.socket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        """Begin a connection of a program without an event loop."""
        return self._current().wrap_socket(
            sock, server_side, do_handshake_on_connect, suppress_ragged_eofs, self._name_of(server_hostname), session
        )

    def _name_of(self, host: str | bytes | None) -> str | None:
        if isinstance(host, bytes):
            host = host.decode("ascii", "replace")
        return None if host is None else self.names.get(host, self.names.get("", host))
