"""Puts together what finds the addresses of the agent's own names: the forwarders that are asked, and the book."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final

from agent.hosts.book import AddressBook
from agent.hosts.lookup import Ask, HostLookup
from dns.codec import Name
from dns.foreign import ForeignReply
from dns.forward_rules import SYSTEM, ForwardRules
from dns.forwarding import Forwarder
from dns.resolver_client import Unanswered
from registry_core.domain.catalog import Lived
from registry_core.domain.records import InstanceKey
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
        self._asker, self._system = asker, system
        self.ask: Ask = asker.look_up
        lookup = HostLookup(asker.look_up, self.ask_here, zone=zone, most=most_lookups)
        self.book = AddressBook(lookup.look_up, clock=clock, background=background)

    async def ask_here(self, name: Name, qtype: int) -> ForeignReply | Unanswered:
        """Ask the system's resolvers, or by the rules where this agent is the only one that resolv.conf names."""
        return await (self._system if self._system.has_resolvers else self._asker).look_up(name, qtype)

    async def recall(self, instances: Iterable[Lived], own: Collection[InstanceKey]) -> None:
        """Take over the addresses of the agent's own services from an earlier run."""
        for instance in (lived.instance for lived in instances):
            if instance.key in own:
                await self.book.recall(instance.host, instance.addresses)

    async def start(self) -> None:
        """Start the forwarders."""
        for asker in {self._asker, self._system}:
            await asker.start()

    def listens_on(self, host: str, port: int) -> None:
        """Exclude the agent's own address from the resolvers."""
        for asker in {self._asker, self._system}:
            asker.listens_on(host, port)

    async def close(self) -> None:
        """Stop the forwarders and the lookups that run. Safe to call twice."""
        await self.book.close()
        for asker in {self._asker, self._system}:
            await asker.close()
