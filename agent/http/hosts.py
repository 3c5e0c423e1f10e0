"""Judges the Host of a request: is it a name of this agent, or one that a stranger may have led here? Pure.

A page in a browser may have its own name resolve to the agent's address (DNS rebinding), and then reads the answers as
if they came from its own server. The browser still sends the page's name as Host. So only names are accepted that no
stranger's page can have: addresses, `localhost`, names of one label (containers), names in the agent's zone, those of
this machine, and those in the settings.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from agent.settings.local_port import ANY_NAME

LOCALHOST: Final = "localhost"
# Clients that spell a name in ever new ways empty the memory, no more.
MAX_REMEMBERED: Final = 256
# RFC 9110 section 7.2: a host and an optional port. A name has the characters of host names, and '_'.
_HOST: Final = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[0-9A-Za-z._-]{1,255})(?::[0-9]{0,5})?", re.ASCII)


class AcceptedHosts:
    """The hosts under which this agent is asked."""

    def __init__(self, zone: str, configured: Iterable[str] = ()) -> None:
        """`configured`: names, and `*.suffix`, of the settings."""
        self._zone = zone.lower().strip(".")
        self._own: frozenset[str] = frozenset()
        self._remembered: set[str] = set()
        self.use(configured)

    def know_machine(self, names: Iterable[str]) -> None:
        """Accept this machine's names, too."""
        self._own = frozenset(names)

    def use(self, configured: Iterable[str]) -> None:
        """Accept these names of the settings from now on."""
        names = tuple(configured)
        self._any = ANY_NAME in names
        self._names = frozenset(name for name in names if not name.startswith("*"))
        below = [name.removeprefix("*") for name in names if name.startswith("*.")]
        self._below = (f".{self._zone}", f".{LOCALHOST}", *below)
        self._remembered.clear()

    def remembers(self, host: str | None) -> bool:
        """Return whether this very text was accepted before: one look into a set, for ready answers."""
        return host in self._remembered

    def accepts(self, host: str) -> bool:
        """Return whether `host`, the value of a Host field, is a name of this agent."""
        if host in self._remembered:
            return True
        if not self._is_ours(host):
            return False
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered.add(host)
        return True

    def _is_ours(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        if self._any:
            return True
        name = found[1].lower().removesuffix(".")
        if name.startswith("["):
            return _is_address(name[1:-1])
        # A name of one label is one of a container, or of hosts(5): no registry of domains sells it.
        return (
            _is_address(name)
            or (bool(name) and "." not in name)
            or name == self._zone
            or name in self._own
            or name in self._names
            or name.endswith(self._below)
        )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
