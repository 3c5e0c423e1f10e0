"""Acknowledged means kept: the store's decisions over servers that are killed, promoted, cut off and restarted.

The servers are simulated: each has the commands that it received, in order, and knows how much of it is on disk. The
decisions are the product's own: which replicas must confirm (`quorum.py`), what becomes of a write (`writes.py`), what
is remembered and restored (`journal.py`). Everything may happen between any two steps of a write, and does.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

import msgspec
import pytest

from registry_core.domain.records import InstanceKey
from registry_core.store.redis.choice import Vote
from registry_core.store.redis.journal import Journal, Written
from registry_core.store.redis.quorum import AfterTry, Confidence, Lag, after_try, required, standing_of
from registry_core.store.redis.rows import Order
from registry_core.store.redis.url import ServerAddress
from registry_core.store.redis.writes import TRANSITIONS, WriteEvent, WriteState
from tests.samples import instance

NODES: Final = 3
KEYS: Final = [InstanceKey("billing", f"10.0.0.7:{number}") for number in range(3)]
STEPS: Final = 120
SEEDS: Final = 400


class Stored(msgspec.Struct, frozen=True):
    """One entry of a server's history: a write of a key, with the stamp of its first time."""

    key: InstanceKey
    order: Order
    content: int | None


class Node:
    """One Redis server. `history` has all its commands; a restart goes back to what was on its disk."""

    def __init__(self, number: int) -> None:
        self.at = ServerAddress("10.0.0.1", number)
        self.history: list[Stored] = []
        self.on_disk = 0
        self.process = 0  # and which of its terms as a master it is: each has its own replication id
        self.term = 0
        self.life = 0
        self.life_of = ""
        self.runs = True

    @property
    def run_id(self) -> str:
        return f"{self.at.port}-{self.process}-{self.term}"

    def state(self) -> dict[InstanceKey, Stored]:
        """Return the state of each key: the last write by its stamp."""
        found: dict[InstanceKey, Stored] = {}
        for entry in self.history:
            known = found.get(entry.key)
            if known is None or not known.order.comes_after(entry.order):
                found[entry.key] = entry
        return found


class Attempt:
    """One write of one registry replica, from its call to its end."""

    def __init__(self, key: InstanceKey, content: int | None) -> None:
        self.key = key
        self.content = content
        self.state = WriteState.HELD
        self.order: Order | None = None
        self.length = 0  # of the master's history, with it

    def happens(self, event: WriteEvent) -> None:
        self.state = TRANSITIONS[self.state, event]


