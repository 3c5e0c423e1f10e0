"""Parses the system's resolvers from /etc/resolv.conf. Pure: text in, addresses out.

Only `nameserver` lines are read. `search`, `ndots` and the like control how a stub completes what a user
typed; a forwarder is asked for complete names.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from registry_core.domain.names import unmapped

DEFAULT_PORT: Final = 53
# glibc reads three, musl three; systems that generate the file write more.
MAX_SERVERS: Final = 8
# The file is normally a few lines. Anything beyond this is not read.
MAX_CHARACTERS: Final = 64 * 1024


def nameservers(text: str) -> tuple[str, ...]:
    """Return the IP addresses of the `nameserver` lines, each once, in order; anything else is left out."""
    found: dict[str, None] = {}
    for line in text[:MAX_CHARACTERS].splitlines():
        words = line.split()
        # resolv.conf(5): a keyword at the start of the line, then the value. Comments start with ';' or '#'.
        if len(words) < 2 or words[0] != "nameserver" or line[0].isspace():
            continue
        try:
            found[str(unmapped(ipaddress.ip_address(words[1])))] = None
        except ValueError:
            continue
        if len(found) == MAX_SERVERS:
            break
    return tuple(found)
