"""The progress of a migration: compares what a registry holds with what the compose file says.

Pure. A hard-coded address may go when `rewrite` would replace it, its target is registered and passing, and its
consumer is registered too: that shows that the consumer's agent, which will resolve the name instead, is running.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from cli.compose.audit import Audit
from cli.compose.existing_agents import ExistingAgents
from cli.compose.fleet_names import Meant
from cli.compose.model import Project
from cli.compose.registered_names import RegisteredNames
from cli.compose.value_edits import Rewriting
from cli.compose.verdicts import Judged
from cli.compose.waves import Wave
from cli.plurals import counted
from cli.terminal import printable
from registry_core.domain.names import label_of


class RegistrationState(enum.Enum):
    """How a service stands in the registry."""

    PASSING = "passing"
    FAILING = "registered, none passing"
    MISSING = "not registered"


class RegisteredInstance(NamedTuple):
    """An instance in the registry: its service, whether answers include it, and its port."""

    service_name: str
    is_well: bool
    port: int = 0


class AddressProgress(msgspec.Struct, frozen=True):
    """A hard-coded address in the file. `waits_for`: the reasons why it has to stay; empty when it may go."""

    address: Judged
    waits_for: tuple[str, ...]

    @property
    def may_go(self) -> bool:
        return not self.waits_for


class ServiceProgress(msgspec.Struct, frozen=True):
    """A service: its state in the registry, its name there, and the addresses that it still hard-codes."""

    name: str
    state: RegistrationState
    well: int
    instances: int
    addresses: tuple[AddressProgress, ...]
    registered_name: str


class WaveProgress(msgspec.Struct, frozen=True):
    """A wave and its progress."""

    wave: Wave
    services: tuple[ServiceProgress, ...]

    def counts(self) -> dict[str, int]:
        """Return the wave's counts."""
        addresses = [a for s in self.services for a in s.addresses]
        return {
            "services": len(self.services),
            "registered": sum(s.state is not RegistrationState.MISSING for s in self.services),
            "passing": sum(s.state is RegistrationState.PASSING for s in self.services),
            "static_consumers": sum(bool(s.addresses) for s in self.services),
            "static_addresses": len(addresses),
            "may_go": sum(a.may_go for a in addresses),
        }


class FleetProgress(msgspec.Struct, frozen=True):
    """The progress of all waves. `strangers`: registered services that are not in the file."""

    waves: tuple[WaveProgress, ...]
    strangers: tuple[str, ...]

    def counts(self) -> dict[str, int]:
        """Return the counts of all waves together."""
        totals: dict[str, int] = {}
        for wave in self.waves:
            for name, number in wave.counts().items():
                totals[name] = totals.get(name, 0) + number
        return totals


def registered_agents(
    project: Project, held: Iterable[RegisteredInstance], standing: ExistingAgents | None, zone: str
) -> ExistingAgents:
    """Return the agents that a registry knows of: the port of each service, and who asks an agent.

    `standing` are those in the compose files, if any: without one there, a registered service counts as asking its
    own. A service whose instances have different ports is left out: one name cannot stand for several ports.
    """
    ports = _ports(held)
    names = RegisteredNames(project)
    own = {service: names.of(service).name or service for service in project.services}
    registered = {service: name for service, name in own.items() if label_of(name) in ports}
    asking = frozenset(registered) if standing is None else standing.asking & registered.keys()
    single = {name: ports[label_of(name)] for name in registered.values() if len(ports[label_of(name)]) == 1}
    return ExistingAgents({name: min(one) for name, one in single.items()}, asking, registered, zone)


def _ports(held: Iterable[RegisteredInstance]) -> dict[str, set[int]]:
    """Return the ports under which each service is registered, by its name in DNS."""
    ports: dict[str, set[int]] = {}
    for one in held:
        ports.setdefault(label_of(one.service_name), set()).add(one.port)
    return ports