class Replica:
    """One registry replica: its view of the master, and its journal."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.linked_to = ""
        self.life = 0
        self.confidence = Confidence()
        self.attempt: Attempt | None = None


class System:
    """A shard with its Sentinels, and registry replicas that write into it."""

    def __init__(self, seed: int, *, replicas: int = 2) -> None:
        self.random = random.Random(seed)
        self.nodes = [Node(number) for number in range(NODES)]
        self.master = self.nodes[0]  # by the Sentinels
        self.down: set[int] = set()  # the nodes that the Sentinels call down
        self.reach: dict[int, int] = {1: 0, 2: 0}  # of those that follow the master: up to where they were told
        self.now = 0.0
        self.written = 0
        self.replicas = [Replica() for _ in range(replicas)]
        self.told: dict[InstanceKey, list[tuple[int | None, bool]]] = {key: [] for key in KEYS}
        self.busy: set[InstanceKey] = set()

    # -- events of servers

    def copy(self) -> None:
        """Let a replica receive a bit more of its master's history."""
        followers = [n for n in self.reach if self.nodes[n].runs]
        if not followers or not self.master.runs:
            return
        number = self.random.choice(followers)
        node = self.nodes[number]
        upto = min(len(self.master.history), self.reach[number] + self.random.randint(1, 3))
        node.history = self.master.history[:upto]
        node.life, node.life_of = self.master.life, self.master.life_of
        self.reach[number] = upto

    def to_disk(self) -> None:
        for node in self.nodes:
            if node.runs:
                node.on_disk = self.random.randint(min(node.on_disk, len(node.history)), len(node.history))

    def restart_master(self) -> None:
        """Kill and restart the master before anything notices: its replicas follow it backwards."""
        node = self.master
        node.history = node.history[: node.on_disk]
        node.process += 1
        for number in self.reach:
            self.reach[number] = min(self.reach[number], len(node.history))
            self.nodes[number].history = self.nodes[number].history[: self.reach[number]]

    def promote(self) -> None:
        """Promote a replica; the old master lives on for clients that do not know better yet."""
        able = [n for n in self.reach if self.nodes[n].runs and n not in self.down]
        if not able:
            return
        # Sentinel uses the offsets that it heard of last, which may be old: any replica may win.
        number = self.random.choice(able)
        old = self.nodes.index(self.master)
        self.master = self.nodes[number]
        self.master.term += 1
        others = [n for n in range(NODES) if n not in (number, old)]
        self.reach = {}
        for other in others:
            self._follow(other)
        self.later.append(lambda: self._follow(old))

    later: list[Callable[[], None]] = []

    def _follow(self, number: int) -> None:
        node = self.nodes[number]
        if node is self.master or not node.runs:
            return
        node.history, node.on_disk, node.life_of = [], 0, ""
        self.reach[number] = 0

    def old_one_follows(self) -> None:
        """Let the Sentinels turn an old master into a replica of the new one."""
        if self.later:
            self.later.pop(0)()

    def kill_replica(self) -> None:
        if len(self.reach) > 1:
            number = self.random.choice(sorted(self.reach))
            self.nodes[number].runs = False

    def notice(self) -> None:
        """Let the Sentinels mark as down exactly the nodes that do not run."""
        self.down = {n for n, node in enumerate(self.nodes) if not node.runs}

    def start_replica(self) -> None:
        for number, node in enumerate(self.nodes):
            if not node.runs:
                node.runs = True
                node.process += 1
                self.down.discard(number)
                self._follow(number)
                return

    # -- events of a registry replica

    def step(self, replica: Replica) -> None:
        """Do the next step of a replica: start a write, send it, or get it confirmed."""
        if replica.attempt is None:
            free = [key for key in KEYS if key not in self.busy]
            if free:
                self.written += 1
                content = self.written if self.random.random() < 0.8 else None
                replica.attempt = Attempt(self.random.choice(free), content)
                self.busy.add(replica.attempt.key)
            return
        attempt = replica.attempt
        if attempt.state is WriteState.HELD:
            self._send(replica, attempt)
        elif attempt.state is WriteState.TAKEN:
            self._confirm(replica, attempt)

    def _knows(self, replica: Replica) -> Node:
        """Return the node that a replica writes to: the one it is connected to, while that lives."""
        linked = next((n for n in self.nodes if n.run_id == replica.linked_to and n.runs), None)
        # It hears of another master sooner or later.
        return linked if linked is not None and self.random.random() < 0.5 else self.master

    def _open(self, replica: Replica, node: Node) -> None:
        if node.life_of != node.run_id or node.life < replica.life:
            node.life_of = node.run_id
            node.life = max(
                int(self.now * 1000), replica.life + 1, *(entry.order.life + 1 for entry in node.history), 0
            )
        if node.run_id == replica.linked_to and node.life == replica.life:
            return
        state = node.state()
        for key, written in replica.journal.entries(self.now):
            known = state.get(key)
            if written.order.life != node.life and (known is None or written.order.comes_after(known.order)):
                number = None if written.instance is None else int(written.instance.version)
                node.history.append(Stored(key, written.order, number))
        replica.journal.renew(self.now)
        replica.linked_to, replica.life = node.run_id, node.life

    def _send(self, replica: Replica, attempt: Attempt) -> None:
        node = self._knows(replica)
        self._open(replica, node)
        order = Order(node.life, len(node.history) + 1)
        node.history.append(Stored(attempt.key, order, attempt.content))
        attempt.order, attempt.length = order, len(node.history)
        attempt.happens(WriteEvent.ANSWERED)

    def _confirm(self, replica: Replica, attempt: Attempt) -> None:
        node = next((n for n in self.nodes if n.run_id == replica.linked_to and n.runs), None)
        if node is None:
            attempt.happens(WriteEvent.LEFT)
            return
        leads = node is self.master
        followers = {n: at for n, at in self.reach.items() if leads and self.nodes[n].runs}
        confirmed = sum(at >= attempt.length for at in followers.values())
        # Its knowledge of the Sentinels may be older than the promotion.
        seen = self.master.at if leads or self.random.random() < 0.5 else node.at
        listed = tuple(n.at for n in self.nodes if n.at != seen)
        vote = Vote(seen, 1, listed, down=frozenset(self.nodes[n].at for n in self.down))
        standing = standing_of(node.at, node.run_id if seen == node.at else "", [vote] * 3, sentinels=3)
        lag = Lag(attempt.length, {self.nodes[n].at: at for n, at in followers.items()})
        replica.confidence = replica.confidence.heard(standing, lag, self.now)
        ruling, _ = after_try(standing, node.run_id, confirmed=confirmed, configured=1, confidence=replica.confidence)
        match ruling:
            case AfterTry.ACKNOWLEDGE:
                replica.confidence = replica.confidence.certain()
                assert attempt.order is not None
                record = None if attempt.content is None else instance(version=str(attempt.content))
                replica.journal.note(attempt.key, Written(attempt.order, record), self.now)
                attempt.happens(WriteEvent.CONFIRMED)
                self._end(replica, attempt, acknowledged=True)
            case AfterTry.SEND_AGAIN:
                attempt.happens(WriteEvent.LEFT)
            case AfterTry.ASK_AGAIN:
                replica.confidence = replica.confidence.doubting(self.now)
                attempt.happens(WriteEvent.UNCONFIRMED)
                assert required(standing, 1, replica.confidence) >= 1

    def give_up(self, replica: Replica) -> None:
        """Let a write time out."""
        if replica.attempt is not None:
            replica.attempt.happens(WriteEvent.GIVEN_UP)
            self._end(replica, replica.attempt, acknowledged=False)

    def _end(self, replica: Replica, attempt: Attempt, *, acknowledged: bool) -> None:
        self.told[attempt.key].append((attempt.content, acknowledged))
        self.busy.discard(attempt.key)
        replica.attempt = None

    def settle(self) -> dict[InstanceKey, int | None]:
        """Let every replica find the remaining master, and return its state."""
        for replica in self.replicas:
            self.give_up(replica)
            self._open(replica, self.master)
        for replica in self.replicas:  # one may have started an epoch after another had restored its own writes
            self._open(replica, self.master)
        state = self.master.state()
        return {key: state[key].content if key in state else None for key in KEYS}


