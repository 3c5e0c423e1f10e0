"""Asks the other replicas which of their watchers know that an instance drains.

A replica knows only its own watchers, and one load balancer address may stand for several replicas. So the replica
that gets the request asks the others, which answer only for themselves, and adds up. Lookups and writes never ask.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from registry_core.api.ack_routes import AckRoutes
from registry_core.api.drain_schemas import AcknowledgeBody, DrainView, ReplicaDrain
from registry_core.api.schemas import Problem
from registry_core.bodies import decoded, read_whole
from registry_core.domain.records import Status
from registry_core.ports.clock import Clock, SystemClock
from registry_core.resolution import ServerResolver
from registry_core.security.client_settings import ClientTlsSettings
from registry_core.security.sending import Attempt, CredentialRefusal, RequestSigner, Send, SenderKeys, one_or_two
from registry_core.security.signing_keys import replica_key
from registry_core.security.tls_clients import ClientTls, client_tls
from registry_core.telemetry.client_spans import client_span
from registry_core.telemetry.trace_context import trace_headers

# Marks a request between replicas, which the receiver must not pass on.
PEER_HEADER: Final = "X-Registry-Peer"
# A replica answers from memory: one that takes longer counts as away.
ASK_S: Final = 0.8
# Before a request is signed anew.
_PAUSE_S: Final = 0.05
MAX_ANSWER_BYTES: Final = 64 * 1024


class Peers:
    """The replicas at `urls`; this one may be among them, and recognises itself by `id`."""

    def __init__(
        self,
        urls: Iterable[str],
        tls: ClientTlsSettings | None = None,
        secrets_now: Callable[[], tuple[str, ...]] = tuple,
        clock: Clock | None = None,
    ) -> None:
        """`secrets_now` returns the secrets of the deployment, the current one first: with it requests are signed."""
        self.tls: ClientTls | None = None
        self._tls_settings = tls if tls is not None else ClientTlsSettings()
        self._secrets = secrets_now
        self._signer = RequestSigner(SenderKeys(), SystemClock())
        self.id = secrets.token_hex(8)
        self._urls = tuple(urls)
        self._clock = clock if clock is not None else SystemClock()
        self._routes = AckRoutes(self.id, self._urls)
        self._session: aiohttp.ClientSession | None = None

    def __len__(self) -> int:
        return len(self._urls)

    @property
    def urls(self) -> tuple[str, ...]:
        """The base URLs of the replicas."""
        return self._urls

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
                timeout=aiohttp.ClientTimeout(total=ASK_S),
            )

    async def close(self) -> None:
        """Stop asking. Safe to call twice."""
        if self._session is not None:
            await self._session.close()

    async def summed(self, own: DrainView) -> DrainView:
        """Return the drain progress over all replicas; `own` is this replica's part.

        Raises Overloaded when too much is asked at present.
        """
        path = f"/drain/{quote(own.service_name, safe='')}/{quote(own.instance_id, safe='')}"
        self._routes.check()
        self._routes.under_way += 1
        try:
            said = await asyncio.gather(*(self._ask("GET", f"{url}{path}") for url in self._urls))
        finally:
            self._routes.under_way -= 1
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
        """Forward an acknowledgement to the replica that has that watcher; return whether one did.

        Raises Overloaded when too many are forwarded at present.
        """
        urls = self._routes.targets(body.watcher, self._clock.monotonic())
        data = msgspec.json.encode(body)
        self._routes.under_way += 1
        try:
            said = await asyncio.gather(*(self._ask("POST", f"{url}/watch/ack", data) for url in urls))
        finally:
            self._routes.under_way -= 1
        for url, (status, _) in zip(urls, said, strict=True):
            if status == 200:
                self._routes.found(body.watcher, url)
                return True
        return False

    async def ask(
        self, method: str, url: str, path: str, data: bytes | None = None, *, most_bytes: int = MAX_ANSWER_BYTES
    ) -> tuple[int, bytes]:
        """Return status and body of the replica at `url`; the status is 0 when there was no answer."""
        return await self._ask(method, f"{url}{path}", data, most_bytes)

    async def _ask(
        self, method: str, url: str, data: bytes | None = None, most_bytes: int = MAX_ANSWER_BYTES
    ) -> tuple[int, bytes]:
        """Return status and body; the status is 0 when there was no answer in time, or a too long one."""
        if self._session is None:
            return 0, b""
        address = URL(url, encoded=True)
        try:
            async with asyncio.timeout(ASK_S):
                while True:
                    attempt, status, answer = await self._sent(self._session, method, address, data, most_bytes)
                    wait_s = self._again(str(address.origin()), attempt, status, answer)
                    if wait_s is None:
                        return status, answer
                    await asyncio.sleep(wait_s or _PAUSE_S)
        except (aiohttp.ClientError, OSError, TimeoutError):
            return 0, b""

    async def _sent(
        self, session: aiohttp.ClientSession, method: str, url: URL, data: bytes | None, most_bytes: int
    ) -> tuple[Attempt, int, bytes]:
        """Send a request once, signed as a replica; return how, and what came back."""
        headers = {PEER_HEADER: self.id}
        first, other = one_or_two(map(replica_key, self._secrets()))
        self._signer.keys = SenderKeys(first, send=Send.SIGNED, other=other)
        attempt = self._signer.attempt(str(url.origin()), method, url.raw_path_qs, headers=headers, body=data)
        if data is not None:
            headers["Content-Type"] = "application/json"
        sent = client_span(method, url)
        with sent:
            async with session.request(
                method,
                url,
                data=data,
                headers={**headers, **attempt.headers, **trace_headers()},
                allow_redirects=False,
            ) as response:
                sent.set("http.response.status_code", response.status)
                answer = await read_whole(response.content, most_bytes)
            return (attempt, response.status, answer) if answer is not None else (attempt, 0, b"")

    def _again(self, origin: str, attempt: Attempt, status: int, answer: bytes) -> float | None:
        problem = decoded(answer, Problem) if status in (401, 503) else None
        if problem is None:
            return None
        return self._signer.again(origin, attempt, CredentialRefusal(status, problem.error, example=problem.example))


def summed_up(own: DrainView, by_replica: dict[str, ReplicaDrain], silent: int) -> DrainView:
    """Return `own` with the counts of all replicas in `by_replica`."""
    return msgspec.structs.replace(
        own,
        watchers=sum(one.watchers for one in by_replica.values()),
        acknowledged=sum(one.acknowledged for one in by_replica.values()),
        by_replica=by_replica,
        silent_replicas=silent,
    )
