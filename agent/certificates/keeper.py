"""Keeps the certificates of the agent's services fresh: asks for them, writes them, and tells the services.

`plan.py` decides when. While no registry answers, the files stay as they are, and `/health` says when they end. Keys
are made here and go nowhere but into the files. Work that blocks runs in threads, and changes nothing but files.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Final

import structlog

from agent.certificates.certificate_files import CertificateFiles, StoredFiles
from agent.certificates.keys import KeyAndRequest, NotOurCertificate, ReadCertificate, new_key_and_request, read_pair
from agent.certificates.notice import Notice, told
from agent.certificates.plan import RETRY, HeldCertificate, ServiceCertificate, TrustedRoots, faults, poll_s
from agent.certificates.registry_requests import CertificateRequests
from agent.certificates.reports import CertificateReport
from registry_core.api.certificate_schemas import AuthorityView, CertificateView
from registry_core.blocking import NoThread, Threads
from registry_core.causes import cause_of
from registry_core.domain.selection import Random
from registry_core.ports.clock import Clock
from registry_core.security.authority.lifetimes import BACKDATED_S
from registry_core.telemetry.log_thinning import Thinning

MOST_AT_ONCE: Final = 4
WORK_S: Final = 10.0
# No loop may spin, and none sleeps through a change of the services for longer.
LEAST_WAIT_S: Final = 0.05
MOST_WAIT_S: Final = 5.0

_log = structlog.get_logger(component="agent.certificates")


class _Kept:
    """One service: its plan, and the content of its files. `untold`: its program has not been told of them."""

    def __init__(self, plan: ServiceCertificate) -> None:
        self.plan = plan
        self.files: StoredFiles | None = None
        self.untold = False
        self.told_failures = 0
        self.tell_at = 0.0
        self.notice_problem = ""


class CertificateKeeper:
    """The certificates of one agent. Run `run` in the background."""

    def __init__(
        self,
        files: CertificateFiles,
        notice: Notice,
        requests: CertificateRequests,
        services: Callable[[], Iterable[str]],
        *,
        clock: Clock,
        random: Random,
    ) -> None:
        """`services` returns the names of the agent's services, as they are at present."""
        self._files = files
        self._notice = notice
        self._requests = requests
        self._services = services
        self._clock = clock
        self._random = random
        self._threads = Threads("certificates", MOST_AT_ONCE)
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)
        self._kept: dict[str, _Kept] = {}
        self._roots = TrustedRoots()
        self._poll_at = 0.0
        self._lifetime_s: float | None = None
        self._denied_version = ""
        self._thinning = Thinning()
        self.outcomes: Counter[str] = Counter()

    async def run(self) -> None:
        """Keep the certificates, for ever."""
        while True:
            await self._take_services()
            if self._clock.monotonic() >= self._poll_at:
                await self._poll()
            now = self._clock.monotonic()
            due = [kept for kept in self._kept.values() if kept.plan.reason(now) is not None]
            await asyncio.gather(*(self._in_turn(self._renew(kept)) for kept in due))
            stale = [kept for kept in self._kept.values() if kept.files and kept.files.bundle != self._roots.pem]
            if self._roots.roots:
                await asyncio.gather(*(self._in_turn(self._rewrite(kept)) for kept in stale))
            await asyncio.gather(*(self._in_turn(self._tell(kept)) for kept in self._kept.values() if kept.untold))
            await asyncio.sleep(self._wait_s())

    # -- reports

    def faults(self) -> list[str]:
        """Return a sentence for each certificate that is not well."""
        found = faults([kept.plan for kept in self._kept.values()], self._clock.monotonic())
        return found + [kept.notice_problem for kept in self._kept.values() if kept.notice_problem][:3]

    def report(self) -> list[CertificateReport]:
        """Return a report for each service."""
        now, reports = self._clock.monotonic(), []
        for kept in self._kept.values():
            plan, held = kept.plan, kept.plan.held
            reports.append(
                CertificateReport(
                    service_name=plan.service,
                    file=str(self._files.path_of(plan.service)),
                    serial=f"{held.serial:x}" if held is not None else "",
                    issuer=held.issuer if held is not None else "",
                    not_after=_iso(held.not_after) if held is not None else None,
                    ends_in_seconds=round(held.ends_at - now, 1) if held is not None else None,
                    renews_in_seconds=round(plan.wait_s(now), 1),
                    renewals=plan.renewals,
                    problem=plan.problem or kept.notice_problem,
                )
            )
        return reports

    # -- steps

    async def _take_services(self) -> None:
        """Begin to keep the certificates of new services, and stop for those that are gone; their files stay."""
        names = list(dict.fromkeys(self._services()))
        for gone in self._kept.keys() - set(names):
            del self._kept[gone]
        for name in names:
            if name not in self._kept:
                kept = _Kept(ServiceCertificate(name, self._random.random))
                await self._recall(kept)
                self._kept[name] = kept

    async def _recall(self, kept: _Kept) -> None:
        """Take over what an earlier run left in the files, if that can be used."""
        try:
            found = await self._threads.run(partial(_stored, self._files, kept.plan.service), timeout_s=WORK_S)
        except (OSError, TimeoutError, NotOurCertificate) as error:
            _log.warning("certificate_not_read", service=kept.plan.service, because=cause_of(error))
            return
        if found is None:
            return
        kept.files, read = found
        now, wall = self._clock.monotonic(), self._clock.wall()
        if read.not_after <= wall:
            return
        issued_at = now - (wall - read.not_before - BACKDATED_S)
        kept.plan.holds(
            HeldCertificate(read.serial, read.issuer, issued_at, now + read.not_after - wall, read.not_after)
        )
        if not self._roots.roots:
            self._roots.told(kept.files.bundle.decode("ascii", "replace"))

    async def _poll(self) -> None:
        """Ask the registry for its authority, and whether a certificate is denied."""
        view = await self._requests.authority()
        now = self._clock.monotonic()
        if view is not None:
            self._lifetime_s = view.lifetime_seconds
            self._hear_roots(view.bundle)
            for kept in self._kept.values():
                kept.plan.authority_is(view.issuer, now)
            await self._hear_denied(view)
        self._poll_at = now + poll_s(self._lifetime_s) * (0.8 + 0.4 * self._random.random())

    def _hear_roots(self, bundle: str, *, again: bool = True) -> None:
        if self._roots.told(bundle, again=again):
            _log.info("trusted_roots_changed", roots=len(self._roots.roots))

    async def _hear_denied(self, view: AuthorityView) -> None:
        if view.denied_version == self._denied_version:
            return
        held = [(kept, kept.plan.held) for kept in self._kept.values() if kept.plan.held is not None]
        answers = [await self._requests.is_denied(one.serial) if view.denied else False for _, one in held]
        for (kept, _), denied in zip(held, answers, strict=True):
            if denied:
                kept.plan.is_denied(self._clock.monotonic())
        if None not in answers:
            self._denied_version = view.denied_version

    async def _renew(self, kept: _Kept) -> None:
        """Get a certificate for a new key, and write both."""
        plan, now = kept.plan, self._clock.monotonic()
        reason = plan.reason(now)
        problem = await self._renewed(kept)
        self.outcomes["failed" if problem else "renewed"] += 1
        if not problem:
            plan.renewals += 1
            self._thinning.succeeded(now)
            _log.info("certificate_written", service=plan.service, reason=reason, renews_in_s=round(plan.wait_s(now)))
            return
        plan.failed(problem, self._clock.monotonic())
        times = self._thinning.failed(problem, now)
        if times is not None:
            _log.warning("certificate_not_renewed", service=plan.service, because=problem, times=times)

    async def _renewed(self, kept: _Kept) -> str:
        """Return why there is no new certificate; "" when there is one."""
        service = kept.plan.service
        try:
            pair: KeyAndRequest = await self._threads.run(partial(new_key_and_request, service), timeout_s=WORK_S)
            asked_at = self._clock.monotonic()
            view, problem = await self._requests.certificate(service, pair.request)
            if view is None:
                return problem
            self._hear_roots(view.bundle, again=False)
            files = StoredFiles(view.certificate.encode(), pair.key, self._roots.pem)
            read = await self._threads.run(
                partial(_written, self._files, service, files, view.spiffe_id), timeout_s=WORK_S
            )
        except NotOurCertificate as error:
            return f"the certificate that the registry sent cannot be used: {error}"
        except (OSError, TimeoutError, NoThread) as error:
            return f"{self._files.path}: {cause_of(error)}"
        kept.files, kept.untold, kept.tell_at = files, True, 0.0
        kept.plan.holds(_held(view, read, asked_at))
        return ""

    async def _rewrite(self, kept: _Kept) -> None:
        """Write the files again, with the roots that are trusted now."""
        held = kept.files
        assert held is not None  # the caller's condition
        files = held._replace(bundle=self._roots.pem)
        try:
            await self._threads.run(partial(self._files.write, kept.plan.service, files), timeout_s=WORK_S)
        except (OSError, TimeoutError, NoThread) as error:
            kept.notice_problem = f"{self._files.path}: {cause_of(error)}"
            return
        kept.files, kept.untold, kept.tell_at = files, True, 0.0

    async def _tell(self, kept: _Kept) -> None:
        """Tell the program of a service that its files changed; when that fails, again after a while."""
        if self._clock.monotonic() < kept.tell_at:
            return
        service = kept.plan.service
        kept.notice_problem = await told(self._notice, service, self._files.path_of(service), self._threads)
        if not kept.notice_problem:
            kept.untold, kept.told_failures = False, 0
            return
        kept.told_failures += 1
        kept.tell_at = self._clock.monotonic() + RETRY.wait_s(kept.told_failures, self._random.random())
        _log.warning("certificate_notice_failed", service=service, because=kept.notice_problem)

    async def _in_turn(self, work: Awaitable[None]) -> None:
        async with self._slots:
            await work

    def _wait_s(self) -> float:
        now = self._clock.monotonic()
        waits = [self._poll_at - now, MOST_WAIT_S]
        waits += [kept.plan.wait_s(now) for kept in self._kept.values()]
        waits += [kept.tell_at - now for kept in self._kept.values() if kept.untold]
        return max(LEAST_WAIT_S, min(waits))


def _stored(files: CertificateFiles, service: str) -> tuple[StoredFiles, ReadCertificate] | None:
    found = files.read(service)
    return None if found is None else (found, read_pair(found.chain, found.key))


def _written(files: CertificateFiles, service: str, content: StoredFiles, spiffe_id: str) -> ReadCertificate:
    """Write what the registry sent, once it is certain to be for our key. Raises NotOurCertificate, OSError."""
    read = read_pair(content.chain, content.key)
    if spiffe_id not in read.uris:
        raise NotOurCertificate("it does not say what the answer says")
    files.write(service, content)
    return read


def _held(view: CertificateView, read: ReadCertificate, asked_at: float) -> HeldCertificate:
    return HeldCertificate(read.serial, read.issuer, asked_at, asked_at + view.expires_in_seconds, read.not_after)


def _iso(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="seconds")
