"""The dashboard of the store: Redis shards, their copies, and failovers."""

from __future__ import annotations

from typing import Final

from tools.dashboards.panels import (
    INSTANCES_OF_REGISTRY,
    PER_SECOND,
    RATE,
    REGISTRY,
    SECONDS,
    SHARE,
    Dashboard,
    PanelQuery,
    PanelRow,
    Variable,
    above,
    concern,
    figure,
    percentiles,
    rate_by,
    series,
)

OF_SHARD: Final = f'{REGISTRY},shard=~"$shard"'
SHARD: Final = Variable(
    "shard",
    "Shard",
    'label_values(registry_store_copies{job="registry"}, shard)',
    "The shards of the store: the masters in REGISTRY_STORE.",
)
SAFETY: Final = PanelRow(
    "Safety",
    (
        figure(
            "Fewest copies",
            "Redis replicas that hold the data besides the master, of the shard that has fewest. Without one, a write "
            "is refused, since it would be lost with the master.",
            f"min(registry_store_copies{{{OF_SHARD}}})",
            below="red",
            steps=above((1, "orange"), (2, "green")),
            alerts=("RedisWithoutASecondCopy",),
        ),
        figure(
            "Open breakers",
            "Shards that get no writes, as one replica sees it.",
            f'max(registry_circuit_breaker_state{{{REGISTRY},state="open"}})',
            steps=above((1, "red")),
            alerts=("RegistryCannotWrite",),
        ),
        figure(
            "Failovers in the range",
            "Changes of a master that replicas took part in, in the time shown.",
            f"round(max(increase(registry_store_failovers_total{{{OF_SHARD}}}[$__range])))",
            steps=concern(1, 5),
        ),
        figure(
            "Not replicated",
            "Writes that no second server confirmed in time; they were refused or put back.",
            f"sum(rate(registry_store_not_replicated_total{{{OF_SHARD}}}[{RATE}]))",
            PER_SECOND,
            steps=above((0.01, "red")),
        ),
        figure(
            "Guarded shards",
            "Shards whose guard holds a mass expiry back.",
            f"max(registry_guarded_shards{{{REGISTRY}}})",
            steps=above((1, "red")),
            alerts=("RegistryHoldsBackAMassExpiry",),
        ),
        figure(
            "Oldest view of a shard",
            "How long ago the replica that is furthest behind heard from a shard.",
            f"max(registry_feed_age_seconds{{{OF_SHARD}}})",
            SECONDS,
            steps=concern(2, 5),
            alerts=("RegistryViewOld",),
        ),
        series(
            "Copies",
            "Redis replicas that hold the data of each shard.",
            PanelQuery(f"min by (shard) (registry_store_copies{{{OF_SHARD}}})", "{{shard}}"),
            below="red",
            steps=above((1, "green")),
            width=8,
            alerts=("RedisWithoutASecondCopy",),
        ),
        series(
            "Failovers",
            "Changes of a shard's master, as each replica saw them.",
            PanelQuery(f"round(increase(registry_store_failovers_total{{{OF_SHARD}}}[1m]))", "{{instance}} {{shard}}"),
            width=8,
        ),
        series(
            "Breakers",
            "Shards by the state of their circuit breaker, over all replicas.",
            PanelQuery(f"sum by (state) (registry_circuit_breaker_state{{{REGISTRY}}})", "{{state}}"),
            stacked=True,
            width=8,
            alerts=("RegistryCannotWrite",),
        ),
    ),
)
SPEED: Final = PanelRow(
    "Writes",
    (
        series(
            "Duration of writes",
            "One pipeline of writes to a shard, including the confirmation of its replicas.",
            *percentiles("registry_redis_latency_seconds", OF_SHARD, (50, 99), by="shard"),
            unit=SECONDS,
            steps=above((0.05, "red")),
            width=8,
            alerts=("RegistryRedisIsSlow",),
        ),
        series(
            "Confirmation",
            "How long the confirmation of a second server takes (WAIT).",
            *percentiles("registry_store_confirm_seconds", OF_SHARD, (50, 99), by="shard"),
            unit=SECONDS,
            width=8,
        ),
        series(
            "Writes that wait",
            "Writes in the queue of each shard.",
            PanelQuery(f"sum by (shard) (registry_store_writes_waiting{{{OF_SHARD}}})", "{{shard}}"),
            width=8,
        ),
        series(
            "Connections",
            "Connections to each shard, by state.",
            PanelQuery(f"sum by (shard, state) (registry_store_connections{{{OF_SHARD}}})", "{{shard}} {{state}}"),
            width=8,
        ),
        series(
            "Connections in use",
            "The share of the limit (REGISTRY_REDIS_POOL) that is in use.",
            PanelQuery(
                f'max by (shard) (registry_store_connections{{{OF_SHARD},state="in_use"}} '
                f"/ ignoring (state) registry_store_connections_limit{{{OF_SHARD}}})",
                "{{shard}}",
            ),
            unit=SHARE,
            steps=concern(0.8, 0.95),
            width=8,
        ),
        series(
            "Not replicated",
            "Writes that no second server confirmed in time.",
            rate_by("registry_store_not_replicated_total", OF_SHARD, "shard"),
            unit=PER_SECOND,
            width=8,
        ),
    ),
)
LEASES: Final = PanelRow(
    "Leases",
    (
        series(
            "Expired",
            "Instances that the sweep removed.",
            PanelQuery(f"sum(rate(expired_services_total{{{REGISTRY}}}[{RATE}]))", "expired"),
            unit=PER_SECOND,
            width=8,
        ),
        series(
            "Suspects",
            "Instances that are kept although their leases have ended.",
            PanelQuery(f"max(registry_suspect_instances{{{REGISTRY}}})", "suspects"),
            PanelQuery(f"max(registry_guarded_shards{{{REGISTRY}}})", "guarded shards"),
            width=8,
            alerts=("RegistryHoldsBackAMassExpiry",),
        ),
        series(
            "Age of views",
            "How long ago each replica last heard from a shard.",
            PanelQuery(f"registry_feed_age_seconds{{{OF_SHARD}}}", "{{instance}} {{shard}}"),
            unit=SECONDS,
            steps=above((5, "red")),
            width=8,
            alerts=("RegistryViewOld",),
        ),
    ),
)
REDIS: Final = Dashboard(
    "redis",
    "Vértice: Redis and failovers",
    "The shards of the store: their copies, their masters, and how fast they confirm writes.",
    (SAFETY, SPEED, LEASES),
    (*INSTANCES_OF_REGISTRY, SHARD),
    (
        (
            "Failovers",
            PanelQuery(
                'sum by (shard) (increase(registry_store_failovers_total{job="registry"}[1m])) > 0', "{{shard}}"
            ),
        ),
    ),
)
