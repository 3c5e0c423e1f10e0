"""The composition root of one agent: builds the parts, joins them, starts and ends them in order.

The faces come up first, so that a lookup that is too early is told so instead of nothing; then the
watch, then the registrations. At the end the registrations go first. Nothing is decided here.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import random
import secrets
from pathlib import Path
from typing import Final

import aiohttp
import structlog
from aiohttp import web

from agent.about import About
from agent.blocking import in_thread
from agent.check_api import CheckReports
from agent.checks.probes import Probes, check_session
from agent.decisions import Timings
from agent.fallback import Fallback
from agent.identity import ID_DIGITS, identified
from agent.keeper import SnapshotKeeper
from agent.local_api import LocalApi, http_logger
from agent.lookups import Lookups
from agent.metrics import AgentMetrics
from agent.registry_client import CONNECTIONS, RegistryClient, Upstreams
from agent.resolving import HostResolver
from agent.session import Session, epoch_at
from agent.settings import AgentSettings
from agent.snapshot import Saved
from agent.state_dir import StateDir
from agent.sync import WatchSync
from agent.view import View
from dns.forwarding import Forwarder
from dns.responder import DnsSettings, Responder
from dns.tcp import TcpServer, serve_tcp
from dns.udp import UdpServer, serve_udp
from registry_core.api.connections import ConnectionLimits, Connections
from registry_core.errors import CannotListen
from registry_core.ports import Clock, SystemClock
from registry_core.settings import Listen

TICK_S: Final = 1.0
# The first answer is to come within a second of the start, whatever the disk does.
STATE_S: Final = 0.5
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

    def __init__(self, settings: AgentSettings, *, clock: Clock | None = None) -> None:
        self.settings = settings
        self._clock = clock if clock is not None else SystemClock()
        self._random = random.Random()  # noqa: S311 - spreads load; nothing secret hangs on it
        self.fallback = Fallback(*settings.elsewhere)
        self.view = View(self._clock, fallback=self.fallback)
        self.state = StateDir(Path(settings.state_dir)) if settings.state_dir else None
        self.keeper: SnapshotKeeper | None = None
        self._services = settings.services
        self._epoch: int | None = None  # None: what the clock says
        self.lookups = Lookups(
            self.view, zone=settings.zone, when_none_pass=settings.when_none_pass, random=self._random
        )
        dns_settings = DnsSettings(
            zone=settings.dns_zone,
            local_zone=settings.zone,
            when_none_pass=settings.when_none_pass,
            allow_networks=settings.dns_allow,
            rate_limit=settings.dns_rate_limit,
        )
        self.forwarder = Forwarder(settings.dns_forward, self._clock) if settings.dns_forward.forwards else None
        self.responder = Responder(self.view, dns_settings, self._random, self.forwarder, clock=self._clock)
        self.upstreams = Upstreams(settings.registry_urls)
        self._connections = Connections(HTTP_LIMITS)
        self.about = About(
            self.view, self.lookups, self.responder, self.upstreams, self._clock, forwarder=self.forwarder
        )
        self._api = LocalApi(
            self.lookups,
            self.view,
            self._connections,
            about=self.about.report,
            health=self.about.health,
            exposition=AgentMetrics(self.about.samples).exposition,
            also=CheckReports(lambda: self.session).routes(),
        )
        self.session: Session | None = None
        self.sync: WatchSync | None = None
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
        state = self.state
        if state is None:
            return
        self._stack.callback(state.close)

        def read() -> Saved | None:
            state.open()
            # A folder that another agent has is that one's: its ids are not ours.
            if state.is_held:
                self._identify(state)
            return state.read_snapshot()

        try:
            saved = await in_thread(read, name="read state", timeout_s=STATE_S)
        except TimeoutError:
            _log.warning("state_not_read", path=str(state.path), because=f"it took longer than {STATE_S:g} s")
            return
        if saved is not None:
            self.view.restore(saved, self._clock.wall())
            _log.info("snapshot_read", instances=len(saved.instances), age_s=round(self.view.age_s()))
        self.keeper = SnapshotKeeper(state, self.view, self._clock)

    def _identify(self, state: StateDir) -> None:
        """Take the ids and the epoch that are kept, and keep what is new. Blocks."""
        draws = iter(lambda: secrets.token_hex(ID_DIGITS // 2), "")
        kept = state.read_identity()
        self._services, identity = identified(
            self.settings.services, kept, epoch=epoch_at(self._clock.wall()), draws=draws
        )
        self._epoch = identity.epoch
        try:
            state.write_identity(identity)
        except OSError as error:
            _log.warning("identity_not_kept", path=str(state.path), because=error.strerror)

    async def _serve_dns(self) -> None:
        if self.forwarder is not None:
            await self.forwarder.start()
            self._stack.push_async_callback(self.forwarder.close)
        where = self.settings.dns_listen
        # With port 0 the system chooses one for UDP, which may be taken for TCP: then another is tried.
        for attempt in range(20 if where.port == 0 else 1):
            try:
                udp: UdpServer = await serve_udp(self.responder, where.host, where.port)
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
            if self.forwarder is not None:
                self.forwarder.listens_on(where.host, udp.port)
            return

    async def _serve_http(self) -> None:
        where = self.settings.http_listen
        runner = web.AppRunner(
            self._api.app(),
            access_log=None,
            logger=http_logger(),
            keepalive_timeout=HTTP_LIMITS.keepalive_s,
            shutdown_timeout=SHUTDOWN_S,
            auto_decompress=False,
        )
        await runner.setup()
        self._stack.push_async_callback(self._connections.end)
        self._stack.push_async_callback(runner.cleanup)
        serve = runner.server
        assert serve is not None  # set by setup()
        try:
            server = await asyncio.get_running_loop().create_server(
                self._connections.guarding(serve), where.host, where.port, backlog=256
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
        checks = await self._stack.enter_async_context(check_session(resolver))
        self.session = Session(
            self._services,
            RegistryClient(http, self.upstreams, settings.token),
            timings=Timings(heartbeat_s=settings.heartbeat_s, initial_wait_s=settings.initial_wait_s),
            probe_for=Probes(checks, resolver),
            clock=self._clock,
            random=self._random,
            resolver=resolver,
            drain_wait_s=settings.drain_wait_s,
            epoch=self._epoch,
            lease_granted=self.view.lease_granted,
        )
        self.sync = WatchSync(
            http,
            self.upstreams,
            self.view,
            reassert=self.session.reassert,
            random=self._random,
            token=settings.token,
        )
        self.about.join(self.session, self.sync, self.keeper)
        tasks = [asyncio.create_task(self.sync.run()), asyncio.create_task(self._tick())]
        if self.keeper is not None:
            tasks.append(asyncio.create_task(self.keeper.run()))
        if self.fallback.hosts():
            tasks.append(asyncio.create_task(self._locate(resolver)))
        self._stack.push_async_callback(_cancel, tasks)
        self._stack.push_async_callback(self.session.close)
        self.session.start()

    async def _locate(self, resolver: HostResolver) -> None:
        """Find the addresses of the host names that the fallback has, again and again."""
        while True:
            found = {host: await resolver.addresses(host) for host in sorted(self.fallback.hosts())}
            self.view.located(found)
            await asyncio.sleep(LOCATE_EVERY_S)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.view.tick()


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _cannot_listen(where: Listen, what: str, error: OSError) -> CannotListen:
    known = {errno.EADDRINUSE: "the port is taken", errno.EACCES: "not allowed"}
    return CannotListen(f"cannot listen on {where} for {what}: {known.get(error.errno or 0, str(error))}")
