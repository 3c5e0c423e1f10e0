"""The composition root of one replica: builds its parts, wires them, and starts and stops them in order.

It decides nothing but that order.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from aiohttp import web

from registry_core.api.app import build_app, http_logger
from registry_core.api.certificates import REFRESH_S, Certificates, authority_of
from registry_core.api.connections import ConnectionLimits, Connections, wait_to_be_accepted
from registry_core.api.deployment import Deployment
from registry_core.api.drains import Drains
from registry_core.api.first_delivery import FirstDelivery
from registry_core.api.follow_tree import FollowTree
from registry_core.api.http_connection import AtOnce, serving
from registry_core.api.hub import HubLimits, WatchHub
from registry_core.api.lookup_operations import Policy
from registry_core.api.openapi import description
from registry_core.api.operations import Operations
from registry_core.api.peer_watch import LOOK_EVERY_S, PeerWatch
from registry_core.api.peers import Peers
from registry_core.api.ready_lookups import ReadyLookups
from registry_core.api.ready_writes import ReadyWrites, writes_of
from registry_core.api.refusal_log import RefusalLog
from registry_core.api.request_counts import request_counts
from registry_core.api.request_limits import RequestLimits
from registry_core.api.request_notes import RequestNotes
from registry_core.api.routes import Handlers
from registry_core.api.spoken_clients import SpokenClients
from registry_core.api.standstill import WriteGate
from registry_core.api.steps import Reception, steps
from registry_core.api.usage import AgentReports
from registry_core.api.usage_metrics import add_usage_metrics
from registry_core.api.view_measures import ViewMeasures
from registry_core.api.watch_counts import WatchCounts
from registry_core.api.write_access import WriteAccess
from registry_core.descriptors import descriptor_limit
from registry_core.domain.selection import Random
from registry_core.domain.standstill import TURN_EVERY_S
from registry_core.installed import VERSION
from registry_core.listener import Listening, listening
from registry_core.ports.audit import NoAudit
from registry_core.ports.clock import Clock, SystemClock
from registry_core.repeating import repeat
from registry_core.replica_access import ReplicaAccess
from registry_core.replica_audit import EXCHANGE_EVERY_S, audit_of, exchange_of
from registry_core.replica_descriptors import replica_budget
from registry_core.replica_health import UPSTREAM, ReplicaHealth
from registry_core.replica_log_levels import use_settings_again
from registry_core.replica_metrics import add_metrics
from registry_core.replica_settings import LISTEN, ReplicaSettings
from registry_core.replica_store import source_of
from registry_core.replica_sweep import ReplicaSweep
from registry_core.resolution import Resolver
from registry_core.security.replica_tls import ReplicaTls
from registry_core.security.secret_files import CHECK_EVERY_S
from registry_core.security.tls_port import HandshakeLimits
from registry_core.setting_values import MOST_SHOWN
from registry_core.settings import Listen
from registry_core.store.redis.tls import keep_certificates
from registry_core.supervision import Background, end
from registry_core.telemetry.exposition import Exposition
from registry_core.telemetry.metrics import ReplicaMetrics
from registry_core.telemetry.system import SystemSampler
from registry_core.traces import Traces
from registry_core.watch.limits import SYNC_EVERY_S

if TYPE_CHECKING:
    from registry_core.follow.follower import FollowingParts

SAMPLE_EVERY_S: Final = 5.0
# How long requests in flight may take to finish at shutdown; part of the 2 s in which a replica stops.
SHUTDOWN_S: Final = 1.0
# Timers may fire a little early; no loop may spin for that.
_LEAST_WAIT_S: Final = 0.01

log = structlog.get_logger()


class Replica:
    """One registry replica. `start` it, and `close` it."""

    def __init__(
        self,
        settings: ReplicaSettings,
        *,
        clock: Clock | None = None,
        random: Random | None = None,
        hub_limits: HubLimits | None = None,
        connection_limits: ConnectionLimits | None = None,
    ) -> None:
        budget = replica_budget(descriptor_limit(), settings.redis, with_tls=settings.tls.pair is not None)
        self.settings = settings = msgspec.structs.replace(settings, redis=budget.redis)
        self._clock = clock if clock is not None else SystemClock()
        chance = random if random is not None else secrets.SystemRandom()
        self.metrics = ReplicaMetrics()
        self._background = Background(self._clock)
        self.store, self.view, self.follower = source_of(
            settings, self._clock, chance, self.metrics, self._background, hub=lambda: self.hub
        )
        self._traces = Traces(settings.traces, "vertice-registry", settings.zone, self._clock)
        self.hub = WatchHub(self.view, hub_limits, WatchCounts(self.metrics.watch_lag.of()))
        self._measures = ViewMeasures(
            self.view, self.metrics.lookups, self._clock, least_lookups=settings.health.least_lookups
        )
        self._first = FirstDelivery(self.view)
        self._authority = authority_of(settings.authority, self._clock)
        self.certificates = Certificates(settings.authority, self._authority, self.store.denials, self._clock)
        self.limits = RequestLimits(settings.limits, settings.terms, self.view, self._clock)
        self.tls = ReplicaTls(
            settings.tls,
            self._clock,
            limits=HandshakeLimits(connections=budget.handshakes),
            is_denied=self.certificates.denied.is_denied,
            is_shared=self.limits.proxies.trusts,
        )
        self._callers = ReplicaAccess(
            settings, self._clock, store_lets_once=self.store.lets_once, certified=self.tls.mutual.certified
        )
        unbelieved, report = lambda: self.limits.unbelieved, self._callers.report
        self.limits.spoken_for = SpokenClients(self._callers.keyring, self.tls.mutual.certified, self._clock).origin
        self._access = WriteAccess(self.view, self._clock, settings.terms.ttl_s, secrets=report, unbelieved=unbelieved)
        self._sampler = SystemSampler()
        self._connections = Connections(
            connection_limits or ConnectionLimits(connections=budget.connections), is_shared=self.limits.proxies.trusts
        )
        self._gate = WriteGate(self.metrics, waiting=lambda: wait_to_be_accepted(self._server))
        refusals = RefusalLog(self._clock)
        self.audit = audit_of(settings.audit, self._clock, self._background)
        audit = self.audit or NoAudit()
        operations = Operations(
            self.store,
            self.view,
            Policy(
                settings.rules,
                settings.terms,
                settings.zone,
                settings.when_none_pass,
                serves_loopback_alone=settings.listen.is_loopback,
                denies_while_warming=settings.denies_while_warming,
            ),
            metrics=self.metrics,
            gate=self._gate,
            refusals=refusals,
            resolver=Resolver(),
            random=chance,
            clock=self._clock,
        )
        self._peers = Peers(settings.peers, settings.client_tls, lambda: self._callers.keyring.shared, self._clock)
        self.reports = AgentReports(
            self.hub,
            self.view,
            self._peers,
            settings.usage,
            knows_all=lambda: (
                not operations.may_lack()
                and (bool(settings.peers) or (settings.redis is None and not settings.follow.urls))
            ),
            clock=self._clock,
            background=self._background,
        )
        operations.asked = self.reports.looked_up
        self._peer_watch = PeerWatch(self._peers, self._clock)
        self.tree = FollowTree(self._peers.id, self._clock, tuple if self.follower is None else self.follower.path)
        self.reports.followed = self.tree.usage
        self.health = ReplicaHealth(
            self.store,
            self.view,
            self._measures,
            self._access,
            sampler=self._sampler,
            background=self._background,
            limits=settings.health,
            audit=audit,
            peers=self._peer_watch,
            watchers=lambda: len(self.hub),
            tls=self.tls.health,
            authority_problem=lambda: self._authority.problem,
            followers=self.tree.health,
            follow=lambda: None if self.follower is None else self.follower.health(),
            store_kind=UPSTREAM if settings.follow.urls else "memory" if settings.redis is None else "redis",
            clock=self._clock,
        )
        drains = Drains(self.view, self.hub, self._peers.id, unknown=self.store.unknown)
        deployment = Deployment(
            self.health.view,
            self.view,
            self._peers,
            lambda: request_counts(self.metrics.requests()),
            version=VERSION,
            zone=settings.zone,
            clock=self._clock,
            tree=self.tree,
        )
        handlers = Handlers(
            operations,
            self.view,
            self.hub,
            drains,
            audit=self.audit,
            reports=self.reports,
            first=self._first,
            peers=self._peers,
            certificates=self.certificates,
            unread=self.limits.unread,
            clock=self._clock,
            health=self.health.view,
            deployment=deployment,
            tree=self.tree,
            exposition=Exposition(self.metrics.registry, self._clock).text,
            openapi=description(VERSION),
        )
        notes = RequestNotes(self._access, refusals, audit, self._clock)
        every_step = steps(self._gate, audit, self._callers.authenticator, self.limits)
        reception = Reception(every_step, self.limits, notes, self.metrics, settings.zone)
        self.app = build_app(
            operations,
            handlers,
            reception,
            first=self._first,
            passing=None if self.follower is None else self.follower.passing,
        )
        self.ready = ReadyLookups(operations, handlers.catalogs, self.view, reception, random=chance, clock=self._clock)
        self.writes = ReadyWrites(writes_of(operations, self.limits), self.view, reception, self._clock)
        if self.follower is not None:
            self._follow(self.follower, operations, drains, deployment)
        self._runner: web.AppRunner | None = None
        self._server: Listening | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.sweeping = ReplicaSweep(self.store, self._access, self.health, self.metrics, settings.terms)
        add_usage_metrics(self.metrics, self.reports)
        add_metrics(
            self,
            version=VERSION,
            measures=self._measures,
            access=self._access,
            callers=self._callers,
            refused=notes.refused,
            audit=audit,
            peers=self._peers,
            connections=self._connections,
            sampler=self._sampler,
            background=self._background,
            clock=self._clock,
        )

    def _follow(self, follower: FollowingParts, operations: Operations, drains: Drains, deployment: Deployment) -> None:
        """Make this the replica that `follower` is a part of."""
        operations.lacking = follower.view.lacking
        follower.add_metrics(self.metrics)
        self.app.on_response_prepare.append(follower.say_age)
        self.ready.said = follower.said
        self.writes.usable = lambda: False  # the registry carries them out
        follower.join(
            self._peers.id,
            gate=self._gate,
            hub=self.hub,
            drains=drains,
            agents=self.reports,
            summary=deployment.own,
        )
        deployment.above = follower.deployment

    async def start(self) -> None:
        """Listen, and start everything behind it. Raises CannotListen, and SettingsError from the store and from TLS.

        Requests that arrive before the store has delivered its first snapshot are answered as warming.
        """
        self._traces.start(self._background)
        self.health.begin()
        self._first.begin()
        self._runner = web.AppRunner(self.app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        try:
            await self.tls.load()
            await self._authority.start()
            await self._peers.start()
            if self.audit is not None:
                await self.audit.start()
                exchange = exchange_of(self.audit, self._peers)
                self._run("audit heads", exchange, lambda: EXCHANGE_EVERY_S)
            elif not self.settings.listen.is_loopback:
                log.info("audit_off", because="no REGISTRY_AUDIT: who writes and who is refused is not kept")
            await self._runner.setup()
            self._server = await self._listen(self._runner)
            self._tasks += self.tls.start(self._background)
            if self._peers.tls is not None:
                self._tasks.append(self._background.keep("peers' certificates", self._peers.tls.run))
            self._run("standstill", self._gate.turn, lambda: TURN_EVERY_S, at_once=True)
            self._run("sync", self._sync, self._next_sync_s)
            self._run("sample", self._sample, lambda: SAMPLE_EVERY_S, at_once=True)
            if self.settings.redis is not None and self.settings.redis.access.tls:
                keeping = partial(keep_certificates, self.settings.redis)
                self._tasks.append(self._background.keep("certificates of the store", keeping))
            if self._callers.files.paths:
                self._run("secrets", self._callers.files.refresh, lambda: CHECK_EVERY_S)
            if self.settings.peers:
                self._run("peers", self._peer_watch.look, lambda: LOOK_EVERY_S)
            if self.follower is not None:
                await self.follower.start()
            await self.store.start(self.view)
            if self.follower is None:
                self._run("sweep", self.sweeping.sweep, self.sweeping.next_s)
            self._run("authority", self.certificates.refresh, lambda: REFRESH_S, at_once=True)
        except BaseException:
            await self.close()
            raise
        if unknown := self.settings.unknown:
            log.warning("settings_unknown", names=unknown[:MOST_SHOWN], count=len(unknown))
        self._callers.warn()
        log.info("replica started", listen=str(self.listen), state=self.view.state.value)

    def reload(self) -> None:
        """Log at the levels of the settings again, without waiting for their file."""
        again = partial(use_settings_again, self.settings.log_level, self.settings.log_level_file)
        self._background.begin("log levels", again)

    async def close(self) -> None:
        """Stop everything: accept no connections, end streams, finish requests. Safe to call twice."""
        if self.follower is not None:
            await self.follower.leave()
        # First, so that load balancers and readers go elsewhere while requests in flight are finished.
        self.hub.close(self.settings.peers)
        if self._server is not None:
            self._server.close()
        await end(self._tasks)
        self._tasks.clear()
        if self._runner is not None:
            await self._runner.cleanup()
            await self._connections.end()
        if self._server is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SHUTDOWN_S):
                    await self._server.wait_closed()
            self._server = None
        if self.audit is not None:
            await self.audit.close()
        await self._peers.close()
        await self.store.close()
        if self.follower is not None:
            await self.follower.close()
        await self._traces.close()
        await self._background.close()

    @property
    def listen(self) -> Listen:
        """The listening address, with the port that the system chose when the setting was 0."""
        if self._server is None or not self._server.sockets:
            return self.settings.listen
        return Listen(self.settings.listen.host, self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """The URL of this replica, with its listening address."""
        return f"{self.tls.scheme}://{self.listen}"

    async def _listen(self, runner: web.AppRunner) -> Listening:
        server = runner.server
        assert server is not None  # set by setup()
        protocols = self.tls.guarding(
            serving(self._connections, server, http_logger(), AtOnce(self.ready.answer, self.writes.begin))
        )
        return await listening(protocols, self.settings.listen, setting=LISTEN.name)

    # -- background loops

    def _run(
        self, name: str, work: Callable[[], Awaitable[None]], every_s: Callable[[], float], *, at_once: bool = False
    ) -> None:
        repeated = partial(repeat, name, work, every_s, self._clock, at_once=at_once)
        self._tasks.append(self._background.keep(name, repeated))

    async def _sample(self) -> None:
        self._measures.look()
        await self._sampler.refresh()

    async def _sync(self) -> None:
        tick = self.hub.tick if self.follower is None else self.follower.watch.tell_if_due
        tick()
        self._access.see()
        self.reports.sample()

    def _next_sync_s(self) -> float:
        if self.follower is not None:
            return max(_LEAST_WAIT_S, self.follower.watch.due_s())
        # Tells readers of the end of warming at once.
        warm_in_s = self.view.warm_in_s()
        return min(SYNC_EVERY_S, max(_LEAST_WAIT_S, warm_in_s)) if warm_in_s > 0 else SYNC_EVERY_S
