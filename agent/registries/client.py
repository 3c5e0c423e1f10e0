"""Sends requests to the registry in use, and to the next one if it fails, always with a time limit.

One table maps responses to outcomes. `decisions.py` decides what follows from an outcome, and `choice.py` which
registry is used.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import quote

import aiohttp
import msgspec

from agent.registration.decisions import RequestOutcome, batches
from registry_core.api.drain_schemas import DrainView
from registry_core.api.schemas import CHECK_HEADER, MAX_BEATS, MAX_BODY_BYTES, HeartbeatView, Problem, RegisteredView
from registry_core.bodies import decoded
from registry_core.causes import cause_of
from registry_core.domain.records import InstanceKey, Registration, Status
from registry_core.errors import Holder
from registry_core.ports.clock import Clock
from registry_core.security.signatures import NO_HEADERS
from registry_core.security.signing_keys import SigningKey
from registry_core.shortages import is_shortage
from registry_core.upstreams.choice import Trouble, Use
from registry_core.upstreams.pool import Upstreams
from registry_core.upstreams.probes import RegistryProbes, Silent, zone_in
from registry_core.upstreams.requests import RegistryRequests
from registry_core.usage.report import AgentReport
from registry_core.watch.clock import time_of
from registry_core.watch.cursor import Cursor

# A header, because a registry of the previous release rejects unknown fields but ignores unknown headers.
SEQUENCE_HEADER: Final = "X-Registry-Sequence"
MAX_ANSWER_BYTES: Final = 1024 * 1024
# A replica answers about drains from memory; one that does not answer at once counts as unreachable.
ASK_S: Final = 1.0
# A replica holds a write during a failover of its store, so the answer may take a few seconds.
TIMEOUT: Final = aiohttp.ClientTimeout(total=5.0, connect=3.0, sock_connect=1.0)
# The most registries that one request is tried at. The caller retries later.
MAX_TRIES: Final = 4
CONNECTIONS: Final = 32
PASSING_CHECK: Final[Mapping[str, str]] = {CHECK_HEADER: Status.PASSING}
# RFC 9110 section 10.2.3; a registry sends no date.
_SECONDS: Final = re.compile(r"[0-9]{1,6}", re.ASCII)
_BEATS_START, _BEATS_END = b'{"instances":[', b"]}"

_OUTCOMES: Final[Mapping[int, RequestOutcome]] = {
    HTTPStatus.BAD_REQUEST: RequestOutcome.REFUSED,
    HTTPStatus.UNAUTHORIZED: RequestOutcome.REFUSED,
    HTTPStatus.FORBIDDEN: RequestOutcome.REFUSED,
    HTTPStatus.NOT_FOUND: RequestOutcome.UNKNOWN,
    HTTPStatus.METHOD_NOT_ALLOWED: RequestOutcome.REFUSED,
    HTTPStatus.CONFLICT: RequestOutcome.REFUSED,  # unless the body says Fenced or Late
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: RequestOutcome.REFUSED,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: RequestOutcome.REFUSED,
    HTTPStatus.TOO_MANY_REQUESTS: RequestOutcome.LIMITED,  # trying the next registry would only add to the load
}
_BEAT_OUTCOMES: Final[Mapping[str, RequestOutcome]] = {
    "renewed": RequestOutcome.DONE,
    "unknown": RequestOutcome.UNKNOWN,
    "fenced": RequestOutcome.FENCED,
}


class RegistryReply(msgspec.Struct, frozen=True):
    """The outcome of a request, with the registry's own message if it sent one."""

    outcome: RequestOutcome
    said: str = ""
    body: bytes = b""
    newer_epoch: int | None = None  # the owner's, when fenced
    holder: Holder | None = None  # the instance that a refusal names
    is_free: bool = False  # the newer owner was removed: only its epoch is left
    retry_after_s: float | None = None  # when a refused request may succeed
    registry_time: float | None = None  # the registry's clock at the answer, Unix seconds


class TimeTold(msgspec.Struct, frozen=True):
    """What replicas tell of their clock: Unix time in whole seconds, or None; and why none of them answers at all."""

    unix: float | None
    unanswered: str = ""


class LeaseTold(msgspec.Struct, frozen=True):
    """What the registry says of a lease that it granted: its TTL, and how often to renew it. Seconds."""

    ttl_s: float
    heartbeat_s: float