def allowed(told: list[tuple[int | None, bool]]) -> set[int | None]:
    """Return the possible states of an instance: the last acknowledged one, or any later one of unknown outcome."""
    last = max((at for at, (_, acknowledged) in enumerate(told) if acknowledged), default=-1)
    return {content for content, _ in told[max(last, 0) :]} | ({None} if last < 0 else set())


def run(seed: int, *, faults: bool = True) -> System:
    system = System(seed)
    system.later = []
    happenings: list[Callable[[], None]] = [
        system.restart_master,
        system.promote,
        system.old_one_follows,
        system.kill_replica,
        system.notice,
        system.start_replica,
    ]
    for _ in range(STEPS):
        system.now += 0.05
        chance = system.random.random()
        if chance < 0.5:
            system.step(system.random.choice(system.replicas))
        elif chance < 0.85:
            system.copy()
        elif chance < 0.9:
            system.to_disk()
        elif chance < 0.92:
            system.give_up(system.random.choice(system.replicas))
        elif faults:
            system.random.choice(happenings)()
    return system


@pytest.mark.parametrize("start", range(0, SEEDS, 100))
def test_acknowledged_writes_survive_whatever_happens_in_between(start: int) -> None:
    acknowledged = 0
    for seed in range(start, start + 100):
        system = run(seed)
        state = system.settle()
        for key, told in system.told.items():
            acknowledged += sum(done for _, done in told)
            assert state[key] in allowed(told), f"seed {seed}: {key} is {state[key]}, told {told}"
    assert acknowledged > 300, "a run without acknowledgements proves nothing"


@pytest.mark.parametrize("seed", range(5))
def test_without_faults_every_write_is_acknowledged_soon(seed: int) -> None:
    system = run(seed, faults=False)
    told = [done for each in system.told.values() for _, done in each]
    assert sum(told) > 0.5 * len(told)
