"""The reports of agents at one replica: takes them, and answers with what all replicas know.

A replica knows the agents whose watches it has. So the one that is asked asks its peers, and adds up; answers are made
once for all who ask within a second.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Generic, TypeVar

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
from registry_core.bodies import decoded
from registry_core.domain.names import check_known_name, label_of
from registry_core.errors import Forbidden, Overloaded, ValidationError
from registry_core.ports.clock import Clock
from registry_core.security.identities import Role
from registry_core.security.rights import Right
from registry_core.supervision import Background
from registry_core.usage.asked import AskedNames
from registry_core.usage.book import UsageBook
from registry_core.usage.ledger import AgentLedger, LedgerLimits, ReplicaPart
from registry_core.usage.limits import SILENT_PERIODS
from registry_core.usage.merge import agents_view
from registry_core.usage.report import AgentReport, Face
from registry_core.usage.table import UsageTable
from registry_core.usage.views import UsageView

# How old an answer may be that several share.
SHARED_S: Final = 1.0
# The part of one peer: all that its bounds allow, with names of usual lengths.
MAX_PART_BYTES: Final = 16 * 1024 * 1024
# Names that clients look up at this replica.
MOST_DIRECT: Final = 10_000
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
        """Take in the report of one of this replica's watchers."""
        self._hub.reported(watcher)
        is_news = self.ledger.take(report, self._clock.monotonic())
        self.results["taken" if is_news else "late"] += 1

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

    def part(self, *, with_usage: bool = False) -> ReplicaPart:
        """Return what this replica alone knows."""
        now, at = self._clock.monotonic(), self._unreported_at
        direct = self._direct.counts(now)
        return ReplicaPart(
            replica=self._peers.id,
            every_s=self.every_s,
            complete_s=self.ledger.complete_s(now),
            agents=list(self.ledger.entries(now, with_usage=with_usage)),
            unreported=self.unreported,
            unreported_ago_s=None if at is None else round(now - at, 3),
            left_out=self.ledger.agents_left_out,
            direct=direct.asked if with_usage else (),
            direct_s=direct.counted_s or 0.0,
            direct_left_out=direct.left_out,
            knows_all=self._knows_all(),
        )

    async def parts(self, *, with_usage: bool = False) -> tuple[list[ReplicaPart], list[str]]:
        """Return the parts of all replicas, this one's first, and the addresses of peers that did not answer."""
        urls, path = self._peers.urls, f"/agents/part?usage={str(with_usage).lower()}"
        said = await asyncio.gather(*(self._peers.ask("GET", url, path, most_bytes=MAX_PART_BYTES) for url in urls))
        parts, silent = {self._peers.id: self.part(with_usage=with_usage)}, []
        for url, (status, body) in zip(urls, said, strict=True):
            part = decoded(body, ReplicaPart) if status == 200 else None
            if part is None:
                silent.append(url)
            else:
                parts.setdefault(part.replica, part)  # this one may be among its peers
        return list(parts.values()), silent

    async def agents(self) -> bytes:
        """Return `GET /agents` as JSON. Raises Overloaded."""
        return await self._agents.get()

    async def usage(self, label: str | None, within_s: float | None) -> UsageView:
        """Return `GET /usage`, of one service where `label` names it. Raises Overloaded."""
        catalog = self._view.catalog
        table = await self._tables.get()
        return table.view(catalog.labels(), self._named, within_s=within_s, label=label)

    def _named(self, label: str) -> str:
        service = self._view.catalog.find(label)
        return service.name if service is not None else label

    async def _made_table(self) -> UsageTable:
        parts, silent = await self.parts(with_usage=True)
        return UsageTable(parts, silent, self._clock.wall())

    async def _made_agents(self) -> bytes:
        parts, silent = await self.parts()
        return _ENCODER.encode(agents_view(parts, silent, self._clock.wall()))


class UsageHandlers:
    """One method for each endpoint about agents."""

    def __init__(self, reports: AgentReports) -> None:
        self.reports = reports

    async def agents(self, _request: web.Request, _query: QueryParameters) -> web.StreamResponse:
        return web.Response(body=await self.reports.agents(), content_type=JSON)

    async def usage(self, _request: web.Request, query: QueryParameters) -> web.StreamResponse:
        service = query.get("service")
        label = label_of(check_known_name(service, field="service")) if service else None
        view = await self.reports.usage(label, _within(query.get("within", "")))
        return web.Response(body=_ENCODER.encode(view), content_type=JSON)

    async def agents_part(self, _request: web.Request, query: QueryParameters) -> web.StreamResponse:
        part = self.reports.part(with_usage=boolean(query, "usage"))
        return web.Response(body=_ENCODER.encode(part), content_type=JSON)


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
