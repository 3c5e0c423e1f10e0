"""Writes sent to a stalled replica are carried out after newer ones, and then change nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from http import HTTPStatus

import aiohttp
from aiohttp import web

from agent.registration.decisions import RequestOutcome
from registry_core.domain.records import Status
from registry_core.upstreams.choice import RegistryAddress
from tests.integration.agents import spec, stand_in, standing
from tests.integration.registries import registry_client_for, upstreams_at
from tests.integration.replicas import Api
from tests.programs import eventually
from tests.samples import claim

OWN = claim("osint_service", epoch=5)


class FreezingReplica:
    """A second path to a replica, which stalls from the first request of a kind on, until it thaws."""

    def __init__(self, to: str, freezes_at: str) -> None:
        self._to = to
        self._freezes_at = freezes_at
        self._thawed = asyncio.Event()
        self.held: list[str] = []
        self.late: list[tuple[str, int]] = []  # the held requests, and the status of their answers
        self.url = ""

    @property
    def is_frozen(self) -> bool:
        return bool(self.held)

    async def thaw(self) -> list[tuple[str, int]]:
        """Carry out the held requests, and return what was written."""
        self._thawed.set()
        await eventually(lambda: len(self.late) == len(self.held), "all that was held is carried out")
        return [(said, status) for said, status in self.late if not said.startswith("GET")]

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        said = f"{request.method} {request.path}"
        if request.path == "/watch":
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE)
        is_held = not self._thawed.is_set() and (self.is_frozen or said.startswith(self._freezes_at))
        if is_held:
            self.held.append(said)
            await self._thawed.wait()
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, self._to + request.path_qs, data=body, headers=request.headers) as response,
        ):
            answer = await response.read()
        if is_held:
            self.late.append((said, response.status))
        return web.Response(status=response.status, body=answer)


@contextlib.asynccontextmanager
async def freezing(to: str, freezes_at: str) -> AsyncIterator[FreezingReplica]:
    """Run one for the duration of a `with`."""
    replica = FreezingReplica(to, freezes_at)
    runner = web.ServerRunner(web.Server(replica.serve), shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        replica.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield replica
    finally:
        await runner.cleanup()


def shown(api: Api) -> list[Status]:
    return [instance.status for instance in api.replica.view.catalog]


async def test_a_late_registration_does_not_undo_a_deregistration(api: Api) -> None:
    async with (
        freezing(api.url, "POST /register") as frozen,
        registry_client_for([frozen.url, api.url]) as registry,
    ):
        reply, _ = await registry.register(OWN)
        assert reply.outcome is RequestOutcome.DONE, "the other path was used"
        assert frozen.is_frozen
        assert (await registry.deregister(OWN)).outcome is RequestOutcome.DONE
        assert await frozen.thaw() == [("POST /register", HTTPStatus.CONFLICT)]
        assert shown(api) == []


async def test_a_late_status_does_not_replace_a_newer_one(api: Api) -> None:
    async with (
        freezing(api.url, "PUT /status") as frozen,
        registry_client_for([frozen.url, api.url]) as registry,
    ):
        await registry.register(OWN)
        assert (await registry.set_status(OWN, Status.CRITICAL)).outcome is RequestOutcome.DONE
        assert frozen.is_frozen
        assert (await registry.set_status(OWN, Status.PASSING)).outcome is RequestOutcome.DONE
        ((_, status),) = await frozen.thaw()
        assert status == HTTPStatus.CONFLICT
        assert shown(api) == [Status.PASSING]


async def test_a_late_deregistration_does_not_undo_a_newer_registration(api: Api) -> None:
    async with (
        freezing(api.url, "DELETE /deregister") as frozen,
        registry_client_for([frozen.url, api.url]) as registry,
    ):
        await registry.register(OWN)
        assert (await registry.deregister(OWN)).outcome is RequestOutcome.DONE
        assert frozen.is_frozen
        assert (await registry.register(OWN))[0].outcome is RequestOutcome.DONE
        ((_, status),) = await frozen.thaw()
        assert status == HTTPStatus.CONFLICT
        assert shown(api) == [Status.PASSING]


async def test_a_pending_registration_is_not_carried_out_after_the_deregistration(
    api: Api,
) -> None:
    known = upstreams_at([])
    async with (
        freezing(api.url, "POST /register") as frozen,
        registry_client_for([], upstreams=known) as registry,
    ):
        known.replace([RegistryAddress(frozen.url)])
        registering = asyncio.create_task(registry.register(OWN))
        await eventually(lambda: frozen.is_frozen, "it is held")
        registering.cancel()
        await asyncio.gather(registering, return_exceptions=True)
        known.replace([RegistryAddress(api.url)])
        assert (await registry.deregister(OWN)).outcome is RequestOutcome.UNKNOWN
        assert await frozen.thaw() == [("POST /register", HTTPStatus.CONFLICT)]
        assert shown(api) == []


async def test_an_agent_that_leaves_during_a_registration_does_not_come_back(api: Api) -> None:
    async with stand_in() as service, freezing(api.url, "POST /register") as frozen:
        service.status = 500
        async with standing((frozen.url, api.url), spec(service)) as agent:
            sync = agent.sidecar.sync
            assert sync is not None
            await eventually(lambda: sync.connected_to == api.url, "it follows a registry")
            service.status = 200  # it registers only now
            await eventually(lambda: frozen.is_frozen, "its registration is held")
        assert shown(api) == []
        assert ("POST /register", HTTPStatus.CONFLICT) in await frozen.thaw()
        assert shown(api) == []
