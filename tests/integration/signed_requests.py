"""Sends signed requests, good and bad, over real HTTP."""

from __future__ import annotations

import secrets
import time
from typing import Any

import msgspec
from multidict import CIMultiDict
from yarl import URL

from registry_core.security.signatures import signed
from registry_core.security.signing_keys import SigningKey
from tests.integration.replicas import Answer, Api

# A registry does not accept what was signed in the second in which its process, here the tests' own, started.
AHEAD_S = 1.0
GOOD = {"service_name": "ip_intel", "host": "10.0.0.7", "port": 8034}


class SignedRequest(msgspec.Struct):
    """A request and its signature, as somebody on the way can see, keep and change it."""

    method: str
    path: str
    body: bytes | None
    headers: list[tuple[str, str]]

    def having(self, **changes: Any) -> SignedRequest:
        """Return it with other parts."""
        return msgspec.structs.replace(self, **changes)

    def with_header(self, name: str, value: str | None) -> SignedRequest:
        """Return it with one header set to `value`, or without it."""
        kept = [(one, its) for one, its in self.headers if one.lower() != name.lower()]
        return self.having(headers=kept if value is None else [*kept, (name, value)])

    async def send(self, api: Api) -> Answer:
        """Send it, and return the answer."""
        headers = CIMultiDict(self.headers)  # names may repeat
        url = URL(f"{api.url}{self.path}", encoded=True)
        async with api.session.request(self.method, url, data=self.body, headers=headers) as response:
            raw = await response.read()
            is_json = response.content_type == "application/json" and raw
            return Answer(response.status, response.headers, msgspec.json.decode(raw) if is_json else raw)


def signed_request(
    key: SigningKey,
    method: str = "POST",
    path: str = "/register",
    body: object = GOOD,
    *,
    off_s: float = AHEAD_S,
    nonce: str = "",
    headers: dict[str, str] | None = None,
) -> SignedRequest:
    """Return a request as the holder of `key` sends it; `off_s`: how far its clock is ahead."""
    data = msgspec.json.encode(body) if method in ("POST", "PUT") else None
    sent = dict(headers or {})
    if data is not None:
        sent["Content-Type"] = "application/json"
    added = signed(
        key,
        method,
        path,
        created=int(time.time() + off_s),
        nonce=nonce or secrets.token_urlsafe(16),
        headers=sent,
        body=data,
    )
    return SignedRequest(method, path, data, [*sent.items(), *added.items()])
