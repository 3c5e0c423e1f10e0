"""Explains to an operator why a shard has no master, from its servers' last answers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from registry_core.store.redis.choice import Sighting, Vote, is_replica, newest
from registry_core.store.redis.probes import Fault
from registry_core.store.redis.url import ServerAddress

NO_ANSWER_YET: Final = Fault("it has not been asked yet")


def why_no_master(
    sentinels: Mapping[ServerAddress, Vote | Fault], nodes: Mapping[ServerAddress, Sighting | Fault]
) -> str:
    """Return why no master is known."""
    servers: list[tuple[str, ServerAddress, object]] = [("sentinel", *item) for item in sentinels.items()]
    servers += [("redis", *item) for item in nodes.items()]
    faults = [f"{kind} {at}: {said.reason}" for kind, at, said in servers if isinstance(said, Fault)]
    faults += [f"redis {at}: it is a replica" for _, at, said in servers if is_replica(said)]
    return "; ".join(faults) or "no server reports itself as the master"


def lasting_fault(
    sentinels: Mapping[ServerAddress, Vote | Fault],
    nodes: Mapping[ServerAddress, Sighting | Fault],
    fixed: Sequence[ServerAddress],
) -> str:
    """Return what is wrong with the settings, or "" while the fault may be temporary.

    `fixed`: the nodes that the settings name.
    """
    votes = [said for said in sentinels.values() if isinstance(said, Vote)]
    if sentinels and not votes:
        said = [(at, fault) for at, fault in sentinels.items() if isinstance(fault, Fault)]
        if any(fault is NO_ANSWER_YET for _, fault in said):
            return ""
        return next((f"sentinel {at}: {fault.reason}" for at, fault in said if fault.lasting), "")
    vote = newest(votes)
    for node in fixed if vote is None else (vote.master,):
        fault = nodes.get(node)
        if isinstance(fault, Fault) and fault.lasting:
            return f"redis {node}: {fault.reason}"
        if not sentinels and is_replica(fault):
            return f"redis {node}: it is a replica and takes no writes"
    return ""
