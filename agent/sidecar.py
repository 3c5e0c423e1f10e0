"""The composition root of one agent: builds, connects, starts and stops its parts in order.

HTTP and DNS start first, so that an early lookup gets a proper error; then the watch, then the registrations. On
shutdown the registrations end first. Nothing is decided here.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from aiohttp import web

from agent.certificates.part import begin_certificates
from agent.checks.probes import CheckProbes
from agent.descriptors import ENOUGH, budget
from agent.hosts.connecting import BookResolver
from agent.hosts.fallback_hosts import FallbackHosts
from agent.hosts.machine_files import machine_names
from agent.hosts.own_names import OwnNames
from agent.http.about import About
from agent.http.check_api import CheckReports
from agent.http.hosts import AcceptedHosts
from agent.http.local_api import LocalApi, http_logger
from agent.http.lookups import Lookups
from agent.http.metrics import AgentMetrics
from agent.http.own_machine import LocalCallers
from agent.namespace import Namespace, end_when_left_behind
from agent.registration.drain import OperatorDrain
from agent.registration.identity import StartTime
from agent.registration.own_in_view import sight_in
from agent.registration.session import Session
from agent.registration.session_settings import session_settings
from agent.registries.client import RegistryClient
from agent.registries.proven import ProvenKeeper
from agent.registries.srv import RegistryLookup
from agent.registries.transport import registry_session, registry_tls
from agent.settings.reload import Reloader
from agent.settings.reload_plan import ReloadPlan
from agent.settings.settings import AgentSettings
from agent.settings.table import DNS_LISTEN, HTTP_LISTEN
from agent.usage.part import reporter_of
from agent.view.fallback import Fallback
from agent.view.last_run import LastRun
from agent.view.loader import ServiceLoader
from agent.view.snapshot_writer import SnapshotKeeper
from agent.view.state_dir import StateDir
from agent.view.sync import WatchSync
from agent.view.view import AgentView
from dns.dns_settings import DnsSettings
from dns.forward_rules import ForwardRules
from dns.forwarding import Forwarder, ForwardLimits
from dns.listener import serve_dns
from dns.responder import Responder
from dns.tcp import TcpLimits
from registry_core.api.connections import ConnectionLimits, Connections
from registry_core.api.http_connection import AtOnce, serving
from registry_core.descriptors import descriptor_limit
from registry_core.listener import listening
from registry_core.ports.clock import Clock, SystemClock
from registry_core.security.sending import RequestSigner
from registry_core.setting_values import MOST_SHOWN
from registry_core.settings import Listen
from registry_core.supervision import Background, end
from registry_core.traces import Traces
from registry_core.upstreams.choice import DEFAULT_PACE
from registry_core.upstreams.pool import Upstreams
from registry_core.upstreams.probes import RegistryProbes
from registry_core.upstreams.requests import RegistryRequests, log_note

if TYPE_CHECKING:  # an agent without TLS does not load it
    from registry_core.security.tls_clients import ClientTls

TICK_S: Final = 1.0
# A tidy-up every minute, and the most services that one reads back after the fleet has become smaller.
TIDY_EVERY_TICKS: Final = 60
BACK_AT_ONCE: Final = 64
LAST_SAVE_S: Final = 1.0
SHUTDOWN_S: Final = 1.0
# The limit for background tasks to end, per wait: none of them does I/O on cancellation.
END_S: Final = 0.5
# Time limits for draining at shutdown: with a reachable registry, and with one known to be down.
FAREWELL_S: Final = 5.0
FAREWELL_AWAY_S: Final = 1.0
HTTP_LIMITS: Final = ConnectionLimits(header_s=10.0, unread_s=10.0, keepalive_s=30.0)

_log = structlog.get_logger(component="agent")


class Sidecar:
    """One agent, with `start` and `close`."""

    def __init__(
        self,
        settings: AgentSettings,
        *,
        read_again: Callable[[], AgentSettings] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`read_again` rereads the settings; without it they never change."""
        self.settings = settings
        self.reloader = None if read_again is None else Reloader(settings, read_again, self._apply)
        self._clock = clock if clock is not None else SystemClock()
        self._background = Background(self._clock)
        self._budget = budget(descriptor_limit(), checks=sum(len(spec.checks) for spec in settings.services))
        self._started = StartTime(self._clock.wall(), self._clock.monotonic())
        self._random = random.Random()  # noqa: S311 - only spreads load; not security-relevant
        self.fallback = Fallback(*settings.static_services)
        self.view = AgentView(
            self._clock,
            fallback=self.fallback,
            room=settings.view,
            own=frozenset(spec.claim.key.label for spec in settings.services),
            drain_srv_s=settings.drain_srv_s,
        )
        self._traces = Traces(settings.traces, "vertice-agent", settings.zone, self._clock)
        self.state = StateDir(Path(settings.state_dir)) if settings.state_dir else None
        self.keeper: SnapshotKeeper | None = None
        self._last_run = LastRun(self.state, settings.services)
        self.lookups = Lookups(
            self.view, zone=settings.zone, when_none_pass=settings.when_none_pass, random=self._random
        )
        self.dns_settings = DnsSettings(
            zone=settings.dns_zone,
            local_zone=settings.zone,
            when_none_pass=settings.when_none_pass,
            allow_networks=settings.dns_allow,
            rate_limit=settings.dns_rate_limit,
            reverse=settings.dns_reverse,
        )
        self.forwarder = self._new_forwarder(settings.dns_forward) if settings.dns_forward.forwards else None
        self.responder = Responder(self.view, self.dns_settings, self._random, self.forwarder, clock=self._clock)
        self.upstreams = Upstreams((), clock=self._clock, random=self._random, zone=settings.zone, pace=DEFAULT_PACE)
        self._names = OwnNames(
            self.forwarder,
            settings.dns_forward,
            self._new_forwarder,
            zone=settings.dns_zone,
            clock=self._clock,
            background=self._background,
            most_lookups=self._budget.lookups,
        )
        self.lookup = RegistryLookup(settings.registry_urls, self.upstreams, self._names.ask, self._random)
        self._connections = Connections(msgspec.structs.replace(HTTP_LIMITS, connections=self._budget.http))
        self.about = About(
            self.view,
            self.lookups,
            self.responder,
            self.upstreams,
            self.lookup,
            clock=self._clock,
            background=self._background,
            forwarder=self.forwarder,
            reloader=self.reloader,
        )
        self._signer = RequestSigner(settings.keys, self._clock, note=log_note)
        self._operator_drain = OperatorDrain()
        self.reporter = reporter_of(self, clock=self._clock, random=self._random)
        self._hosts = AcceptedHosts(settings.dns_zone, settings.local_port.hosts)
        self._api = LocalApi(
            self.lookups,
            self.view,
            self._operator_drain,
            CheckReports(lambda: self.session),
            callers=LocalCallers(lambda: self.settings.local_port.tokens),
            hosts=self._hosts,
            zone=settings.dns_zone,
            random=self._random,
            clock=self._clock,
            work=self.responder.work,
            about=self.about.report,
            health=self.about.health,
            exposition=AgentMetrics(self.about.samples, self._clock).exposition,
        )
        self.tls: ClientTls | None = None
        self.session: Session | None = None
        self.sync: WatchSync | None = None
        self._probe_for = CheckProbes(most=self._budget.checks, most_commands=self._budget.commands)
        self._fallback_hosts = FallbackHosts(self._names.book, lambda: sorted(self.fallback.hosts()), self.view.located)
        self.http_listen = settings.http_listen
        self.dns_listen = settings.dns_listen
        self._stack = contextlib.AsyncExitStack()

    def _new_forwarder(self, rules: ForwardRules) -> Forwarder:
        limits = ForwardLimits(in_flight=self._budget.forwarded)
        return Forwarder(rules, self._clock, limits, zone=self.dns_settings.zone, background=self._background)

    async def start(self) -> None:
        """Start everything, without waiting for others. Raises CannotListen when a port is not available."""
        self._stack.push_async_callback(self._background.close, END_S)  # last of all, for tasks not ended before
        self._stack.push_async_callback(self._traces.close)
        self._traces.start(self._background)
        try:
            await self._remember()
            await self._serve_dns()
            await self._serve_http()
            await self._follow_and_register()
        except BaseException:
            await self._stack.aclose()
            raise
        if (limit := descriptor_limit()) is not None and limit < ENOUGH:
            _log.warning("few_descriptors", limit=limit, enough=ENOUGH, budget=msgspec.structs.asdict(self._budget))
        if self.settings.ignored:
            _log.warning("settings_ignored", removed={setting.name: setting.why for setting in self.settings.ignored})
        if unknown := self.settings.unknown:
            _log.warning("settings_unknown", names=unknown[:MOST_SHOWN], count=len(unknown))
        _log.info(
            "agent_started",
            http=str(self.http_listen),
            dns=str(self.dns_listen),
            registries=self.settings.registry_urls,
            services=len(self.settings.services),
        )

    async def close(self) -> None:
        """Deregister the services while lookups continue, then stop everything. Bounded in time.

        If cancelled, it stops everything at once. Safe to call twice.
        """
        try:
            # In parallel with the drain, which must not wait for a disk.
            saving = self._background.begin("last snapshot", self._save)
            if self.session is not None:
                away = self.sync is None or self.sync.connected_to is None
                await self.session.drain(FAREWELL_AWAY_S if away else FAREWELL_S)
            await self.reporter.end()
            await asyncio.wait((saving,), timeout=LAST_SAVE_S)
        finally:
            await self._stack.aclose()
        _log.info("agent_ended")

    async def _save(self) -> None:
        if self.keeper is not None:
            await self.keeper.save(LAST_SAVE_S)

    # -- the parts, in order

    async def _remember(self) -> None:
        """Start from the state of the last run, if the disk answers in time."""
        if self.state is None:
            return
        self._stack.callback(self.state.close)
        if not await self._last_run.read():
            return
        self._signer.recall(self._last_run.proven)
        snapshot = self._last_run.snapshot
        if snapshot is not None:
            self.view.restore(snapshot, self._clock.wall())
            await self._names.recall(snapshot.instances, {spec.claim.key for spec in self._last_run.services})
            _log.info("snapshot_read", instances=len(snapshot.instances), age_s=round(self.view.age_s()))
        self.keeper = SnapshotKeeper(self.state, self.view, self._clock)

    async def _serve_dns(self) -> None:
        await self._names.start()
        self._stack.push_async_callback(self._names.close)
        where, most = self.settings.dns_listen, TcpLimits(connections=self._budget.dns_tcp)
        udp, tcp = await serve_dns(self.responder, where, most, setting=DNS_LISTEN.name)
        self._stack.push_async_callback(udp.close)
        self._stack.push_async_callback(tcp.close)
        self.dns_listen = Listen(where.host, udp.port)
        self._names.listens_on(where.host, udp.port)
        self.about.answers_on(udp, tcp, self._connections)

    async def _serve_http(self) -> None:
        where = self.settings.http_listen
        self._hosts.know_machine(await machine_names())
        runner = web.ServerRunner(self._api.server(), shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        self._stack.push_async_callback(self._connections.end)
        self._stack.push_async_callback(runner.cleanup)
        answering = runner.server
        assert answering is not None  # set by setup()
        protocols = serving(self._connections, answering, http_logger(), AtOnce(self._api.answer_at_once))
        server = await listening(protocols, where, "HTTP", setting=HTTP_LISTEN.name)
        self._stack.callback(server.close)
        self.http_listen = Listen(where.host, server.sockets[0].getsockname()[1])

    async def _follow_and_register(self) -> None:
        settings = self.settings
        hosts = self._names.book
        self.tls = tls = await registry_tls(settings.registry_urls, settings.tls, self._clock)
        if tls is not None:
            self.lookup.expect_with(tls.expect)
            self.about.certificate = tls.health
        session = registry_session(self._budget.registry, BookResolver(hosts), tls)
        http = await self._stack.enter_async_context(session)
        requests = RegistryRequests(http, self._signer)
        probes = RegistryProbes(requests, self.upstreams, self._clock, self._random)
        self._stack.push_async_callback(probes.close)
        client = RegistryClient(requests, self.upstreams, probes, self._clock)

        self.session = Session(
            self._last_run.services,
            client,
            settings=session_settings(settings, self._probe_for),
            clock=self._clock,
            random=self._random,
            hosts=hosts,
            start=msgspec.structs.replace(self._started, least_epoch=self._last_run.least_epoch),
            keep_epoch=self._last_run.keep_epoch,
            lease_granted=self.view.lease_granted,
            sight=partial(sight_in, self.view),
            shown=self.view.catalog.get,
            answer=self.view.use_own_instances,
            background=self._background,
        )
        self.view.subscribe(self.session.news)
        self.lookups.own = self.session.report
        self.sync = sync = WatchSync(
            requests,
            self.upstreams,
            probes,
            self.view,
            client,
            reassert=self.session.reassert,
            connected=self.session.retry,
            clock=self._clock,
            random=self._random,
            reporter=self.reporter,
        )
        self._operator_drain.join(self.session, client)
        loader = ServiceLoader(requests, self.view, registry=lambda: sync.connected_to, background=self._background)
        self._stack.push_async_callback(loader.close)
        self.view.fetcher, self.view.refresh, self.view.reread = loader.fetch, sync.hurry, loader.begin_anew
        self.about.join(self.session, sync, self.keeper, loader)
        keep = self._background.keep
        tasks = [
            keep("registry names", self.lookup.run),
            keep("probes", probes.run),
            keep("watch", sync.run),
            keep("tick", partial(self._tick, loader)),
            keep("locate", self._fallback_hosts.run),
        ]
        if tls is not None:
            tasks.append(keep("certificates", tls.run))
        if settings.follow_namespace:
            tasks.append(keep("namespace", partial(end_when_left_behind, Namespace(), TICK_S), ends=True))
        if self.keeper is not None and self.state is not None:
            proven = ProvenKeeper(self._signer, self.state.write_proven)
            tasks += [keep("snapshot", self.keeper.run), keep("proven registries", proven.run)]
        if self.reloader is not None:
            tasks.append(keep("reload", self.reloader.run))
        self.about.certificates = begin_certificates(keep, tasks, self, client, self._clock)
        self._stack.push_async_callback(end, tasks, END_S)
        self._stack.push_async_callback(self.session.close)
        self.session.start()

    # -- changes of settings

    def reload(self) -> None:
        """Reread the settings now, and repeat what failed, without waiting for either."""
        if self.reloader is not None:
            self.reloader.ask()
        if self.session is not None:
            self.session.retry()

    async def _apply(self, plan: ReloadPlan) -> None:
        """Switch to new settings, without interrupting lookups."""
        old, new, session = self.settings, plan.settings, self.session
        assert session is not None  # reloads start after everything else
        services = await self._last_run.with_ids(new.services)
        self.settings = new
        if (new.zone, new.when_none_pass) != (old.zone, old.when_none_pass):
            self.lookups.prefer(new.zone, new.when_none_pass)
            self.responder.prefer(new.zone, new.when_none_pass)
            self.upstreams.stands_in(new.zone)
        if new.static_services != old.static_services:
            self.fallback = Fallback(*new.static_services)
            self.view.use_fallback(self.fallback)
            self._fallback_hosts.changed()
        self._hosts.use(new.local_port.hosts)
        self._signer.keys = new.keys
        if new.registry_urls != old.registry_urls:
            self.lookup.use(new.registry_urls)
        self.view.draining.shown_s = new.drain_srv_s
        self.view.use_own(frozenset(spec.claim.key.label for spec in services))
        session.use(session_settings(new, self._probe_for), services)

    async def _tick(self, loader: ServiceLoader) -> None:
        for number in itertools.count(1):
            await asyncio.sleep(TICK_S)
            self.view.tick()
            self.responder.tick()
            if number % TIDY_EVERY_TICKS == 0:
                for label in self.view.tidy(BACK_AT_ONCE):
                    loader.begin(label)
