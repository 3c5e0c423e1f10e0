"""The plan of `vertice dev`: the services to start, their loopback addresses, and the findings.

Frozen values only. This module reads no compose file and opens no socket.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from cli.terminal import printable
from registry_core.domain.host_port import host_port

# 127.77.0.0/16, or a later net when another `vertice dev` runs on this machine.
FIRST_NET: Final = 77
NETS: Final = 20
# One process runs all the stand-ins: more would exceed its limit on open files.
MAX_INSTANCES: Final = 1000
MAX_REPLICAS: Final = 50
MAX_FINDING_LENGTH: Final = 300
_HOSTS_PER_SUBNET: Final = 250


class Weight(enum.Enum):
    """How much a finding matters."""

    UNUSABLE = "cannot be used"
    DOUBTFUL = "looks wrong"
    NOTED = "worth knowing"


class PlanFinding(msgspec.Struct, frozen=True):
    """Something in the compose file that is unusable, looks wrong, or is worth knowing. `line` is 0 when unknown."""

    weight: Weight
    subject: str
    reason: str
    line: int = 0

    def __str__(self) -> str:
        text = f"{self.subject}: {self.reason}"
        return printable(text, most=MAX_FINDING_LENGTH) + (f" (line {self.line})" if self.line else "")


class PlannedService(msgspec.Struct, frozen=True):
    """A service in the file that can be started."""

    name: str
    port: int
    health_endpoint: str = "/health"
    replicas: int = 1


class PlannedInstance(msgspec.Struct, frozen=True):
    """One stand-in: where it listens, and which service it represents."""

    service_name: str
    host: str
    port: int
    health_endpoint: str

    @property
    def address(self) -> str:
        return host_port(self.host, self.port)


class Plan(msgspec.Struct, frozen=True):
    """The plan from a compose file that lists `listed` services."""

    listed: int
    services: tuple[PlannedService, ...]
    findings: tuple[PlanFinding, ...]

    def of_weight(self, weight: Weight) -> tuple[PlanFinding, ...]:
        """Return the findings of one weight, in file order."""
        return tuple(f for f in self.findings if f.weight is weight)

    @property
    def is_clean(self) -> bool:
        """Whether nothing in the file is unusable or looks wrong."""
        return all(f.weight is Weight.NOTED for f in self.findings)


def instances(services: tuple[PlannedService, ...], net: int = FIRST_NET) -> tuple[PlannedInstance, ...]:
    """Return a stand-in for each replica, each with its own address in 127.`net`.0.0/16.

    Addresses follow file order, so that the same file gives the same addresses.
    """
    replicas = [service for service in services for _ in range(service.replicas)]
    return tuple(
        PlannedInstance(
            s.name, f"127.{net}.{n // _HOSTS_PER_SUBNET}.{n % _HOSTS_PER_SUBNET + 1}", s.port, s.health_endpoint
        )
        for n, s in enumerate(replicas)
    )
