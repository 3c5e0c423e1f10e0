"""Selection over any set of instances."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from registry_core.domain.records import Instance, Status
from registry_core.domain.selection import ANY, Filter, SelectionKind, WhenNonePass, pick, ranked, selected, serving
from tests.samples import instances

SETS = st.lists(instances(), max_size=8, unique_by=lambda i: i.key)


class Drawn:
    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


@given(SETS, st.sampled_from(list(WhenNonePass)))
def test_a_service_with_a_passing_instance_returns_no_failing_one(given_: list[Instance], rule: WhenNonePass) -> None:
    chosen = serving(given_, when_none_pass=rule)
    assert set(map(id, chosen)) <= set(map(id, given_))
    if any(i.status in (Status.PASSING, Status.WARNING) for i in given_):
        assert all(i.status in (Status.PASSING, Status.WARNING) for i in chosen)
        assert chosen
    elif any(i.status is Status.DRAINING and not i.suspect for i in given_):
        assert all(i.status is Status.DRAINING and not i.suspect for i in chosen)
        assert chosen
    assert not any(i.status is Status.MAINTENANCE for i in chosen)


@given(SETS, st.sampled_from(list(WhenNonePass)), st.booleans())
def test_no_instance_both_answers_and_leaves(given_: list[Instance], rule: WhenNonePass, drained: bool) -> None:
    usable, leaving, kind = selected(given_, ANY, rule, lambda _: drained)
    assert not set(map(id, usable)) & set(map(id, leaving))
    assert bool(usable) is (kind is not SelectionKind.NONE)
    assert usable or not leaving, "SRV alone answers nothing that other faces do not know"
    assert all(i.status is Status.DRAINING for i in leaving)


@given(SETS, st.sampled_from(("", "z1")), st.floats(0, 1))
def test_the_drawn_instance_is_in_the_nearest_zone(given_: list[Instance], zone: str, mark: float) -> None:
    chosen = pick(given_, Drawn(mark), zone)
    if not given_:
        assert chosen is None
        return
    assert chosen in given_
    assert chosen is not None
    if zone and any(i.zone == zone for i in given_):
        assert chosen.zone == zone


@given(SETS, st.sampled_from(("", "z1")))
def test_ranking_loses_no_instance(given_: list[Instance], zone: str) -> None:
    order = ranked(given_, zone)
    assert sorted(i.instance_id + i.service_name for i in order) == sorted(
        i.instance_id + i.service_name for i in given_
    )
    if zone:
        near = [i.zone == zone for i in order]
        assert near == sorted(near, reverse=True)


@given(SETS, st.sampled_from(("canary", "")), st.sampled_from(("1", "1.4", "1.4.2", "")), st.sampled_from(list(Status)))
def test_a_filter_admits_exactly_its_matches(given_: list[Instance], tag: str, version: str, status: Status) -> None:
    for i in serving(given_, Filter(tag=tag, version=version, status=status)):
        assert not tag or tag in i.tags
        assert not version or i.version == version or i.version.startswith(f"{version}.")
        assert i.status is status
