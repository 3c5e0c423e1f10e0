"""Slots: hanging services leave room for the others, and waiting does not count."""

from __future__ import annotations

import asyncio
import itertools

from agent.checks.result import WELL, CheckOutcome, NotChecked, critical
from agent.checks.slots import CheckSlots, SlottedProbe
from tests.virtual_time import in_virtual_time

TIMEOUT_S = 2.0


class Service:
    """Answers at once with `outcome`, or hangs for the whole timeout. Notes when it was checked."""

    def __init__(self, *, hangs: bool) -> None:
        self.hangs = hangs
        self.outcome: CheckOutcome = WELL
        self.checked_at: list[float] = []

    async def __call__(self) -> CheckOutcome:
        self.checked_at.append(asyncio.get_running_loop().time())
        if not self.hangs:
            return self.outcome
        await asyncio.sleep(TIMEOUT_S)
        return critical("no answer")


async def kept_checked(probe: SlottedProbe, for_s: float) -> None:
    """Check every 3 s, from start to start."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + for_s
    while (began := loop.time()) < ends_at:
        await probe()
        await asyncio.sleep(max(0.0, 3.0 - (loop.time() - began)))


def longest_gap(service: Service, since: float) -> float:
    times = [at for at in service.checked_at if at >= since]
    return max(after - before for before, after in itertools.pairwise(times))


def test_600_hanging_services_do_not_delay_the_checks_of_20_good_ones() -> None:
    good = [Service(hangs=False) for _ in range(20)]
    bad = [Service(hangs=True) for _ in range(600)]

    async def run() -> None:
        slots = CheckSlots(32)
        probes = [SlottedProbe(service, slots, TIMEOUT_S) for service in bad + good]
        await asyncio.gather(*(kept_checked(probe, 300.0) for probe in probes))

    in_virtual_time(run())
    # Once each hanging service was found to hang, which takes them 38 s, the good ones keep their own pace.
    assert max(longest_gap(service, 60.0) for service in good) < 3.01
    assert min(len(service.checked_at) for service in bad) > 1, "they are still checked, in turn"


def test_a_good_service_that_begins_to_hang_is_found_critical_within_10_s() -> None:
    good = Service(hangs=False)
    bad = [Service(hangs=True) for _ in range(600)]

    async def run() -> float:
        slots = CheckSlots(32)
        others = [asyncio.ensure_future(kept_checked(SlottedProbe(one, slots, TIMEOUT_S), 300.0)) for one in bad]
        checking = asyncio.ensure_future(kept_checked(SlottedProbe(good, slots, TIMEOUT_S), 300.0))
        await asyncio.sleep(100.0)
        good.hangs = True
        began = asyncio.get_running_loop().time()
        await asyncio.gather(checking, *others)
        first, second = [at for at in good.checked_at if at >= began][:2]
        assert first >= began
        return second + TIMEOUT_S - began

    took_s, _ = in_virtual_time(run())
    assert took_s < 10.0


def test_a_service_that_answers_again_has_its_full_pace_at_once() -> None:
    service = Service(hangs=True)

    async def run() -> list[float]:
        slots = CheckSlots(4)
        probe = SlottedProbe(service, slots, TIMEOUT_S)
        for _ in range(3):
            await probe()
        service.hangs = False
        await probe()
        # The slots for hanging services are all taken: it needs none of them.
        async with slots.slot(hangs=True), slots.slot(hangs=True):
            await asyncio.wait_for(probe(), 1.0)
        return service.checked_at

    checked_at, _ = in_virtual_time(run())
    assert len(checked_at) == 5


def test_trouble_of_the_agent_makes_no_service_a_hanging_one() -> None:
    service = Service(hangs=False)
    service.outcome = NotChecked("Too many open files")

    async def run() -> None:
        slots = CheckSlots(2)
        probe = SlottedProbe(service, slots, TIMEOUT_S)
        for _ in range(5):
            await probe()
        async with slots.slot(hangs=True):
            await asyncio.wait_for(probe(), 1.0)

    in_virtual_time(run())
    assert len(service.checked_at) == 6


def test_a_check_that_is_cancelled_while_it_waits_frees_what_it_had() -> None:
    async def run() -> tuple[int, int]:
        slots = CheckSlots(2)

        async def hold(*, hangs: bool) -> None:
            async with slots.slot(hangs=hangs):
                await asyncio.sleep(60.0)

        holding = [asyncio.ensure_future(hold(hangs=hangs)) for hangs in (False, False, True, True)]
        await asyncio.sleep(1.0)
        assert (slots.taken, slots.waiting) == (2, 2)
        for task in holding:
            task.cancel()
        await asyncio.gather(*holding, return_exceptions=True)
        async with slots.slot(hangs=True), slots.slot(hangs=False):
            return slots.taken, slots.waiting

    assert in_virtual_time(run())[0] == (2, 0)
