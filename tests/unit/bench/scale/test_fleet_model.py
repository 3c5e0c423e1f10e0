"""The cost model: what each program uses, as functions of the fleet."""

import math

import msgspec
import pytest

from bench.scale.comparison import Comparison
from bench.scale.constants import CONSTANTS, FOLLOWER_CONSTANTS, missing_from, paced_cost
from bench.scale.fleet_model import Costs, Deployed, Fleet, Load, costs
from bench.scale.measured_file import MeasuredFile, RowResult, constants_of, read_measured, with_rows, with_systems
from bench.scale.sizing import Room, breaking, fleet_of, has_room, planned, returned, sensitivities

ONES = {constant.name: 1.0 for constant in (*CONSTANTS, *FOLLOWER_CONSTANTS)}
FLEET = Fleet(
    instances=50_000,
    agents=1_000,
    changes_per_s=7.0,
    drains_per_s=0.01,
    joins_per_s=0.1,
    lookups_per_s=50.0,
    queries_per_agent_s=500.0,
)
BUSY = Fleet(
    instances=10_000_000,
    agents=300_000,
    changes_per_s=2_000.0,
    drains_per_s=0.01,
    joins_per_s=1.0,
    lookups_per_s=10_000.0,
    queries_per_agent_s=50_000.0,
)
# Acknowledgements and changes cost enough to need followers.
DEAR = {**ONES, "replica.ack_us@50": 150.0, "replica.ack_us@1000": 150.0, "replica.deliver_us": 10.0}
WITHOUT = Deployed(replicas=2)
WITH = Deployed(replicas=2, followers=4, shards=2)


def told(constants: dict[str, float]) -> list[Costs]:
    """Return everything that the model says of a calm and of a busy fleet, with and without followers."""
    return [costs(fleet, layout, constants) for fleet in (FLEET, BUSY) for layout in (WITHOUT, WITH)]


@pytest.mark.parametrize("name", ONES)
def test_every_constant_has_a_part_in_what_the_model_says(name: str) -> None:
    assert told({**ONES, name: 2.0}) != told(ONES)


def test_a_replica_reads_the_renewals_that_other_replicas_took() -> None:
    constants = {**dict.fromkeys(ONES, 0.0), "replica.renewal_us": 1.0}
    fleet = Fleet(instances=30_000, agents=0)
    assert costs(fleet, Deployed(replicas=1), constants).replica.cores == 0
    assert costs(fleet, Deployed(replicas=4), constants).replica.cpu["renewals of other replicas"] == pytest.approx(750)


def test_followers_take_the_watches_of_agents_off_the_replicas() -> None:
    without, with_followers = (costs(FLEET, layout, ONES) for layout in (WITHOUT, WITH))
    assert without.follower is None
    assert with_followers.follower is not None
    assert without.replica.messages["changes sent on"] == 7.0 * 500
    assert with_followers.replica.messages["changes sent on"] == 7.0 * 2
    assert with_followers.follower.messages["changes sent on"] == 7.0 * 250


def test_a_request_costs_less_at_a_fast_pace_and_something_between_at_others() -> None:
    constants = {"replica.beat_us@50": 300.0, "replica.beat_us@1000": 100.0}
    assert paced_cost(constants, "replica.beat_us", 0.0) == 300.0
    assert paced_cost(constants, "replica.beat_us", math.sqrt(50 * 1_000)) == pytest.approx(200.0)
    assert paced_cost(constants, "replica.beat_us", 5_000.0) == 100.0


def test_rare_drains_are_acknowledged_one_by_one_and_frequent_ones_together() -> None:
    assert Fleet(instances=1, agents=1, drains_per_s=0.001).acks_per_agent_s() == pytest.approx(0.001, rel=0.01)
    assert Fleet(instances=1, agents=1, drains_per_s=1_000).acks_per_agent_s() < 4


def test_an_agent_holds_no_more_services_than_its_view_may() -> None:
    small, large = (costs(Fleet(instances=count, agents=100), WITHOUT, ONES).agent for count in (10_000, 1_000_000))
    assert small.memory["instances in view"] == large.memory["instances in view"] == 10_000
    assert small.memory["names of other services"] == 0 < large.memory["names of other services"]


