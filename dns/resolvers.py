"""The current resolvers: those of the rules, and those of the system.

It reads no file and sends nothing; its caller passes in the system's resolvers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from dns.codec import Name
from dns.forward_rules import DENIED, Denied, ForwardRules, ResolverAddress, System, Target
from dns.upstreams import UpstreamResolver

_ANY_ADDRESS: Final = {"0.0.0.0": ("127.0.0.1", "0.0.0.0"), "::": ("127.0.0.1", "0.0.0.0", "::1", "::")}  # noqa: S104 - compared with, not bound to


class Group(msgspec.Struct, frozen=True):
    """The resolvers to ask for a name, and the suffix of its rule.

    Without `forwards`: none, by configuration; with `denies`, the name then does not exist.
    """

    suffix: Name
    upstreams: tuple[UpstreamResolver, ...]
    forwards: bool = True
    denies: bool = False


class Resolvers:
    """The resolvers of all rules. A resolver in several rules has one shared state."""

    def __init__(self, rules: ForwardRules) -> None:
        self._rules = rules
        self._system: tuple[ResolverAddress, ...] = ()
        self._own: frozenset[ResolverAddress] = frozenset()
        self._upstreams: dict[ResolverAddress, UpstreamResolver] = {}

    @property
    def uses_system(self) -> bool:
        """Whether any rule uses the system's resolvers."""
        return any(isinstance(rule.target, System) for rule in self._rules.rules)

    def listens_on(self, host: str, port: int) -> None:
        """Exclude our own address from the resolvers.

        An address of ours that cannot be recognized here (an interface's address, a redirected port) is detected
        when questions come back.
        """
        self._own = frozenset(ResolverAddress(one, port) for one in _ANY_ADDRESS.get(host, (host,)))

    def system_is(self, hosts: Iterable[str]) -> bool:
        """Set the system's resolvers. Return whether they have changed."""
        servers = tuple(map(ResolverAddress, hosts))
        if servers == self._system:
            return False
        self._system = servers
        wanted = {server for rule in self._rules.rules for server in self._servers(rule.target)}
        self._upstreams = {server: one for server, one in self._upstreams.items() if server in wanted}
        return True

    def group_for(self, name: Name) -> Group:
        """Return the resolvers to ask for `name`, which is in lower case."""
        rule = self._rules.rule_for(name)
        upstreams = tuple(map(self._upstream, self._servers(rule.target)))
        denies = rule.target is DENIED
        return Group(rule.suffix, upstreams, forwards=rule.target != () and not denies, denies=denies)

    def all(self) -> list[UpstreamResolver]:
        """Return every resolver once, in the order of the rules."""
        servers = dict.fromkeys(server for rule in self._rules.rules for server in self._servers(rule.target))
        return list(map(self._upstream, servers))

    def _servers(self, target: Target) -> tuple[ResolverAddress, ...]:
        if isinstance(target, Denied):
            return ()
        servers = self._system if isinstance(target, System) else target
        return tuple(server for server in servers if server not in self._own)

    def _upstream(self, server: ResolverAddress) -> UpstreamResolver:
        found = self._upstreams.get(server)
        if found is None:
            found = self._upstreams[server] = UpstreamResolver(server)
        return found
