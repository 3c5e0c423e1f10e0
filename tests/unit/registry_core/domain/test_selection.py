"""Selection: which instances are returned, in which order, and which is drawn."""

from __future__ import annotations

import random
from collections import Counter

import msgspec
import pytest

from registry_core.domain.records import Instance, Status
from registry_core.domain.selection import (
    ANY,
    Filter,
    Selection,
    SelectionKind,
    WhenNonePass,
    pick,
    ranked,
    selected,
    serving,
)
from tests.samples import instance

PASSING = instance(port=8001)
WARNING = instance(port=8002, status=Status.WARNING)
CRITICAL = instance(port=8003, status=Status.CRITICAL)
DRAINING = instance(port=8004, status=Status.DRAINING)
MAINTENANCE = instance(port=8005, status=Status.MAINTENANCE)
ALL = (PASSING, WARNING, CRITICAL, DRAINING, MAINTENANCE)


class Fixed:
    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


def test_only_passing_and_warning_instances_answer() -> None:
    assert serving(ALL) == (PASSING, WARNING)


@pytest.mark.parametrize("rule", list(WhenNonePass))
def test_while_others_pass_a_draining_instance_leaves_and_after_a_moment_it_has_left(rule: WhenNonePass) -> None:
    chosen = selected(ALL, when_none_pass=rule)
    assert (chosen.usable, chosen.leaving, chosen.kind) == ((PASSING, WARNING), (DRAINING,), SelectionKind.PASSING)
    assert selected(ALL, ANY, rule, lambda one: one is DRAINING).leaving == ()


@pytest.mark.parametrize("rule", list(WhenNonePass))
@pytest.mark.parametrize(
    "others", [(), (CRITICAL,), (CRITICAL, instance(port=8006, status=Status.CRITICAL), MAINTENANCE)]
)
def test_draining_beats_failing_however_long_it_has_drained(rule: WhenNonePass, others: tuple[Instance, ...]) -> None:
    chosen = selected((DRAINING, *others), ANY, rule, lambda _: True)
    assert chosen == Selection((DRAINING,), (), SelectionKind.DRAINING)


def test_when_none_is_well_the_critical_ones_answer_unless_that_is_turned_off() -> None:
    rest = (CRITICAL, MAINTENANCE)
    assert selected(rest) == Selection((CRITICAL,), (), SelectionKind.DOUBTFUL)
    assert selected(rest, when_none_pass=WhenNonePass.NONE) == Selection((), (), SelectionKind.NONE)


def test_one_that_fell_silent_while_it_drained_is_as_doubtful_as_a_failing_one() -> None:
    silent = msgspec.structs.replace(DRAINING, suspect=True)
    assert selected((silent, CRITICAL)) == Selection((silent, CRITICAL), (), SelectionKind.DOUBTFUL)
    assert selected((silent, CRITICAL), when_none_pass=WhenNonePass.NONE).usable == ()
    assert selected((silent, DRAINING, CRITICAL)).usable == (DRAINING,)


@pytest.mark.parametrize("rule", list(WhenNonePass))
def test_an_instance_in_maintenance_never_answers_unless_that_status_is_requested(rule: WhenNonePass) -> None:
    assert selected((MAINTENANCE,), when_none_pass=rule) == Selection((), (), SelectionKind.NONE)
    assert serving(ALL, Filter(status=Status.MAINTENANCE), rule) == (MAINTENANCE,)


def test_a_requested_status_is_matched_exactly() -> None:
    assert serving(ALL, Filter(status=Status.DRAINING)) == (DRAINING,)


def test_all_filters_must_match() -> None:
    a = instance(port=8001, tags=("canary", "eu"), version="1.4.2", zone="z1")
    b = instance(port=8002, tags=("eu",), version="1.4.20", zone="z1")
    assert serving((a, b), Filter(tag="eu", zone="z1")) == (a, b)
    assert serving((a, b), Filter(tag="canary")) == (a,)
    assert serving((a, b), Filter(version="1.4.2")) == (a,), "1.4.20 is another version"
    assert serving((a, b), Filter(version="1.4")) == (a, b)
    assert serving((a, b), Filter(version="1")) == (a, b)
    assert serving((a, b), Filter(version="14")) == ()
    assert serving((a, b), Filter(zone="z2")) == ()


def test_the_nearest_zone_comes_first_and_then_the_heaviest() -> None:
    far_heavy = instance(port=8001, zone="z2", weight=100)
    near_light = instance(port=8002, zone="z1", weight=1)
    near_heavy = instance(port=8003, zone="z1", weight=9)
    assert ranked((far_heavy, near_light, near_heavy), "z1") == (near_heavy, near_light, far_heavy)
    assert ranked((near_light, far_heavy)) == (far_heavy, near_light)


def test_the_draw_follows_the_weights() -> None:
    light, heavy = instance(port=8001, weight=1), instance(port=8002, weight=9)
    source = random.Random(7)
    drawn = Counter(chosen.port for chosen in (pick((light, heavy), source) for _ in range(2000)) if chosen)
    assert 0.05 < drawn[8001] / 2000 < 0.15


def test_the_draw_stays_in_its_own_zone_while_that_has_instances() -> None:
    near, far = instance(port=8001, zone="z1"), instance(port=8002, zone="z2", weight=100)
    assert {pick((near, far), Fixed(v), "z1") is near for v in (0.0, 0.5, 0.999)} == {True}
    assert pick((far,), Fixed(0.5), "z1") is far


def test_rounding_never_moves_the_draw_past_the_last_instance() -> None:
    assert pick((PASSING, WARNING), Fixed(1.0)) is WARNING
    assert pick((), Fixed(0.0)) is None
