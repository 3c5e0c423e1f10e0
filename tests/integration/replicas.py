"""A real replica on a loopback port, in the test's own loop, and a client for it."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import msgspec

from registry_core.api.connections import ConnectionLimits
from registry_core.api.hub import HubLimits
from registry_core.ports.clock import Clock
from registry_core.replica import Replica
from registry_core.replica_settings import ReplicaSettings
from registry_core.settings import Listen

READY = ReplicaSettings(listen=Listen("127.0.0.1", 0), warming_s=0.0)


class Answer(msgspec.Struct):
    """A response: status, headers, and the body, decoded when it is JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Api:
    """Talks to one replica as any other program would."""

    def __init__(self, replica: Replica, session: aiohttp.ClientSession) -> None:
        self.replica = replica
        self.session = session

    @property
    def url(self) -> str:
        return self.replica.url

    async def call(self, method: str, path: str, body: object = None, **more: Any) -> Answer:
        """Send one request; a body other than bytes is sent as JSON."""
        headers = dict(more.pop("headers", {}))
        if body is not None and not isinstance(body, bytes):
            body = msgspec.json.encode(body)
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        async with self.session.request(method, self.url + path, data=body, headers=headers, **more) as response:
            raw = await response.read()
            is_json = response.content_type == "application/json" and raw
            return Answer(response.status, response.headers, msgspec.json.decode(raw) if is_json else raw)

    async def register(
        self, service_name: str = "ip_intel", host: str = "10.0.0.7", port: int = 8034, **more: Any
    ) -> Any:
        """Register an instance that will be accepted."""
        sent = {"service_name": service_name, "host": host, "port": port, **more}
        answer = await self.call("POST", "/register", sent)
        assert answer.status == 201, answer.body
        return answer.body


@contextlib.asynccontextmanager
async def serving(
    settings: ReplicaSettings = READY,
    *,
    clock: Clock | None = None,
    hub_limits: HubLimits | None = None,
    connection_limits: ConnectionLimits | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Api]:
    """Run a replica for the duration of a `with`, and a client, which speaks TLS with `tls`."""
    replica = Replica(settings, clock=clock, hub_limits=hub_limits, connection_limits=connection_limits)
    await replica.start()
    try:
        connector = aiohttp.TCPConnector(ssl=True if tls is None else tls)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=20)) as session:
            yield Api(replica, session)
    finally:
        await replica.close()
