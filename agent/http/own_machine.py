"""Decides who sends a request to the agent's localhost port, and whether they may do what it asks.

Reads are open to everybody who can connect. What takes services out of use, and what reports their health, is for
programs of the agent's own machine, or for holders of the token where there is one, and never for a page in a browser:

- A browser says of a write that it comes from a page (`Origin`, `Sec-Fetch-*`). A proxy on this machine may drop that.
- So a POST needs a header that no page can send without asking first (a preflight, Fetch standard section 3.2); the
  agent agrees to none. A browser asks before every PUT and DELETE, so reports without the header are still accepted.
- A proxy on this machine makes all its clients local, so a request that one passed on is from nobody without the token.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Final

import structlog
from aiohttp import HttpVersion11, web

from agent.settings.local_port import HTTP_TOKEN, WRITE_HEADER
from registry_core.domain.names import ip_address
from registry_core.errors import Forbidden, Unauthorized
from registry_core.security.identities import ANYONE, Identity, Proof, Role
from registry_core.security.rights import Right, permits

LOCAL: Final = Identity(Role.LOCAL, Proof.LOOPBACK)
HOLDER: Final = Identity(Role.OPERATOR, Proof.TOKEN)
# What browsers say of requests that pages make.
_PAGE: Final = ("Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest")
_BROWSER: Final = "Mozilla/"
# What proxies say of whom they ask for.
_PASSED_ON: Final = (
    "Forwarded",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-IP",
)
_BEARER: Final = "bearer "
_ASKED_FIRST: Final = ("PUT", "DELETE")

_log = structlog.get_logger(component="agent.http")


class LocalCallers:
    """The senders of requests. `tokens` returns the accepted tokens; without one, only this machine writes."""

    def __init__(self, tokens: Callable[[], tuple[str, ...]]) -> None:
        self._tokens = tokens
        self._warned = False

    def require(self, request: web.BaseRequest, right: Right) -> None:
        """Raise Unauthorized without a valid token where one is needed, Forbidden when the sender has not `right`."""
        if permits(ANYONE, right, reads_are_open=True):
            return
        _require_no_page(request)
        identity = self._identify(request)
        if not permits(identity, right):
            raise Forbidden(
                f"{request.path[:100]} is for programs on the agent's own machine; from elsewhere, and through a "
                f"proxy, it needs the token of {HTTP_TOKEN.name}",
                provided=request.remote,
            )
        if identity.proof is not Proof.TOKEN:
            self._require_header(request)

    def _identify(self, request: web.BaseRequest) -> Identity:
        tokens, given = self._tokens(), request.headers.get("Authorization", "")
        if not tokens:
            return LOCAL if _is_local(request) else ANYONE
        if given[: len(_BEARER)].lower() != _BEARER or not _is_one_of(tokens, given[len(_BEARER) :].strip()):
            said = "the token is wrong" if given else f"it needs the token of {HTTP_TOKEN.name}"
            raise Unauthorized(said, field="Authorization", example="Authorization: Bearer TOKEN")
        return HOLDER

    def _require_header(self, request: web.BaseRequest) -> None:
        headers = request.headers
        if request.method in ("GET", "HEAD") or headers.get(WRITE_HEADER):
            return
        agent = headers.get("User-Agent")
        # The commands of the last release send none, and no encoding; a page cannot change the latter.
        is_command = agent is None and headers.get("Accept-Encoding") == "identity"
        if not is_command and (request.method not in _ASKED_FIRST or (agent or "").startswith(_BROWSER)):
            raise Forbidden(
                f"a write needs the header {WRITE_HEADER}, which no page in a browser can send",
                field=WRITE_HEADER,
                example=f"{WRITE_HEADER}: 1",
            )
        if not self._warned:
            self._warned = True
            _log.warning(
                "write_without_header", path=request.path[:100], header=WRITE_HEADER, sender=(agent or "")[:80]
            )


def _require_no_page(request: web.BaseRequest) -> None:
    for mark in _PAGE:
        if mark in request.headers:
            raise Forbidden(f"{request.path[:100]} is not for pages in a browser", field=mark)


def _is_local(request: web.BaseRequest) -> bool:
    """Return whether a program of this machine sends it, for itself.

    nginx passes requests on over HTTP/1.0 by default, without a word of its client.
    """
    peer = ip_address((request.remote or "").partition("%")[0])
    if peer is None or not peer.is_loopback or request.version < HttpVersion11:
        return False
    return not any(mark in request.headers for mark in _PASSED_ON)


def _is_one_of(tokens: tuple[str, ...], given: str) -> bool:
    shown = given.encode("utf-8", "surrogateescape")
    # Every token is compared, so that the time does not reveal which one was close.
    return sum(hmac.compare_digest(token.encode(), shown) for token in tokens) > 0
