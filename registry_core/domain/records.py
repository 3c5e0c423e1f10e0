"""The records that the registry holds. Frozen: a change is a new record, never an edited one."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from registry_core.domain.host_port import host_port
from registry_core.domain.names import label_of


class Status(enum.StrEnum):
    """What an instance says of itself, or what its checks say of it."""

    PASSING = "passing"
    WARNING = "warning"
    CRITICAL = "critical"
    DRAINING = "draining"
    MAINTENANCE = "maintenance"


class Protocol(enum.StrEnum):
    """What an instance speaks on its port."""

    HTTP = "http"
    HTTPS = "https"
    GRPC = "grpc"
    TCP = "tcp"
    UDP = "udp"


class InstanceKey(msgspec.Struct, frozen=True, gc=False):
    """Who an instance is: the DNS label of its service, and its id within it."""

    label: str
    instance_id: str


class Registration(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a caller claims of an instance. `registration.checked` says whether it may be so."""

    service_name: str
    host: str
    port: int
    instance_id: str
    addresses: tuple[str, ...] = ()
    health_endpoint: str = "/health"
    protocol: Protocol = Protocol.HTTP
    version: str = ""
    weight: int = 1
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    zone: str = ""
    status: Status = Status.PASSING
    # None: the caller does not fence, and the epoch that is there stays.
    epoch: int | None = None

    @property
    def key(self) -> InstanceKey:
        return InstanceKey(label_of(self.service_name), self.instance_id)


class Instance(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One registered instance. Its heartbeats are kept beside it, since they change far more often."""

    service_name: str
    instance_id: str
    host: str
    port: int
    addresses: tuple[str, ...] = ()
    health_endpoint: str = "/health"
    protocol: Protocol = Protocol.HTTP
    version: str = ""
    weight: int = 1
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    zone: str = ""
    status: Status = Status.PASSING
    epoch: int = 0
    registered_at: float = 0.0  # Unix seconds
    # Its lease has run out together with too many others: it is served, and can be taken over.
    suspect: bool = False

    @property
    def key(self) -> InstanceKey:
        return InstanceKey(label_of(self.service_name), self.instance_id)

    @property
    def address(self) -> str:
        """`host:port`, which no two instances may share."""
        return host_port(self.host, self.port)

    @property
    def endpoint(self) -> str:
        """The URL that a client calls, e.g. `http://10.0.0.7:8034`."""
        return f"{self.protocol.value}://{self.address}"


class Service(msgspec.Struct, frozen=True, gc=False):
    """A service that has at least one instance. `instances` are in order of their ids."""

    name: str
    instances: tuple[Instance, ...]
