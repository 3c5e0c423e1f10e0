"""The one table of what the agent serves, with the right that each method needs; and how a target is matched. Pure.

A path is matched as it was sent: it is split first, and only then is a name in it decoded. So `%2F` is a character of a
name, `..` is a name, and no spelling of one path is another one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from registry_core.errors import ValidationError
from registry_core.security.rights import Right


def _reading(right: Right) -> dict[str, Right]:
    return {"GET": right, "HEAD": right}


_TENDED: Final = {**_reading(Right.TEND), "POST": Right.TEND, "DELETE": Right.TEND}
# A path is one word, and then only names: `{service}` is one segment.
ROUTES: Final[Mapping[str, Mapping[str, Right]]] = {
    "/services": _reading(Right.LOOK_UP),
    "/services/{name}": _reading(Right.LOOK_UP),
    "/resolve/{name}": _reading(Right.LOOK_UP),
    "/explain/{name}": _reading(Right.LOOK_UP),
    "/sd/{program}": _reading(Right.LOOK_UP),
    "/drain": _TENDED,
    "/maintenance": _TENDED,
    "/check/{service}": {"PUT": Right.REPORT},
    "/check/{service}/{instance}": {"PUT": Right.REPORT},
    "/log-level": {
        **_reading(Right.SET_LOG_LEVEL),
        "PUT": Right.SET_LOG_LEVEL,
        "DELETE": Right.SET_LOG_LEVEL,
    },
    "/self": _reading(Right.OBSERVE),
    "/health": _reading(Right.OBSERVE),
    "/live": _reading(Right.BE_PROBED),
    "/ready": _reading(Right.BE_PROBED),
    "/metrics": _reading(Right.OBSERVE),
}
_BY_SHAPE: Final = {(path.split("/")[1], path.count("/") - 1): path for path in ROUTES}
OTHER: Final = "other"
_ABSOLUTE: Final = re.compile(r"https?://([^/?#]*)(.*)", re.ASCII | re.IGNORECASE | re.DOTALL)


class RequestTarget(msgspec.Struct, frozen=True):
    """A request's target (RFC 9112 section 3.2): its path as sent, and its authority if it has one."""

    path: str
    authority: str | None = None


class MatchedRoute(msgspec.Struct, frozen=True):
    """A path of the table, and the names in the request's path, decoded."""

    path: str
    names: tuple[str, ...]


def target_of(raw: str) -> RequestTarget:
    """Return the target that a request line has. Raises ValidationError when it is neither a path nor a URL."""
    found = _ABSOLUTE.fullmatch(raw)
    authority, rest = (found[1], found[2] or "/") if found is not None else (None, raw)
    if not rest.startswith("/"):
        raise ValidationError("the target is a path", field="target", provided=raw, example="/services")
    return RequestTarget(rest.partition("?")[0], authority)


def matched(path: str) -> MatchedRoute | None:
    """Return the route of `path`, or None. Raises ValidationError when a name in it is not UTF-8."""
    _, first, *names = path.split("/")
    known = _BY_SHAPE.get((first, len(names)))
    if known is None or not all(names):
        return None
    return MatchedRoute(known, tuple(map(_decoded, names)))


def path_of(raw: str) -> str:
    """Return the path of the table that a request line's target belongs to, whatever its names, or OTHER."""
    try:
        _, first, *names = target_of(raw).path.split("/")
    except ValidationError:
        return OTHER
    return _BY_SHAPE.get((first, len(names)), OTHER)


def _decoded(name: str) -> str:
    try:
        return unquote_to_bytes(name.encode("utf-8", "surrogateescape")).decode()
    except UnicodeDecodeError:
        raise ValidationError("a name is UTF-8", field="path", provided=name, example="/services/billing") from None