def test_a_load_adds_up() -> None:
    load = Load(
        cpu={"a": 500_000.0, "b": 250_000.0}, memory={"a": 1024.0 * 1024.0}, octets={"a": 3.0}, messages={"a": 2.0}
    )
    assert (load.cores, load.memory_mb, load.octets_per_s, load.messages_per_s) == (0.75, 1.0, 3.0, 2.0)


# -- what is said of a fleet


def test_a_planned_layout_has_room_and_one_follower_less_has_not() -> None:
    fleet = fleet_of(900_000)
    plan = planned(fleet, DEAR)
    assert plan is not None
    assert plan.layout.replicas >= 2
    assert plan.layout.followers > 1
    assert plan.costs.follower is not None
    assert has_room(plan.costs.replica, Room())
    assert has_room(plan.costs.follower, Room())
    fewer = msgspec.structs.replace(plan.layout, followers=plan.layout.followers - 1)
    less = costs(fleet, fewer, DEAR).follower
    assert less is not None
    assert not has_room(less, Room()) or fleet.agents / fewer.followers > Room().watchers


def test_a_fleet_that_nothing_can_carry_has_no_layout() -> None:
    assert planned(fleet_of(10_000), {**ONES, "replica.idle_us": 2e6}) is None


def test_agents_that_come_back_read_everything_from_what_they_watch() -> None:
    fleet = Fleet(instances=1_000_000, agents=100)
    back = returned(fleet, Deployed(replicas=2, followers=10), {**ONES, "replica.join_us": 0.0})
    assert (back.readers, back.octets) == (10, 10_000_000)
    assert back.core_s == pytest.approx(11.0)
    assert back.agent_core_s == pytest.approx(1.0)
    assert returned(fleet, Deployed(replicas=2), ONES).readers == 50


def test_what_breaks_first_stands_first() -> None:
    found = breaking(WITHOUT, ONES)
    assert [one.instances for one in found] == sorted(one.instances for one in found)
    assert any("snapshot" in one.what and one.instances == pytest.approx(1_000_000, rel=0.02) for one in found)


def test_a_longer_heartbeat_interval_makes_redis_cheaper() -> None:
    (interval,) = [one for one in sensitivities(FLEET, WITHOUT, ONES) if one.parameter == "the heartbeat interval"]
    assert interval.redis < 1
    assert interval.agent == 1


def test_a_prediction_is_met_within_a_fifth_either_way() -> None:
    assert [Comparison("x", "MB", at, 100.0).met for at in (79.0, 81.0, 119.0, 121.0)] == [False, True, True, False]


# -- the file


def test_the_file_has_each_constant_once_from_the_row_that_measures_it() -> None:
    file = read_measured()
    rows = {constant.name: constant.row for constant in (*CONSTANTS, *FOLLOWER_CONSTANTS)}
    found = [(name, row.row) for row in file.rows for name in row.values]
    assert dict(found) == {name: rows[name] for name, _ in found}
    assert len(found) == len(dict(found))
    assert missing_from(constants_of(file)) == []
    assert all(row.date and row.machine.processor for row in file.rows)


def test_a_row_that_is_measured_again_replaces_the_older_result() -> None:
    file = read_measured()
    first = file.rows[0]
    again = with_rows(file, [RowResult(first.row, "later", first.machine, {"replica.idle_us": 1.0})])
    assert [row.row for row in again.rows] == [row.row for row in file.rows]
    assert again.rows[0].date == "later"
    assert with_systems(MeasuredFile(), reversed(file.systems)).systems == file.systems


def test_constants_of_followers_may_be_missing_together_only() -> None:
    values = {constant.name: 1.0 for constant in CONSTANTS}
    assert missing_from(values) == []
    assert missing_from({**values, FOLLOWER_CONSTANTS[0].name: 1.0}) == [one.name for one in FOLLOWER_CONSTANTS[1:]]
