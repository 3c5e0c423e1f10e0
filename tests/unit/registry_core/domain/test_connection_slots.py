"""Which connections go when there is no room for all."""

from __future__ import annotations

import pytest

from registry_core.domain.connection_slots import (
    LOOPBACK,
    Closing,
    ConnectionSlots,
    SlotTerms,
    SlotVerdict,
    owner_of,
)

MALLORY, ALICE, BOB, PROXY = "203.0.113.66", "192.0.2.1", "192.0.2.2", "10.0.0.80"
TERMS = SlotTerms(connections=16, of_one_owner=12, large=4)


class Listener:
    """The slots of one listener, and a clock. Connections are named after their owners: `192.0.2.1#3`."""

    def __init__(self, terms: SlotTerms = TERMS, shared: frozenset[str] = frozenset()) -> None:
        self.in_flight: dict[str, float] = {}
        self.slots: ConnectionSlots[str] = ConnectionSlots(terms, self.in_flight.get)
        self.shared = shared
        self.now = 0.0
        self._count = 0

    def enter(self, owner: str) -> tuple[str, SlotVerdict[str]]:
        self._count += 1
        self.now += 0.001
        name = f"{owner}#{self._count}"
        return name, self.slots.enter(name, owner, self.now, is_shared=owner in self.shared)

    def idle(self, owner: str, count: int) -> list[str]:
        """Let so many enter, and some time pass."""
        names = [self.enter(owner)[0] for _ in range(count)]
        self.now += 2
        return names

    def busy(self, owner: str, count: int) -> list[str]:
        """Let so many enter and begin a request, and some time pass."""
        names = [self.enter(owner)[0] for _ in range(count)]
        self.in_flight.update(dict.fromkeys(names, self.now))
        self.now += 2
        return names

    def streams(self, owner: str, count: int) -> list[str]:
        names = self.busy(owner, count)
        self.now += 60
        return names


def test_all_are_admitted_while_there_is_room() -> None:
    listener = Listener()
    listener.idle(ALICE, 8)
    listener.idle(BOB, 8)
    assert len(listener.slots) == 16
    assert listener.slots.is_full


def test_the_longest_idle_one_of_the_owner_with_most_connections_goes() -> None:
    listener = Listener()
    listener.idle(ALICE, 4)
    mallory = listener.idle(MALLORY, 12)
    listener.in_flight[mallory[0]] = listener.now
    listener.slots.rested(mallory[0], listener.now)
    _, verdict = listener.enter(BOB)
    assert verdict == SlotVerdict(True, mallory[1], Closing.IDLE)
    assert (len(listener.slots), listener.slots.held_by(MALLORY), listener.slots.held_by(BOB)) == (16, 11, 1)


def test_one_address_has_a_share_and_then_only_replaces_its_own() -> None:
    listener = Listener()
    mallory = listener.idle(MALLORY, 12)
    assert listener.enter(MALLORY)[1] == SlotVerdict(True, mallory[0], Closing.IDLE)
    for name in mallory:
        listener.in_flight[name] = listener.now
    listener.slots.leave(f"{MALLORY}#13")
    busy = listener.enter(MALLORY)[0]
    listener.in_flight[busy] = listener.now
    assert listener.enter(MALLORY)[1] == SlotVerdict(admitted=False, why=Closing.SHARE)
    assert listener.enter(ALICE)[1].admitted


def test_an_address_with_many_connections_displaces_nobody_who_has_fewer() -> None:
    listener = Listener()
    listener.idle(ALICE, 5)
    listener.busy(MALLORY, 11)
    assert listener.enter(MALLORY)[1].why is not Closing.IDLE
    assert listener.slots.held_by(ALICE) == 5


def test_requests_in_flight_of_a_greedy_owner_go_when_nothing_is_idle() -> None:
    listener = Listener()
    mallory = listener.busy(MALLORY, 12)
    listener.busy(ALICE, 4)
    assert listener.enter(BOB)[1] == SlotVerdict(True, mallory[0], Closing.BUSY)


def test_requests_in_flight_of_modest_owners_never_go() -> None:
    listener = Listener()
    for number in range(4):
        listener.busy(f"192.0.2.{number}", 4)
    assert listener.enter(MALLORY)[1] == SlotVerdict(admitted=False, why=Closing.FULL)