class _Request(NamedTuple):
    """A request: the service that it is about, and whether each attempt needs a new, higher sequence number."""

    method: str
    path: str
    body: bytes | None = None
    service: str | None = None
    is_ordered: bool = False
    headers: Mapping[str, str] = NO_HEADERS


class RegistryClient:
    """The registry's write operations that an agent needs. Every one is idempotent.

    Each attempt to register, set a status or deregister has a new, higher sequence number: a replica that hung may
    carry out an old attempt after newer ones, and the registry detects it by the number.
    """

    def __init__(
        self,
        requests: RegistryRequests,
        upstreams: Upstreams,
        probes: RegistryProbes,
        clock: Clock,
    ) -> None:
        self._requests = requests
        self._upstreams = upstreams
        self._probes = probes
        self._clock = clock
        self._sequences = itertools.count(1)  # never reaches 2**53, the registry's maximum

    @property
    def urls(self) -> tuple[str, ...]:
        """The registries, as far as they are known."""
        return self._upstreams.urls

    async def register(self, claim: Registration, *, passing: bool = False) -> tuple[RegistryReply, LeaseTold | None]:
        """Register `claim`; return the reply, and what the registry says of the lease if it was granted.

        `passing`: say that the check of the service passes.
        """
        name, told = claim.service_name, PASSING_CHECK if passing else NO_HEADERS
        reply = await self._send("POST", "/register", body_of(claim), service=name, ordered=True, headers=told)
        if reply.outcome is not RequestOutcome.DONE:
            return reply, None
        view = decoded(reply.body, RegisteredView)
        if view is None:
            return reply, None  # registered even so
        return reply, LeaseTold(view.ttl_seconds, view.heartbeat_interval_seconds)

    async def time(self) -> TimeTold:
        """Return the registry's time, from the first replica that tells it within ASK_S.

        The registry in use for writes is asked first. Those that are silent are left for another one if all are.
        """
        current, answers = self._upstreams.current(Use.WRITE), False
        silent: dict[str, str] = {}
        for url in sorted(self._upstreams.urls, key=lambda url: url != current)[:MAX_TRIES]:
            reply = await self._ask(url, "GET", "/live")
            if reply.registry_time is not None:
                return TimeTold(reply.registry_time)
            if reply.outcome is RequestOutcome.UNAVAILABLE:
                silent[url] = reply.said
            else:
                answers = True
        if answers or not silent:
            return TimeTold(None)
        for url, because in silent.items():
            self._upstreams.failed(url, Use.WRITE, Trouble.SILENT, because)
        return TimeTold(None, unanswered=next(iter(silent.values())))

    async def beat(self, claims: Sequence[Registration]) -> list[tuple[InstanceKey, RegistryReply]]:
        """Send the heartbeats of `claims` in as few requests as the registry's limits allow."""
        beats = {_beat(claim): claim for claim in claims}
        room = MAX_BODY_BYTES - len(_BEATS_START) - len(_BEATS_END)
        results: list[tuple[InstanceKey, RegistryReply]] = []
        # A request has one sender: services with keys of their own renew their leases apart.
        by_key: dict[SigningKey | None, list[bytes]] = {}
        for beat, claim in beats.items():
            by_key.setdefault(self._requests.signer.keys.of(claim.service_name), []).append(beat)
        for same_key in by_key.values():
            service = beats[same_key[0]].service_name
            for batch in batches(same_key, most_items=MAX_BEATS, most_bytes=room):
                body = _BEATS_START + b",".join(batch) + _BEATS_END
                reply = await self._send("POST", "/heartbeat", body, service=service)
                keys = [beats[beat].key for beat in batch]
                results.extend(zip(keys, _beat_replies(reply, len(keys)), strict=True))
        return results

    async def set_status(self, claim: Registration, status: Status) -> RegistryReply:
        """Change the status of an instance."""
        body = msgspec.json.encode({"status": status, "epoch": claim.epoch})
        return await self._send("PUT", f"/status/{_path_of(claim)}", body, service=claim.service_name, ordered=True)

    async def deregister(self, claim: Registration) -> RegistryReply:
        """Deregister an instance, unless it has a newer owner."""
        return await self._send(
            "DELETE",
            f"/deregister/{_path_of(claim)}?epoch={claim.epoch or 0}",
            service=claim.service_name,
            ordered=True,
        )

    async def acknowledge(self, url: str, watcher: str, cursor: Cursor) -> RegistryReply:
        """Acknowledge to one replica that its watch was applied up to `cursor`."""
        body = msgspec.json.encode({"watcher": watcher, "cursor": str(cursor)})
        return await self._ask(url, "POST", "/watch/ack", body)

    async def report(self, url: str, watcher: str, report: AgentReport) -> RegistryReply:
        """Report to one replica that asks for it; this acknowledges nothing."""
        body = msgspec.json.encode({"watcher": watcher, "cursor": "", "report": report})
        return await self._ask(url, "POST", "/watch/ack", body)

    async def drains(self, claim: Registration) -> list[DrainView | None]:
        """Return each replica's view of an instance's drain; None for one that cannot tell.

        All are asked at once, for ASK_S at most. A replica that does not know the instance has no watchers to inform.
        """
        return await asyncio.gather(*(self._drain_at(url, claim) for url in self._upstreams.urls))

    async def _drain_at(self, url: str, claim: Registration) -> DrainView | None:
        reply = await self._ask(url, "GET", f"/drain/{_path_of(claim)}", service=claim.service_name)
        if reply.outcome is RequestOutcome.UNKNOWN:
            return DrainView(
                service_name=claim.service_name,
                instance_id=claim.instance_id,
                status=Status.DRAINING,
                revision="",
                watchers=0,
                acknowledged=0,
            )
        view = decoded(reply.body, DrainView) if reply.outcome is RequestOutcome.DONE else None
        # A replica that has not seen the drain itself: its watchers cannot have seen it either.
        return view if view is not None and view.status is Status.DRAINING else None

    async def _ask(
        self, url: str, method: str, path: str, body: bytes | None = None, *, service: str | None = None
    ) -> RegistryReply:
        """Send a request to this replica only, for ASK_S at most."""
        try:
            async with asyncio.timeout(ASK_S):
                reply, _ = await self._send_to(url, _Request(method, path, body, service))
                return reply
        except TimeoutError:
            return RegistryReply(RequestOutcome.UNAVAILABLE, f"{url} did not answer in time")
        except (aiohttp.ClientError, OSError) as error:
            return RegistryReply(RequestOutcome.UNAVAILABLE, f"{url}: {cause_of(error)}")

    async def request(self, method: str, path: str, body: bytes | None = None) -> RegistryReply:
        """Send a request that no owner's order concerns to the registry in use, and to the next one if it fails."""
        return await self._send(method, path, body)

    async def _send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        service: str | None = None,
        ordered: bool = False,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> RegistryReply:
        request = _Request(method, path, body, service, ordered, headers)
        reply = RegistryReply(RequestOutcome.UNAVAILABLE, "no address of the registry is known yet")
        tried: set[str] = set()
        while len(tried) < MAX_TRIES:
            url = self._upstreams.current(Use.WRITE)
            if url is None or url in tried:
                break
            tried.add(url)
            reply, trouble = await self._try(url, request)
            if trouble is None:
                break
            self._upstreams.failed(url, Use.WRITE, trouble, reply.said)
        return reply

    async def _try(self, url: str, request: _Request) -> tuple[RegistryReply, Trouble | None]:
        """Send a request to `url`; return the reply, and how `url` failed, if it did."""
        began = self._clock.monotonic()
        try:
            try:
                reply, zone = await self._patiently(url, request)
            except (aiohttp.ServerDisconnectedError, ConnectionResetError):
                # A kept-alive connection may have been closed just then, which is not a failure.
                reply, zone = await self._patiently(url, request)
        except Silent as error:
            return RegistryReply(RequestOutcome.UNAVAILABLE, str(error)), Trouble.SILENT
        except aiohttp.ConnectionTimeoutError:
            return RegistryReply(RequestOutcome.UNAVAILABLE, f"{url} did not answer in time"), Trouble.SILENT
        except TimeoutError:
            # As far as known it is alive, but its store does not answer.
            return RegistryReply(RequestOutcome.UNAVAILABLE, f"{url} did not answer in time"), Trouble.REFUSING
        except (aiohttp.ClientError, OSError) as error:
            # Without a free descriptor, no registry can be reached: none of them is to blame.
            trouble = None if is_shortage(error) else Trouble.SILENT
            return RegistryReply(RequestOutcome.UNAVAILABLE, f"{url}: {cause_of(error)}"), trouble
        if reply.outcome is RequestOutcome.UNAVAILABLE:
            # A replica that cannot write now says nothing about the others: each has its own breaker.
            return reply, Trouble.REFUSING
        self._upstreams.answered(url, Use.WRITE, self._clock.monotonic() - began, zone)
        return reply, None

    async def _patiently(self, url: str, request: _Request) -> tuple[RegistryReply, str]:
        return await self._probes.patiently(url, Use.WRITE, self._send_to(url, request))

    async def _send_to(self, url: str, request: _Request) -> tuple[RegistryReply, str]:
        """Send one attempt."""
        headers = request.headers
        if request.is_ordered:
            # aiohttp resends a PUT or DELETE when a kept-alive connection was closed, with the same number and
            # signature; one that was carried out already is signed anew, still with that number.
            headers = {**headers, SEQUENCE_HEADER: str(next(self._sequences))}
        said = await self._requests.open(
            request.method,
            url,
            request.path,
            service=request.service,
            body=request.body,
            headers=headers,
            within=TIMEOUT,
        )
        async with said.response as response:
            # Read to the end, so that the connection can be reused; a huge answer closes it.
            answer = await said.read(MAX_ANSWER_BYTES)
            if answer is None:
                return RegistryReply(
                    RequestOutcome.UNAVAILABLE, f"{url} answers more than {MAX_ANSWER_BYTES} bytes"
                ), ""
            reply = reply_of(response.status, answer)
            told, again = time_of(response.headers.get("Date", "")), response.headers.get("Retry-After", "")
            retry_after_s = float(again) if _SECONDS.fullmatch(again) else None
            return msgspec.structs.replace(reply, registry_time=told, retry_after_s=retry_after_s), zone_in(response)


