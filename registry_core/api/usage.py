"""The reports of agents at one replica: takes them, and answers with what all replicas know.

A replica knows the agents whose watches it has. So the one that is asked asks its peers, and adds up; answers are made
once for all who ask within a second.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec
from aiohttp import web

from registry_core.api.auth import Caller
from registry_core.api.endpoints import JSON
from registry_core.api.hub import WatchHub
from registry_core.api.peers import Peers
from registry_core.api.queries import QueryParameters, boolean
from registry_core.api.usage_settings import UsageSettings
from registry_core.api.view import ReplicaView
from registry_core.api.watcher import Watcher
from registry_core.blocking import NoThread, Threads
from registry_core.bodies import decoded
from registry_core.domain.names import check_known_name, label_of
from registry_core.errors import Forbidden, Overloaded, ValidationError
from registry_core.ports.clock import Clock
from registry_core.security.identities import Role
from registry_core.security.rights import Right
from registry_core.supervision import Background
from registry_core.usage.asked import AskedNames
from registry_core.usage.book import UsageBook
from registry_core.usage.followed import FollowedUsage, with_followed
from registry_core.usage.ledger import AgentEntry, AgentLedger, LedgerLimits, ReplicaPart
from registry_core.usage.limits import SILENT_PERIODS
from registry_core.usage.merge import agents_view
from registry_core.usage.report import AgentReport, Face, agent_id_of
from registry_core.usage.table import UsageTable

# How old an answer may be that several share.
SHARED_S: Final = 1.0
# The part of one peer: all that its bounds allow, with names of usual lengths.
MAX_PART_BYTES: Final = 16 * 1024 * 1024
# Names that clients look up at this replica.
MOST_DIRECT: Final = 10_000
# Agents that are copied before other requests get a turn.
SLICE: Final = 64
# Sums are made beside the event loop, within this time, for so many requests in line.
COMPUTED_S: Final = 10.0
MOST_THREADS: Final = 4
MOST_IN_LINE: Final = 64
_SECONDS: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?", re.ASCII)
_ENCODER: Final = msgspec.json.Encoder()
T = TypeVar("T")


class Shared(Generic[T]):
    """Something that takes work to make: made once for all who ask meanwhile, and for a second after that."""

    def __init__(self, make: Callable[[], Awaitable[T]], background: Background) -> None:
        self._make = make
        self._background = background
        self._made: asyncio.Future[T] | None = None

    async def get(self) -> T:
        """Return it. Raises Overloaded when it could not be made."""
        if self._made is None:
            loop = asyncio.get_running_loop()
            made = self._made = loop.create_future()
            making = self._background.begin("answer about agents", partial(self._into, made))
            making.add_done_callback(lambda _: made.cancel())  # it failed, or the replica stops
            made.add_done_callback(lambda _: loop.call_later(SHARED_S, self._forget, made))
        made = self._made
        try:
            return await asyncio.shield(made)  # one who leaves does not take it from the others
        except asyncio.CancelledError:
            if made.cancelled():
                raise Overloaded("this answer could not be made", retry_after_s=SHARED_S) from None
            raise

    async def _into(self, made: asyncio.Future[T]) -> None:
        made.set_result(await self._make())

    def _forget(self, made: asyncio.Future[T]) -> None:
        if self._made is made:
            self._made = None


class KnownParts(NamedTuple):
    """What the replicas know that answered, and the addresses of those that did not."""

    parts: list[ReplicaPart]
    silent: list[str]


class AgentReports:
    """The reports that one replica gets, and what it says about agents."""

    def __init__(
        self,
        hub: WatchHub,
        view: ReplicaView,
        peers: Peers,
        settings: UsageSettings,
        *,
        knows_all: Callable[[], bool] = lambda: True,
        clock: Clock,
        background: Background,
        limits: LedgerLimits | None = None,
    ) -> None:
        """`knows_all` returns whether this replica knows all services, and all other replicas."""
        self.every_s = settings.every_s
        self._view = view
        self._knows_all = knows_all
        # What clients look up here, without an agent.
        self.asked = AskedNames()
        # Returns what followers told, and how many of them told nothing.
        self.followed: Callable[[], tuple[Sequence[FollowedUsage], int]] = lambda: ((), 0)
        self._direct = UsageBook(
            {Face.HTTP: self.asked},
            settle=lambda: None,
            is_known=lambda label: view.catalog.find(label) is not None,
            now=clock.monotonic(),
            most=MOST_DIRECT,
        )
        self._hub = hub
        self._peers = peers
        self._clock = clock
        self.ledger = AgentLedger(clock.monotonic(), limits)
        self._agents = Shared(self._made_agents, background)
        self._tables = Shared(self._made_table, background)
        self._bare_part = Shared(partial(self._made_part, with_usage=False), background)
        self._whole_part = Shared(partial(self._made_part, with_usage=True), background)
        self._threads = Threads("usage", MOST_THREADS)
        self._one_at_a_time = asyncio.Lock()
        self._in_line = 0
        self._waiting: dict[Watcher, float] = {}  # acknowledging watchers that have not reported, and since when
        self._unreported_at: float | None = None
        self.results = {"taken": 0, "late": 0, "refused": 0}

    def admitted(self, caller: Caller, report: AgentReport) -> AgentReport:
        """Return the report with the names that its sender may report for. Raises Forbidden when it may not at all."""
        try:
            return msgspec.structs.replace(report, services=_own_services(caller, report.services))
        except Forbidden:
            self.results["refused"] += 1
            raise

    def looked_up(self, label: str) -> None:
        """Count a lookup at this replica itself."""
        self.asked.add(label, is_found=self._view.catalog.instance_count(label) > 0)

    def take(self, watcher: str, report: AgentReport) -> None:
        """Take in the report of one of this replica's watchers. Raises Forbidden when it is another agent's watch."""
        if not self._hub.reported(watcher, agent_id_of(report.key)):
            self.results["refused"] += 1
            raise Forbidden("this watch is that of another agent: one watch has one agent", field="report.key")
        is_news = self.ledger.take(report, self._clock.monotonic())
        self.results["taken" if is_news else "late"] += 1

    def take_followed(self, watcher: str, follower: str, entries: Sequence[AgentEntry]) -> None:
        """Take in what a follower, which is one of this replica's watchers, knows of agents."""
        self._hub.reported(watcher, follower)
        now = self._clock.monotonic()
        for entry in entries:
            self.ledger.take_entry(entry, now, follower)

    def sample(self) -> None:
        """Note who does not report, and forget what is too old. Called every few seconds."""
        now = self._clock.monotonic()
        self._waiting = {one: self._waiting.get(one, now) for one in self._hub.unreported()}
        if self.unreported:
            self._unreported_at = now
        self.ledger.tidy(now)

    @property
    def unreported(self) -> int:
        """Watchers that acknowledge and have not reported for as long as makes an agent silent."""
        before = self._clock.monotonic() - SILENT_PERIODS * self.every_s
        return sum(since <= before for since in self._waiting.values())

    def now(self) -> float:
        """Return the time of the ledger: monotonic, in seconds."""
        return self._clock.monotonic()

    async def part(self, *, with_usage: bool = False) -> ReplicaPart:
        """Return what this replica alone knows. Other requests get turns while it is put together."""
        now, agents = self._clock.monotonic(), list[AgentEntry]()
        frame = self.frame(with_usage=with_usage)
        for number, agent_id in enumerate(self.ledger.ids(), 1):
            entry = self.ledger.entry(agent_id, now, with_usage=with_usage)
            if entry is not None:
                agents.append(entry)
            if number % SLICE == 0:
                await asyncio.sleep(0)
        return msgspec.structs.replace(frame, agents=agents)

    def frame(self, *, with_usage: bool = False) -> ReplicaPart:
        """Return the part of this replica without agents, and with what followers told."""
        now, at = self._clock.monotonic(), self._unreported_at
        direct = self._direct.counts(now)
        part = ReplicaPart(
            replica=self._peers.id,
            every_s=self.every_s,
            complete_s=self.ledger.complete_s(now),
            agents=[],
            unreported=self.unreported,
            unreported_ago_s=None if at is None else round(now - at, 3),
            left_out=self.ledger.agents_left_out,
            direct=direct.asked if with_usage else (),
            direct_s=direct.counted_s or 0.0,
            direct_left_out=direct.left_out,
            knows_all=self._knows_all(),
        )
        followed, silent = self.followed()
        return with_followed(part, followed if with_usage else [_without_direct(one) for one in followed], silent)

    async def parts(self, *, with_usage: bool = False) -> KnownParts:
        """Return the parts of all replicas, this one's first, and the addresses of peers that did not answer."""
        urls, path = self._peers.urls, f"/agents/part?usage={str(with_usage).lower()}"
        said = await asyncio.gather(*(self._peers.ask("GET", url, path, most_bytes=MAX_PART_BYTES) for url in urls))
        own = await self.part(with_usage=with_usage)
        bodies = [(url, body if status == 200 else b"") for url, (status, body) in zip(urls, said, strict=True)]
        return await self._in_thread(partial(_joined, own, bodies))

    async def agents(self) -> bytes:
        """Return `GET /agents` as JSON. Raises Overloaded."""
        return await self._agents.get()

    async def part_encoded(self, *, with_usage: bool) -> bytes:
        """Return `GET /agents/part` as JSON. Raises Overloaded."""
        return await (self._whole_part if with_usage else self._bare_part).get()

    async def usage(self, label: str | None, within_s: float | None) -> bytes:
        """Return `GET /usage` as JSON, of one service where `label` names it. Raises Overloaded."""
        table = await self._tables.get()
        names = {label_of(name): name for name in self._view.catalog.names()}

        def named(one: str) -> str:
            return names.get(one, one)

        def encoded() -> bytes:
            return _ENCODER.encode(table.view(names, named, within_s=within_s, label=label))

        if self._in_line >= MOST_IN_LINE:
            raise Overloaded("too many ask for the usage of services at a time", retry_after_s=SHARED_S)
        self._in_line += 1
        try:
            async with self._one_at_a_time:
                return await self._in_thread(encoded)
        finally:
            self._in_line -= 1

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, without holding up lookups. Raises Overloaded."""
        try:
            return await self._threads.run(work, timeout_s=COMPUTED_S)
        except (NoThread, TimeoutError):
            raise Overloaded("this replica cannot add up reports now", retry_after_s=SHARED_S) from None

    async def _made_part(self, *, with_usage: bool) -> bytes:
        return _ENCODER.encode(await self.part(with_usage=with_usage))

    async def _made_table(self) -> UsageTable:
        parts, silent = await self.parts(with_usage=True)
        return await self._in_thread(partial(UsageTable, parts, silent, self._clock.wall()))

    async def _made_agents(self) -> bytes:
        parts, silent = await self.parts()
        wall = self._clock.wall()
        return await self._in_thread(lambda: _ENCODER.encode(agents_view(parts, silent, wall)))


def _without_direct(usage: FollowedUsage) -> FollowedUsage:
    return msgspec.structs.replace(usage, direct=())


def _joined(own: ReplicaPart, bodies: Sequence[tuple[str, bytes]]) -> KnownParts:
    parts, silent = {own.replica: own}, []
    for url, body in bodies:
        part = decoded(body, ReplicaPart)
        if part is None:
            silent.append(url)
        else:
            parts.setdefault(part.replica, part)  # this one may be among its peers
    return KnownParts(list(parts.values()), silent)


class UsageHandlers:
    """One method for each endpoint about agents."""

    def __init__(self, reports: AgentReports) -> None:
        self.reports = reports

    async def agents(self, _request: web.Request, _query: QueryParameters) -> web.StreamResponse:
        return web.Response(body=await self.reports.agents(), content_type=JSON)

    async def usage(self, _request: web.Request, query: QueryParameters) -> web.StreamResponse:
        service = query.get("service")
        label = label_of(check_known_name(service, field="service")) if service else None
        body = await self.reports.usage(label, _within(query.get("within", "")))
        return web.Response(body=body, content_type=JSON)

    async def agents_part(self, _request: web.Request, query: QueryParameters) -> web.StreamResponse:
        body = await self.reports.part_encoded(with_usage=boolean(query, "usage"))
        return web.Response(body=body, content_type=JSON)


def _within(text: str) -> float | None:
    """Return the seconds in a query. Raises ValidationError."""
    if not text:
        return None
    if not _SECONDS.fullmatch(text):
        raise ValidationError("it is a number of seconds", field="within", provided=text[:100], example="86400")
    return float(text)


def _own_services(caller: Caller, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of `labels` that `caller` may report for. Raises Forbidden when there is none of them."""
    caller.require(Right.REPORT_USAGE)
    if caller.identity.role is not Role.SERVICE:
        return labels
    own = tuple(label for label in labels if _covers(caller, label))
    if labels and not own:
        raise Forbidden(
            f"an agent reports only for itself: {caller.identity.name} is none of its services",
            field="report.services",
            provided=", ".join(labels)[:100],
        )
    return own


def _covers(caller: Caller, label: str) -> bool:
    try:
        caller.require(Right.REPORT_USAGE, label)
    except Forbidden:
        return False
    return True