def test_streams_are_the_last_to_go_and_the_newest_of_them_first() -> None:
    listener = Listener()
    mallory = listener.streams(MALLORY, 9)
    agents = listener.streams(ALICE, 4)
    busy = listener.busy(MALLORY, 3)
    assert listener.enter(BOB)[1] == SlotVerdict(True, busy[0], Closing.BUSY)
    listener.in_flight[f"{BOB}#17"] = listener.now
    for name in busy[1:]:
        assert listener.enter(BOB)[1] == SlotVerdict(True, name, Closing.BUSY)
    assert listener.enter("192.0.2.3")[1].victim == mallory[-1]
    assert listener.slots.held_by(ALICE) == len(agents)


def test_no_newcomer_displaces_a_watch_of_its_own_address() -> None:
    """All agents of a machine may share one address with an attacker."""
    listener = Listener()
    listener.streams(LOOPBACK, 16)
    assert listener.enter(LOOPBACK)[1] == SlotVerdict(admitted=False, why=Closing.FULL)


def test_a_client_that_has_just_connected_is_not_displaced_before_it_could_ask() -> None:
    listener = Listener()
    mallory = listener.busy(LOOPBACK, 15)
    newcomer, _ = listener.enter(LOOPBACK)
    assert listener.enter(LOOPBACK)[1] == SlotVerdict(True, mallory[0], Closing.BUSY)
    assert newcomer not in mallory


def test_a_flood_of_newcomers_displaces_its_own_and_no_request_in_flight() -> None:
    listener = Listener()
    watch = listener.busy(LOOPBACK, 1)
    flood = [listener.enter(LOOPBACK)[0] for _ in range(15)]
    assert listener.enter(LOOPBACK)[1] == SlotVerdict(True, flood[0], Closing.IDLE)
    assert watch[0] not in flood


def test_where_all_have_just_connected_the_first_of_them_goes() -> None:
    listener = Listener()
    first = [listener.enter(LOOPBACK)[0] for _ in range(16)]
    assert listener.enter(LOOPBACK)[1] == SlotVerdict(True, first[0], Closing.IDLE)


def test_a_proxy_has_no_share_and_its_connections_go_last() -> None:
    listener = Listener(shared=frozenset({PROXY}))
    proxied = listener.idle(PROXY, 14)
    alice = listener.idle(ALICE, 2)
    assert listener.enter(PROXY)[1].victim == alice[0], "though it holds more: it is many"
    assert listener.enter(BOB)[1].victim == alice[1]
    assert listener.enter("192.0.2.3")[1].admitted
    for name in proxied:
        listener.in_flight[name] = listener.now
    assert listener.slots.held_by(PROXY) >= 14, "what it has in flight never goes"


def test_the_processes_behind_one_address_are_told_apart_once_they_are_known() -> None:
    listener = Listener()
    neighbours = listener.idle(LOOPBACK, 3)
    mallory = listener.idle(LOOPBACK, 13)
    listener.slots.belong(dict.fromkeys(neighbours, "pid 1") | dict.fromkeys(reversed(mallory), "pid 66"))
    assert (listener.slots.held_by(LOOPBACK), listener.slots.held_by("pid 66"), len(listener.slots)) == (0, 13, 16)
    assert listener.enter(LOOPBACK)[1].victim == mallory[0], "not the longest idle of all, which is a neighbour's"
    listener.in_flight[mallory[1]] = listener.now
    listener.slots.belong({mallory[1]: "pid 67", "one that has left": "pid 67"})
    assert listener.slots.held_by("pid 67") == 1


def test_who_has_left_is_forgotten() -> None:
    listener = Listener()
    names = listener.idle(ALICE, 3) + listener.busy(BOB, 3)
    for name in names:
        listener.slots.leave(name)
        listener.slots.leave(name)
    listener.in_flight[names[0]] = listener.now
    listener.slots.rested(names[0], listener.now)
    assert (len(listener.slots), listener.slots._owners, listener.slots._by_size) == (0, {}, {})


def test_many_owners_without_an_idle_connection_are_not_all_looked_at() -> None:
    listener = Listener(SlotTerms(connections=3000, of_one_owner=10, large=10))
    for number in range(3000):
        name, _ = listener.enter(f"owner {number}")
        listener.in_flight[name] = listener.now
    listener.now += 5
    assert len(list(listener.slots._largest(1))) == 1000
    assert listener.enter(MALLORY)[1] == SlotVerdict(admitted=False, why=Closing.FULL)


@pytest.mark.parametrize(
    ("address", "owner"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("127.0.0.1", LOOPBACK),
        ("127.9.9.9", LOOPBACK),
        ("::1", LOOPBACK),
        ("::ffff:127.0.0.1", LOOPBACK),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:9::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", LOOPBACK),
    ],
)
def test_an_owner_is_an_address_or_the_network_of_one_in_ipv6(address: str, owner: str) -> None:
    assert owner_of(address) == owner
