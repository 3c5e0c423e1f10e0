"""Applies the limits to requests: by client address before anything else is done, by instance once the body is read.

A request without room is answered with 429, or with 503 when the replica has too much to do. `LIMIT_OF` and `WORTH_OF`
say what each endpoint counts as; an endpoint that they do not name counts by its method.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

import structlog
from aiohttp import web
from cachetools import LRUCache

from registry_core.api.auth import API_KEY_HEADER, TOKEN_HEADER
from registry_core.api.clients import CLIENT
from registry_core.api.endpoints import Endpoint
from registry_core.api.instance_limits import Claimant, InstanceLimits
from registry_core.api.limit_settings import LimitSettings
from registry_core.api.limits import Allowance, RateLimiter
from registry_core.api.proxies import RequestOrigin, TrustedProxies
from registry_core.api.schemas import BeatBody, HeartbeatBody, RegisterBody, StatusBody
from registry_core.api.shedding import Shedding, Worth
from registry_core.api.unread import UnreadAnswers
from registry_core.api.view import ReplicaState, ReplicaView
from registry_core.domain.chain import VIA_HEADER
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.names import label_of
from registry_core.domain.records import InstanceKey, Status
from registry_core.errors import Forbidden, Overloaded, TooManyRequests, Unauthorized, Unavailable, VerticeError
from registry_core.ports.clock import Clock
from registry_core.telemetry.log_thinning import Thinning

REGISTER: Final = "register"
LOOKUP: Final = "lookup"
DEREGISTER: Final = "deregister"
STATUS: Final = "status"
FAILED_AUTH: Final = "failed-auth"
# The limits of endpoints that do not follow from their methods; None: no limit by address.
LIMIT_OF: Final[Mapping[str, str | None]] = {
    "heartbeat": None,  # a renewal is limited by instance alone
    "set_status": STATUS,
    "acknowledge": LOOKUP,
    "live": None,  # they cost less than a refusal, and who asks them would take that for the replica's end
    "ready": None,
}
_BY_METHOD: Final[Mapping[str, str]] = {"GET": LOOKUP, "DELETE": DEREGISTER}
# What endpoints are worth before their bodies are read; None: they are done at once, or must be seen to answer.
WORTH_OF: Final[Mapping[str, Worth | None]] = {
    "services": Worth.LIST,
    "catalog": Worth.LIST,
    "prometheus_targets": Worth.LIST,
    "watch": Worth.LIST,
    "heartbeat": Worth.RENEWAL,
    "set_status": Worth.DEPARTURE,
    "deregister": Worth.DEPARTURE,
    "deregister_instance": Worth.DEPARTURE,
}
# A registry that has just started empty is told of a whole fleet at once, perhaps through one address.
TIMES_WHILE_WARMING: Final = 10
# Credentials that were right are remembered by a keyed hash.
MAX_CREDENTIALS: Final = 10_000
# Refusals that are held back at once; more are answered without a pause.
MAX_HELD: Final = 1000
# Refusals of one limit and address share one line in the audit and the log now and then.
MAX_CAUSES: Final = 64
_UNLIMITED: Final = ""
_NOTHING_TO_SAY: Final[Mapping[str, str]] = {}
# Addresses that are named as proxies that are not trusted. Anybody can send such a header.
MAX_UNBELIEVED: Final = 8
_GUESSABLE: Final = (TOKEN_HEADER, API_KEY_HEADER, "Authorization")
_LEAVING: Final = frozenset({Status.DRAINING, Status.MAINTENANCE})

log = structlog.get_logger()

ALLOWANCE: Final = web.RequestKey("allowance", Allowance)
# Set for a refusal that repeats one that was noted lately.
REPEATED: Final = web.RequestKey("repeated", bool)


@lru_cache(maxsize=256)  # more than there are endpoints
def _terms_of(name: str, method: str, *, writes: bool) -> tuple[Worth | None, str]:
    """Return what requests of an endpoint are worth before their bodies are read, and their limit by address."""
    limit = LIMIT_OF.get(name, _BY_METHOD.get(method, REGISTER))
    return WORTH_OF.get(name, Worth.REGISTRATION if writes else None), limit or _UNLIMITED


def limit_of(endpoint: Endpoint) -> str | None:
    """Return the limit by address that requests of this endpoint count in."""
    return _terms_of(endpoint.name, endpoint.method, writes=endpoint.writes)[1] or None


def may_be_limited(endpoint: Endpoint) -> bool:
    """Return whether a request of this endpoint may be answered with 429."""
    return limit_of(endpoint) is not None or endpoint.writes


def worth_of(endpoint: Endpoint) -> Worth | None:
    """Return what requests of this endpoint are worth, as far as that is known without their bodies."""
    return _terms_of(endpoint.name, endpoint.method, writes=endpoint.writes)[0]


class RequestLimits:
    """The limits of one replica."""

    def __init__(self, settings: LimitSettings, terms: LeaseTerms, view: ReplicaView, clock: Clock) -> None:
        self.proxies = TrustedProxies(settings.trusted_proxies, settings.forwarded_header)
        self.shedding = Shedding(settings.max_requests)
        self.unread = UnreadAnswers(settings.max_unread, clock)
        self._header = settings.forwarded_header.value
        self._view = view
        self._clock = clock
        self._fresh_s = terms.ttl_s / 2
        self._pause_s = settings.pause_s
        self._held = 0
        rates = {
            REGISTER: settings.register,
            LOOKUP: settings.lookup,
            DEREGISTER: settings.deregister,
            STATUS: settings.status,
            FAILED_AUTH: settings.failed_auth,
        }
        self._limiters = {name: RateLimiter(name, rate) for name, rate in rates.items() if rate is not None}
        self._instances = InstanceLimits(
            settings.instance_registrations,
            settings.instance_heartbeats,
            heartbeat_s=terms.heartbeat_s,
            is_fresh=self._is_fresh,
        )
        self._keyed = hashlib.blake2b(key=secrets.token_bytes(16), digest_size=16)
        # Returns where a request comes from that a follower passes on; None when nobody may say so.
        self.spoken_for: Callable[[web.Request], RequestOrigin | None] = lambda _: None
        # Addresses that say that they forward for others, and are not believed.
        self.unbelieved: dict[str, None] = {}
        self._credentials: LRUCache[bytes, None] = LRUCache(MAX_CREDENTIALS)
        self._thinning = Thinning(causes=MAX_CAUSES)
        self.refused: Counter[str] = Counter(
            dict.fromkeys((*rates, "instance-registrations", "instance-heartbeats"), 0)
        )

    def arrived(self, request: web.Request) -> None:
        """Note in `request` which client sent it."""
        peer = request.remote or ""
        spoken = self.spoken_for(request) if VIA_HEADER in request.headers else None
        if spoken is not None:
            request[CLIENT] = spoken
            return
        if not self.proxies.trusts(peer):
            request[CLIENT] = self._direct(request, peer)
            return
        lines = request.headers.getall(self._header, ())
        request[CLIENT] = self.proxies.origin(peer, lines)

    def check(self, request: web.Request, endpoint: Endpoint) -> None:
        """Let a request through. Raises Overloaded, and TooManyRequests for an address that sends too many."""
        worth, name = _terms_of(endpoint.name, endpoint.method, writes=endpoint.writes)
        if worth is not None:
            self.shedding.check(worth)
        limited_as = request[CLIENT].limited_as
        if not limited_as:
            return
        now = self._clock.monotonic()
        if name == DEREGISTER:
            name = self._limit_for(request, endpoint)
        if (limiter := self._limiters.get(name)) is not None:
            times = TIMES_WHILE_WARMING if name == REGISTER and self._is_warming() else 1
            self._pass(request, limiter.take(limited_as, now, times=times), "from this address")
        self._check_guess(request, limited_as, now)

    def check_stray(self, request: web.Request) -> None:
        """Count a request for a path or a method that does not exist. Raises TooManyRequests."""
        limited_as = request[CLIENT].limited_as
        if limited_as and LOOKUP in self._limiters:
            allowance = self._limiters[LOOKUP].take(limited_as, self._clock.monotonic())
            self._pass(request, allowance, "from this address")

    def after_body(self, request: web.Request, endpoint: Endpoint, body: object) -> frozenset[int]:
        """Let a request with this body through; return which of a batch's heartbeats are too many.

        Those are for fresh leases, and need no renewal: a batch is for many, and is not refused for one of them.

        Raises Overloaded, and TooManyRequests for an instance that is registered, or renewed, too often.
        """
        match body:
            case RegisterBody(instance_id=str() as instance_id) if endpoint.name == "register":
                self._registers(request, body, instance_id)
            case HeartbeatBody():
                return self._renews(request, body)
            case StatusBody(status=status) if status not in _LEAVING:
                self.shedding.check(Worth.REGISTRATION)
            case _:
                pass
        return frozenset()

    def failed(self, request: web.Request, body: object, error: VerticeError) -> VerticeError:
        """Return the error to answer with, for a request with this body that failed with `error`."""
        now = self._clock.monotonic()
        limited_as = request[CLIENT].limited_as
        if isinstance(error, Unauthorized | Forbidden) and limited_as:
            guesses = self._limiters.get(FAILED_AUTH)
            if guesses is not None:
                allowance = guesses.take(limited_as, now)
                if not allowance.admitted:
                    error = self._too_many(request, allowance, "without a right, from this address,")
        if isinstance(error, Unavailable) and isinstance(body, RegisterBody) and body.instance_id is not None:
            self._instances.registration_failed(_claimant(request, body), now)
        if isinstance(error, TooManyRequests | Overloaded):
            allowance_now = request.get(ALLOWANCE)
            policy = allowance_now.policy if allowance_now is not None else type(error).__name__
            request[REPEATED] = self._thinning.failed(f"{policy} {limited_as}", now) is None
        return error

    def _direct(self, request: web.Request, peer: str) -> RequestOrigin:
        """Return the origin of a request from an address that no setting trusts.

        What forwards for others and is not trusted has one limit for all of them: on loopback as well, since they are
        not of this machine.
        """
        origin = self.proxies.direct(peer)
        headers = request.headers
        if "X-Forwarded-For" not in headers and "Forwarded" not in headers:
            return origin
        if peer not in self.unbelieved and len(self.unbelieved) < MAX_UNBELIEVED:
            self.unbelieved[peer] = None
            log.warning("proxy_not_trusted", peer=peer, setting="REGISTRY_TRUSTED_PROXIES")
        return origin if origin.limited_as else RequestOrigin(origin.address, f"{origin.address} for others")

    async def hold(self, error: VerticeError) -> None:
        """Hold a refusal by a limit back for a moment: who sends the next request at its end then sends few."""
        if isinstance(error, TooManyRequests) and self._pause_s and self._held < MAX_HELD:
            self._held += 1
            try:
                await asyncio.sleep(self._pause_s)
            finally:
                self._held -= 1

    def succeeded(self, request: web.Request) -> None:
        """Remember the credential of a request that was carried out: it is no guess."""
        given = _credential(request) if request[CLIENT].limited_as and FAILED_AUTH in self._limiters else None
        if given is not None and (digest := self._digest(given)) not in self._credentials:
            self._credentials[digest] = None

    @staticmethod
    def said(request: web.Request) -> Mapping[str, str]:
        """Return the headers that say what is left of a limit that is half used up, or more."""
        allowance = request.get(ALLOWANCE)
        return allowance.headers if allowance is not None and allowance.is_short else _NOTHING_TO_SAY

    def _limit_for(self, request: web.Request, endpoint: Endpoint) -> str:
        """Return the limit of a deregistration."""
        if endpoint.name == "deregister_instance":
            # The end of a drain is announced, and takes nothing from anybody: a fleet that stops is not held up.
            known = self._view.catalog.get(
                InstanceKey(label_of(request.match_info["service"][:64]), request.match_info["instance"])
            )
            if known is not None and known.status is Status.DRAINING:
                return STATUS
        return DEREGISTER

    def _check_guess(self, request: web.Request, limited_as: str, now: float) -> None:
        """Refuse a credential from an address that has sent many wrong ones, unless it has been right before.

        Without this exception one guesser would lock out everybody behind the same address. Without the refusal, the
        one right guess would still come through.
        """
        guesses = self._limiters.get(FAILED_AUTH)
        if guesses is None or guesses.has_room(limited_as, now):
            return
        given = _credential(request)
        if given is not None and self._digest(given) not in self._credentials:
            self._pass(request, guesses.take(limited_as, now), "without a right, from this address,")

    def _registers(self, request: web.Request, body: RegisterBody, instance_id: str) -> None:
        now, client = self._clock.monotonic(), request[CLIENT]
        if not (client.limited_as or self._instances.limits_registrations):
            return
        known = self._view.catalog.get(InstanceKey(label_of(body.service_name), instance_id))
        if known is not None and known.epoch == (body.epoch or 0) and client.limited_as and REGISTER in self._limiters:
            # A fleet that asserts what is registered already, after a failover, brings nothing new.
            times = TIMES_WHILE_WARMING if self._is_warming() else 1
            self._limiters[REGISTER].give_back(client.limited_as, now, times=times)
        taken = self._instances.registration(_claimant(request, body), now)
        if taken is not None:
            self._pass(request, taken, "for this instance")

    def _renews(self, request: web.Request, body: HeartbeatBody) -> frozenset[int]:
        if not self._instances.limits_heartbeats:
            return frozenset()
        now = self._clock.monotonic()
        if body.instances is None:
            if body.service_name is not None and body.instance_id is not None:
                taken = self._instances.heartbeat(_claimant(request, body), now)
                if taken is not None:
                    self._pass(request, taken, "for this instance")
                    self.shedding.check(Worth.RENEWAL_IN_TIME)  # it has a limit because its lease is fresh
            return frozenset()
        too_many, are_fresh = set(), True
        for number, beat in enumerate(body.instances):
            taken = None
            if beat.instance_id is not None:
                taken = self._instances.heartbeat(_claimant(request, beat), now)
            are_fresh = are_fresh and taken is not None
            if taken is not None and not taken.admitted:
                too_many.add(number)
        if are_fresh:
            self.shedding.check(Worth.RENEWAL_IN_TIME)
        self.refused["instance-heartbeats"] += len(too_many)
        return frozenset(too_many)

    def _pass(self, request: web.Request, allowance: Allowance, what: str) -> None:
        if not allowance.admitted:
            raise self._too_many(request, allowance, what)
        if ALLOWANCE not in request:
            request[ALLOWANCE] = allowance

    def _too_many(self, request: web.Request, allowance: Allowance, what: str) -> TooManyRequests:
        request[ALLOWANCE] = allowance
        self.refused[allowance.policy] += 1
        return TooManyRequests(
            f"more requests {what} than the limit {allowance.policy!r} allows: {allowance.limit}",
            retry_after_s=allowance.retry_after_s,
            example=str(allowance.limit),
        )

    def _is_fresh(self, key: InstanceKey, epoch: int | None) -> bool:
        known = self._view.catalog.get(key)
        if known is None or (epoch is not None and known.epoch != epoch):
            return False
        return self._view.ttl_remaining_s(key) > self._fresh_s

    def _is_warming(self) -> bool:
        return self._view.state is ReplicaState.WARMING

    def _digest(self, given: str) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(given.encode("utf-8", "surrogateescape"))
        return keyed.digest()


def _credential(request: web.Request) -> str | None:
    """Return the credential that can be guessed; signatures and certificates cannot."""
    return next((given for name in _GUESSABLE if (given := request.headers.get(name))), None)


def _claimant(request: web.Request, claim: RegisterBody | HeartbeatBody | BeatBody) -> Claimant:
    return Claimant(claim.service_name or "", claim.instance_id or "", claim.epoch, request[CLIENT].address)
