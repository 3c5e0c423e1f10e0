"""The wire types: what requests and answers hold, as msgspec structures.

This file knows neither HTTP nor how bytes are read (`reading.py`). Types say what a field is; what a
value may be is the domain's matter.
"""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

from registry_core.domain.records import Instance, Protocol, Status
from registry_core.domain.restoration import RestoreOutcome

# Of every answer of a replica that has a zone: agents of the same zone prefer it.
ZONE_HEADER: Final = "X-Registry-Zone"
# Of a write: which of its owner's requests it is. A header: a registry of before refuses unknown fields of a body.
SEQUENCE_HEADER: Final = "X-Registry-Sequence"
MAX_BODY_BYTES: Final = 64 * 1024
MAX_BEATS: Final = 1000


# -- requests


class RegisterBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`POST /register`: `host` and `port`, or `endpoint` in their place."""

    service_name: str
    endpoint: str | None = None
    host: str | None = None
    port: int | None = None
    instance_id: str | None = None
    addresses: tuple[str, ...] = ()
    health_endpoint: str = "/health"
    protocol: Protocol | None = None
    version: str = ""
    weight: int = 1
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    zone: str = ""
    status: Status = Status.PASSING
    epoch: int | None = None


class BeatBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One heartbeat, alone or within `instances`."""

    service_name: str
    instance_id: str | None = None
    epoch: int | None = None


class HeartbeatBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`POST /heartbeat`: one instance by its fields, or many in `instances`."""

    service_name: str | None = None
    instance_id: str | None = None
    epoch: int | None = None
    instances: tuple[BeatBody, ...] | None = None


class StatusBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`PUT /status/{service}/{instance}`."""

    status: Status
    epoch: int | None = None


class RestoreBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`POST /restore`: one record as it was saved. What a registration may leave out is said here."""

    service_name: str
    instance_id: str
    host: str
    port: int
    addresses: tuple[str, ...]
    health_endpoint: str
    protocol: Protocol
    version: str
    weight: int
    tags: tuple[str, ...]
    metadata: dict[str, Any]
    zone: str
    status: Status
    epoch: int
    registered_at: float


# -- answers


class InstanceView(msgspec.Struct, kw_only=True):
    """One instance as lookups show it."""

    service_name: str
    instance_id: str
    endpoint: str
    host: str
    addresses: tuple[str, ...]
    port: int
    health_endpoint: str
    protocol: Protocol
    version: str
    weight: int
    tags: tuple[str, ...]
    metadata: dict[str, Any]
    zone: str
    status: Status
    epoch: int
    registered_at: float
    last_heartbeat: float
    ttl_remaining: int
    suspect: bool  # its lease ran out together with too many others; it may well be alive


class ServiceView(msgspec.Struct, kw_only=True):
    """`GET /services/{service}`: the instances, and at the top level the one that selection picks."""

    service_name: str
    endpoint: str
    host: str
    port: int
    health_endpoint: str
    metadata: dict[str, Any]
    registered_at: float
    last_heartbeat: float
    ttl_remaining: int
    instances: list[InstanceView]


class RegisteredView(msgspec.Struct, kw_only=True):
    """The answer to `POST /register`."""

    status: str  # "registered"
    service_name: str
    instance_id: str
    created: bool
    epoch: int
    ttl_seconds: float
    heartbeat_interval_seconds: float


class RestoredView(msgspec.Struct, kw_only=True):
    """The answer to `POST /restore`."""

    status: RestoreOutcome
    service_name: str
    instance_id: str


class DeregisteredView(msgspec.Struct, kw_only=True):
    """The answer to `DELETE /deregister/...`: the ids of the instances that are gone."""

    status: str  # "deregistered"
    service_name: str
    instances: list[str]


class BeatView(msgspec.Struct, kw_only=True):
    """What became of one heartbeat: "renewed", "unknown" (register again), "fenced" (stop), "unavailable" (later)."""

    service_name: str
    instance_id: str | None
    status: str


class HeartbeatView(msgspec.Struct, kw_only=True):
    """The answer to `POST /heartbeat`."""

    status: str  # "renewed", or "partial" when any instance was not
    instances: list[BeatView]


class CatalogView(msgspec.Struct, kw_only=True):
    """`GET /catalog`."""

    cursor: str
    digest: str
    state: str  # "ready" | "warming"
    store_age_s: float | None  # seconds since the store last confirmed that this is all; None: never yet
    instances: list[InstanceView]


class Problem(msgspec.Struct, kw_only=True):
    """The one shape of every error."""

    error: str
    field: str | None = None
    message: str
    provided: Any = None
    example: Any = None


# -- making them


def instance_view(instance: Instance, heartbeat_at: float, ttl_remaining_s: float) -> InstanceView:
    """Return `instance` as lookups show it."""
    return InstanceView(
        service_name=instance.service_name,
        instance_id=instance.instance_id,
        endpoint=instance.endpoint,
        host=instance.host,
        addresses=instance.addresses,
        port=instance.port,
        health_endpoint=instance.health_endpoint,
        protocol=instance.protocol,
        version=instance.version,
        weight=instance.weight,
        tags=instance.tags,
        metadata=instance.metadata,
        zone=instance.zone,
        status=instance.status,
        epoch=instance.epoch,
        registered_at=instance.registered_at,
        last_heartbeat=heartbeat_at,
        ttl_remaining=max(0, math.ceil(ttl_remaining_s)),
        suspect=instance.suspect,
    )


def service_view(picked: InstanceView, instances: list[InstanceView]) -> ServiceView:
    """Return the answer to a lookup: `picked` at the top level, and all `instances`."""
    return ServiceView(
        service_name=picked.service_name,
        endpoint=picked.endpoint,
        host=picked.host,
        port=picked.port,
        health_endpoint=picked.health_endpoint,
        metadata=picked.metadata,
        registered_at=picked.registered_at,
        last_heartbeat=picked.last_heartbeat,
        ttl_remaining=picked.ttl_remaining,
        instances=instances,
    )
