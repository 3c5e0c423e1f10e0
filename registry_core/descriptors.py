"""Shares the file descriptors of a process among its parts, so that no part takes the last ones of the others.

A listener that accepts until none is left stops everything that has to open a file or a connection.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Mapping

import msgspec


class DescriptorDemand(msgspec.Struct, frozen=True):
    """How many descriptors a part uses when there are enough, and how many it needs to work at all."""

    wanted: int
    least: int


def descriptor_limit() -> int | None:
    """Return how many descriptors this process may have open (RLIMIT_NOFILE); None: any number."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def raise_descriptor_limit(wanted: int | None = None) -> None:
    """Let this process open `wanted` descriptors, or any number, as far as its hard limit allows. Never lowers a limit.

    The soft limit is often 1024, for programs that use select(2); this one does not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if wanted is None:
        wanted = hard
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and (soft < most or most == resource.RLIM_INFINITY):
        with contextlib.suppress(OSError, ValueError):  # more than the system allows: the limit stays
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def shared_out(available: int | None, demands: Mapping[str, DescriptorDemand]) -> dict[str, int]:
    """Return how many descriptors each part gets.

    When not all get what they want, each gets its least, and of the rest a part in proportion to what it lacks. The
    sum exceeds `available` only when the least of all does.
    """
    if available is None or sum(demand.wanted for demand in demands.values()) <= available:
        return {name: demand.wanted for name, demand in demands.items()}
    rest = max(0, available - sum(demand.least for demand in demands.values()))
    lacking = sum(demand.wanted - demand.least for demand in demands.values())
    return {
        name: demand.least + (demand.wanted - demand.least) * rest // lacking if lacking else demand.least
        for name, demand in demands.items()
    }
