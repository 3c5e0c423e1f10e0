"""Judges registries that follow another one: whether they still do, and how old their answers are. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cli.doctor.facts import Facts
from cli.doctor.finding import DoctorFinding, DoctorRule, DoctorSeverity
from cli.durations import lasting

FOLLOWS = DoctorRule(
    "registry-follower",
    DoctorSeverity.OK,
    "the registry at {url} follows {upstream}; the registry with the store is {hops} up",
)
LOST = DoctorRule(
    "registry-follower-lost",
    DoctorSeverity.WARNING,
    "the registry at {url} follows another one, and has lost it {lost} ago: {problem}",
    "lookups are answered as of then; registrations and heartbeats are refused until it is back",
    "curl {url}/health    # .components.follow; then that of the addresses in its REGISTRY_FOLLOW",
)
CIRCLE = DoctorRule(
    "registry-follower-circle",
    DoctorSeverity.ERROR,
    "the registry at {url} cannot follow: {problem}",
    "it has nothing to answer from, and passes no write on",
    "REGISTRY_FOLLOW=http://10.0.0.2:8888    # at that registry: replicas with a store, or followers above it",
)
KINDS: Final = (FOLLOWS, LOST, CIRCLE)
# What a follower says when its upstream leads back to it, or too far.
_CIRCLES: Final = ("leads this follower to", "at the end of a chain")


def judge(facts: Facts) -> Iterator[DoctorFinding]:
    """Return the findings on the addresses at which a follower answers."""
    for seen in facts.registries:
        follow = seen.follow
        if seen.problem or follow is None:
            continue
        if follow.connected_to:
            hops = "1 step" if follow.hops == 1 else f"{follow.hops or 'some'} steps"
            yield FOLLOWS.found(url=seen.url, upstream=follow.connected_to, hops=hops)
        elif any(words in follow.problem for words in _CIRCLES):
            yield CIRCLE.found(url=seen.url, problem=follow.problem)
        else:
            lost = "a moment" if follow.lost_s is None else lasting(follow.lost_s)
            yield LOST.found(url=seen.url, problem=follow.problem or "it does not say why", lost=lost)
