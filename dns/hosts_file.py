"""Finds a name's addresses in the text of hosts(5). Pure: text in, addresses out."""

from __future__ import annotations

import contextlib
import ipaddress
from typing import Final

from registry_core.domain.names import unmapped

# Lists against advertisements have a hundred thousand lines. Anything beyond this is not read.
MAX_CHARACTERS: Final = 8 * 1024 * 1024
MAX_FOUND: Final = 64


def hosts_addresses(text: str, host: str) -> tuple[str, ...]:
    """Return the addresses of all lines that name `host`, each once, in order.

    Names are compared without case. A line whose address cannot be read is left out, and so is an address with a
    scope, which means something on this machine alone.
    """
    wanted = host.lower()
    found: dict[str, None] = {}
    if not wanted:  # the root, `.`, which is found in every place
        return ()
    lower = text[:MAX_CHARACTERS].lower()
    at = lower.find(wanted)
    while at != -1 and len(found) < MAX_FOUND:
        start = lower.rfind("\n", 0, at) + 1
        end = lower.find("\n", at)
        end = len(lower) if end == -1 else end
        address, *names = lower[start:end].partition("#")[0].split() or [""]
        if wanted in names and "%" not in address:
            with contextlib.suppress(ValueError):
                found[str(unmapped(ipaddress.ip_address(address)))] = None
        at = lower.find(wanted, end)
    return tuple(found)
