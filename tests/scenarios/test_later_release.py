"""An agent of this release at a registry of a later one, which sends values that the agent does not know."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from registry_core.watch.limits import SYNC_EVERY_S
from tests.later_release import LATER
from tests.previous import THIS, previous_release
from tests.programs import wait_until
from tests.scenarios.two_releases import Place, agent, ask, replica


def view_of(place: Place) -> dict[str, Any]:
    view: dict[str, Any] = ask(place.port, "GET", "/self")[1]["view"]
    return view


def sync_of(place: Place) -> dict[str, Any]:
    sync: dict[str, Any] = ask(place.port, "GET", "/self")[1]["sync"]
    return sync


def register(registry: Place, service: str, host: str = "10.0.0.1", **more: Any) -> None:
    body = {"service_name": service, "instance_id": service, "host": host, "port": 8034, **more}
    status, said = ask(registry.port, "POST", "/register", body)
    assert status == 201, said


def statuses(place: Place, service: str) -> list[str]:
    status, answer = ask(place.port, "GET", f"/services/{service}")
    return [one["status"] for one in answer["instances"]] if status == 200 else [str(status)]


def _is(place: Place, service: str, status: str) -> bool:
    return statuses(place, service) == [status]


def _has(place: Place, services: int) -> bool:
    return bool(view_of(place)["services"] == services)


@pytest.fixture
def later(tmp_path: Path) -> Iterator[Place]:
    registry = replica(tmp_path, "later", "memory:")
    registry.start(LATER)
    yield registry
    registry.stop()


@pytest.mark.timeout(120)
def test_an_agent_follows_a_registry_with_values_that_it_does_not_know(tmp_path: Path, later: Place) -> None:
    register(later, "known")
    register(later, "resting", "10.0.0.2", status="quarantined")
    register(later, "fast", "10.0.0.3", protocol="quic")
    with contextlib.ExitStack() as stack:
        this = agent(tmp_path, "this", [later])
        stack.callback(this.stop)
        this.start(THIS)
        wait_until(lambda: view_of(this)["complete"], "it knows everything, and that this is all")
        assert statuses(this, "known") == ["passing"]
        assert statuses(this, "resting") == ["quarantined"], "no instance of it passes: better that one than none"
        assert ask(this.port, "GET", "/resolve/fast")[1]["protocol"] == "quic"

        register(later, "resting-too", "10.0.0.4", status="quarantined")
        wait_until(lambda: statuses(this, "resting-too") == ["quarantined"], "an event is taken")
        # An event of unknown type: the service is read again.
        assert ask(later.port, "PUT", "/status/known/known", {"status": "critical"})[0] == 200
        wait_until(lambda: statuses(this, "known") == ["critical"], "the change is seen", timeout_s=5)
        for status in ("quarantined", "warning", "passing") * 3:
            assert ask(later.port, "PUT", "/status/known/known", {"status": status})[0] == 200
            wait_until(partial(_is, this, "known", status), "each is seen", timeout_s=5)
        register(later, "last", "10.0.0.5")
        wait_until(lambda: statuses(this, "last") == ["passing"], "it goes on")
        wait_until(lambda: view_of(this)["complete"], "all of it adds up")
        sync = sync_of(this)
        assert (sync["losses"], sync["resyncs"], sync["mismatches"]) == (0, 0, 0)
        assert "standing_changed" in view_of(this)["unreadable"], "and it reports what it did not know"

        # Its stored state is of use when it restarts with everything central down.
        wait_until(lambda: ask(this.port, "GET", "/self")[1]["snapshot"]["saved_at"], "it is on the disk", timeout_s=30)
        this.stop()
        later.stop()
        this.start(THIS)
        assert statuses(this, "resting") == ["quarantined"]
        assert statuses(this, "last") == ["passing"]


@pytest.mark.timeout(180)
def test_agents_of_this_and_the_previous_release_agree_with_a_registry_that_has_one_more_field(
    tmp_path: Path, later: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = previous_release(tmp_path_factory.mktemp("previous"))
    register(later, "known")
    with contextlib.ExitStack() as stack:
        agents = [agent(tmp_path, name, [later]) for name in ("this", "before")]
        for place, release in zip(agents, (THIS, before), strict=True):
            stack.callback(place.stop)
            place.start(release)
        for number in range(10):
            register(later, f"more-{number}", f"10.0.1.{number + 1}")
        for place in agents:
            wait_until(partial(_has, place, 11), "it has all of them")
        time.sleep(2 * SYNC_EVERY_S + 1)  # sync lines, each with the digest of records that have one more field
        for place in agents:
            sync = sync_of(place)
            assert (sync["losses"], sync["resyncs"], sync["mismatches"]) == (0, 0, 0), json.dumps(sync)
            assert view_of(place)["complete"]
            assert view_of(place)["freshness"] == "fresh"
