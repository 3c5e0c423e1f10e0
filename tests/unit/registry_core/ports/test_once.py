"""The signed request of a task: it is that of the task alone."""

from __future__ import annotations

import asyncio

from registry_core.ports.once import SignedOnce, signed_once


async def test_tasks_do_not_share_it_and_the_tasks_that_they_start_have_it() -> None:
    async def seen() -> SignedOnce | None:
        return signed_once.get()

    async def of_a_request(mark: str) -> list[SignedOnce | None]:
        signed_once.set(SignedOnce(mark, "attempt", 1))
        await asyncio.sleep(0)
        return list(await asyncio.gather(seen(), asyncio.ensure_future(seen())))

    one, other = await asyncio.gather(of_a_request("one"), of_a_request("other"))
    assert {each.mark for each in one if each is not None} == {"one"}
    assert {each.mark for each in other if each is not None} == {"other"}
    assert await seen() is None
