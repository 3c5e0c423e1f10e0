"""Keeps the state of the registries that this agent knows, and which of them it uses. It does no I/O.

Requests, the watch and the probes report their results here; `choice.py` decides what follows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec
import structlog

from registry_core.domain.selection import Random
from registry_core.ports.clock import Clock
from registry_core.upstreams.choice import (
    DEFAULT_PACE,
    Choice,
    Pace,
    RegistryAddress,
    Trouble,
    Upstream,
    Use,
    Why,
    after_answer,
    after_failure,
    after_farewell,
    after_measurement,
    after_request,
    after_sign_of_life,
    after_zone,
    chosen,
)

_log = structlog.get_logger(component="agent.upstreams")


class UpstreamReport(msgspec.Struct, frozen=True, kw_only=True):
    """One registry, for people and for metrics."""

    url: str
    zone: str
    tier: int
    latency_seconds: float | None
    reachable: bool
    used_for: list[Use]
    resting: list[Use]  # uses for which it failed and is still avoided
    failures: dict[Trouble, int]


class UseReport(msgspec.Struct, frozen=True, kw_only=True):
    """The registry in use, and why."""

    url: str | None
    why: Why | None
    moves: int


class UpstreamsReport(msgspec.Struct, frozen=True, kw_only=True):
    """All registries, and those in use."""

    zone: str
    watch: UseReport
    write: UseReport
    known: list[UpstreamReport]


class Upstreams:
    """The registries of one agent. Listeners are called when another one is chosen for a use."""

    def __init__(
        self,
        addresses: Iterable[RegistryAddress],
        *,
        clock: Clock,
        random: Random,
        zone: str = "",
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        self._clock = clock
        self._random = random
        self._pace = pace
        self._zone = zone
        self._known: dict[str, Upstream] = {}
        self._choices: dict[Use, Choice] = {}
        self._listeners: list[Callable[[], None]] = []
        self._failures: dict[str, Counter[Trouble]] = {}
        self.moves: Counter[tuple[Use, Why]] = Counter()
        self.replace(addresses)

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever another registry is chosen."""
        self._listeners.append(listener)

    @property
    def urls(self) -> tuple[str, ...]:
        """All addresses, in configured order."""
        return tuple(self._known)

    @property
    def zone(self) -> str:
        """The zone whose registries are preferred."""
        return self._zone

    def stands_in(self, zone: str) -> None:
        """Prefer the registries of another zone from now on."""
        self._zone = zone

    def replace(self, addresses: Iterable[RegistryAddress]) -> None:
        """Replace the addresses; those that stay keep their state."""
        before, self._known = self._known, {}
        for address in addresses:
            known = before.get(address.url)
            self._known[address.url] = (
                Upstream(address) if known is None else msgspec.structs.replace(known, address=address)
            )
        self._failures = {url: self._failures.get(url, Counter()) for url in self._known}
        self._choose_all()

    def current(self, use: Use) -> str | None:
        """Return the URL to use now; None while no address is known."""
        self._choose(use)
        choice = self._choices.get(use)
        return choice.url if choice is not None else None

    def has_other(self, url: str, use: Use) -> bool:
        """Return whether there is another registry that is healthy as far as known."""
        now = self._clock.monotonic()
        return any(one.url != url and one.is_well(use, now) for one in self._known.values())

    # -- observations

    def failed(self, url: str, use: Use, trouble: Trouble, because: str) -> None:
        """Record a failure of `url`. The next registry is chosen at once."""
        upstream = self._known.get(url)
        if upstream is None:
            return
        self._failures[url][trouble] += 1
        now, draw = self._clock.monotonic(), self._random.random()
        was_well = upstream.is_well(use, now)
        self._known[url] = after_failure(upstream, use, trouble, now=now, draw=draw, pace=self._pace)
        if was_well and len(self._known) > 1:
            _log.warning("registry_left", registry=url, use=use, trouble=trouble, because=because)
        self._choose_all()

    def stops(self, url: str) -> None:
        """Record that `url` said that it stops. The next registry is chosen at once, if there is one."""
        upstream = self._known.get(url)
        if upstream is not None and len(self._known) > 1:
            now, draw = self._clock.monotonic(), self._random.random()
            self._known[url] = after_farewell(upstream, now=now, draw=draw, pace=self._pace)
            self._choose_all()

    def answered(self, url: str, use: Use, latency_s: float, zone: str) -> None:
        """Record that `url` served a request in `latency_s`; `zone` is empty if it named none."""
        upstream = self._known.get(url)
        if upstream is None:
            return
        upstream = after_zone(after_answer(upstream, use), zone)
        self._known[url] = after_request(upstream, latency_s)

    def probed(self, url: str, latency_s: float | None, zone: str) -> None:
        """Record an answered probe; `latency_s` is its duration on an open connection, if measured."""
        upstream = self._known.get(url)
        if upstream is not None:
            now, draw = self._clock.monotonic(), self._random.random()
            upstream = after_sign_of_life(after_zone(upstream, zone), now=now, draw=draw, pace=self._pace)
            self._known[url] = upstream if latency_s is None else after_measurement(upstream, latency_s)

    def not_reached(self, url: str) -> None:
        """Record an unanswered probe, whether the registry was in use or not."""
        upstream = self._known.get(url)
        if upstream is not None and upstream.reachable:
            self.failed(url, Use.WATCH, Trouble.SILENT, "it does not answer a probe")

    # -- reports

    def is_reachable(self, url: str) -> bool:
        """Return whether the latest request or probe was answered."""
        upstream = self._known.get(url)
        return upstream is not None and upstream.reachable

    def report(self) -> UpstreamsReport:
        """Return the state of all registries, and which are in use."""
        now = self._clock.monotonic()
        return UpstreamsReport(
            zone=self._zone,
            watch=self._use_report(Use.WATCH),
            write=self._use_report(Use.WRITE),
            known=[
                UpstreamReport(
                    url=one.url,
                    zone=one.zone,
                    tier=one.address.tier,
                    latency_seconds=None if one.latency_s is None else round(one.latency_s, 6),
                    reachable=one.reachable,
                    used_for=[use for use, choice in self._choices.items() if choice.url == one.url],
                    resting=[use for use in Use if not one.is_well(use, now)],
                    failures={trouble: self._failures[one.url][trouble] for trouble in Trouble},
                )
                for one in self._known.values()
            ],
        )

    def _use_report(self, use: Use) -> UseReport:
        choice = self._choices.get(use)
        return UseReport(
            url=choice.url if choice is not None else None,
            why=choice.why if choice is not None else None,
            moves=sum(count for (used, _), count in self.moves.items() if used is use),
        )

    # -- the choice

    def _choose_all(self) -> None:
        for use in Use:
            self._choose(use)

    def _choose(self, use: Use) -> None:
        before = self._choices.get(use)
        known: Sequence[Upstream] = tuple(self._known.values())
        now, draw = self._clock.monotonic(), self._random.random()
        choice = chosen(known, before, use, zone=self._zone, now=now, draw=draw, pace=self._pace)
        if choice is None:
            self._choices.pop(use, None)
            return
        self._choices[use] = choice
        if before is None or choice.url == before.url:
            return
        self.moves[use, choice.why] += 1
        if choice.why is not Why.FAILED:
            _log.info("registry_chosen", registry=choice.url, use=use, because=choice.why, before=before.url)
        for listener in self._listeners:
            listener()
