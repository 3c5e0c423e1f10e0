"""Takes this agent's own services out of use for an operator: to drain them, or for maintenance.

It acts only on the services in this agent's settings. They stay held until they are released or the agent
stops: a restarted agent starts with the results of its checks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from agent.registration.drain_progress import DrainProgress, progress
from agent.registration.member import ServiceReport
from agent.registration.session import Session
from agent.registries.client import RegistryClient
from registry_core.domain.names import check_known_name, label_of
from registry_core.domain.records import InstanceKey, Registration, Status
from registry_core.errors import NotFound, ValidationError, Warming

MOST_NAMED: Final = 20


class DrainedService(msgspec.Struct, kw_only=True):
    """One service: the status it is held at, what the registry has confirmed, and the progress of its drain."""

    service_name: str
    instance_id: str
    held: Status | None
    registered_status: Status | None
    watchers: int
    acknowledged: int
    silent_registries: int  # that could not tell
    done: bool  # it drains, and every watcher has acknowledged it


class AgentDrainView(msgspec.Struct, kw_only=True):
    """The answer to all requests of `/drain` and `/maintenance`."""

    services: list[DrainedService]


class OperatorDrain:
    """Implements `/drain` and `/maintenance`. The session joins once it exists."""

    def __init__(self) -> None:
        self._joined: tuple[Session, RegistryClient] | None = None

    def join(self, session: Session, client: RegistryClient) -> None:
        """Act on this session's services from now on."""
        self._joined = session, client

    def hold(self, service: str | None, instance: str | None, status: Status) -> AgentDrainView:
        """Hold services at `status`: all, those of one name, or one instance.

        Raises ValidationError; NotFound when this agent has no such service; Warming when the agent has just started.
        """
        session, _ = self._parts()
        chosen = _chosen(session.claims(), service, instance)
        session.hold(chosen, status)
        return _shown(session, chosen, {})

    def let_go(self, service: str | None, instance: str | None, status: Status) -> AgentDrainView:
        """Release the services that are held at `status`. Raises as `hold` does."""
        session, _ = self._parts()
        chosen = _chosen(session.claims(), service, instance)
        session.let_go(chosen, status)
        return _shown(session, chosen, {})

    async def stands(self, service: str | None, instance: str | None) -> AgentDrainView:
        """Return the state of these services; asks the registry about those that drain. Raises as `hold` does."""
        session, client = self._parts()
        chosen = _chosen(session.claims(), service, instance)
        reports = _reports(session)
        draining = [reports[key][0] for key in chosen if reports[key][1].registered_status is Status.DRAINING]
        known = {claim.key: one for claim, one in zip(draining, await progress(client, draining), strict=True)}
        # A reload may have taken some of them out while the registry was asked.
        left = {claim.key for claim in session.claims()}
        return _shown(session, [key for key in chosen if key in left], known)

    def _parts(self) -> tuple[Session, RegistryClient]:
        if self._joined is None:
            raise Warming("this agent has just started")
        return self._joined


def _chosen(claims: Sequence[Registration], service: str | None, instance: str | None) -> list[InstanceKey]:
    if service is None:
        if instance is not None:
            raise ValidationError("instance needs service as well", field="service", example="billing")
        return [claim.key for claim in claims]
    label = label_of(check_known_name(service, field="service"))
    ours = [claim.key for claim in claims if claim.key.label == label]
    if not ours:
        names = ", ".join(sorted({claim.service_name for claim in claims})[:MOST_NAMED]) or "none"
        raise NotFound(
            f"this agent has no service {service!r}; its services: {names}", field="service", provided=service
        )
    chosen = [key for key in ours if instance in (None, key.instance_id)]
    if not chosen:
        ids = ", ".join(key.instance_id for key in ours[:MOST_NAMED])
        raise NotFound(
            f"this agent has no instance {instance!r} of {service!r}, but {ids}", field="instance", provided=instance
        )
    return chosen


def _reports(session: Session) -> dict[InstanceKey, tuple[Registration, ServiceReport]]:
    return {claim.key: (claim, report) for claim, report in zip(session.claims(), session.report(), strict=True)}


def _shown(
    session: Session, chosen: Sequence[InstanceKey], known: Mapping[InstanceKey, DrainProgress]
) -> AgentDrainView:
    reports = _reports(session)
    return AgentDrainView(services=[_held(reports[key][1], known.get(key)) for key in chosen])


def _held(report: ServiceReport, drain: DrainProgress | None) -> DrainedService:
    return DrainedService(
        service_name=report.service_name,
        instance_id=report.instance_id,
        held=report.held,
        registered_status=report.registered_status,
        watchers=drain.watchers if drain is not None else 0,
        acknowledged=drain.acknowledged if drain is not None else 0,
        silent_registries=drain.silent if drain is not None else 0,
        done=drain is not None and drain.confirmed,
    )
