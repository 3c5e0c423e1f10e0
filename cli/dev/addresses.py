"""Finds the addresses in the environments of compose services that do not work among the stand-ins.

Pure. `vertice dev` treats '_' and '-' alike, as its DNS does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from cli.compose.addresses import hosts_and_ports, identity_of_address
from cli.compose.listening_ports import ListeningPorts
from cli.compose.model import EnvEntry
from cli.dev.plan import PlanFinding, Weight
from registry_core.domain.host_port import host_port
from registry_core.domain.names import label_of
from registry_core.domain.registration import MAX_PORT

_ELSEWHERE: Final = frozenset({"localhost", "host.docker.internal", "gateway.docker.internal"})


class EnvAddress(msgspec.Struct, frozen=True):
    """A host and a port in an environment variable. `is_url`: they follow a scheme; `is_http`: that of HTTP."""

    host: str
    port: int
    is_url: bool
    is_http: bool = False


class TcpPorts(msgspec.Struct, frozen=True):
    """The TCP ports of one service, in order, and its published ports as `ip:port`; the ip is mostly empty.

    `known`: what the whole description says of the ports on which it listens.
    """

    container: tuple[int, ...] = ()
    published: tuple[str, ...] = ()
    known: ListeningPorts | None = None


def addresses_in(environment: Iterable[EnvEntry]) -> Iterator[EnvAddress]:
    """Return the addresses in a service's environment, without names that are compared and not looked up."""
    for found in hosts_and_ports(environment):
        if found.port is not None and found.port_written and not identity_of_address(found):
            yield EnvAddress(found.host, found.port, bool(found.scheme), found.is_http)


def judged(found: Mapping[EnvAddress, list[str]], listening: Mapping[str, TcpPorts]) -> Iterator[PlanFinding]:
    """Return the findings; `found` maps each address to its users, `listening` has the ports by name and by label.

    A port that `ports` and `expose` lack is not wrong for that. It is wrong with evidence: it is the host's port, or an
    image that is built here names others.
    """
    for address, users in found.items():
        ports = listening.get(address.host.lower()) or listening.get(label_of(address.host))
        if not address.is_url and ports is None:
            continue  # "12:30" and "repository:5" are not addresses
        users_text = ", ".join(users[:3]) + (f" and {len(users) - 3} more" if len(users) > 3 else "")
        subject = f"{host_port(address.host, address.port)} in the environment of {users_text}"
        if not 1 <= address.port <= MAX_PORT:
            yield PlanFinding(Weight.UNUSABLE, subject, f"a port is a number from 1 to {MAX_PORT}")
        elif ports is None:
            # A name with a dot, or an alias, may well be outside the file.
            if "." not in address.host and address.host not in _ELSEWHERE:
                yield PlanFinding(Weight.DOUBTFUL, subject, "no service of the file has that name")
        elif ports.container and address.port not in ports.container:
            where = " or ".join(str(p) for p in ports.container[:3])
            known = ports.known
            is_hosts = any(p.rpartition(":")[2] == str(address.port) for p in ports.published)
            if is_hosts and not (known is not None and known.is_named(address.port)):
                reason = f"it listens on {where}, and {address.port} is the host's port"
                yield PlanFinding(Weight.DOUBTFUL, subject, reason)
            elif known is not None and known.against(address.port, is_http=address.is_http) is not None:
                yield PlanFinding(Weight.DOUBTFUL, subject, f"it listens on {where}")
