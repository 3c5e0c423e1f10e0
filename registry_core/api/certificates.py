"""The operations of the certificate authority: issue a certificate, deny one, and say what is trusted and denied.

It knows neither HTTP nor where its files are: `security/authority/reader.py` keeps the authority current.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from typing import Final

from registry_core.api.calls import Call, WriteCall
from registry_core.api.certificate_schemas import (
    AuthorityCertificateView,
    AuthorityView,
    CertificateBody,
    CertificateView,
    DenialView,
    DeniedView,
    DenyBody,
)
from registry_core.authority_settings import AuthoritySettings
from registry_core.blocking import NoThread, Threads
from registry_core.domain.names import check_service_name
from registry_core.errors import Forbidden, NotFound, Overloaded, StoreUnavailable, ValidationError, VerticeError
from registry_core.ports.clock import Clock
from registry_core.ports.denials import Denial, DenialStore
from registry_core.security.authority.descriptions import AuthorityCertificate
from registry_core.security.authority.lifetimes import MAX_LIFETIME_S, RENEW_SHARE
from registry_core.security.authority.reader import AuthorityReader
from registry_core.security.denied import MAX_REASON_LENGTH, DenyList, read_serial, serial_subject, spiffe_subject
from registry_core.security.rights import Right
from registry_core.security.spiffe import service_id
from registry_core.telemetry.metrics import ReplicaMetrics

# Signing takes a tenth of a millisecond, and reading a request a millisecond at most; what comes beyond that many at
# once comes again.
MOST_SIGNING: Final = 2
SIGN_S: Final = 5.0
# How soon a replica notices that its files changed, and what another one denied.
REFRESH_S: Final = 5.0


class NoAuthority(NotFound):
    """Raised when a certificate is asked of a registry that is no certificate authority."""

    def __init__(self) -> None:
        super().__init__(
            "this registry issues no certificates: REGISTRY_CA_CERT is not set; `vertice ca init` makes an authority"
        )


class Certificates:
    """The certificates of one replica, and the deny list that it shares with the others."""

    def __init__(
        self, settings: AuthoritySettings, authority: AuthorityReader, store: DenialStore, clock: Clock
    ) -> None:
        self.denied = DenyList()
        self._settings = settings
        self._authority = authority
        self._store = store
        self._clock = clock
        self._threads = Threads("sign", MOST_SIGNING)
        self._unread: tuple[tuple[str, str], ...] = ()
        self.outcomes: Counter[str] = Counter()

    def add_metrics(self, metrics: ReplicaMetrics) -> None:
        """Add the metrics of certificates to `metrics`."""
        metrics.counters(
            "registry_certificates", "Requests for certificates, by outcome.", "outcome", lambda: self.outcomes
        )
        metrics.gauge("registry_certificates_denied", "Entries of the deny list.", lambda: len(self.denied))
        metrics.gauge(
            "registry_authority_ends_seconds",
            "Seconds until the first certificate of the authority ends; NaN without one.",
            lambda: _known(self.ends_in_s()),
        )

    def ends_in_s(self) -> float | None:
        """Return the seconds until the first certificate of the authority ends; None without one."""
        return self._authority.ends_in_s

    async def refresh(self) -> None:
        """Read again what may have changed: the authority's files, and the deny list."""
        await self.refresh_denied()
        await self._authority.refresh()

    async def refresh_denied(self) -> None:
        """Read the deny list."""
        read = await self._store.read()
        if read.known:
            self.denied.replace(read.denials, self._clock.wall())
        self._unread = read.unread

    # -- operations, each named as its endpoint

    async def issue_certificate(self, call: WriteCall[CertificateBody]) -> CertificateView:
        """Issue a certificate. Raises NoAuthority, Forbidden, ValidationError, Unavailable."""
        try:
            issued = await self._issued(call)
        except VerticeError as error:
            self.outcomes[type(error).__name__] += 1
            raise
        self.outcomes["issued"] += 1
        return issued

    async def _issued(self, call: WriteCall[CertificateBody]) -> CertificateView:
        service = check_service_name(call.body.service_name)
        call.caller.require(Right.CERTIFY, service)
        issuer = self._authority.issuer
        if issuer is None:
            raise NoAuthority
        if not self.denied.known:
            raise StoreUnavailable("the deny list has not been read yet: its store does not answer")
        if self.denied.is_denied(0, service_id(issuer.domain.trust_domain, service)):
            raise Forbidden(
                f"certificates of {service!r} are denied; `vertice ca allow {service}` ends that", field="service_name"
            )
        now, lifetime_s = self._clock.wall(), self._settings.lifetime_s
        try:
            work = partial(issuer.issue, service, call.body.csr, now, lifetime_s)
            issued = await self._threads.run(work, timeout_s=SIGN_S)
        except (NoThread, TimeoutError):
            raise Overloaded("as many certificates as may be are being signed; try again") from None
        lasts_s = issued.not_after - now
        return CertificateView(
            service_name=service,
            spiffe_id=issued.spiffe_id,
            serial=f"{issued.serial:x}",
            certificate=issued.chain.decode(),
            bundle=issuer.chain.bundle.decode(),
            issuer=issuer.key_id,
            not_before=_iso(issued.not_before),
            not_after=_iso(issued.not_after),
            expires_in_seconds=round(lasts_s, 3),
            renew_in_seconds=round(lasts_s * RENEW_SHARE, 3),
        )

    async def deny(self, call: WriteCall[DenyBody]) -> DeniedView:
        """Add an entry to the deny list, or withdraw one. Raises ValidationError, Unavailable."""
        subject, now = self._subject(call.body), self._clock.wall()
        held = next((one for one in self.denied.denials if one.subject == subject), None)
        if call.body.withdraw and held is None:
            await self.refresh_denied()
            held = next((one for one in self.denied.denials if one.subject == subject), None)
            if held is None:
                raise NotFound("this is not denied", field="service_name", provided=subject)
        denial = Denial(
            subject=subject,
            # A clock that is behind the one of the replica that denied it must not make a withdrawal the older entry.
            at=now if held is None else max(now, held.at + 0.001),
            # No certificate is valid for longer, and none is issued meanwhile.
            until=now + MAX_LIFETIME_S,
            denied=not call.body.withdraw,
            reason=call.body.reason[:MAX_REASON_LENGTH],
        )
        await self._store.add(denial)
        await self.refresh_denied()
        return self.denied_view()

    def authority(self, _call: Call) -> AuthorityView:
        """Return the authority. Raises NoAuthority."""
        issuer = self._authority.issuer
        if issuer is None:
            raise NoAuthority
        intermediate, *roots = self._authority.certificates
        return AuthorityView(
            trust_domain=issuer.domain.trust_domain,
            zones=issuer.domain.zones,
            issuer=issuer.key_id,
            lifetime_seconds=self._settings.lifetime_s,
            intermediate=self._shown(intermediate),
            roots=tuple(map(self._shown, roots)),
            bundle=issuer.chain.bundle.decode(),
            denied=len(self.denied),
            denied_version=self._denied_version(),
            problem=self._authority.problem,
        )

    def denied_list(self, call: Call) -> DeniedView:
        """Return the deny list, or what it says of one certificate. Raises ValidationError."""
        given = call.query.get("serial")
        return self.denied_view() if given is None else self.denied_view(_serial_subject(given))

    def bundle(self) -> bytes:
        """Return the roots to trust, in PEM. Raises NoAuthority."""
        issuer = self._authority.issuer
        if issuer is None:
            raise NoAuthority
        return issuer.chain.bundle

    def denied_view(self, subject: str | None = None) -> DeniedView:
        """Return the deny list as it is shown, or its entry about `subject`."""
        return DeniedView(
            version=self._denied_version(),
            denied=[
                DenialView(subject=one.subject, at=_iso(one.at), until=_iso(one.until), reason=one.reason)
                for one in self.denied.denials
                if subject in (None, one.subject)
            ],
            unread=[f"{name}: {why}" for name, why in self._unread],
        )

    def _denied_version(self) -> str:
        return hashlib.sha256("\n".join(one.subject for one in self.denied.denials).encode()).hexdigest()[:16]

    def _subject(self, body: DenyBody) -> str:
        if (body.service_name is None) == (body.serial is None):
            raise ValidationError(
                "a denial names either a service or the serial number of a certificate",
                field="service_name",
                example="billing",
            )
        if body.service_name is not None:
            issuer = self._authority.issuer
            domain = issuer.domain.trust_domain if issuer is not None else self._settings.trust_domain
            return spiffe_subject(service_id(domain, check_service_name(body.service_name)))
        return _serial_subject(body.serial or "")

    def _shown(self, certificate: AuthorityCertificate) -> AuthorityCertificateView:
        return AuthorityCertificateView(
            name=certificate.name,
            key_id=certificate.key_id,
            not_after=_iso(certificate.not_after),
            expires_in_seconds=round(certificate.not_after - self._clock.wall(), 3),
        )


def _serial_subject(text: str) -> str:
    serial = read_serial(text)
    if serial is None:
        raise ValidationError(
            "a serial number is hexadecimal, of at most 40 digits",
            field="serial",
            provided=text,
            example="0AB1CD2E3F405162738495A6B7C8D9EA",
        )
    return serial_subject(serial)


def _iso(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="seconds")


def _known(seconds: float | None) -> float:
    return float("nan") if seconds is None else seconds


def authority_of(settings: AuthoritySettings, clock: Clock) -> AuthorityReader:
    """Return the authority of a replica with these settings, not yet read."""
    return AuthorityReader(settings.cert, settings.key, settings.trust_domain, settings.lifetime_s, clock)
