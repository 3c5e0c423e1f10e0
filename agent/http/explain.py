"""Explains the answer to a lookup: for each instance whether it is in or out, and why. Pure.

It decides nothing: it calls the same selection as the lookups with the same arguments, and words the result. Of another
agent's instance it knows only what its owner reported, and not whether anybody checks it.
"""

from __future__ import annotations

import difflib
import functools
import heapq
from collections.abc import Collection, Iterable, Mapping
from itertools import islice, pairwise
from typing import Final

import msgspec

from registry_core.domain.freshness import Freshness
from registry_core.domain.names import ip_address, label_of
from registry_core.domain.records import Instance, InstanceKey, Service, Status
from registry_core.domain.selection import ANY, Filter, SelectionKind, WhenNonePass, ranked, selected

_STATUSES: Final = frozenset(Status)
# The most names that are looked at, and those whose spelling is compared, so that it takes a millisecond in any fleet.
MOST_COMPARED: Final = 1000
MOST_JUDGED: Final = 16
MOST_SIMILAR: Final = 3


class ExplanationInput(msgspec.Struct, frozen=True, kw_only=True):
    """The input of an explanation: the known instances, and how this agent selects."""

    service: Service | None
    source: str  # "view", "snapshot", "own", "environment", "file"; "" when there is no such service
    age_s: float
    freshness: Freshness
    complete: bool
    missing: str = ""  # why there is no such service, or why that is unknown
    similar: tuple[str, ...] = ()
    ttl_remaining_s: Mapping[InstanceKey, float] = {}  # of instances from the registry
    unregistered: Collection[InstanceKey] = frozenset()  # this agent's own, which the registry does not have
    local_zone: str = ""
    when_none_pass: WhenNonePass = WhenNonePass.ALL
    checked: Mapping[InstanceKey, bool] = {}  # of this agent's own: whether any check is configured
    drained: Collection[InstanceKey] = frozenset()  # the instances that have left SRV answers, too


