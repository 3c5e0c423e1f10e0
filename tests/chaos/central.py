"""Everything central dies: agents still answer, say how old their answers are, and are fresh again soon after."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tests.chaos.fleet import Agent, agent, ready
from tests.chaos.load import Result
from tests.chaos.lookups import DNS_PER_S, HTTP_PER_S, Lookups
from tests.chaos.system import Outcome
from tests.programs import VERTICE, Program, accepts, free_port, wait_until

SERVICES = [f"service_{number}" for number in range(20)]
HOST = "127.77.1.1"
AWAY_S = 90.0
FRESH_AGAIN_S = 5.0


@contextlib.contextmanager
def looking_up(folder: Path, of: Agent) -> Iterator[Lookups]:
    """Query an agent all the time; the yielded result is filled in at the end."""
    file = folder / "lookups.json"
    argv = [sys.executable, "-m", "tests.chaos.lookups", str(of.dns_port), of.url, HOST, str(file), *SERVICES]
    program = Program(argv, folder / "lookups.log")
    found = Lookups()
    try:
        yield found
    finally:
        if program.stop() != 0:
            raise AssertionError(program.output())
        if file.exists():
            said = msgspec.json.decode(file.read_bytes(), type=Lookups)
            found.seconds, found.failures, found.longest_s = said.seconds, said.failures, said.longest_s


def everything_central_away(folder: Path, seed: int, away_s: float = AWAY_S) -> Outcome:
    """Kill the registry and the registering agent for `away_s` at 1,000 lookups a second, and start them again."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(_registry(folder, "first", port))
        fleet = stack.enter_context(agent(folder, "fleet", SERVICES, HOST, urls=[url], heartbeat_s=1.0))
        asked = stack.enter_context(agent(folder, "asked", [], HOST, urls=[url], heartbeat_s=1.0))
        ready([fleet])
        wait_until(lambda: asked.knows(SERVICES), "the agent knows every service", timeout_s=30)
        with looking_up(folder, asked) as lookups:
            time.sleep(3)
            fleet.program.process.kill()
            first.process.kill()
            died = time.monotonic()
            time.sleep(away_s)
            stack.enter_context(_registry(folder, "second", port))
            back = time.monotonic()
            stack.enter_context(agent(folder, "fleet-again", SERVICES, HOST, urls=[url], heartbeat_s=1.0))
            time.sleep(3 * FRESH_AGAIN_S)
    result = Result(seed, began_at=died, lookups=lookups.asked, longest_lookup_s=lookups.longest_s)
    broken = [f"a lookup failed: {said}" for said in lookups.failures]
    if lookups.asked < 0.9 * (DNS_PER_S + HTTP_PER_S) * away_s:
        broken.append(f"only {lookups.asked} lookups were asked: the load did not keep its pace")
    broken += _ages(lookups, died, back)
    what = f"everything central away for {away_s:g} s, {lookups.asked} lookups at the agent, {lookups.failed} failed"
    return Outcome(what, result, [], broken)


@contextlib.contextmanager
def _registry(folder: Path, name: str, port: int) -> Iterator[Program]:
    """Run a registry for the duration of a `with`; it is killed at the end."""
    program = Program(
        [*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"], folder / f"{name}.log", {"REGISTRY_WARMING": "3"}
    )
    try:
        wait_until(lambda: accepts(port), "the registry listens", timeout_s=20)
        yield program
    finally:
        program.process.kill()
        program.process.wait(10)


def _ages(lookups: Lookups, died: float, back: float) -> list[str]:
    """Return the errors in the ages of the answers."""
    broken: list[str] = []
    oldest = 0
    for at, second in sorted(lookups.seconds.items()):
        away_s = at - died
        if at < back:
            if second.oldest_s < oldest:
                broken.append(f"{away_s:.0f} s after the end: the age fell from {oldest} to {second.oldest_s} s")
            oldest = second.oldest_s
            # A view is fresh for 30 s, and its stream counts as silent only some seconds after the last line.
            if away_s > 45 and second.fresh:
                broken.append(f"{away_s:.0f} s after the end: {second.fresh} answers without Stale Answer")
        elif at > back + FRESH_AGAIN_S and (second.stale or second.oldest_s > FRESH_AGAIN_S):
            broken.append(f"{at - back:.0f} s after the return: {second.stale} stale answers, {second.oldest_s} s old")
    if oldest < back - died - 15:
        broken.append(f"the oldest answer had an age of {oldest} s, after {back - died:.0f} s")
    return broken
