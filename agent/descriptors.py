"""The agent's file descriptors: how many its ports, checks and connections may use. Pure.

Checks and the connections to the registry come first, up to half of all: clients of the ports must not be able to stop
either. A client that is refused tries again; a check that cannot be made shows nothing.
"""

from __future__ import annotations

from typing import Final

import msgspec

from agent.checks.probes import MAX_CHECKS_AT_ONCE, MAX_COMMANDS_AT_ONCE
from agent.hosts.lookup import MAX_LOOKUPS
from agent.registries.client import CONNECTIONS
from dns.forwarding import ForwardLimits
from dns.resolver_client import Patience
from dns.tcp import TcpLimits
from registry_core.descriptors import DescriptorDemand, shared_out

# Standard streams, the event loop, the listening sockets, files that are read or written for a moment, and the
# connections that are accepted only to be refused.
RESERVED: Final = 64
MAX_HTTP_CONNECTIONS: Final = 1000
# Pipes to a program while it starts.
_OF_A_COMMAND: Final = 6
_OF_A_QUESTION: Final = Patience().open
# Under a low limit there is room for this many checks at a time beyond those of the services known at the start.
_MORE_CHECKS: Final = 16
_COMMANDS: Final = DescriptorDemand(_OF_A_COMMAND * MAX_COMMANDS_AT_ONCE, 2 * _OF_A_COMMAND)
# A lookup of a name asks for both families of addresses at a time; only where a resolver is silent, it asks others too.
_OF_A_LOOKUP: Final = 2
_LOOKUPS: Final = DescriptorDemand(_OF_A_LOOKUP * MAX_LOOKUPS, 2 * _OF_A_LOOKUP)
# Under a low limit: an answer is kept, so that lookups may take turns.
_FEW_LOOKUPS: Final = DescriptorDemand(_OF_A_LOOKUP * 12, 2 * _OF_A_LOOKUP)
_REGISTRY: Final = DescriptorDemand(CONNECTIONS, 8)
_PORTS: Final = {
    "http": DescriptorDemand(MAX_HTTP_CONNECTIONS, 16),
    "dns_tcp": DescriptorDemand(TcpLimits().connections, 8),
    "forwarded": DescriptorDemand(_OF_A_QUESTION * ForwardLimits().in_flight, 4 * _OF_A_QUESTION),
}
# As many descriptors are enough for all that an agent may do at a time.
ENOUGH: Final = (
    RESERVED + MAX_CHECKS_AT_ONCE + sum(demand.wanted for demand in (_COMMANDS, _LOOKUPS, _REGISTRY, *_PORTS.values()))
)


class DescriptorBudget(msgspec.Struct, frozen=True, kw_only=True):
    """How many may exist at a time."""

    http: int  # connections
    dns_tcp: int  # connections
    forwarded: int  # questions
    registry: int  # connections
    checks: int
    commands: int
    lookups: int


def budget(limit: int | None, *, checks: int) -> DescriptorBudget:
    """Return the budget of an agent that may open `limit` descriptors, and has so many checks."""
    scarce = limit is not None and limit < ENOUGH
    most_checks = min(MAX_CHECKS_AT_ONCE, checks + _MORE_CHECKS) if scarce else MAX_CHECKS_AT_ONCE
    own = {
        "registry": _REGISTRY,
        "checks": DescriptorDemand(most_checks, 8),
        "commands": _COMMANDS,
        "lookups": _FEW_LOOKUPS if scarce else _LOOKUPS,
    }
    available = None if limit is None else max(0, limit - RESERVED)
    given = shared_out(None if available is None else available // 2, own)
    given |= shared_out(None if available is None else max(0, available - sum(given.values())), _PORTS)
    return DescriptorBudget(
        http=given["http"],
        dns_tcp=given["dns_tcp"],
        forwarded=given["forwarded"] // _OF_A_QUESTION,
        registry=given["registry"],
        checks=given["checks"],
        commands=given["commands"] // _OF_A_COMMAND,
        lookups=given["lookups"] // _OF_A_LOOKUP,
    )