class ExplainedInstance(msgspec.Struct, frozen=True, kw_only=True):
    """One instance. `answers` lists the answers that contain it: `http`, `a`, `aaaa`, `srv`."""

    instance_id: str
    endpoint: str
    status: Status
    zone: str
    suspect: bool
    ttl_remaining: float | None  # seconds; None: it has no lease
    answers: tuple[str, ...]
    verdict: str  # "in": lookups return it; "out": they do not; "leaving": only SRV still does, with weight 0
    why: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /explain/{name}`."""

    service_name: str
    found: bool
    summary: str
    source: str
    age_seconds: float
    freshness: Freshness
    complete: bool  # a missing name is known not to exist
    similar: tuple[str, ...]
    instances: tuple[ExplainedInstance, ...]


def explained(name: str, wanted: Filter, basis: ExplanationInput) -> Explanation:
    """Return why a lookup of `name` with the filters `wanted` answers as it does.

    `http` stands for `GET /services/{name}` with the same filters. DNS supports only the tag, as
    `<tag>.<service>`; other filters do not affect `a`, `aaaa` and `srv`.
    """
    service = basis.service
    if service is None:
        instances: tuple[ExplainedInstance, ...] = ()
        summary = basis.missing
    else:
        choice = _Choice(service.instances, wanted, basis)
        instances = tuple(choice.explained(one) for one in ranked(service.instances, basis.local_zone))
        count = sum(one.verdict == "in" for one in instances)
        summary = f"answers contain {count} of {len(instances)} instances of {service.name!r}"
    return Explanation(
        service_name=service.name if service is not None else name,
        found=service is not None,
        summary=summary,
        source=basis.source,
        age_seconds=round(basis.age_s, 3),
        freshness=basis.freshness,
        complete=basis.complete,
        similar=basis.similar,
        instances=instances,
    )


def near_misses(name: str, labels: Iterable[str]) -> tuple[str, ...]:
    """Return a few labels that are spelled almost like `name`, the nearest first.

    The comparison takes some 20 us for each pair of names, so it is made of those that share most pairs of letters.
    """
    label = label_of(name.lower())
    own = _pairs(label)
    likely = islice((known for known in labels if abs(len(known) - len(label)) <= 3), MOST_COMPARED)
    closest = heapq.nlargest(MOST_JUDGED, likely, key=lambda known: (_pairs(known) & own).bit_count())
    return tuple(difflib.get_close_matches(label, closest, n=MOST_SIMILAR))


@functools.lru_cache(maxsize=4 * MOST_COMPARED)
def _pairs(label: str) -> int:
    """Return the pairs of letters in `label`, as bits."""
    bits = 0
    for first, second in pairwise(label):
        bits |= 1 << (ord(first) * 31 + ord(second)) % 128
    return bits


class _Choice:
    """The instances of a service that each kind of lookup selects."""

    def __init__(self, instances: tuple[Instance, ...], wanted: Filter, basis: ExplanationInput) -> None:
        self._wanted = wanted
        self._basis = basis
        tagged = [i for i in instances if not wanted.tag or wanted.tag in i.tags]
        named = selected(tagged, ANY, basis.when_none_pass, lambda i: i.key in basis.drained)
        self._chosen = selected(instances, wanted, basis.when_none_pass)
        self._http = _keys(self._chosen.usable)
        self._srv = _keys([*named.usable, *named.leaving])
        self._named = _keys(named.usable)

    def explained(self, instance: Instance) -> ExplainedInstance:
        key = instance.key
        answers = ["http"] if key in self._http else []
        if key in self._named:
            answers += ["a" if version == 4 else "aaaa" for version in _versions(instance)]
        answers += ["srv"] if key in self._srv else []
        verdict = "in" if key in self._http else "leaving" if self._leaves(instance) else "out"
        return ExplainedInstance(
            instance_id=instance.instance_id,
            endpoint=instance.endpoint,
            status=instance.status,
            zone=instance.zone,
            suspect=instance.suspect,
            ttl_remaining=self._basis.ttl_remaining_s.get(key),
            answers=tuple(answers),
            verdict=verdict,
            why="; ".join([self._because(instance), *self._besides(instance)]),
        )

    def _leaves(self, instance: Instance) -> bool:
        return instance.key in self._srv and instance.key not in self._named

    def _because(self, instance: Instance) -> str:
        if not self._wanted.admits(instance):
            return f"filtered: {_filtered(instance, self._wanted)}"
        if self._wanted.status is not None:
            return f"it is {instance.status.value}, as requested"
        if instance.status not in _STATUSES:
            return f"this release of the agent does not know its status {instance.status.value!r}; it does not pass"
        match instance.status:
            case Status.PASSING:
                return self._because_it_passes(instance.key)
            case Status.WARNING:
                return f"{self._reported(instance, 'its checks warn')}; it is used anyway"
            case Status.CRITICAL:
                return f"{self._reported(instance, 'it fails its checks')}{self._because_it_fails()}"
            case Status.DRAINING:
                return self._because_it_drains(instance)
            case Status.MAINTENANCE:
                return "it is in maintenance: no answer contains it, even if there is no other"

    def _because_it_passes(self, key: InstanceKey) -> str:
        match self._basis.checked.get(key):
            case None:
                return "its owner reports it as passing"
            case True:
                return "it passes its checks"
            case False:
                return "nobody checks it (AGENT_CHECK=none), so it counts as passing"

    def _reported(self, instance: Instance, seen_here: str) -> str:
        is_ours = self._basis.checked.get(instance.key, False)
        return seen_here if is_ours else f"its owner reports it as {instance.status.value}"

    def _because_it_fails(self) -> str:
        match self._chosen.kind:
            case SelectionKind.PASSING:
                return ", while others pass"
            case SelectionKind.DRAINING:
                return ", while another one drains, which is well"
            case SelectionKind.DOUBTFUL:
                return ", and so do all others: a doubtful address is better than none"
            case SelectionKind.NONE | SelectionKind.REQUESTED:
                return ", and AGENT_WHEN_NONE_PASS is none"

    def _because_it_drains(self, instance: Instance) -> str:
        if instance.key in self._http:
            if self._chosen.kind is SelectionKind.DOUBTFUL:
                return "it fell silent while it drained, and all others fail: a doubtful address is better than none"
            return "it drains; answers contain it because no other one passes"
        if instance.key in self._srv:
            return "it drains: only SRV returns it, with weight 0"
        if self._chosen.kind is SelectionKind.PASSING:
            return "it has drained: SRV, too, no longer returns it"
        return "it fell silent while it drained"

    def _besides(self, instance: Instance) -> Iterable[str]:
        if instance.key in self._basis.unregistered:
            yield "only this agent answers it, for its own service: the registry does not have it (see /self)"
        if instance.suspect:
            yield "suspect: it fell silent together with too many others and is kept for a while"
        ttl_s = self._basis.ttl_remaining_s.get(instance.key)
        if ttl_s is not None and ttl_s <= 0 and not instance.suspect:
            yield "stale: as far as this agent knows, its lease may have ended"
        if instance.key in self._srv and not _versions(instance):
            yield f"no address of its host {instance.host!r} is known: A and AAAA leave it out, and SRV names the host"
        zone = self._basis.local_zone
        if zone and instance.zone != zone and instance.key in self._http:
            yield f"other zone: {instance.zone or 'none'} instead of {zone}, so that nearer instances come first"


def _filtered(instance: Instance, wanted: Filter) -> str:
    """Return the reason of the first filter that excludes `instance`."""
    if not Filter(tag=wanted.tag).admits(instance):
        return f"it has no tag {wanted.tag!r}"
    if not Filter(version=wanted.version).admits(instance):
        return f"its version is {instance.version or 'unknown'}, and {wanted.version} was requested"
    if not Filter(zone=wanted.zone).admits(instance):
        return f"its zone is {instance.zone or 'unknown'}, and {wanted.zone} was requested"
    return f"it is {instance.status.value}, and {wanted.status} was requested"


def _keys(instances: Iterable[Instance]) -> Collection[InstanceKey]:
    return {instance.key for instance in instances}


def _versions(instance: Instance) -> list[int]:
    """Return the IP versions of the addresses that DNS has for an instance, in order."""
    parsed = (ip_address(ip) for ip in instance.addresses or (instance.host,))
    return sorted({ip.version for ip in parsed if ip is not None})
