"""The one way in which an agent sends requests to registries: with credentials, and anew when those were refused.

`sending.py` of the security package decides which credentials, and what a refusal means. The rest of an answer is for
the caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import aiohttp
import structlog
from yarl import URL

from registry_core.api.schemas import Problem
from registry_core.bodies import decoded, read_whole
from registry_core.ports.clock import SystemClock
from registry_core.security.sending import MAX_ATTEMPTS, Attempt, CredentialRefusal, Note, RequestSigner, SenderKeys
from registry_core.security.signatures import NO_HEADERS
from registry_core.telemetry.client_spans import client_span
from registry_core.telemetry.trace_context import trace_headers
from registry_core.watch.clock import time_of

# An error's body; a longer one is not from a registry.
MAX_ERROR_BYTES: Final = 64 * 1024
_JUDGED: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE)
_WRITES: Final = ("POST", "PUT", "DELETE")

_log = structlog.get_logger(component="agent.registries")


class RegistryAnswer:
    """An answer of a registry. Its body was read already when it is an error that may concern the credentials."""

    def __init__(self, response: aiohttp.ClientResponse, body: bytes | None = None) -> None:
        self.response = response
        self._body = body

    async def read(self, most_bytes: int) -> bytes | None:
        """Return the body, or None when it is longer than `most_bytes`: then the connection is closed."""
        body = self._body if self._body is not None else await read_whole(self.response.content, most_bytes)
        if body is None or len(body) > most_bytes:
            self.response.close()
            return None
        return body


class RegistryRequests:
    """Sends requests over `session`, signed by `signer`."""

    def __init__(self, session: aiohttp.ClientSession, signer: RequestSigner | None = None) -> None:
        self._session = session
        self.signer = signer if signer is not None else RequestSigner(SenderKeys(), SystemClock())

    async def open(
        self,
        method: str,
        url: str,
        target: str,
        *,
        within: aiohttp.ClientTimeout,
        service: str | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> RegistryAnswer:
        """Send a request to the registry at `url`; the caller closes the answer's response.

        `target` is the path below `url`, with its query; `service` the service that it is about. Raises as
        aiohttp does.
        """
        address = URL(f"{url}{target}", encoded=True)
        if body is not None:
            headers = {**headers, "Content-Type": "application/json"}
        for left in reversed(range(MAX_ATTEMPTS)):
            attempt = self.signer.attempt(url, method, address.raw_path_qs, service=service, headers=headers, body=body)
            with client_span(method, address, MAX_ATTEMPTS - 1 - left) as sent:
                response = await self._session.request(
                    method,
                    address,
                    data=body,
                    headers={**headers, **attempt.headers, **trace_headers()},
                    allow_redirects=False,
                    timeout=within,
                )
                sent.set("http.response.status_code", response.status)
                if response.status >= HTTPStatus.BAD_REQUEST:
                    sent.failed(str(response.status))
            if response.status not in _JUDGED:
                if method in _WRITES and response.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                    self.signer.accepted(url, attempt)
                return RegistryAnswer(response)
            answer, wait_s = await self._judged(url, attempt, response)
            if wait_s is None or not left:
                return answer
            response.release()
            await asyncio.sleep(wait_s)
        raise AssertionError  # the last attempt returns

    async def _judged(
        self, url: str, attempt: Attempt, response: aiohttp.ClientResponse
    ) -> tuple[RegistryAnswer, float | None]:
        """Return the answer, its body read, and after how long another attempt may be accepted."""
        try:
            body = await read_whole(response.content, MAX_ERROR_BYTES)
        except BaseException:
            response.close()
            raise
        if body is None:
            response.close()
            return RegistryAnswer(response, b""), None
        problem = decoded(body, Problem)
        refusal = CredentialRefusal(
            response.status,
            error=problem.error if problem is not None else "",
            schemes=", ".join(response.headers.getall("WWW-Authenticate", ())),
            example=problem.example if problem is not None else None,
            date=time_of(response.headers.get("Date", "")),
        )
        return RegistryAnswer(response, body), self.signer.again(url, attempt, refusal)


def log_note(note: Note, url: str) -> None:
    """Log what an operator should know about how a registry takes credentials."""
    match note:
        case Note.SENT_IN_PLAIN:
            _log.warning(
                "registry_takes_no_signatures",
                registry=url,
                because="it is of the last release: it gets the secret itself, which others on the way can read; "
                "REGISTRY_SEND=signed forbids that",
            )
        case Note.NOT_SENT:
            _log.error(
                "registry_asks_for_secret",
                registry=url,
                because="it took signatures before, and now asks for the secret itself, which it does not get: this "
                "may be another server; after a return to the last release, set REGISTRY_SEND=token",
            )