def progress_of(
    audit: Audit, waves: Sequence[Wave], held: Iterable[RegisteredInstance], would: Rewriting
) -> FleetProgress:
    """Return the progress of the waves; `held` is everything in the registry, `would` is what `rewrite` would do."""
    refused = {(u.service, u.variable, u.address): u.reason for u in would.unchanged}
    instances: dict[str, list[RegisteredInstance]] = {}
    for one in held:
        instances.setdefault(label_of(one.service_name), []).append(one)
    names = RegisteredNames(audit.project)
    labels = {name: label_of(names.of(name).name or name) for name in audit.project.services}
    states = {name: _state(instances.get(label, [])) for name, label in labels.items()}
    several = {name for name, label in labels.items() if len({i.port for i in instances.get(label, [])}) > 1}
    addresses: dict[str, list[Judged]] = {}
    for judged in audit.addresses:
        if judged.is_hard_coded and judged.target is not None and judged.meant is not Meant.ITSELF:
            addresses.setdefault(judged.service, []).append(judged)

    def one_service(name: str) -> ServiceProgress:
        own = instances.get(labels[name], [])
        found = tuple(
            AddressProgress(a, tuple(_waits_for(a, states, refused, several))) for a in addresses.get(name, ())
        )
        registered = names.of(name).name or name
        return ServiceProgress(name, states[name], sum(i.is_well for i in own), len(own), found, registered)

    known = set(labels.values())
    strangers = sorted({i[0].service_name for label, i in instances.items() if label not in known})
    done = tuple(WaveProgress(wave, tuple(one_service(s.name) for s in wave.services)) for wave in waves)
    return FleetProgress(done, tuple(strangers))


def _state(own: list[RegisteredInstance]) -> RegistrationState:
    if not own:
        return RegistrationState.MISSING
    return RegistrationState.PASSING if any(i.is_well for i in own) else RegistrationState.FAILING


def _waits_for(
    judged: Judged,
    states: dict[str, RegistrationState],
    refused: dict[tuple[str, str, str], str],
    several: set[str],
) -> Iterator[str]:
    target = judged.target or ""
    if states[target] is not RegistrationState.PASSING:
        yield f"{target} is {states[target].value}"
    if states[judged.service] is RegistrationState.MISSING:
        yield f"{judged.service} is {RegistrationState.MISSING.value} itself, so that no agent is known beside it"
    elif target in several:
        yield f"{target} is registered under several ports, and a name leads only to an address"
    elif states[target] is not RegistrationState.MISSING:
        reason = refused.get((judged.service, judged.address.variable, judged.address.written))
        if reason is not None:
            yield reason


def status_text(progress: FleetProgress) -> Iterator[str]:
    """Return the status for people."""
    for wave in progress.waves:
        yield f"wave {wave.wave.number}, {wave.wave.title}: {_counts_text(wave.counts())}"
        for service in wave.services:
            of = f" ({service.well} of {service.instances})" if service.instances else ""
            known_as = f" (as {service.registered_name})" if service.registered_name != service.name else ""
            yield printable(f"  {service.name}{known_as}: {service.state.value}{of}")
            for a in service.addresses:
                what = "may go" if a.may_go else f"stays: {'; '.join(a.waits_for)}"
                yield printable(f"    {a.address.address.variable}={a.address.address.written}: {what}")
        yield ""
    if progress.strangers:
        yield printable(f"Registered and not in the file: {', '.join(progress.strangers[:20])}")
    yield f"Total: {_counts_text(progress.counts())}"


def _counts_text(counts: dict[str, int]) -> str:
    return (
        f"{counts['registered']} of {counted(counts['services'], 'service')} registered, {counts['passing']} passing; "
        f"{counted(counts['static_addresses'], 'hard-coded address', 'hard-coded addresses')} in "
        f"{counted(counts['static_consumers'], 'service')}, "
        f"{counts['may_go']} of which may go"
    )


def status_json(progress: FleetProgress) -> dict[str, Any]:
    """Return the status for programs."""
    return {
        "format": 1,
        "counts": progress.counts(),
        "strangers": list(progress.strangers),
        "waves": [
            {
                "number": w.wave.number,
                "title": w.wave.title,
                "counts": w.counts(),
                "services": [
                    {
                        "name": s.name,
                        "registered_name": s.registered_name,
                        "state": s.state.name.lower(),
                        "instances": s.instances,
                        "passing": s.well,
                        "addresses": [
                            {
                                "variable": a.address.address.variable,
                                "file": a.address.address.place.file,
                                "line": a.address.address.place.line,
                                "address": a.address.address.written,
                                "target": a.address.target,
                                "may_go": a.may_go,
                                "waits_for": list(a.waits_for),
                            }
                            for a in s.addresses
                        ],
                    }
                    for s in w.services
                ],
            }
            for w in progress.waves
        ],
    }
