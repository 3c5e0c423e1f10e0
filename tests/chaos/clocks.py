"""A machine's clock is wrong by an hour, and is set while everything runs.

Only the clock of our programs is moved (by libfaketime); the contract tests cover a change of Redis's own clock. The
monotonic clock stays real, as it does on a machine whose clock is set.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.asking import Target
from tests.chaos.fleet import FAST, Agent, agent, asking, ready
from tests.chaos.system import Outcome, registry
from tests.programs import wait_until
from tests.redis_topology import redis_server
from tests.scenarios.system import health_of

HOUR_S = 3600
FIRST = [f"first_{number}" for number in range(4)]
SECOND = [f"second_{number}" for number in range(4)]
# For polling the agents, and for a busy machine.
LOOK_S = 1.5


class FakeTime:
    """The clock of programs started with `environment`: real time plus an offset."""

    def __init__(self, folder: Path, offset_s: int) -> None:
        self._file = folder / f"clock{offset_s}"
        self.set(offset_s)
        library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
        assert library is not None, "libfaketime is not installed: run `make system-packages`"
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            # libfaketime still shifts deadlines by the monotonic clock: for threads that wait for the interpreter's
            # lock they always seem past, and those threads spin so that its holder cannot release it. A replica stalled
            # for 1.3 s that way. So each wait takes the interpreter's own 5 ms; it has no other timed wait.
            "FAKETIME_WAIT_MS": "5",
        }

    def set(self, offset_s: int) -> None:
        """Set the clock, also for running programs. They never read a half-written file."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset_s:+d}\n", encoding="ascii")
        new.replace(self._file)


def shown_offset_s(url: str) -> float:
    """Return by how many seconds the clock that a replica or agent shows is ahead of ours."""
    shown = datetime.fromisoformat(health_of(url)["timestamp"])
    return (shown - datetime.now(UTC)).total_seconds()


def _is_off_by(url: str, offset_s: int) -> bool:
    return abs(shown_offset_s(url) - offset_s) < 60


def _dies(dying: Agent, watchers: list[Agent]) -> float:
    """Kill an agent; return after how many seconds the others stop showing its services."""
    services = list(dying.services)
    dying.program.process.kill()
    began = time.monotonic()
    lease_s = FAST.ttl_s + FAST.grace_s
    wait_until(
        lambda: all(each.forgot(services) for each in watchers), f"{services} go in time", timeout_s=lease_s + LOOK_S
    )
    took_s = time.monotonic() - began
    # Its last heartbeat was at most one interval before, and a sweep is at most a second early.
    assert took_s >= lease_s - FAST.heartbeat_s - 1.0, f"{services} went after {took_s:.1f} s"
    return took_s


def clock_of_a_replica(folder: Path, seed: int, offset_s: int) -> Outcome:
    """Run two replicas that both sweep; one has a wrong clock, which is then set wrong in the other direction."""
    clock = FakeTime(folder, offset_s)
    with (
        redis_server(folder / "redis") as redis,
        registry(folder, redis.url, "wrong", FAST.replica(**clock.environment)) as wrong,
        registry(folder, redis.url, "right", FAST.replica()) as right,
        agent(folder, "first", FIRST, "127.77.1.1", urls=[wrong.url], heartbeat_s=FAST.heartbeat_s) as first,
        agent(folder, "second", SECOND, "127.77.1.2", urls=[right.url], heartbeat_s=FAST.heartbeat_s) as second,
        agent(folder, "one", ["one"], "127.77.1.3", urls=[wrong.url], heartbeat_s=FAST.heartbeat_s) as one,
        agent(folder, "other", ["other"], "127.77.1.4", urls=[wrong.url], heartbeat_s=FAST.heartbeat_s) as other,
    ):
        ready([first, second, one, other])
        assert _is_off_by(wrong.url, offset_s)
        assert _is_off_by(right.url, 0)
        living = {**first.services, **second.services}
        targets = [Target(at, living) for at in (wrong.url, right.url, first.url, second.url)]
        targets += [Target(str(each.dns_port), living) for each in (first, second)]
        with asking(folder, targets, seed) as result:
            gone_s = [_dies(one, [first, second])]
            clock.set(-offset_s)
            assert _is_off_by(wrong.url, -offset_s)
            gone_s.append(_dies(other, [first, second]))
            clock.set(0)
            time.sleep(2 * FAST.heartbeat_s)
            shown = [replica.instances() for replica in (wrong, right)]
        lost = [name for name in living if any(name not in view.values() for view in shown)]
        result.acknowledged = dict.fromkeys([*living, "one", "other"], "")
        gone = ", ".join(f"{each:.1f} s" for each in gone_s)
        what = f"clock of one of two replicas {offset_s:+d} s, then set to {-offset_s:+d} s and to the right time"
        return Outcome(f"{what}; the dead gone after {gone}", result, lost)


def clock_of_a_replica_ahead(folder: Path, seed: int) -> Outcome:
    """Start with a clock that is an hour ahead."""
    return clock_of_a_replica(folder, seed, HOUR_S)


def clock_of_a_replica_behind(folder: Path, seed: int) -> Outcome:
    """Start with a clock that is an hour behind."""
    return clock_of_a_replica(folder, seed, -HOUR_S)
