"""The rules of AGENT_DNS_FORWARD: which servers are asked for a foreign name.

    system                               the resolvers that /etc/resolv.conf names (the default)
    none                                 no server: foreign names are refused
    nxdomain                             no server: foreign names do not exist
    10.0.0.2,10.0.0.3:5353,[::1]:53      these, in this order
    system,corp.example=10.0.0.2         names under corp.example elsewhere; the longest suffix wins

Pure: it knows the configuration, and nothing about the state of those servers.
"""

from __future__ import annotations

import ipaddress
from typing import Final, TypeAlias

import msgspec

from dns.codec import Name
from dns.name_limits import MAX_NAME
from dns.resolv_conf import DEFAULT_PORT
from registry_core.domain.host_port import host_port, split_host_port
from registry_core.domain.names import unmapped

MAX_RULES: Final = 64
MAX_SERVERS_PER_RULE: Final = 8
_SYSTEM: Final = "system"
_NONE: Final = "none"
_NXDOMAIN: Final = "nxdomain"


class ResolverAddress(msgspec.Struct, frozen=True, order=True):
    """A resolver's address. `host` is an IP address, perhaps with a scope (fe80::1%eth0)."""

    host: str
    port: int = DEFAULT_PORT

    def __str__(self) -> str:
        return host_port(self.host, self.port)


class System(msgspec.Struct, frozen=True):
    """The current resolvers of this machine."""

    def __str__(self) -> str:
        return _SYSTEM


class Denied(msgspec.Struct, frozen=True):
    """No server: such names do not exist.

    The resolvers of libc end a lookup at a refusal, and go on with their search lists at NXDOMAIN.
    """

    def __str__(self) -> str:
        return _NXDOMAIN


SYSTEM: Final = System()
DENIED: Final = Denied()
# Some servers, those of the system, none, or (an empty tuple) none and a refusal.
Target: TypeAlias = tuple[ResolverAddress, ...] | System | Denied
_WORDS: Final[dict[str, Target]] = {_SYSTEM: SYSTEM, _NXDOMAIN: DENIED, _NONE: ()}


class Rule(msgspec.Struct, frozen=True):
    """Forwards names that end in `suffix` (lower case; empty matches every name) to `target`."""

    suffix: Name
    target: Target

    def __str__(self) -> str:
        head = b".".join(self.suffix).decode("ascii") + "=" if self.suffix else ""
        target = self.target
        servers = (str(target),) if isinstance(target, System | Denied) else map(str, target or (_NONE,))
        return ",".join(head + server for server in servers)


class ForwardRules(msgspec.Struct, frozen=True):
    """All rules, including one for the empty suffix."""

    rules: tuple[Rule, ...] = (Rule((), SYSTEM),)

    def __str__(self) -> str:
        return ",".join(map(str, self.rules))

    @property
    def forwards(self) -> bool:
        """Whether anything is forwarded or denied at all, and not merely refused."""
        return any(rule.target != () for rule in self.rules)

    def has_names_below(self, name: Name) -> bool:
        """Return whether a rule that denies nothing is for names below `name`, which is in lower case."""
        return any(
            rule.target is not DENIED and rule.suffix[len(rule.suffix) - len(name) :] == name
            for rule in self.rules
            if len(rule.suffix) > len(name)
        )

    def rule_for(self, name: Name) -> Rule:
        """Return the rule with the longest suffix of `name`, which is in lower case."""
        return max(
            (rule for rule in self.rules if rule.suffix == name[len(name) - len(rule.suffix) :]),
            key=lambda rule: len(rule.suffix),
        )


NOBODY: Final = ForwardRules((Rule((), ()),))


def read_rules(text: str) -> ForwardRules:
    """Parse AGENT_DNS_FORWARD. Raises ValueError with the reason when it is invalid."""
    servers: dict[Name, list[ResolverAddress]] = {}
    words: dict[Name, str] = {}
    for item in (part.strip() for part in text.split(",")):
        if not item:
            continue
        head, equals, value = item.rpartition("=")
        if equals and not head.strip():
            raise ValueError(f"{item!r} has no suffix before its '='")
        suffix = _suffix(head) if equals else ()
        value = value.strip()
        if value.lower() in _WORDS:
            words[suffix] = value.lower() if words.get(suffix, value.lower()) == value.lower() else "both"
        else:
            servers.setdefault(suffix, []).append(_server(value))
    for suffix in (*servers, *words):
        if (suffix in servers and suffix in words) or words.get(suffix) == "both":
            shown = b".".join(suffix).decode("ascii") or "everything else"
            raise ValueError(f"for {shown}, give either system, none, nxdomain or a list of servers")
        if len(servers.get(suffix, ())) > MAX_SERVERS_PER_RULE:
            raise ValueError(f"a rule has at most {MAX_SERVERS_PER_RULE} servers")
    targets: dict[Name, Target] = {suffix: tuple(dict.fromkeys(listed)) for suffix, listed in servers.items()}
    targets |= {suffix: _WORDS[word] for suffix, word in words.items()}
    targets.setdefault((), SYSTEM)
    if len(targets) > MAX_RULES:
        raise ValueError(f"there are at most {MAX_RULES} rules")
    ordered = sorted(targets.items(), key=lambda item: (len(item[0]), item[0]))
    return ForwardRules(tuple(Rule(suffix, target) for suffix, target in ordered))


def _suffix(text: str) -> Name:
    labels = text.strip().strip(".").lower().split(".")
    fits = all(0 < len(label) <= 63 and label.isascii() and not set(label) & set(' "\\') for label in labels)
    if not fits or sum(len(label) + 1 for label in labels) >= MAX_NAME:
        raise ValueError(f"{text.strip()!r} is not a domain name")
    return tuple(label.encode("ascii") for label in labels)


def _server(text: str) -> ResolverAddress:
    bare = text.count(":") > 1 and not text.startswith("[")
    try:
        # An IPv6 address alone, without a port, needs no brackets here.
        host, port = (text, None) if bare else split_host_port(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not an address: {error}") from None
    try:
        address = unmapped(ipaddress.ip_address(host))
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address, system, none or nxdomain") from None
    if port == 0:
        raise ValueError(f"{text!r} has no port between 1 and 65535")
    return ResolverAddress(str(address), DEFAULT_PORT if port is None else port)
