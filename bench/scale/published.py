"""What others publish about how large their registries may be. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple


class Published(NamedTuple):
    """One published limit: of which program, what it says, and where."""

    program: str
    says: str
    source: str


_SCALE: Final = "https://developer.hashicorp.com/consul/docs/manage/scale"
_SERVERS: Final = "https://developer.hashicorp.com/consul/docs/install/performance"
_CGSB: Final = "https://www.hashicorp.com/cgsb"
_WIKI: Final = "https://github.com/Netflix/eureka/wiki/Eureka-2.0-Motivations"

PUBLISHED: Final = (
    Published(
        "Consul",
        "at most 5,000 client agents in a datacenter, as a heuristic: beyond it churn fills the gossip queues, and an "
        "outage takes longer to recover from. Clusters of 10,000 nodes and more run",
        _SCALE,
    ),
    Published(
        "Consul",
        "servers' work is the product of the data, the rate of changes and the number of watches, and may grow faster "
        "than the fleet; several small clusters are recommended for service discovery",
        _SCALE,
    ),
    Published(
        "Consul",
        "servers of 8 to 16 cores and 32 to 64 GB",
        "https://developer.hashicorp.com/consul/docs/install/performance",
    ),
    Published(
        "Consul",
        "5 servers, 10,000 machines, 172,000 instances of a mesh: a change reached them in under a second",
        _CGSB,
    ),
    Published(
        "Consul",
        "a blocking query that covers more than 8,192 entries (2,048 before) is woken by every change of the table",
        "https://github.com/hashicorp/consul/pull/7200",
    ),
    Published(
        "Eureka",
        "stable with tens of thousands of nodes, but not sharded: every server takes the whole write load, heartbeats "
        "included, and every client polls and holds the whole registry",
        _WIKI,
    ),
    Published(
        "Eureka",
        "no exact limits; about ten large servers for many tens of thousands of clients, bound by the network",
        "https://github.com/Netflix/eureka/issues/834",
    ),
    Published(
        "Eureka",
        "90,000 instances at Netflix; a user's single server with 8 cores was out of processor time at 8,000",
        "https://github.com/spring-cloud/spring-cloud-netflix/issues/3167",
    ),
    Published(
        "Eureka",
        "three servers in distress at 2,400 instances, at 3,500 after an upgrade; 10,000 with longer timeouts",
        "https://github.com/Netflix/eureka/issues/1273",
    ),
)
