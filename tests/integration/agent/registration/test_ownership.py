"""Two agents that claim the same instance, on machines with wrong clocks: the one that started last owns it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from agent.checks.spec import CheckKind
from agent.registration.decisions import Phase, RequestOutcome
from agent.registration.session import Session
from registry_core.ports.clock import SystemClock
from tests.integration.agents import QUICK, AgentUnderTest, spec, stand_in, standing
from tests.integration.replicas import Api
from tests.programs import eventually

HOUR_S = 3600.0
# HTTP dates have whole seconds, so that two starts within the same second cannot be told apart.
APART_S = 1.1


class WrongClock(SystemClock):
    """The wall clock of a machine that is `off_s` ahead of the right time, or behind it."""

    def __init__(self, off_s: float) -> None:
        self._off_s = off_s

    def wall(self) -> float:
        return super().wall() + self._off_s


def session_of(agent: AgentUnderTest) -> Session:
    assert agent.sidecar.session is not None
    return agent.sidecar.session


async def is_registered(agent: AgentUnderTest, within_s: float = 5.0) -> None:
    session = session_of(agent)
    await eventually(lambda: session.phases()[Phase.REGISTERED] == 1, "it is registered", timeout_s=within_s)


@pytest.mark.parametrize("off_s", [-HOUR_S, HOUR_S], ids=["behind", "ahead"])
async def test_an_older_agent_with_a_wrong_clock_takes_nothing_from_a_live_newer_one(api: Api, off_s: float) -> None:
    async with stand_in() as service:
        service.status = 500
        async with standing(api.url, spec(service), clock=WrongClock(off_s)) as older:
            await asyncio.sleep(APART_S)
            async with standing(api.url, spec(service, check=CheckKind.NONE)) as newer:
                await is_registered(newer)
                service.status = 200  # only now the older one has a service to register
                await eventually(lambda: session_of(older).phases()[Phase.FENCED] == 1, "it is fenced off")
                beats = session_of(newer).beats
                so_far = beats[RequestOutcome.DONE]
                await eventually(
                    lambda: beats[RequestOutcome.DONE] >= so_far + 2, "the newer one goes on with its lease"
                )
                assert beats[RequestOutcome.FENCED] == 0
                (instance,) = api.replica.view.catalog
                assert instance.epoch == session_of(newer).epoch


@pytest.mark.parametrize("off_s", [0.0, HOUR_S, 2 * HOUR_S], ids=["right", "ahead", "further ahead"])
@pytest.mark.parametrize("check", [CheckKind.NONE, CheckKind.HTTP])
async def test_an_agent_that_restarts_with_its_clock_set_back_owns_its_service_at_once(
    api: Api, off_s: float, check: CheckKind
) -> None:
    async with stand_in() as service:
        async with standing(api.url, spec(service, check=check), clock=WrongClock(off_s)) as before:
            await is_registered(before)
            await asyncio.sleep(APART_S)
            await session_of(before).close()  # it does not deregister, like a killed one
        assert len(api.replica.view.catalog) == 1
        clock = WrongClock(off_s - HOUR_S)
        async with standing(api.url, spec(service, check=check), clock=clock) as after:
            await is_registered(after)
            (instance,) = api.replica.view.catalog
            assert instance.epoch == session_of(after).epoch


async def test_an_agent_with_a_state_folder_exceeds_its_last_epoch_whatever_the_clocks_say(
    api: Api, tmp_path: Path
) -> None:
    settings = msgspec.structs.replace(QUICK, state_dir=str(tmp_path))
    epochs: list[int] = []
    async with stand_in() as service:
        for off_s in (0.0, -HOUR_S, HOUR_S, -HOUR_S):
            async with standing(
                api.url, spec(service, check=CheckKind.NONE), settings=settings, clock=WrongClock(off_s)
            ) as agent:
                await is_registered(agent)
                epochs.append(session_of(agent).epoch)
                await session_of(agent).close()
    assert epochs == sorted(set(epochs))
    assert epochs[-1] - epochs[0] < 60_000, "none comes from a wrong clock"
