"""How an agent leaves: faster than Docker's stop timeout, whatever the registry does, with full time for DNS."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from structlog.testing import capture_logs

from agent.registration.decisions import RequestOutcome
from agent.registration.leave import LAST_WORD_S, STOP_S, LeaveTerms, leave
from agent.registries.client import RegistryClient, RegistryReply
from registry_core.api.drain_schemas import DrainView
from registry_core.domain.records import Registration, Status
from tests.samples import claim
from tests.virtual_time import in_virtual_time

DONE = RegistryReply(RequestOutcome.DONE)
AWAY = RegistryReply(RequestOutcome.UNAVAILABLE, "nobody answers")
FAREWELL_S, CONFIRM_S, WAIT_S = 5.0, 3.0, 5.0  # as they are by default
SERVICES = [claim(port=8000 + number) for number in range(40)]


async def at_once() -> RegistryReply:
    return DONE


async def never() -> RegistryReply:
    await asyncio.Event().wait()
    return DONE


async def away() -> RegistryReply:
    return AWAY


def after(seconds: float) -> Callable[[], Awaitable[RegistryReply]]:
    async def answer() -> RegistryReply:
        await asyncio.sleep(seconds)
        return DONE

    return answer


class Registry(RegistryClient):
    """A registry with scripted answers."""

    def __init__(
        self,
        hears: Callable[[], Awaitable[RegistryReply]] = at_once,
        forgets: Callable[[], Awaitable[RegistryReply]] = at_once,
        *,
        confirmed_after_s: float = 0.0,
    ) -> None:
        self._hears, self._forgets = hears, forgets
        self._confirmed_after_s = confirmed_after_s
        self.said: list[tuple[str, float]] = []  # what, and when, by the loop's clock

    async def set_status(self, claim: Registration, status: Status) -> RegistryReply:
        assert claim.instance_id
        self.said.append((status.value, asyncio.get_running_loop().time()))
        return await self._hears()

    async def deregister(self, claim: Registration) -> RegistryReply:
        assert claim.instance_id
        self.said.append(("deregister", asyncio.get_running_loop().time()))
        return await self._forgets()

    async def drains(self, claim: Registration) -> list[DrainView | None]:
        await asyncio.sleep(0.01)
        is_over = asyncio.get_running_loop().time() >= self._confirmed_after_s
        view = DrainView(
            service_name=claim.service_name,
            instance_id=claim.instance_id,
            status=Status.DRAINING,
            revision="",
            watchers=1,
            acknowledged=int(is_over),
        )
        return [view]

    def first(self, what: str) -> float:
        return next(at for said, at in self.said if said == what)


def left(
    registry: Registry,
    services: Sequence[Registration] = SERVICES,
    *,
    confirm_s: float = CONFIRM_S,
    wait_s: float = WAIT_S,
) -> float:
    """Return how many seconds the leave took."""

    async def work() -> None:
        now = asyncio.get_running_loop().time()
        await leave(registry, services, LeaveTerms.at_the_end(now, FAREWELL_S, confirm_s, wait_s))

    with capture_logs():
        _, took_s = in_virtual_time(work())
    return took_s


@pytest.mark.parametrize("hears", [at_once, after(1.0), after(4.9), away, never])
@pytest.mark.parametrize("forgets", [at_once, away, never])
@pytest.mark.parametrize("confirmed_after_s", [0.0, 1e9])
@pytest.mark.parametrize("count", [1, 40])
def test_leaving_takes_no_longer_than_docker_waits(
    hears: Callable[[], Awaitable[RegistryReply]],
    forgets: Callable[[], Awaitable[RegistryReply]],
    confirmed_after_s: float,
    count: int,
) -> None:
    registry = Registry(hears, forgets, confirmed_after_s=confirmed_after_s)
    assert left(registry, SERVICES[:count]) <= STOP_S + 0.001
    assert registry.first("draining") == 0.0, "at once"


def test_where_everybody_answers_dns_alone_is_waited_for() -> None:
    registry = Registry()
    assert WAIT_S <= left(registry) < WAIT_S + 0.2
    assert registry.first("deregister") >= WAIT_S


def test_a_silent_agent_is_waited_for_until_the_limit_and_dns_keeps_its_full_time() -> None:
    registry = Registry(confirmed_after_s=1e9)
    assert left(registry) == pytest.approx(CONFIRM_S + WAIT_S, abs=0.2)


@pytest.mark.parametrize("heard_after_s", [0.5, 2.0, 3.0])
def test_a_late_confirmation_shortens_the_wait_for_agents_but_not_for_dns(heard_after_s: float) -> None:
    registry = Registry(after(heard_after_s), confirmed_after_s=1e9)
    left(registry, SERVICES[:1])
    assert registry.first("deregister") == pytest.approx(STOP_S - LAST_WORD_S, abs=0.2)
    assert registry.first("deregister") - heard_after_s >= WAIT_S


def test_an_unreachable_shard_costs_the_others_no_time_to_deregister() -> None:
    class Partly(Registry):
        async def set_status(self, claim: Registration, status: Status) -> RegistryReply:
            await super().set_status(claim, status)
            return AWAY if claim.port == 8000 else DONE

    registry = Partly()
    assert left(registry) <= STOP_S + 0.001
    assert sum(what == "deregister" for what, _ in registry.said) == len(SERVICES)


def test_a_silent_registry_is_left_when_the_time_to_deregister_is_over() -> None:
    registry = Registry(away)
    assert left(registry) == pytest.approx(FAREWELL_S, abs=0.01)
    assert all(what == "draining" for what, _ in registry.said)


def test_larger_settings_are_honoured() -> None:
    registry = Registry(confirmed_after_s=1e9)
    assert left(registry, wait_s=20.0) == pytest.approx(CONFIRM_S + 20.0, abs=0.2)


def test_zero_settings_wait_for_nothing() -> None:
    assert left(Registry(confirmed_after_s=1e9), confirm_s=0.0, wait_s=0.0) < 0.01
