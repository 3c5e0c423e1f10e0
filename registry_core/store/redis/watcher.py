"""Finds the master of one shard and keeps track of it, by probing every node and every Sentinel in parallel.

A node becomes the master only when it confirms that itself (ROLE), never on a Sentinel's word alone. Nothing is
retried, held or written here: a caller gets the client of a confirmed master, or StoreUnavailable at once.

No server's probe waits for another's: each server has its own task, and the first sufficient answer decides.
Normally each is probed now and then; as soon as the master is in doubt (a failed write, a message of a
Sentinel, a probe without an answer), twenty times a second.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import BusyLoadingError, ReadOnlyError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from registry_core.errors import SettingsError, StoreUnavailable
from registry_core.ports.clock import Clock, SystemClock
from registry_core.ports.reports import PoolReport
from registry_core.store.redis.choice import Promotion, Sighting, Vote, choose, newest, promoted_since, to_repoint
from registry_core.store.redis.diagnosis import NO_ANSWER_YET, lasting_fault, why_no_master
from registry_core.store.redis.master_figures import MasterFigures
from registry_core.store.redis.master_notes import MasterNotes
from registry_core.store.redis.pool import close_client, open_client, pool_report, warm
from registry_core.store.redis.probes import Fault, ask_node, ask_sentinel, fault_of, listen
from registry_core.store.redis.quorum import MasterStanding, standing_of
from registry_core.store.redis.repointing import repoint
from registry_core.store.redis.tls import load_redis_tls
from registry_core.store.redis.url import PoolTerms, ServerAccess, ServerAddress
from registry_core.supervision import Background, Work, end

PROBE_TIMEOUT_S: Final = 1.0
# A master that takes this long to say PONG is in doubt, but not given up yet.
QUIET_S: Final = 0.25
CALM_EVERY_S: Final = 0.5
DOUBT_EVERY_S: Final = 0.05
# A doubt outlasts the master's own answer: one cut off from its replicas still reports itself as master.
DOUBT_S: Final = 3.0
# A search that takes longer than a failover continues at the slow pace, until a Sentinel sends a message.
SEARCH_S: Final = 10.0
# Longer than an unanswered probe, so that its reason is known.
START_S: Final = 1.5
COMPLAIN_EVERY_S: Final = 30.0
COMPLAIN_AT_MOST_EVERY_S: Final = 1.0
MAX_NODES: Final = 32
DEFAULT_POOL: Final = PoolTerms()
NOTHING_TO_SHOW: Final = ServerAccess()
_UNCONFIRMED: Final = Fault("it failed and has not been asked since")
_BROKEN: Final = (RedisConnectionError, RedisTimeoutError, ReadOnlyError, BusyLoadingError, OSError)

log = structlog.get_logger(component="store.redis")


class MasterWatcher:
    """Tracks the current master of one shard: found through Sentinels, or at one fixed address without them.

    `name` is the Sentinels' name for the master and the name of the shard, on which its place in the hashing depends.
    """

    def __init__(
        self,
        name: str,
        *,
        access: ServerAccess = NOTHING_TO_SHOW,
        nodes: Sequence[ServerAddress] = (),
        sentinels: Sequence[ServerAddress] = (),
        sentinel_access: ServerAccess = NOTHING_TO_SHOW,
        hasten: bool = True,
        pool: PoolTerms = DEFAULT_POOL,
        clock: Clock | None = None,
        background: Background | None = None,
    ) -> None:
        self.name = name
        self._access = access
        self._fixed = tuple(nodes)
        self._sentinel_access = sentinel_access
        self._may_hasten = hasten
        self._pool = pool
        self.figures = MasterFigures()
        self._clock = clock if clock is not None else SystemClock()
        self._background = background if background is not None else Background(self._clock)
        self._notes = MasterNotes(name, self._clock)
        self._nodes: dict[ServerAddress, Sighting | Fault] = {}
        self._sentinels: dict[ServerAddress, Vote | Fault] = dict.fromkeys(sentinels, NO_ANSWER_YET)
        self._promotions: dict[ServerAddress, Promotion] = {}
        self._was_replica: set[ServerAddress] = set()
        self._current: ServerAddress | None = None
        self._placed: Sighting | None = None
        self._client: Redis | None = None
        self._retired: set[Redis] = set()
        self._withheld = False
        self._doubted_until = 0.0
        self._hastened = ("", ServerAddress("", 0))  # the last master given a replica early, and that replica
        self._alarm = asyncio.Event()
        self._changed = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._complained: tuple[str, float] = ("", 0.0)

    # -- what a shard asks

    @property
    def run_id(self) -> str:
        """The run id of the current master, or "" when none is known. It changes with a restart."""
        return self._placed.run_id if self._placed is not None else ""

    @property
    def address(self) -> str:
        """The address of the current master, or "" when none is known."""
        return str(self._current) if self._current is not None else ""

    @property
    def latency_ms(self) -> float | None:
        """The median response time of the current master, or None when not known."""
        return self.figures.latency_ms

    @property
    def connections(self) -> PoolReport | None:
        """The connections to the current master, or None without one."""
        return pool_report(self._client) if self._client is not None else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What an operator should change about the current master, in plain words."""
        return self._notes.current if self._client is not None else ()

    @property
    def problem(self) -> str:
        """Why there is no master at present, in plain words; "" when there is one."""
        return "" if self._client is not None and not self._withheld else why_no_master(self._sentinels, self._nodes)

    @property
    def standing(self) -> MasterStanding:
        """The leader, and the servers that may lead next, by the last answers of all servers."""
        placed = self._placed if self._client is not None and not self._withheld else None
        leading = {node for node, seen in self._nodes.items() if isinstance(seen, Sighting) and seen.is_master}
        return standing_of(
            self._current,
            placed.run_id if placed is not None else "",
            self._votes(),
            sentinels=len(self._sentinels),
            promoted=promoted_since(self._current, leading, self._promotions, self._votes()),
        )

    async def start(self) -> None:
        """Find the master; return when it is found, or after a short while without one.

        Raises SettingsError when waiting cannot help: a wrong password, an old server, a name that no Sentinel knows.
        """
        for access in (self._access, self._sentinel_access):
            if access.tls:
                await load_redis_tls(access)  # an unreadable file is reported here, not on every connection
        self.doubt(SEARCH_S)
        for sentinel in self._sentinels:
            self._keep("redis sentinels", partial(self._ask_sentinel, sentinel))
            self._keep("redis sentinel channels", partial(self._listen, sentinel))
        for node in self._fixed:
            self._meet(node)
        ends = self._clock.monotonic() + START_S
        while self._client is None:
            # Also at the very end: what has just been heard may be what no retry can help.
            lasting = lasting_fault(self._sentinels, self._nodes, self._fixed)
            if lasting:
                await self.close()
                raise SettingsError(f"REGISTRY_STORE: {self.name}: {lasting}")
            left_s = ends - self._clock.monotonic()
            if left_s <= 0:
                self._complain()
                break
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._changed.wait()

    async def close(self) -> None:
        """Stop probing and close all connections. Safe to call twice."""
        await end(self._tasks)
        self._tasks.clear()
        client, self._client, self._current, self._placed = self._client, None, None, None
        # Including those whose closing was just cancelled.
        for each in (*self._retired, *([client] if client is not None else [])):
            await close_client(each)
        self._retired.clear()

    async def current(self) -> Redis:
        """Return the client of the current master. Raises StoreUnavailable at once when there is none."""
        if self._client is None or self._withheld:
            raise StoreUnavailable(f"no Redis master is known for {self.name}: {self.problem}")
        return self._client

    def doubt(self, length_s: float = DOUBT_S) -> None:
        """Probe all servers often for a while, because something looks wrong."""
        self._doubted_until = max(self._doubted_until, self._clock.monotonic() + length_s)
        self._alarm.set()

    def failed(self, client: Redis, error: Exception) -> None:
        """Note that `client` failed as a master: no connection, READONLY, no replica confirmed."""
        if client is not self._client:
            return  # the client of the previous master
        if isinstance(error, _BROKEN) and not self._withheld and self._current is not None:
            # Handed out again as soon as it answers, so that the next caller does not fail in the same way.
            self._withheld = True
            self._nodes[self._current] = _UNCONFIRMED
            log.warning("redis master failed", shard=self.name, master=self.address, error=fault_of(error).reason)
        self.doubt()

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever a master is in place again: another one, or the same after a failure."""
        self._listeners.append(listener)

    # -- asking

    def _meet(self, node: ServerAddress) -> None:
        if node not in self._nodes and len(self._nodes) < MAX_NODES:
            self._nodes[node] = NO_ANSWER_YET
            self._keep("redis nodes", partial(self._ask_node, node))

    async def _ask_node(self, node: ServerAddress) -> None:
        client = open_client(node, self._access, timeout_s=PROBE_TIMEOUT_S, max_connections=1)
        try:
            while not self._is_forgotten(node):
                quiet = asyncio.get_running_loop().call_later(QUIET_S, self._is_quiet, node)
                began = self._clock.monotonic()
                try:
                    said = await ask_node(client)
                finally:
                    quiet.cancel()
                if node == self._current and isinstance(said, Sighting):
                    self.figures.heard(said, self._clock.monotonic() - began, self._clock.monotonic())
                self._hear_node(node, said)
                self._settle()
                if node == self._current and isinstance(said, Sighting):
                    await self._notes.look(client, node, said.run_id)
                await self._pause()
            self._nodes.pop(node, None)
        finally:
            await close_client(client)

    async def _ask_sentinel(self, sentinel: ServerAddress) -> None:
        client = open_client(sentinel, self._sentinel_access, timeout_s=PROBE_TIMEOUT_S, max_connections=1)
        try:
            while True:
                said = await ask_sentinel(client, self.name)
                self._sentinels[sentinel] = said
                if isinstance(said, Vote):
                    for node in (said.master, *said.replicas):
                        self._meet(node)
                self._settle()
                await self._pause()
        finally:
            await close_client(client)

    async def _listen(self, sentinel: ServerAddress) -> None:
        client = open_client(sentinel, self._sentinel_access, max_connections=1)
        try:
            while True:
                with contextlib.suppress(RedisError, OSError):  # the polling task reports what is wrong
                    await listen(client, self.name, self.doubt)
                await asyncio.sleep(CALM_EVERY_S)
        finally:
            await close_client(client)

    async def _pause(self) -> None:
        if self._clock.monotonic() < self._doubted_until:
            await asyncio.sleep(DOUBT_EVERY_S)
            return
        self._alarm.clear()
        try:
            async with asyncio.timeout(CALM_EVERY_S):
                await self._alarm.wait()
        except TimeoutError:
            return

    # -- helping

    def _hasten(self, sightings: Mapping[ServerAddress, Sighting]) -> None:
        """Repoint one node at the promoted master before the Sentinels do.

        Until it has a replica, the new master's writes are not acknowledged. `to_repoint` picks the node, and the
        Sentinels would give it the same order.
        """
        master = self._current
        if not self._may_hasten or master is None or self._placed is None:
            return
        node = to_repoint(master, sightings, self._votes(), sentinels=len(self._sentinels))
        if node is not None and (self._placed.run_id, node) != self._hastened:
            self._hastened = (self._placed.run_id, node)
            self._keep("redis hastening", partial(repoint, self.name, self._access, node, master))

    # -- doubting

    def _is_doubted(self) -> bool:
        return self._client is None or self._withheld or self._clock.monotonic() < self._doubted_until

    def _is_quiet(self, node: ServerAddress) -> None:
        if node == self._current:
            self.doubt()

    def _is_forgotten(self, node: ServerAddress) -> bool:
        votes = self._votes()
        listed = any(node == vote.master or node in vote.replicas for vote in votes)
        return bool(votes) and not listed and node not in self._fixed and isinstance(self._nodes[node], Fault)

    # -- deciding

    def _votes(self) -> list[Vote]:
        return [said for said in self._sentinels.values() if isinstance(said, Vote)]

    def _hear_node(self, node: ServerAddress, said: Sighting | Fault) -> None:
        self._nodes[node] = said
        if isinstance(said, Fault):
            return
        if not said.is_master:
            self._was_replica.add(node)
            self._promotions.pop(node, None)
            return
        for replica in said.replicas:
            self._meet(replica)
        if node in self._was_replica:
            self._was_replica.discard(node)
            last = max((p.order for p in self._promotions.values()), default=0)
            vote = newest(self._votes())
            self._promotions[node] = Promotion(last + 1, vote.config_epoch if vote is not None else 0)
            log.info("redis replica promoted", shard=self.name, node=str(node))

    def _settle(self) -> None:
        """Evaluate the answers so far, and put another master in place when they say so."""
        self._changed.set()
        sightings = {node: said for node, said in self._nodes.items() if isinstance(said, Sighting)}
        chosen = choose(self._current, self._is_doubted(), sightings, self._promotions, self._votes())
        if chosen is None and not self._sentinels:
            chosen = next((node for node in self._fixed if node in sightings and sightings[node].is_master), None)
        if chosen is None:
            if self._current is None or self._nodes.get(self._current) is not _UNCONFIRMED:
                self._withdraw()
            return
        seen = sightings[chosen]
        same = self._placed is not None and (chosen, seen.run_id) == (self._current, self._placed.run_id)
        if same and not self._withheld:
            self._hasten(sightings)
            return
        old = None if same else self._client
        if not same:
            self._client = open_client(chosen, self._access, max_connections=self._pool.most)
            self.figures.placed(str(chosen))
            log.info("redis master in place", shard=self.name, master=str(chosen), run_id=seen.run_id)
        self._current, self._placed, self._withheld = chosen, seen, False
        self._complained = ("", 0.0)
        for listener in self._listeners:
            listener()
        if old is not None:
            self._retire(old)
        self._hasten(sightings)
        if not same and self._client is not None:
            self._keep("redis warm-up", partial(warm, self._client, self._pool.idle))

    def _withdraw(self) -> None:
        client, self._client, self._placed = self._client, None, None
        if client is not None:
            # Callers waiting for its answer would wait in vain: they fail now, and hold their writes.
            self._retire(client)
            self.figures.lost()
            self.doubt(SEARCH_S)
            log.warning("redis master lost", shard=self.name, master=str(self._current), reason=self.problem)
        elif self._complained[0]:
            self._complain()
        self._current, self._withheld = None, False

    def _retire(self, client: Redis) -> None:
        async def work() -> None:
            await close_client(client)
            self._retired.discard(client)

        self._retired.add(client)
        self._keep("redis closing", work)

    def _complain(self) -> None:
        now, problem = self._clock.monotonic(), self.problem
        said, at = self._complained
        if now - at > (COMPLAIN_EVERY_S if problem == said else COMPLAIN_AT_MOST_EVERY_S):
            self._complained = (problem, now)
            log.warning("no redis master", shard=self.name, reason=problem)

    def _keep(self, task: str, work: Work) -> None:
        """Run `work` to its end, and restart it when it breaks: a shard is always watched."""
        kept = self._background.keep(task, work, ends=True, most_s=CALM_EVERY_S)
        self._tasks.add(kept)
        kept.add_done_callback(self._tasks.discard)
