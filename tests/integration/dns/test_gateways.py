"""Each gateway follows a service with the configuration that docs/guide/gateways.md gives, whatever becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from registry_core.domain.host_port import host_port
from tests.gateways.gateways import GATEWAYS, SERVICE, Gateway, Ports
from tests.integration.agents import QUICK, StandIn, becomes, standing
from tests.integration.replicas import Api, serving
from tests.programs import free_port, running

HOSTS = tuple(f"127.121.8.{number}" for number in range(1, 5))
# Draining instances stay in SRV for a moment, as by default.
SETTINGS = msgspec.structs.replace(QUICK, drain_srv_s=0.5)


async def answering(port: int) -> set[str]:
    """Return which instances answer two dozen requests."""
    found = set()
    for _ in range(24):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:  # it has just started
            return {"nothing"}
        with contextlib.suppress(OSError):
            writer.write(f"GET /{SERVICE}/ HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            found.add(body.decode().strip() if b" 200 " in head.partition(b"\r\n")[0] else head[:20].decode())
        writer.close()
    return found


@pytest.fixture
async def servers() -> AsyncIterator[list[StandIn]]:
    """Four servers on one port, each of which answers with its own address."""
    port = free_port()
    async with contextlib.AsyncExitStack() as stack:
        started = []
        for host in HOSTS:
            server = StandIn(host)
            server.port, server.body = port, host.encode()
            server.headers = "Connection: close\r\n"
            await server.start()
            stack.push_async_callback(server.stop)
            started.append(server)
        yield started


@pytest.mark.parametrize("gateway", GATEWAYS, ids=lambda gateway: gateway.name)
async def test_the_guides_configuration_follows_an_added_a_critical_a_recovered_and_a_drained_instance(
    gateway: Gateway, servers: list[StandIn], tmp_path: Path
) -> None:
    async with serving() as registry, standing(registry.url, settings=SETTINGS) as agent:
        port = servers[0].port
        ports = Ports(agent.sidecar.dns_listen.port, agent.sidecar.http_listen.port, port, free_port())
        *first, last = HOSTS
        fourth = host_port(last, port)
        for host in first:
            await registry.register(SERVICE, host, port)
        with contextlib.ExitStack() as programs:
            for number, command in enumerate(gateway.commands(tmp_path, ports)):
                programs.enter_context(running(command.argv, tmp_path / f"program-{number}.log", command.env))

            async def follows(expected: tuple[str, ...] | list[str]) -> None:
                await becomes(lambda: answering(ports.gateway), set(expected), timeout_s=30)

            await follows(first)
            await registry.register(SERVICE, last, port)
            await follows(HOSTS)
            await put(registry, fourth, "critical")
            await follows(first)
            await put(registry, fourth, "passing")
            await follows(HOSTS)
            await put(registry, fourth, "draining")
            await follows(first)


async def put(registry: Api, instance: str, status: str) -> None:
    """Have the registry give an instance another status."""
    answer = await registry.call("PUT", f"/status/{SERVICE}/{instance}", {"status": status})
    assert answer.status == 200, answer.body
