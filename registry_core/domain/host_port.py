"""The one place that joins and splits host and port: `10.0.0.7:8034`, `[2001:db8::7]:8034`.

It knows the syntax (RFC 3986 section 3.2.2), and not which hosts and ports are allowed.
"""

from __future__ import annotations

import re
from typing import Final

# The addresses that mean every address of a machine.
ANY_IPV4: Final = "0.0.0.0"  # noqa: S104 - named, so that callers need no exemption each
ANY_IPV6: Final = "::"

_PORT: Final = re.compile(r"\d{1,5}", re.ASCII)
_MAX_PORT: Final = 65535


def host_port(host: str, port: int | str) -> str:
    """Return `host:port`, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_host_port(text: str) -> tuple[str, int | None]:
    """Return the host, without brackets, and the port of `host:port`, `[ipv6]:port`, `:port`, `host` or `[ipv6]`.

    A missing host is empty, a missing port None. Raises ValueError, with the reason, for any other text.
    """
    if text.startswith("["):
        host, closing, rest = text[1:].partition("]")
        if not closing:
            raise ValueError("its brackets are not closed")
        if not rest:
            return host, None
        if not rest.startswith(":"):
            raise ValueError("only :port may follow its brackets")
        return host, _port(rest[1:])
    host, colon, port = text.partition(":")
    if ":" in port:
        raise ValueError("an IPv6 address must be in brackets")
    return host, _port(port) if colon else None


def _port(text: str) -> int:
    if not text:
        raise ValueError("no port follows its colon")
    if not _PORT.fullmatch(text) or int(text) > _MAX_PORT:
        raise ValueError(f"{text!r} is not a port")
    return int(text)
