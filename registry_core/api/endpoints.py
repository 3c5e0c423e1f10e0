"""The one table of what a replica serves: paths, parameters, bodies, answers.

The application builds its routes from it, and `/openapi.json` its description. It contains no code.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from registry_core.api.audit_endpoints import AUDIT_ENDPOINTS
from registry_core.api.certificate_endpoints import CERTIFICATE_ENDPOINTS
from registry_core.api.deployment_schemas import DeploymentView
from registry_core.api.drain_schemas import AcknowledgeBody, AcknowledgedView, DrainView
from registry_core.api.endpoint import JSON, NDJSON, TEXT, Endpoint, Parameter
from registry_core.api.health_schemas import GuardReleasedView, GuardView, HealthView, LiveView, WhoamiView
from registry_core.api.log_level import LOG_LEVEL_ENDPOINTS
from registry_core.api.prometheus_targets import TargetGroup
from registry_core.api.schemas import (
    CHECK_HEADER,
    SEQUENCE_HEADER,
    CatalogView,
    DeregisteredView,
    HeartbeatBody,
    HeartbeatView,
    InstanceView,
    Problem,
    RegisterBody,
    RegisteredView,
    RestoreBody,
    RestoredView,
    ServiceView,
    StatusBody,
)
from registry_core.api.usage_endpoints import USAGE_ENDPOINTS
from registry_core.domain.order import MAX_SEQUENCE
from registry_core.domain.records import Status
from registry_core.security.rights import Right
from registry_core.watch.limits import FIRST_PROTOCOL, PROTOCOL_HEADER
from registry_core.watch.lines import WatchLine
from registry_core.watch.packing import DEFLATE, PACKING_HEADER

__all__ = ["ENDPOINTS", "ERROR", "JSON", "NDJSON", "TEXT", "Endpoint", "Parameter"]

_EPOCH: Final = Parameter(
    "epoch", int, "the epoch of the owner that asks; an epoch older than the registered one is refused"
)
_SEQUENCE: Final = Parameter(
    SEQUENCE_HEADER,
    Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQUENCE)],
    "orders the requests of one owner: a counter within the epoch, new for each request. A request that arrives after "
    "a higher one is refused as Late (409) and changes nothing, also for a minute after a deregistration; the same "
    "number again gets the same answer. A write without it does not take part in that order",
)
_CHECK: Final = Parameter(
    CHECK_HEADER,
    str,
    "`passing`: the check of the service passes at this moment. It then gets its address from a holder that has missed "
    "a heartbeat, not only from one whose TTL has passed",
)

ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/register",
        name="register",
        right=Right.WRITE,
        summary="Register or replace an instance, by host and port or by endpoint; a 409 names the holder of the id or "
        "address, and says in Retry-After when to come again",
        headers=(_SEQUENCE, _CHECK),
        body=RegisterBody,
        answers={201: RegisteredView},
        errors=(400, 401, 403, 408, 409, 413, 415, 503),
        writes=True,
        from_store=True,
        from_living=True,
    ),
    Endpoint(
        method="POST",
        path="/heartbeat",
        name="heartbeat",
        right=Right.WRITE,
        summary="Renew the lease of one instance, of what the caller registered, or of many; on 404, register again",
        body=HeartbeatBody,
        answers={200: HeartbeatView},
        errors=(400, 401, 403, 404, 408, 409, 413, 415, 503),
        writes=True,
        from_store=True,
        from_living=True,
    ),
    Endpoint(
        method="DELETE",
        path="/deregister/{service}",
        name="deregister",
        right=Right.WRITE,
        summary="Remove the only instance of a service, what the caller registered, or with all=true every instance",
        query=(Parameter("all", bool, "remove every instance"), _EPOCH),
        headers=(_SEQUENCE,),
        answers={200: DeregisteredView},
        errors=(400, 401, 403, 404, 409, 503),
        writes=True,
        from_store=True,
    ),
    Endpoint(
        method="DELETE",
        path="/deregister/{service}/{instance}",
        name="deregister_instance",
        right=Right.WRITE,
        summary="Remove an instance at once",
        query=(_EPOCH,),
        headers=(_SEQUENCE,),
        answers={200: DeregisteredView},
        errors=(400, 401, 403, 404, 409, 503),
        writes=True,
        from_store=True,
    ),
    Endpoint(
        method="PUT",
        path="/status/{service}/{instance}",
        name="set_status",
        right=Right.WRITE,
        summary="Set the status of an instance: passing, warning, critical, draining, maintenance",
        headers=(_SEQUENCE,),
        body=StatusBody,
        answers={200: InstanceView},
        errors=(400, 401, 403, 404, 408, 409, 413, 415, 503),
        writes=True,
        from_store=True,
        from_living=True,
    ),
    Endpoint(
        method="POST",
        path="/restore",
        name="restore",
        right=Right.RESTORE,
        summary="Restore a saved registration if it is missing; one that the same or a newer owner has registered "
        "stays, and no instance loses an address",
        query=(Parameter("dry_run", bool, "change nothing, return what would happen"),),
        body=RestoreBody,
        answers={200: RestoredView},
        errors=(400, 401, 403, 408, 409, 413, 415, 503),
        writes=True,
        from_store=True,
    ),
    Endpoint(
        method="GET",
        path="/guard",
        name="guard",
        right=Right.OBSERVE,
        summary="Whether the guard holds back a mass expiry, and for how much longer",
        answers={200: GuardView},
    ),
    Endpoint(
        method="POST",
        path="/guard/release",
        name="release_guard",
        right=Right.RELEASE_GUARD,
        summary="Release the guard: suspects then leave in random order, by a budget per minute. No body",
        query=(Parameter("shard", str, "only the guard of this shard"),),
        answers={200: GuardReleasedView},
        errors=(400, 401, 403, 404, 503),
        writes=True,
        from_store=True,
    ),
    Endpoint(
        method="GET",
        path="/services",
        name="services",
        right=Right.LOOK_UP,
        summary="The names of all services; 503 when none is known, but some may exist",
        answers={200: list[str]},
        errors=(503,),
        from_store=True,
        is_list=True,
    ),
    Endpoint(
        method="GET",
        path="/services/{service}",
        name="service",
        right=Right.LOOK_UP,
        summary="The usable instances of a service, and one of them picked",
        query=(
            Parameter("tag", str, "only instances with this tag"),
            Parameter("version", str, "only this version; `1` and `1.4` stand for all their releases"),
            Parameter("zone", str, "only instances in this zone"),
            Parameter("status", Status, "only instances with this status, even one that is not usable"),
        ),
        answers={200: ServiceView},
        errors=(400, 404, 503),
        from_store=True,
    ),
    Endpoint(
        method="GET",
        path="/catalog",
        name="catalog",
        right=Right.LOOK_UP,
        summary="The whole catalogue, with the cursor from which /watch continues; 503 as for /services",
        answers={200: CatalogView, 304: None},
        errors=(503,),
        from_store=True,
    ),
    Endpoint(
        method="GET",
        path="/sd/prometheus",
        name="prometheus_targets",
        right=Right.LOOK_UP,
        summary="Every registered instance as a target for Prometheus' HTTP service discovery, whatever its status; "
        "503 while some may be missing, so that Prometheus keeps the targets that it has",
        query=(
            Parameter("service", str, "only the instances of this service"),
            Parameter("tag", str, "only instances with this tag"),
            Parameter("version", str, "only this version; `1` and `1.4` stand for all their releases"),
            Parameter("zone", str, "only instances in this zone"),
            Parameter("status", Status, "only instances with this status"),
        ),
        answers={200: list[TargetGroup], 304: None},
        errors=(400, 503),
        from_store=True,
    ),
    Endpoint(
        method="GET",
        path="/watch",
        name="watch",
        right=Right.LOOK_UP,
        summary="A stream of lines: a snapshot or the missed changes, then each change, and a regular sign of life",
        query=(
            Parameter(
                "cursor",
                str,
                "where an earlier stream ended; without one, or if it is too old, the stream begins with a snapshot",
            ),
            Parameter("service", str, "only this service; sync lines then have no digest"),
            Parameter("once", bool, "end the stream after the first sign of life"),
            Parameter("renewals", bool, "in version 1: also say which leases were renewed, before each sign of life"),
            Parameter("acknowledges", bool, "the reader will acknowledge; its id is in X-Watcher"),
        ),
        headers=(
            Parameter(
                PROTOCOL_HEADER,
                Annotated[int, msgspec.Meta(ge=FIRST_PROTOCOL, le=9999)],
                "the newest version of the stream that the reader knows; the answer names the one that is sent",
            ),
            Parameter(
                PACKING_HEADER,
                str,
                f"`{DEFLATE}`: parts of a snapshot may come packed, and the answer confirms it; each one is a line "
                "`packed` and then so many octets of the zlib format, which become lines",
            ),
        ),
        answers={200: WatchLine},
        errors=(400, 503),
        media_type=NDJSON,
    ),
    Endpoint(
        method="POST",
        path="/watch/ack",
        name="acknowledge",
        right=Right.ACKNOWLEDGE,
        summary="Acknowledge a watch up to a cursor, or report what an agent's programs asked for; 404: this replica "
        "and its peers have no such watcher",
        body=AcknowledgeBody,
        answers={200: AcknowledgedView},
        errors=(400, 401, 403, 404, 408, 413, 415, 503),
    ),
    Endpoint(
        method="GET",
        path="/drain/{service}/{instance}",
        name="drain",
        right=Right.LOOK_UP,
        summary="How many watchers of this replica and its peers know that an instance drains",
        answers={200: DrainView},
        errors=(400, 404, 503),
        from_store=True,
    ),
    *USAGE_ENDPOINTS,
    *AUDIT_ENDPOINTS,
    *CERTIFICATE_ENDPOINTS,
    *LOG_LEVEL_ENDPOINTS,
    Endpoint(
        method="GET",
        path="/health",
        name="health",
        right=Right.OBSERVE,
        summary="The health of the replica and its parts; 503 when unhealthy",
        answers={200: HealthView, 503: HealthView},
    ),
    Endpoint(
        method="GET",
        path="/deployment",
        name="deployment",
        right=Right.OBSERVE,
        summary="All replicas, shards and services at a glance; to another replica, only this one",
        answers={200: DeploymentView},
    ),
    Endpoint(
        method="GET",
        path="/live",
        name="live",
        right=Right.BE_PROBED,
        summary="200 while the process answers at all: for supervisors",
        answers={200: LiveView},
    ),
    Endpoint(
        method="GET",
        path="/ready",
        name="ready",
        right=Right.BE_PROBED,
        summary="200 while lookups can be answered: for load balancers",
        answers={200: LiveView, 503: LiveView},
    ),
    Endpoint(
        method="GET",
        path="/whoami",
        name="whoami",
        right=Right.BE_PROBED,
        summary="The address that this request comes from",
        answers={200: WhoamiView},
    ),
    Endpoint(
        method="GET",
        path="/metrics",
        name="metrics",
        right=Right.OBSERVE,
        summary="Prometheus metrics",
        answers={200: str},
        media_type=TEXT,
    ),
    Endpoint(
        method="GET",
        path="/openapi.json",
        name="openapi",
        right=Right.BE_PROBED,
        summary="This description",
        answers={200: dict[str, Any]},
    ),
)

ERROR: Final = Problem
