"""`GET /sd/prometheus` at an agent: what it knows as targets, as a replica lists them, also while no registry answers.

Prometheus drops each target that an answer lacks, but keeps all of them when there is no answer. So there is none while
the view may lack something that it had, or was never whole; age alone is no reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from agent.http.lookups import RETRY_AFTER_S, Lookups, NotHeld
from agent.view.view import AgentView
from registry_core.api.prometheus_targets import TargetGroup, target_group
from registry_core.domain.names import check_known_name, label_of
from registry_core.domain.records import Service
from registry_core.domain.selection import Filter
from registry_core.errors import Warming

SERVICES_AT_ONCE: Final = 50


class AgentTargets:
    """Lists the targets of one agent's view."""

    def __init__(self, lookups: Lookups, view: AgentView) -> None:
        self._lookups = lookups
        self._view = view

    async def found(self, service: str, wanted: Filter) -> list[TargetGroup]:
        """Return the targets of one service, or with "" of all, that match the filter.

        Raises ValidationError, Warming while something may be missing, and NotHeld when this agent holds only a part.
        """
        if service:
            check_known_name(service, field="service")
            await self._lookups.fetched(service)
        self._require_all(service)
        if service:
            known = self._view.find(service)
            return _groups(() if known is None else (known,), wanted)
        groups: list[TargetGroup] = []
        for number, name in enumerate(self._view.services.names(), 1):
            one = self._view.services.find(label_of(name))
            groups += _groups(() if one is None else (one,), wanted)
            if number % SERVICES_AT_ONCE == 0:
                await asyncio.sleep(0)  # a large fleet takes longer than other requests should wait
        return groups

    def _require_all(self, service: str) -> None:
        view = self._view
        # Before the first word of a registry, a view from the disk is the one that there was.
        if not view.loaded or (view.trust.state and not view.trust.knows_all):
            raise Warming("this agent does not know at present which targets there are", retry_after_s=RETRY_AFTER_S)
        if view.lacks(service) if service else not view.holds_all:
            raise NotHeld(
                "this agent holds only services that are looked up: ask for one (/sd/prometheus?service=billing), or "
                "ask a registry for all",
                retry_after_s=RETRY_AFTER_S,
            )


def _groups(services: Iterable[Service], wanted: Filter) -> list[TargetGroup]:
    return [target_group(i) for service in services for i in service.instances if wanted.admits(i)]
