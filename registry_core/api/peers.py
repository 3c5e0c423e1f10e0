"""Asks the other replicas which of their watchers know that an instance drains.

A replica knows only its own watchers, and one load balancer address may stand for several replicas. So the replica
that gets the request asks the others, which answer only for themselves, and adds up. Lookups and writes never ask.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

import aiohttp
import msgspec

from registry_core.api.drain_schemas import AcknowledgeBody, DrainView, ReplicaDrain
from registry_core.bodies import decoded, read_whole
from registry_core.domain.records import Status
from registry_core.resolution import ServerResolver
from registry_core.security.client_settings import ClientTlsSettings
from registry_core.security.tls_clients import ClientTls, client_tls

# Marks a request between replicas, which the receiver must not pass on.
PEER_HEADER: Final = "X-Registry-Peer"
# A replica answers from memory: one that takes longer counts as away.
ASK_S: Final = 0.8
MAX_ANSWER_BYTES: Final = 64 * 1024


class Peers:
    """The replicas at `urls`; this one may be among them, and recognises itself by `id`."""

    def __init__(self, urls: Iterable[str], tls: ClientTlsSettings | None = None) -> None:
        self.tls: ClientTls | None = None
        self._tls_settings = tls if tls is not None else ClientTlsSettings()
        self.id = secrets.token_hex(8)
        self._urls = tuple(urls)
        self._session: aiohttp.ClientSession | None = None

    def __len__(self) -> int:
        return len(self._urls)

    async def start(self) -> None:
        """Start; no replica is asked yet. Raises SettingsError when the files of TLS cannot be used."""
        if any(url.startswith("https:") for url in self._urls):
            self.tls = await client_tls(self._tls_settings)
        if self._urls:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit_per_host=8, resolver=ServerResolver(), ssl=True if self.tls is None else self.tls.context
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={PEER_HEADER: self.id},
                timeout=aiohttp.ClientTimeout(total=ASK_S),
            )

    async def close(self) -> None:
        """Stop asking. Safe to call twice."""
        if self._session is not None:
            await self._session.close()

    async def summed(self, own: DrainView) -> DrainView:
        """Return the drain progress over all replicas; `own` is this replica's part."""
        path = f"/drain/{quote(own.service_name, safe='')}/{quote(own.instance_id, safe='')}"
        said = await asyncio.gather(*(self._ask("GET", f"{url}{path}") for url in self._urls))
        by_replica = dict(own.by_replica)
        silent = 0
        for status, body in said:
            view = decoded(body, DrainView) if status == 200 else None
            if view is not None and view.status is Status.DRAINING:
                by_replica |= view.by_replica
            elif view is None or self.id not in view.by_replica:
                silent += 1  # it is away, or does not know of the drain: then neither do its watchers
        return summed_up(own, by_replica, silent)

    async def silent(self) -> tuple[str, ...]:
        """Return the addresses at which no replica answers. This one answers for itself, where it is among them."""
        said = await asyncio.gather(*(self._ask("GET", f"{url}/live") for url in self._urls))
        return tuple(url for url, (status, _) in zip(self._urls, said, strict=True) if status != 200)

    async def acknowledge(self, body: AcknowledgeBody) -> bool:
        """Forward an acknowledgement to the replica that has that watcher; return whether one did."""
        data = msgspec.json.encode(body)
        said = await asyncio.gather(*(self._ask("POST", f"{url}/watch/ack", data) for url in self._urls))
        return any(status == 200 for status, _ in said)

    async def _ask(self, method: str, url: str, data: bytes | None = None) -> tuple[int, bytes]:
        """Return status and body; the status is 0 when there was no answer, or a too long one."""
        if self._session is None:
            return 0, b""
        headers = {} if data is None else {"Content-Type": "application/json"}
        try:
            async with self._session.request(
                method, url, data=data, headers=headers, allow_redirects=False
            ) as response:
                answer = await read_whole(response.content, MAX_ANSWER_BYTES)
                return (response.status, answer) if answer is not None else (0, b"")
        except (aiohttp.ClientError, OSError, TimeoutError):
            return 0, b""


def summed_up(own: DrainView, by_replica: dict[str, ReplicaDrain], silent: int) -> DrainView:
    """Return `own` with the counts of all replicas in `by_replica`."""
    return msgspec.structs.replace(
        own,
        watchers=sum(one.watchers for one in by_replica.values()),
        acknowledged=sum(one.acknowledged for one in by_replica.values()),
        by_replica=by_replica,
        silent_replicas=silent,
    )
