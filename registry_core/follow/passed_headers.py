"""Which headers of a request, and of its answer, are passed on. Pure.

All but those that concern one connection (RFC 9110 section 7.6.1), and those that say who forwards for whom: a
follower says that itself. A header of a later release goes through unread, so that what it signs stays valid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from multidict import CIMultiDict

_OF_A_CONNECTION: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# The client of the next hop writes these itself, or the follower does.
_OF_A_REQUEST: Final = frozenset(
    {
        "host",
        "content-length",
        "expect",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
        "x-registry-for",
        "x-registry-via",
    }
)
_OF_AN_ANSWER: Final = frozenset({"content-length", "server", "x-registry-zone"})


def request_headers(headers: Iterable[tuple[str, str]], *, client: str, via: str) -> CIMultiDict[str]:
    """Return the headers to send: those of the request, and who it is passed on for.

    `client` is the client's address; "" for one that is on this machine. `via` names the followers on the way.
    """
    passed = _without(headers, _OF_A_REQUEST)
    passed["X-Registry-Via"] = via
    if client:
        passed["X-Forwarded-For"] = client
        passed["Forwarded"] = f'for="[{client}]"' if ":" in client else f"for={client}"
    return passed


def answer_headers(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """Return the headers of an answer that go back to the caller."""
    return _without(headers.items(), _OF_AN_ANSWER)


def _without(headers: Iterable[tuple[str, str]], dropped: frozenset[str]) -> CIMultiDict[str]:
    given = [(name, value) for name, value in headers]
    named = {word.strip().lower() for name, value in given if name.lower() == "connection" for word in value.split(",")}
    gone = dropped | _OF_A_CONNECTION | named
    return CIMultiDict((name, value) for name, value in given if name.lower() not in gone)
