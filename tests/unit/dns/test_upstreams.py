"""How a resolver's answers and silences change its state, on a clock that the test sets."""

from __future__ import annotations

from dns.forward_rules import ResolverAddress
from dns.upstreams import BELIEF_S, LOOP_REST_S, REST, ResolverState, UpstreamResolver, in_order


def upstream(host: str = "10.0.0.2") -> UpstreamResolver:
    return UpstreamResolver(ResolverAddress(host))


def tried(one: UpstreamResolver, now: float) -> None:
    one.try_begins(now)
    one.has_answered(0.02)
    one.is_clear()
    one.try_ends(now)


def test_a_new_resolver_is_up_and_is_tried_once() -> None:
    one = upstream()
    assert one.state is ResolverState.UP
    assert one.wants_try(0.0)
    one.try_begins(0.0)
    assert not one.wants_try(0.0), "one check at a time"
    one.is_clear()
    one.try_ends(0.1)
    assert not one.wants_try(1e9), "as long as it answers"


def test_failing_resolvers_are_asked_last_and_looping_ones_not_at_all() -> None:
    first, second, third = upstream("10.0.0.1"), upstream("10.0.0.2"), upstream("10.0.0.3")
    assert in_order([first, second, third]) == [first, second, third]
    first.has_failed(0.0)
    second.has_looped(0.0)
    assert in_order([first, second, third]) == [third, first]
    first.has_answered(0.02)
    assert in_order([first, second, third]) == [first, third]


def test_a_failing_resolver_is_retried_with_growing_waits() -> None:
    one = upstream()
    now, rests = 0.0, []
    for _ in range(8):
        one.try_begins(now)
        one.has_failed(now)
        one.try_ends(now)
        start = now
        while not one.wants_try(now):
            now += 0.5
        rests.append(now - start)
    assert rests[0] == REST.first_s
    assert rests == sorted(rests)
    assert rests[-1] == REST.most_s


def test_a_looping_resolver_stays_out_until_our_query_does_not_come_back() -> None:
    one = upstream()
    tried(one, 0.0)
    assert one.has_looped(10.0), "that is a change"
    assert not one.has_looped(10.5), "the second time it is not a change"
    one.has_answered(0.02)
    one.has_failed(11.0)
    assert one.state is ResolverState.LOOPING, "other answers do not count"
    assert not one.wants_try(10.5 + LOOP_REST_S - 1)
    assert one.wants_try(10.5 + LOOP_REST_S)
    tried(one, 50.0)
    report = one.report(50.0)
    assert (report.state, report.loops) == (ResolverState.UP, 2)


def test_a_suspected_resolver_is_checked_but_not_with_every_packet() -> None:
    one = upstream()
    tried(one, 100.0)
    one.suspect(101.0)
    assert not one.wants_try(101.0)
    assert one.wants_try(105.0)
    tried(one, 105.0)
    one.suspect(200.0)
    assert one.wants_try(200.0)


def test_missing_features_are_remembered_for_a_while() -> None:
    one = upstream()
    one.folds_case(0.0)
    one.refused_edns(1.0)
    assert not one.keeps_case(BELIEF_S - 1)
    assert one.keeps_case(BELIEF_S)
    assert not one.knows_edns(BELIEF_S)
    assert one.knows_edns(BELIEF_S + 1)
