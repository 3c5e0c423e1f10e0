"""The records that the registry holds. Frozen: a change is a new record, never an edited one."""

from __future__ import annotations

import enum
import functools
from typing import Any, TypeVar

import msgspec

from registry_core.domain.host_port import host_port
from registry_core.domain.names import is_local, label_of, unmapped_ip
from registry_core.errors import Holder

S = TypeVar("S", bound=msgspec.Struct)


class Status(enum.StrEnum):
    """The status of an instance, reported by itself or by its checks."""

    PASSING = "passing"
    WARNING = "warning"
    CRITICAL = "critical"
    DRAINING = "draining"
    MAINTENANCE = "maintenance"


class Protocol(enum.StrEnum):
    """The protocol of an instance's port."""

    HTTP = "http"
    HTTPS = "https"
    GRPC = "grpc"
    TCP = "tcp"
    UDP = "udp"


class InstanceKey(msgspec.Struct, frozen=True, gc=False):
    """The identity of an instance: the DNS label of its service, and its id within the service."""

    label: str
    instance_id: str


@functools.lru_cache(maxsize=2048)  # a write asks for the key of its instance a dozen times
def _key_of(service_name: str, instance_id: str) -> InstanceKey:
    return InstanceKey(label_of(service_name), instance_id)


class Claimed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the owner of an instance claims: the one definition of these fields.

    Requests, records, answers and lines of files inherit the fields from here, and code that compares or copies them
    takes their names from here. Their order is that of the JSON in Redis, where equal claims are equal bytes.
    """

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

    @property
    def key(self) -> InstanceKey:
        return _key_of(self.service_name, self.instance_id)

    @property
    def address(self) -> str:
        """`host:port`."""
        return host_port(self.host, self.port)

    @property
    def socket(self) -> str:
        """The socket by its host: `host:port`, or `udp/host:port`, since UDP has ports of its own."""
        address = host_port(self.host, self.port)
        return f"udp/{address}" if self.protocol is Protocol.UDP else address

    @property
    def sockets(self) -> tuple[str, ...]:
        """What no two instances may share: `socket`, and one for each address of the host.

        A loopback or link-local address of a name is left out, except that of localhost: many machines have their own
        name at 127.0.1.1. `sockets_of` in `library.lua` is the same.
        """
        if not self.addresses or self.addresses == (self.host,):
            return (self.socket,)
        reached = [ip for ip in map(unmapped_ip, self.addresses) if self.host == "localhost" or not is_local(ip)]
        return tuple(dict.fromkeys((self.socket, *(self._over(host_port(ip, self.port)) for ip in reached))))

    def _over(self, address: str) -> str:
        return f"udp/{address}" if self.protocol is Protocol.UDP else address

    @property
    def holder(self) -> Holder:
        """The instance, as refusals name it."""
        return Holder(self.service_name, self.instance_id, self.address, self.addresses)

    @property
    def endpoint(self) -> str:
        """The URL that a client calls, e.g. `http://10.0.0.7:8034`."""
        return f"{self.protocol.value}://{self.address}"


class Registration(Claimed, frozen=True, kw_only=True, gc=False):
    """What a caller claims about an instance. `registration.checked` validates it."""

    # None: the caller does not fence, and the stored epoch stays.
    epoch: int | None = None


class Instance(Claimed, frozen=True, kw_only=True, gc=False):
    """One registered instance. Heartbeats are stored separately, since they change far more often."""

    epoch: int = 0
    registered_at: float = 0.0  # Unix seconds
    # Its lease ran out together with too many others: it is still served, and can be taken over.
    suspect: bool = False


class Service(msgspec.Struct, frozen=True, gc=False):
    """A service with at least one instance. `instances` are sorted by id."""

    name: str
    instances: tuple[Instance, ...]


def default_instance_id(host: str, port: int, protocol: Protocol) -> str:
    """Return the id of an instance that was given none: `host:port`, or `host:port-udp`.

    So a service has two instances there when it serves both TCP and UDP, as DNS and SIP do.
    """
    return f"{host_port(host, port)}-udp" if protocol is Protocol.UDP else host_port(host, port)


def copied_as(source: msgspec.Struct, kind: type[S], **more: object) -> S:
    """Return a `kind` with the fields of `source`; `more` overrides them.

    Raises TypeError when a required field of `kind` is in neither.
    """
    said = msgspec.structs.asdict(source) | more
    for field in _surplus(type(source), kind):
        del said[field]
    return kind(**said)


@functools.cache
def _surplus(of: type[msgspec.Struct], kind: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(field for field in of.__struct_fields__ if field not in kind.__struct_fields__)


def complete(kind: type[S]) -> type[S]:
    """Return `kind` without defaults: for files that a program writes, where no field may be missing."""
    made: type[S] = msgspec.defstruct(  # type: ignore[assignment] # it is told to be a subclass of `kind`
        kind.__name__,
        [(field.name, field.type) for field in msgspec.structs.fields(kind)],
        bases=(kind,),
        module=kind.__module__,
        namespace={"__doc__": kind.__doc__},
        kw_only=True,
    )
    return made