def body_of(claim: Registration) -> bytes:
    """Return the body of `POST /register` for `claim`."""
    fields = {name: value for name, value in msgspec.structs.asdict(claim).items() if value is not None}
    return msgspec.json.encode(fields)


def reply_of(status: int, answer: bytes) -> RegistryReply:
    """Return the reply for an answer with this status and body."""
    if 200 <= status < 300:
        return RegistryReply(RequestOutcome.DONE, body=answer)
    problem = decoded(answer, Problem)
    if problem is None:  # a proxy's page
        return RegistryReply(
            _OUTCOMES.get(status, RequestOutcome.UNAVAILABLE),
            f"HTTP status {status}, and not from a registry: a proxy finds none, or REGISTRY_URL leads elsewhere",
        )
    field = f"{problem.field}: " if problem.field else ""
    said = f"{problem.error or status}: {field}{problem.message}"
    if status == HTTPStatus.CONFLICT and problem.error == "Late":
        return RegistryReply(RequestOutcome.LATE, said)
    holder = problem.holder if isinstance(problem.holder, Holder) else None
    if status == HTTPStatus.CONFLICT and problem.error == "Fenced":
        newer = problem.example if isinstance(problem.example, int) else None
        is_free = problem.holder is None
        return RegistryReply(RequestOutcome.FENCED, said, newer_epoch=newer, holder=holder, is_free=is_free)
    return RegistryReply(_OUTCOMES.get(status, RequestOutcome.UNAVAILABLE), said, holder=holder)


def _beat_replies(reply: RegistryReply, count: int) -> list[RegistryReply]:
    if reply.outcome is not RequestOutcome.DONE:
        return [reply] * count
    view = decoded(reply.body, HeartbeatView)
    if view is None:
        return [RegistryReply(RequestOutcome.UNAVAILABLE, "the answer to the heartbeats cannot be read")] * count
    if len(view.instances) != count:
        return [
            RegistryReply(RequestOutcome.UNAVAILABLE, "the answer does not match the heartbeats that were sent")
        ] * count
    return [RegistryReply(_BEAT_OUTCOMES.get(beat.status, RequestOutcome.UNAVAILABLE)) for beat in view.instances]


def _beat(claim: Registration) -> bytes:
    return msgspec.json.encode(
        {"service_name": claim.service_name, "instance_id": claim.instance_id, "epoch": claim.epoch}
    )


def _path_of(claim: Registration) -> str:
    return f"{quote(claim.service_name, safe='')}/{quote(claim.instance_id, safe='')}"
