"""The composition root of one agent: builds the parts, joins them, starts and ends them in order.

The faces come up first, so that a lookup that is too early is told so instead of nothing; then the
watch, then the registrations. At the end the registrations go first. Nothing is decided here.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import logging
import random
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
import structlog
from aiohttp import web

from agent.checks.probes import CheckProbes, check_session
from agent.dns_workers.pool import DnsWorkers
from agent.http.about import About
from agent.http.check_api import CheckReports
from agent.http.local_api import LocalApi
from agent.http.lookups import Lookups
from agent.http.metrics import AgentMetrics
from agent.namespace import end_when_left_behind
from agent.registration.decisions import Timings
from agent.registration.drain import OperatorDrain
from agent.registration.identity import StartTime
from agent.registration.session import Session, SessionSettings
from agent.registration.sight import sight_in
from agent.registries.choice import DEFAULT_PACE
from agent.registries.client import CONNECTIONS, RegistryClient
from agent.registries.pool import Upstreams
from agent.registries.probes import RegistryProbes
from agent.registries.srv import RegistryLookup
from agent.settings.reload import Reloader
from agent.settings.reload_plan import ReloadPlan
from agent.settings.settings import AgentSettings
from agent.view.fallback import Fallback
from agent.view.last_run import LastRun
from agent.view.loader import ServiceLoader
from agent.view.snapshot_writer import SnapshotKeeper
from agent.view.state_dir import StateDir
from agent.view.sync import WatchSync
from agent.view.view import AgentView
from dns.cookies import SECRET_LENGTH
from dns.forward_rules import ForwardRules
from dns.forwarding import Forwarder
from dns.responder import DnsSettings, Responder
from dns.tcp import TcpServer, serve_tcp
from dns.udp import UdpServer, serve_udp
from registry_core.api.connections import ConnectionLimits, Connections
from registry_core.errors import CannotListen
from registry_core.ports import Clock, SystemClock
from registry_core.resolution import HostResolver
from registry_core.settings import Listen

TICK_S: Final = 1.0
# A tidy-up every minute, and so many services then that a fleet which has become smaller has room for again.
TIDY_EVERY_TICKS: Final = 60
BACK_AT_ONCE: Final = 64
LOCATE_EVERY_S: Final = 60.0
LAST_SAVE_S: Final = 1.0
SHUTDOWN_S: Final = 1.0
# How long a farewell may take: with the registry there, and when it is known to be away.
FAREWELL_S: Final = 5.0
FAREWELL_AWAY_S: Final = 1.0
HTTP_LIMITS: Final = ConnectionLimits(connections=1000, first_request_s=10.0, unread_s=10.0, keepalive_s=30.0)

_log = structlog.get_logger(component="agent")


class Sidecar:
    """One agent. `start` it, and `close` it."""

    def __init__(
        self,
        settings: AgentSettings,
        *,
        read_again: Callable[[], AgentSettings] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`read_again` reads the settings anew; without it they stay as they are."""
        self.settings = settings
        self.reloader = None if read_again is None else Reloader(settings, read_again, self._apply)
        self._clock = clock if clock is not None else SystemClock()
        self._started = StartTime(self._clock.wall(), self._clock.monotonic())
        self._random = random.Random()  # noqa: S311 - spreads load; nothing secret hangs on it
        self.fallback = Fallback(*settings.static_services)
        self.view = AgentView(
            self._clock,
            fallback=self.fallback,
            room=settings.view,
            own=frozenset(spec.claim.key.label for spec in settings.services),
        )
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
            # Whoever forges senders chooses their ports, and so asks all processes: together they keep the limit.
            rate_limit=-(-settings.dns_rate_limit // settings.dns_workers),
        )
        self.forwarder = Forwarder(settings.dns_forward, self._clock) if settings.dns_forward.forwards else None
        cookie_secret = secrets.token_bytes(SECRET_LENGTH)
        self.responder = Responder(
            self.view,
            self.dns_settings,
            self._random,
            self.forwarder,
            clock=self._clock,
            cookie_secret=cookie_secret,
        )
        self.workers = DnsWorkers(self.view, self.fallback, self.forwarder, cookie_secret)
        self.upstreams = Upstreams((), clock=self._clock, random=self._random, zone=settings.zone, pace=DEFAULT_PACE)
        # Names of registries are looked up by the same rules; by the system's resolvers when nothing is forwarded.
        asker = self.forwarder if self.forwarder is not None else Forwarder(ForwardRules(), self._clock)
        self._asker = asker
        self.lookup = RegistryLookup(settings.registry_urls, self.upstreams, asker.look_up, self._random)
        self._connections = Connections(HTTP_LIMITS)
        self.about = About(
            self.view,
            self.lookups,
            self.responder,
            self.upstreams,
            self.lookup,
            clock=self._clock,
            forwarder=self.forwarder,
            reloader=self.reloader,
        )
        self._operator_drain = OperatorDrain()
        self._api = LocalApi(
            self.lookups,
            self.view,
            self._connections,
            self._operator_drain,
            CheckReports(lambda: self.session),
            random=self._random,
            clock=self._clock,
            about=self.about.report,
            health=self.about.health,
            exposition=AgentMetrics(self.about.samples).exposition,
        )
        self.session: Session | None = None
        self.sync: WatchSync | None = None
        self._client: RegistryClient | None = None
        self._loader: ServiceLoader | None = None
        self._session_settings: Callable[[AgentSettings], SessionSettings] | None = None
        self._fallback_changed = asyncio.Event()
        self.http_listen = settings.http_listen
        self.dns_listen = settings.dns_listen
        self._stack = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Start everything; wait for nobody. Raises CannotListen when a port cannot be had."""
        try:
            await self._remember()
            await self._serve_dns()
            await self._serve_http()
            await self._follow_and_register()
        except BaseException:
            await self._stack.aclose()
            raise
        _log.info(
            "agent_started",
            http=str(self.http_listen),
            dns=str(self.dns_listen),
            registries=self.settings.registry_urls,
            services=len(self.settings.services),
        )

    async def close(self) -> None:
        """Take the services out of the registry, while lookups go on, and end everything. Bounded in time.

        Cancelled, it ends everything at once. Safe to call twice.
        """
        try:
            if self.keeper is not None:
                await self.keeper.save(LAST_SAVE_S)
            if self.session is not None:
                away = self.sync is None or self.sync.connected_to is None
                await self.session.drain(FAREWELL_AWAY_S if away else FAREWELL_S)
        finally:
            await self._stack.aclose()
        _log.info("agent_ended")

    # -- the parts, in order

    async def _remember(self) -> None:
        """Begin with what the last run knew, if that can be had at once."""
        if self.state is None:
            return
        self._stack.callback(self.state.close)
        if not await self._last_run.read():
            return
        snapshot = self._last_run.snapshot
        if snapshot is not None:
            self.view.restore(snapshot, self._clock.wall())
            _log.info("snapshot_read", instances=len(snapshot.instances), age_s=round(self.view.age_s()))
        self.keeper = SnapshotKeeper(self.state, self.view, self._clock)

    async def _serve_dns(self) -> None:
        await self._asker.start()
        self._stack.push_async_callback(self._asker.close)
        where = self.settings.dns_listen
        # With port 0 the system chooses one for UDP, which may be taken for TCP: then another is tried.
        for attempt in range(20 if where.port == 0 else 1):
            try:
                udp: UdpServer = await serve_udp(
                    self.responder, where.host, where.port, shared=self.settings.dns_workers > 1
                )
            except OSError as error:
                raise _cannot_listen(where, "DNS", error) from error
            try:
                tcp: TcpServer = await serve_tcp(self.responder, where.host, udp.port)
            except OSError as error:
                udp.close()
                if where.port != 0 or attempt == 19:
                    raise _cannot_listen(where, "DNS over TCP", error) from error
                continue
            self._stack.callback(udp.close)
            self._stack.push_async_callback(tcp.close)
            self.dns_listen = Listen(where.host, udp.port)
            self._asker.listens_on(where.host, udp.port)
            self.about.answers_on(udp, self.workers)
            self.workers.start(self.settings.dns_workers - 1, where.host, udp.port, self.dns_settings)
            self._stack.push_async_callback(self.workers.close)
            return

    async def _serve_http(self) -> None:
        where = self.settings.http_listen
        runner = web.ServerRunner(self._api.server(), shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        self._stack.push_async_callback(self._connections.end)
        self._stack.push_async_callback(runner.cleanup)
        serve = runner.server
        assert serve is not None  # set by setup()
        try:
            server = await asyncio.get_running_loop().create_server(
                self._connections.guarding(serve), where.host, where.port, backlog=1024
            )
        except OSError as error:
            raise _cannot_listen(where, "HTTP", error) from error
        self._stack.callback(server.close)
        self.http_listen = Listen(where.host, server.sockets[0].getsockname()[1])

    async def _follow_and_register(self) -> None:
        settings = self.settings
        resolver = HostResolver()
        http = await self._stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, ttl_dns_cache=10, resolver=resolver),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "vertice-agent"},
            )
        )
        probes = RegistryProbes(http, self.upstreams, self._clock, self._random)
        self._stack.push_async_callback(probes.close)
        checks = await self._stack.enter_async_context(check_session(resolver))
        self._client = client = RegistryClient(http, self.upstreams, probes, self._clock, settings.token)

        probe_for = CheckProbes(checks, resolver)

        def session_settings(settings: AgentSettings) -> SessionSettings:
            return SessionSettings(
                timings=Timings(heartbeat_s=settings.heartbeat_s, initial_wait_s=settings.initial_wait_s),
                probe_for=probe_for,
                drain_confirm_s=settings.drain_confirm_s,
                drain_wait_s=settings.drain_wait_s,
            )

        self._session_settings = session_settings
        self.session = Session(
            self._last_run.services,
            client,
            settings=session_settings(settings),
            clock=self._clock,
            random=self._random,
            resolver=resolver,
            start=msgspec.structs.replace(self._started, least_epoch=self._last_run.least_epoch),
            keep_epoch=self._last_run.keep_epoch,
            lease_granted=self.view.lease_granted,
            sight=partial(sight_in, self.view),
        )
        self.view.subscribe(self.session.news)
        self.sync = sync = WatchSync(
            http,
            self.upstreams,
            probes,
            self.view,
            client,
            reassert=self.session.reassert,
            clock=self._clock,
            random=self._random,
            token=settings.token,
        )
        self._operator_drain.join(self.session, client)
        loader = ServiceLoader(http, self.view, registry=lambda: sync.connected_to, token=settings.token)
        self._loader = loader
        self._stack.push_async_callback(loader.close)
        self.view.fetcher, self.view.refresh = loader.fetch, sync.hurry
        self.about.join(self.session, sync, self.keeper, loader)
        tasks = [
            asyncio.create_task(work) for work in (self.lookup.run(), probes.run(), sync.run(), self._tick(loader))
        ]
        if settings.follow_namespace:
            tasks.append(asyncio.create_task(end_when_left_behind(TICK_S)))
        if self.keeper is not None:
            tasks.append(asyncio.create_task(self.keeper.run()))
        if self.reloader is not None:
            tasks.append(asyncio.create_task(self.reloader.run()))
        tasks.append(asyncio.create_task(self._locate(resolver)))
        self._stack.push_async_callback(_cancel, tasks)
        self._stack.push_async_callback(self.session.close)
        self.session.start()

    async def _locate(self, resolver: HostResolver) -> None:
        """Find the addresses of the host names that the fallback has, again and again."""
        while True:
            self._fallback_changed.clear()
            hosts = sorted(self.fallback.hosts())
            if hosts:
                self.view.located({host: await resolver.addresses(host) for host in hosts})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOCATE_EVERY_S if hosts else None):
                    await self._fallback_changed.wait()

    # -- other settings

    def reload(self) -> None:
        """Read the settings anew, now. What they change follows, and nothing is waited for."""
        if self.reloader is not None:
            self.reloader.ask()

    async def _apply(self, plan: ReloadPlan) -> None:
        """Go on with other settings. Nobody who asks notices."""
        old, new, session = self.settings, plan.settings, self.session
        assert session is not None  # reloads begin after everything else
        assert self._session_settings is not None
        services = await self._last_run.with_ids(new.services)
        self.settings = new
        if new.log_level != old.log_level:
            logging.getLogger().setLevel(new.log_level.upper())
        if (new.zone, new.when_none_pass) != (old.zone, old.when_none_pass):
            self.lookups.prefer(new.zone, new.when_none_pass)
            self.responder.prefer(new.zone, new.when_none_pass)
            self.workers.prefer(new.zone, new.when_none_pass)
            self.upstreams.stands_in(new.zone)
        if new.static_services != old.static_services:
            self.fallback = Fallback(*new.static_services)
            self.workers.use_fallback(self.fallback)
            self.view.use_fallback(self.fallback)
            self._fallback_changed.set()
        if new.token != old.token and self._client and self.sync and self._loader:
            self._client.use_token(new.token)
            self.sync.use_token(new.token)
            self._loader.use_token(new.token)
        if new.registry_urls != old.registry_urls:
            self.lookup.use(new.registry_urls)
        self.view.use_own(frozenset(spec.claim.key.label for spec in services))
        session.use(self._session_settings(new), services)

    async def _tick(self, loader: ServiceLoader) -> None:
        for number in itertools.count(1):
            await asyncio.sleep(TICK_S)
            self.view.tick()
            if number % TIDY_EVERY_TICKS == 0:
                for label in self.view.tidy(BACK_AT_ONCE):
                    loader.begin(label)


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _cannot_listen(where: Listen, what: str, error: OSError) -> CannotListen:
    known = {errno.EADDRINUSE: "the port is taken", errno.EACCES: "not allowed"}
    return CannotListen(f"cannot listen on {where} for {what}: {known.get(error.errno or 0, str(error))}")
