"""The lookup of registries continues, whatever the answers and their timing."""

from __future__ import annotations

import asyncio

from agent.registries.srv import RegistryLookup
from dns.codec import Name
from dns.foreign import ForeignReply
from dns.resolver_client import Unanswered
from registry_core.ports.clock import SystemClock
from registry_core.upstreams.choice import DEFAULT_PACE
from registry_core.upstreams.pool import Upstreams
from tests.integration.registries import SmallestDraw
from tests.programs import eventually

ONE = "srv:_one._tcp.example"
OTHER = "srv:_other._tcp.example"


class Resolvers:
    """Answers when told to."""

    def __init__(self) -> None:
        self.asked: list[Name] = []
        self.answer: asyncio.Future[ForeignReply | Unanswered] | None = None

    async def ask(self, name: Name, _: int) -> ForeignReply | Unanswered:
        self.asked.append(name)
        self.answer = asyncio.get_running_loop().create_future()
        return await self.answer


async def test_an_answer_for_a_removed_name_ends_nothing() -> None:
    resolvers = Resolvers()
    upstreams = Upstreams((), clock=SystemClock(), random=SmallestDraw(), zone="", pace=DEFAULT_PACE)
    lookup = RegistryLookup([ONE], upstreams, resolvers.ask, SmallestDraw())
    running = asyncio.create_task(lookup.run())
    await eventually(lambda: resolvers.answer is not None, "it is looked up")
    assert resolvers.answer is not None
    resolvers.answer.set_result(Unanswered())
    lookup.use([OTHER])  # before anything has read the answer
    await eventually(lambda: len(resolvers.asked) == 2, "the other one is looked up")
    assert resolvers.asked[-1] == (b"_other", b"_tcp", b"example")
    assert [one.name for one in lookup.report()] == [OTHER]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
