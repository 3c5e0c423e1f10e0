"""A clock is wrong by an hour, or is set by an hour: no lease expires early or late, and nothing sticks."""

from __future__ import annotations

import contextlib
import random
import time
from functools import partial
from pathlib import Path

import pytest

from tests.chaos.asking import Target
from tests.chaos.clocks import HOUR_S, FakeTime, clock_of_a_replica, shown_offset_s
from tests.chaos.fleet import FAST, agent, asking, ready
from tests.chaos.system import registry, say
from tests.programs import wait_until
from tests.redis_topology import redis_server
from tests.scenarios.system import get_json

pytestmark = pytest.mark.long


@pytest.mark.parametrize("offset_s", [HOUR_S, -HOUR_S], ids=["ahead", "behind"])
def test_a_replica_with_a_wrong_clock_sweeps_like_the_other_one(tmp_path: Path, offset_s: int) -> None:
    outcome = clock_of_a_replica(tmp_path, random.randrange(1_000_000), offset_s)
    say(outcome)
    assert outcome.lost == []
    assert outcome.result.failures == []


def test_an_agent_restarted_with_an_earlier_clock_owns_its_services(tmp_path: Path) -> None:
    clock = FakeTime(tmp_path, HOUR_S)
    with redis_server(tmp_path / "redis") as redis, registry(tmp_path, redis.url, "replica", FAST.replica()) as replica:
        start = partial(
            agent, tmp_path, services=["tracker"], host="127.77.1.1", urls=[replica.url], heartbeat_s=FAST.heartbeat_s
        )
        with start("ahead", more=clock.environment) as ahead:
            ready([ahead])
            assert shown_offset_s(ahead.url) > HOUR_S - 60
        with start("right") as right:

            def registered() -> bool:
                with contextlib.suppress(OSError):
                    (service,) = get_json(f"{right.url}/self")["services"]
                    return bool(service["phase"] == "registered")
                return False

            wait_until(registered, "it is registered, though the last one came from the future")


def test_an_agent_whose_clock_is_set_keeps_its_leases_and_fresh_answers(tmp_path: Path) -> None:
    clock = FakeTime(tmp_path, 0)
    state = {"AGENT_STATE_DIR": str(tmp_path / "state"), **clock.environment}
    with redis_server(tmp_path / "redis") as redis, registry(tmp_path, redis.url, "replica", FAST.replica()) as replica:
        start = partial(
            agent, tmp_path, services=["tracker"], host="127.77.1.1", urls=[replica.url], heartbeat_s=FAST.heartbeat_s
        )
        with start("stepped", more=state) as stepped, start("other", services=["other"], host="127.77.1.2") as other:
            ready([stepped, other])
            living = {**stepped.services, **other.services}
            targets = [Target(at, living) for at in (replica.url, stepped.url, other.url)]
            targets += [Target(str(each.dns_port), living) for each in (stepped, other)]
            with asking(tmp_path, targets, 1) as result:
                for offset_s in (HOUR_S, -HOUR_S):
                    clock.set(offset_s)
                    time.sleep(FAST.ttl_s + FAST.grace_s + FAST.heartbeat_s)  # a silent one expires
                    shown = get_json(f"{stepped.url}/self")
                    assert shown["view"]["freshness"] == "fresh"
                    assert [service["phase"] for service in shown["services"]] == ["registered"]
                    assert abs(shown_offset_s(stepped.url) - offset_s) < 60
                stepped.program.process.kill()
                clock.set(-HOUR_S)
                with start("again", more=state) as again:
                    ready([again])
                    wait_until(
                        lambda: get_json(f"{again.url}/self")["services"][0]["phase"] == "registered",
                        "it owns its service, an hour before it was started last",
                    )
        ended = (str(stepped.dns_port), stepped.url)
        assert [failure for failure in result.failures if not failure.said.startswith(ended)] == []
