"""Keeps the authority of a replica current: reads its files at the start, and again when they change.

An authority that cannot be used never replaces one that can: during a copy of two files the key is not that of the
certificate for a moment, and certificates are still signed, by the old one.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from registry_core.blocking import NoThread, Threads
from registry_core.causes import cause_of
from registry_core.errors import CallerError, MissingPackage, SettingsError
from registry_core.ports.clock import Clock
from registry_core.security.authority.descriptions import AuthorityCertificate
from registry_core.security.authority.lifetimes import DAY_S
from registry_core.telemetry.log_thinning import Thinning

if TYPE_CHECKING:
    from registry_core.security.authority.issuer import Issuer

READ_S: Final = 5.0
MAX_FILE_BYTES: Final = 256 * 1024
# An intermediate that ends within this time, or within two lifetimes of a certificate, is to be replaced.
ENDS_SOON_S: Final = 30 * DAY_S

log = structlog.get_logger(component="authority")


class AuthorityReader:
    """The authority in two files; without them there is none, and nothing is read."""

    def __init__(self, cert: str, key: str, trust_domain: str, lifetime_s: float, clock: Clock) -> None:
        self.issuer: Issuer | None = None
        self._files = (Path(cert), Path(key)) if cert else None
        self._trust_domain = trust_domain
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._threads = Threads("authority", 1)
        self._seen: bytes = b""  # what the files held when they were last judged
        self._fault = ""
        self._thinning = Thinning()

    @property
    def problem(self) -> str:
        """Why the authority is not well: its files cannot be used, or its certificates end soon; "" when it is."""
        if self._fault:
            return f"the authority's files cannot be used: {self._fault}; the one that was read before still signs"
        left_s = self.ends_in_s
        if left_s is None or left_s > min(ENDS_SOON_S, 2 * self._lifetime_s):
            return ""
        if left_s <= 0:
            return "the authority's certificate has ended: nothing is signed; make a new one: vertice ca intermediate"
        return (
            f"the authority's certificate ends in {left_s / DAY_S:.1f} days; make a new one: vertice ca intermediate, "
            "or vertice ca rotate if its root ends"
        )

    @property
    def ends_in_s(self) -> float | None:
        """Seconds until the first certificate of the authority ends; None without one."""
        return None if self.issuer is None else self.issuer.chain.ends - self._clock.wall()

    @property
    def certificates(self) -> tuple[AuthorityCertificate, ...]:
        """The intermediate, then the roots."""
        return () if self.issuer is None else self.issuer.certificates

    async def start(self) -> None:
        """Read the authority for the first time. Raises SettingsError when its files cannot be used."""
        if self._files is None:
            return
        try:
            await self._read(*self._files)
        except (OSError, TimeoutError, NoThread) as error:
            name = getattr(error, "filename", None) or self._files[0]
            raise SettingsError(f"REGISTRY_CA_CERT: {name} cannot be read: {cause_of(error)}") from None
        except CallerError as error:
            raise SettingsError(f"REGISTRY_CA_CERT: {self._files[0]}, {self._files[1]}: {error.message}") from None

    async def refresh(self) -> None:
        """Read the files again, and use them if they changed and can be used."""
        if self._files is None:
            return
        try:
            changed = await self._read(*self._files)
        except (OSError, TimeoutError, CallerError) as error:
            self._fault = cause_of(error)
            times = self._thinning.failed(self._fault, self._clock.monotonic())
            if times is not None:
                log.warning("authority_unusable", because=self._fault, file=str(self._files[0]), times=times)
            return
        self._fault = ""
        self._thinning.succeeded(self._clock.monotonic())
        if changed and self.issuer is not None:
            log.info("authority_read", issuer=self.issuer.key_id, roots=len(self.issuer.chain.roots))

    async def _read(self, cert: Path, key: Path) -> bool:
        """Use what the files hold; return whether that has changed."""
        held = await self._threads.run(partial(_contents, cert, key), timeout_s=READ_S)
        if b"\0".join(held) == self._seen:
            return False
        issuer = await self._threads.run(partial(_issuer, *held, self._trust_domain), timeout_s=READ_S)
        self.issuer, self._seen = issuer, b"\0".join(held)
        return True


def _contents(cert: Path, key: Path) -> tuple[bytes, bytes]:
    found = []
    for path in (cert, key):
        with path.open("rb") as file:
            found.append(file.read(MAX_FILE_BYTES + 1))
    return found[0], found[1]


def _issuer(cert: bytes, key: bytes, trust_domain: str) -> Issuer:
    # Only a replica that is an authority loads `cryptography`.
    try:
        from registry_core.security.authority.issuer import issuer_of  # noqa: PLC0415 - it loads cryptography
    except ModuleNotFoundError as error:
        raise MissingPackage(
            f"REGISTRY_CA_CERT needs the Python package {error.name}, which is not installed: install Vértice with its "
            "extra `registry`, or pip install 'cryptography>=45'"
        ) from None
    return issuer_of(cert, key, trust_domain)
