"""The wire types of requests and answers, as msgspec structures.

This file knows neither HTTP nor decoding (`request_bodies.py`). It defines the types of fields; the domain
checks their values.
"""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

from registry_core.domain.records import Claimed, Instance, Protocol, Status, complete, copied_as
from registry_core.domain.restoration import RestoreOutcome
from registry_core.errors import Holder

# In every answer of a replica with a zone: agents of the same zone prefer it.
ZONE_HEADER: Final = "X-Registry-Zone"
# Orders the writes of one owner. It is a header because an older registry refuses unknown fields of a body.
SEQUENCE_HEADER: Final = "X-Registry-Sequence"
# Says that the check of a newcomer's service passes. A header for the same reason.
CHECK_HEADER: Final = "X-Registry-Check"
MAX_BODY_BYTES: Final = 64 * 1024
MAX_BEATS: Final = 1000
# Ends an answer whose last field is an array.
END: Final = b"}"
_ENCODER: Final = msgspec.json.Encoder()


# -- requests


class RegisterBody(Claimed, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /register`: `host` and `port`, or `endpoint` instead of both."""

    # A body may leave out fields that a record always has, so these types are wider than those they override.
    endpoint: str | None = None  # type: ignore[assignment] # see above
    host: str | None = None  # type: ignore[assignment] # see above
    port: int | None = None  # type: ignore[assignment] # see above
    instance_id: str | None = None  # type: ignore[assignment] # see above
    protocol: Protocol | None = None  # type: ignore[assignment] # see above
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


@complete
class RestoreBody(Claimed, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /restore`: one saved record, with all its fields."""

    epoch: int
    registered_at: float


# -- answers


@complete
class InstanceView(Instance, frozen=True, kw_only=True):
    """One instance as lookups show it. `suspect`: its lease ran out together with too many others."""

    endpoint: str
    last_heartbeat: float
    ttl_remaining: int


class ServiceView(msgspec.Struct, kw_only=True):
    """`GET /services/{service}`: the instances, and at the top level the one that was picked."""

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
    """The answer to `DELETE /deregister/...`: the ids of the removed instances."""

    status: str  # "deregistered"
    service_name: str
    instances: list[str]


class BeatView(msgspec.Struct, kw_only=True):
    """The result of one heartbeat: "renewed", "unknown" (register again), "fenced" (stop), "unavailable" (later)."""

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
    # Of a conflict: the instance that has what the request claims; null when that was removed not long ago.
    holder: Holder | msgspec.UnsetType | None = msgspec.UNSET


# -- making them


def instance_view(instance: Instance, heartbeat_at: float, ttl_remaining_s: float) -> InstanceView:
    """Return `instance` as lookups show it."""
    return copied_as(
        instance,
        InstanceView,
        endpoint=instance.endpoint,
        last_heartbeat=heartbeat_at,
        ttl_remaining=max(0, math.ceil(ttl_remaining_s)),
    )


def service_view(picked: InstanceView, instances: list[InstanceView]) -> ServiceView:
    """Return the answer to a lookup: `picked` at the top level, and all `instances`."""
    return copied_as(picked, ServiceView, instances=instances)


def beginning_of(picked: InstanceView) -> bytes:
    """Return the JSON of the answer to a lookup up to its instances: those, as a JSON array, and END complete it."""
    return _ENCODER.encode(service_view(picked, [])).removesuffix(b"[]" + END)
