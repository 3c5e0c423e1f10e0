"""What DNS knows of instances: their addresses, their transports and their names in DNS-SD. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dns.codec import Type
from dns.name_limits import MAX_LABEL
from dns.zone_names import TCP, UDP, short_of
from registry_core.domain.names import ip_address, short_id
from registry_core.domain.records import Instance, Protocol


def transport_of(protocol: Protocol) -> bytes:
    """Return `_tcp` or `_udp`."""
    return UDP if protocol is Protocol.UDP else TCP


def ips_of(instance: Instance) -> tuple[str, ...]:
    """Return the addresses of an instance; its host, perhaps a name, when none are known."""
    return instance.addresses or (instance.host,)


def addresses(instances: Iterable[Instance], type_: Type) -> Iterator[bytes]:
    """Yield the data of the A or AAAA records of instances."""
    version = 4 if type_ is Type.A else 6
    parsed = (ip_address(ip) for i in instances for ip in ips_of(i))
    return (ip.packed for ip in parsed if ip is not None and ip.version == version)


def has_records(instance: Instance, qtype: int) -> bool:
    """Return whether an instance has records of this type; all have SRV and TXT."""
    return qtype not in (Type.A, Type.AAAA) or any(addresses([instance], Type(qtype)))


def one_type(instances: Sequence[Instance], *, only_srv: bool) -> Type:
    """Return the type of the one RRset that answers ANY: a small one, which the instances to name have."""
    types = () if only_srv else (Type.A, Type.AAAA)
    return next((type_ for type_ in types if any(addresses(instances, type_))), Type.SRV)


def distinct(data: Iterable[bytes], most: int) -> list[bytes]:
    """Return the first `most` distinct items: an RRset holds no record twice (RFC 2181 section 5)."""
    found: dict[bytes, None] = {}
    for one in data:
        found[one] = None
        if len(found) == most:
            break
    return list(found)


def instance_label(instance: Instance) -> bytes:
    """Return the label under which DNS-SD lists an instance: its id, or `i-<short>` where that is not its own.

    An id may be longer than a label, or differ from another one only in case.
    """
    own = instance.instance_id
    if len(own) <= MAX_LABEL and own == own.lower() and short_of(own) is None:
        return own.encode("ascii")
    return f"i-{short_id(instance.service_name, own)}".encode("ascii")
