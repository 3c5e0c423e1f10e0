"""Questions in flight: which one gives way when there are too many."""

from __future__ import annotations

from collections.abc import Hashable

from dns.flights import Flight, FlightLimits, Flights, WaitingClient, suffix_of
from tests.virtual_time import VirtualLoop

LIMITS = FlightLimits(in_flight=6, waiting=5, waiting_for_one=3, jostle_s=0.2)


def named(text: str) -> tuple[bytes, ...]:
    return tuple(text.encode().split(b"."))


def flight(name: str, asker: Hashable = "host", since: float = 0.0) -> Flight[str]:
    return Flight(name.encode(), suffix_of(named(name), ()), asker, since)


def full(*flights: Flight[str]) -> Flights[str]:
    made: Flights[str] = Flights(LIMITS)
    for one in flights:
        made.begin(one)
    return made


def test_a_new_question_takes_the_place_of_the_suffix_with_most() -> None:
    slow = [flight(f"x{n}.slow.example", since=float(n)) for n in range(5)]
    flights = full(flight("www.good.org"), *slow)
    assert flights.is_full
    found = flights.in_the_way(named("new.net"), "host", now=4.01)
    assert found is slow[0], "the oldest of them"


def test_a_new_question_takes_the_place_of_the_asker_with_most() -> None:
    own = flight("www.good.org", asker="modest")
    greedy = [flight(f"www.d{n}.example", asker="greedy", since=1.0) for n in range(5)]
    flights = full(own, *greedy)
    assert flights.in_the_way(named("new.net"), "modest", now=1.01) is greedy[0]


def test_those_that_crowd_take_only_old_places() -> None:
    slow = [flight(f"x{n}.slow.example", since=1.0) for n in range(6)]
    flights = full(*slow)
    assert flights.in_the_way(slow[0].suffix, "host", now=1.1) is None
    assert flights.in_the_way(slow[0].suffix, "host", now=1.21) is slow[0]


def test_names_are_counted_by_the_suffix_of_their_rule() -> None:
    assert suffix_of(named("a.b.corp"), named("corp")) == named("corp")
    assert suffix_of(named("a.b.example"), ()) == named("b.example")
    assert suffix_of(named("localnet"), ()) == named("localnet")


def test_this_machines_sockets_are_told_apart_by_the_names_they_ask_for() -> None:
    assert flight("a.slow.example", asker=("127.0.0.1", 7)).crowd == named("slow.example")
    assert flight("a.slow.example", asker="10.0.0.1").crowd == "10.0.0.1"


def test_waiting_clients_are_bounded_for_one_question_and_for_all() -> None:
    loop = VirtualLoop()
    clients = [WaitingClient[str](loop.create_future()) for _ in range(10)]
    one, other = flight("a.example"), flight("b.example")
    flights = full(one, other)
    assert [flights.wait(one, client) for client in clients[:3]] == [[], [], []]
    assert flights.wait(one, clients[3]) == [clients[0]], "the longest"
    assert [flights.wait(other, client) for client in clients[4:6]] == [[], []]
    assert flights.wait(other, clients[6]) == [clients[1]], "of the question for which most wait"
    assert flights.waiting == 5
    flights.end(one)
    assert (flights.waiting, len(flights)) == (3, 1)
    flights.end(one)
    assert (flights.waiting, len(flights)) == (3, 1), "once"
    loop.close()


def test_nothing_is_left_of_flights_that_have_ended() -> None:
    flights = full(*(flight(f"x{n}.d{n}.example", asker=n) for n in range(6)))
    for one in flights:
        flights.end(one)
    assert (len(flights), flights._suffixes, flights._askers) == (0, {}, {})
    assert flights.in_the_way(named("a.example"), "a", now=9.0) is None
