"""Puts together what finds the addresses of the agent's own names: the forwarders that are asked, and the book."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from agent.hosts.book import AddressBook
from agent.hosts.lookup import Ask, HostLookup
from dns.forward_rules import SYSTEM, ForwardRules
from dns.forwarding import Forwarder
from registry_core.ports.clock import Clock
from registry_core.supervision import Background

# The system's resolvers, for every name.
_SYSTEM_RULES: Final = ForwardRules()


class OwnNames:
    """The address book of one agent, with `start` and `close`.

    `forwarder` serves clients of DNS by `rules`; None when it refuses them all, and then the system's resolvers are
    asked. `new_forwarder` makes further ones.
    """

    def __init__(
        self,
        forwarder: Forwarder | None,
        rules: ForwardRules,
        new_forwarder: Callable[[ForwardRules], Forwarder],
        *,
        zone: str,
        clock: Clock,
        background: Background,
        most_lookups: int,
    ) -> None:
        forwards_to_system = forwarder is not None and rules.rule_for(()).target == SYSTEM
        system = forwarder if forwarder is not None and forwards_to_system else new_forwarder(_SYSTEM_RULES)
        asker = forwarder if forwarder is not None else system
        self._askers = tuple(dict.fromkeys((asker, system)))
        self.ask: Ask = asker.look_up
        lookup = HostLookup(asker.look_up, system.look_up, zone=zone)
        self.book = AddressBook(lookup.look_up, clock=clock, background=background, most=most_lookups)

    async def start(self) -> None:
        """Start the forwarders."""
        for asker in self._askers:
            await asker.start()

    def listens_on(self, host: str, port: int) -> None:
        """Exclude the agent's own address from the resolvers."""
        for asker in self._askers:
            asker.listens_on(host, port)

    async def close(self) -> None:
        """Stop the forwarders and the lookups that run. Safe to call twice."""
        await self.book.close()
        for asker in self._askers:
            await asker.close()
