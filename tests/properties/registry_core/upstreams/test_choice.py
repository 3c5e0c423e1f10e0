"""Which registry is used: a good one, whatever happens, and without needless moves."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from registry_core.upstreams.choice import (
    DEFAULT_PACE,
    GAIN,
    GAIN_S,
    NEAR_S,
    Choice,
    RegistryAddress,
    Trouble,
    Upstream,
    Use,
    Why,
    after_answer,
    after_failure,
    after_measurement,
    after_request,
    after_sign_of_life,
    after_zone,
    chosen,
)

ZONES = ("", "a", "b")
draws = st.floats(0, 1, exclude_max=True)
latencies = st.none() | st.floats(0.0001, 1.0)


@st.composite
def fleets(draw: st.DrawFn) -> list[Upstream]:
    count = draw(st.integers(1, 6))
    return [
        Upstream(
            RegistryAddress(f"http://r{n}:1", draw(st.sampled_from(ZONES)), draw(st.integers(0, 1))),
            learnt_zone=draw(st.sampled_from(ZONES)),
            latency_s=draw(latencies),
        )
        for n in range(count)
    ]


def choose(
    upstreams: Sequence[Upstream], choice: Choice | None, now: float, draw: float = 0.5, zone: str = "a"
) -> Choice:
    found = chosen(upstreams, choice, Use.WATCH, zone=zone, now=now, draw=draw)
    assert found is not None
    return found


def fail(
    upstreams: list[Upstream], url: str, now: float, draw: float = 0.5, trouble: Trouble = Trouble.REFUSING
) -> None:
    at = [one.url for one in upstreams].index(url)
    upstreams[at] = after_failure(upstreams[at], Use.WATCH, trouble, now=now, draw=draw)


@given(fleets(), st.data())
def test_a_failed_registry_is_not_used_while_another_works(upstreams: list[Upstream], data: st.DataObject) -> None:
    now, choice = 0.0, None
    for _ in range(20):
        now += data.draw(st.floats(0, 60))
        choice = choose(upstreams, choice, now, data.draw(draws))
        used = next(one for one in upstreams if one.url == choice.url)
        assert used.is_well(Use.WATCH, now) or not any(one.is_well(Use.WATCH, now) for one in upstreams)
        what = data.draw(st.sampled_from(("fail", "silence", "live", "answer", "nothing")))
        at = data.draw(st.integers(0, len(upstreams) - 1))
        match what:
            case "fail":
                fail(upstreams, choice.url, now, data.draw(draws))
            case "silence":
                fail(upstreams, upstreams[at].url, now, data.draw(draws), Trouble.SILENT)
            case "live":
                upstreams[at] = after_sign_of_life(upstreams[at], now=now, draw=data.draw(draws))
            case "answer":
                upstreams[at] = after_answer(upstreams[at], Use.WATCH)


@given(fleets(), st.lists(st.floats(0, 100), max_size=30), draws)
def test_without_changes_there_is_at_most_one_move(upstreams: list[Upstream], steps: list[float], draw: float) -> None:
    now, choice = 0.0, choose(upstreams, None, 0.0, draw)
    urls = [choice.url]
    for step in steps:
        now += step
        choice = choose(upstreams, choice, now, draw)
        if choice.url != urls[-1]:
            urls.append(choice.url)
    assert len(urls) == 1, "the first one was already the best"


@given(fleets(), st.integers(0, 5), st.lists(st.floats(0, 100), max_size=30), draws)
def test_one_move_leads_from_any_registry_to_the_final_one(
    upstreams: list[Upstream], at: int, steps: list[float], draw: float
) -> None:
    choice = Choice(upstreams[at % len(upstreams)].url, Why.FAILED, 0.0)
    now, moves = 0.0, 0
    for step in steps:
        now += step
        after = choose(upstreams, choice, now, draw)
        moves += after.url != choice.url
        choice = after
    assert moves <= 1


@given(st.lists(st.floats(0.001, 0.001 + GAIN_S), min_size=2, max_size=60))
def test_fluctuating_latencies_cause_no_move(measured: list[float]) -> None:
    upstreams = [
        Upstream(RegistryAddress("http://a:1"), latency_s=0.001),
        Upstream(RegistryAddress("http://b:1"), latency_s=0.001),
    ]
    choice, now = choose(upstreams, None, 0.0), 0.0
    for number, latency_s in enumerate(measured):
        now += 60.0
        upstreams[number % 2] = after_measurement(upstreams[number % 2], latency_s)
        choice = choose(upstreams, choice, now)
        assert choice.url == "http://a:1"


@given(fleets(), draws)
def test_the_tier_outranks_the_zone_and_the_zone_outranks_latency(upstreams: list[Upstream], draw: float) -> None:
    choice = choose(upstreams, None, 0.0, draw)
    used = next(one for one in upstreams if one.url == choice.url)
    tier = min(one.address.tier for one in upstreams)
    assert used.address.tier == tier
    if any(one.zone == "a" for one in upstreams if one.address.tier == tier):
        assert used.zone == "a"
    rivals = [one for one in upstreams if (one.address.tier, one.zone == "a") == (tier, used.zone == "a")]
    known = [one.latency_s for one in rivals if one.latency_s is not None]
    assert used.latency_s is None or used.latency_s <= min(known) + NEAR_S


@given(st.floats(0.001, 0.1), st.floats(0.001, 1.0))
def test_a_move_for_latency_alone_needs_a_large_gain(fast_s: float, slow_s: float) -> None:
    upstreams = [
        Upstream(RegistryAddress("http://a:1"), latency_s=slow_s),
        Upstream(RegistryAddress("http://b:1"), latency_s=fast_s),
    ]
    choice = choose(upstreams, Choice("http://a:1", Why.FIRST, 0.0), 1.0)
    assert (choice.url == "http://b:1") == (slow_s > GAIN * fast_s + GAIN_S)


@given(st.floats(0.0, 1.0), st.floats(-0.99, 0.99))
def test_among_equally_near_registries_the_first_one_is_preferred(nearer_s: float, apart: float) -> None:
    latencies = (nearer_s, nearer_s + abs(apart) * NEAR_S)
    first_s, second_s = latencies if apart < 0 else latencies[::-1]
    upstreams = [
        Upstream(RegistryAddress("http://a:1"), latency_s=first_s),
        Upstream(RegistryAddress("http://b:1"), latency_s=second_s),
    ]
    choice = choose(upstreams, Choice("http://b:1", Why.FAILED, 0.0), 1.0)
    assert (choice.url, choice.why) == ("http://a:1", Why.PREFERRED)


@given(draws, draws, draws)
def test_each_agent_returns_to_a_recovered_registry_after_its_own_delay(
    first: float, second: float, third: float
) -> None:
    upstreams = [Upstream(RegistryAddress("http://a:1")), Upstream(RegistryAddress("http://b:1"))]
    choice = choose(upstreams, None, 0.0)
    fail(upstreams, "http://a:1", 0.0, first, Trouble.SILENT)
    choice = choose(upstreams, choice, 0.0, second)
    assert (choice.url, choice.why) == ("http://b:1", Why.FAILED)
    upstreams[0] = after_sign_of_life(upstreams[0], now=1000.0, draw=third)
    back_at = 1000.0 + DEFAULT_PACE.return_s * (0.5 + third)
    assert choose(upstreams, choice, back_at - 0.001).url == "http://b:1"
    choice = choose(upstreams, choice, back_at)
    assert (choice.url, choice.why) == ("http://a:1", Why.PREFERRED)


@given(st.integers(1, 40), draws)
def test_a_registry_that_keeps_failing_is_avoided_for_growing_times(times: int, draw: float) -> None:
    upstream, now, rests = Upstream(RegistryAddress("http://a:1")), 0.0, []
    for _ in range(times):
        upstream = after_failure(upstream, Use.WRITE, Trouble.REFUSING, now=now, draw=draw)
        rests.append(round(upstream.health(Use.WRITE).rests_until - now, 6))
        now += 1.0
    assert rests == sorted(rests)
    assert rests[-1] <= DEFAULT_PACE.rest_most_s * 1.5
    later = now + DEFAULT_PACE.forgive_s + 1
    forgiven = after_failure(upstream, Use.WRITE, Trouble.REFUSING, now=later, draw=draw)
    assert forgiven.health(Use.WRITE).failures == 1


@given(st.sampled_from(Use), draws)
def test_a_refusal_affects_one_use_and_silence_affects_both(use: Use, draw: float) -> None:
    other = Use.WRITE if use is Use.WATCH else Use.WATCH
    upstream = Upstream(RegistryAddress("http://a:1"))
    refusing = after_failure(upstream, use, Trouble.REFUSING, now=0.0, draw=draw)
    assert (refusing.is_well(use, 0.0), refusing.is_well(other, 0.0)) == (False, True)
    silent = after_failure(upstream, use, Trouble.SILENT, now=0.0, draw=draw)
    assert (silent.is_well(use, 1e6), silent.is_well(other, 1e6)) == (False, False)


@given(st.lists(st.sampled_from(("a", "b", "")), max_size=8))
def test_an_address_for_replicas_in_several_zones_has_no_zone(said: list[str]) -> None:
    upstream = Upstream(RegistryAddress("http://a:1", zone="c"))
    for zone in said:
        upstream = after_zone(upstream, zone)
    named = {zone for zone in said if zone}
    wanted = named.pop() if len(named) == 1 else "" if named else "c"
    assert upstream.zone == wanted


@given(st.floats(0.001, 1.0), st.floats(0.001, 10.0))
def test_a_wait_for_the_store_does_not_count_as_latency(known_s: float, request_s: float) -> None:
    upstream = msgspec.structs.replace(Upstream(RegistryAddress("http://a:1")), latency_s=known_s)
    latency_s = after_request(upstream, request_s).latency_s
    assert latency_s is not None
    assert latency_s <= known_s


@given(fleets(), draws)
def test_a_removed_address_is_left_at_once(upstreams: list[Upstream], draw: float) -> None:
    choice = choose(upstreams, Choice("http://removed:1", Why.FIRST, 1e9), 0.0, draw)
    assert choice.why is Why.GONE
    assert chosen([], choice, Use.WATCH, zone="a", now=0.0, draw=draw) is None


@given(draws, st.lists(st.floats(0.1, 5.0), min_size=1, max_size=40))
def test_a_move_to_a_better_registry_is_not_followed_by_another_for_a_while(draw: float, steps: list[float]) -> None:
    upstreams = [Upstream(RegistryAddress("http://a:1")), Upstream(RegistryAddress("http://b:1"))]
    choice, now, moved_at = choose(upstreams, None, 0.0, draw), 0.0, 0.0
    for number, step in enumerate(steps):
        now += step
        # The two take turns in being much nearer; both work all the time.
        near = number % 2
        upstreams[near] = msgspec.structs.replace(upstreams[near], latency_s=0.001)
        upstreams[1 - near] = msgspec.structs.replace(upstreams[1 - near], latency_s=0.9)
        after = choose(upstreams, choice, now, draw)
        if after.url != choice.url:
            assert now - moved_at >= DEFAULT_PACE.stay_s * (0.5 + draw) - 1e-6
            moved_at = now
        choice = after


def test_when_all_registries_fail_they_are_tried_in_turn() -> None:
    upstreams = [Upstream(RegistryAddress(f"http://{name}:1")) for name in "abc"]
    choice, now, urls = choose(upstreams, None, 0.0), 0.0, []
    for _ in range(6):
        urls.append(choice.url[7])
        fail(upstreams, choice.url, now)
        now += 0.1
        choice = choose(upstreams, choice, now)
    assert "".join(urls) == "abcabc"
