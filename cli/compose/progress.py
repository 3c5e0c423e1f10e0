"""How far a migration is: what a registry holds, laid beside what the compose file says.

Pure. An address may go when its target is registered and well, and its consumer's own agent, which would answer
in its place, has shown that it is there by registering the consumer.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from cli.compose.audit import Audit
from cli.compose.fleet_names import Meant
from cli.compose.verdicts import Judged
from cli.compose.waves import Wave
from cli.terminal import printable
from registry_core.domain.names import label_of


class RegistrationState(enum.Enum):
    """What the registry holds of a service."""

    PASSING = "passing"
    FAILING = "registered, none passing"
    MISSING = "not registered"


class RegisteredInstance(NamedTuple):
    """An instance that the registry holds: whose it is, and whether it is answered with."""

    service_name: str
    is_well: bool


class AddressProgress(msgspec.Struct, frozen=True):
    """A hard-coded address of a service of the file. `waits_for`: why it has to stay; empty when it may go."""

    address: Judged
    waits_for: tuple[str, ...]

    @property
    def may_go(self) -> bool:
        return not self.waits_for


class ServiceProgress(msgspec.Struct, frozen=True):
    """A service: what the registry holds of it, and its addresses that are still hard-coded."""

    name: str
    state: RegistrationState
    well: int
    instances: int
    addresses: tuple[AddressProgress, ...]


class WaveProgress(msgspec.Struct, frozen=True):
    """A wave, and how far it is."""

    wave: Wave
    services: tuple[ServiceProgress, ...]

    def counts(self) -> dict[str, int]:
        """Return its numbers."""
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
    """How far all waves are. `strangers`: what is registered and not in the file."""

    waves: tuple[WaveProgress, ...]
    strangers: tuple[str, ...]

    def counts(self) -> dict[str, int]:
        """Return the numbers of all waves together."""
        totals: dict[str, int] = {}
        for wave in self.waves:
            for name, number in wave.counts().items():
                totals[name] = totals.get(name, 0) + number
        return totals


def progress_of(audit: Audit, waves: Sequence[Wave], held: Iterable[RegisteredInstance]) -> FleetProgress:
    """Return how far the waves are, when the registry holds `held` and nothing else."""
    instances: dict[str, list[RegisteredInstance]] = {}
    for one in held:
        instances.setdefault(label_of(one.service_name), []).append(one)
    states = {name: _state(instances.get(label_of(name), [])) for name in audit.project.services}
    addresses: dict[str, list[Judged]] = {}
    for judged in audit.addresses:
        if judged.target is not None and judged.meant is not Meant.ITSELF:
            addresses.setdefault(judged.service, []).append(judged)

    def one_service(name: str) -> ServiceProgress:
        own = instances.get(label_of(name), [])
        found = tuple(AddressProgress(a, tuple(_waits_for(a, states))) for a in addresses.get(name, ()))
        return ServiceProgress(name, states[name], sum(i.is_well for i in own), len(own), found)

    labels = {label_of(name) for name in audit.project.services}
    strangers = sorted({i[0].service_name for label, i in instances.items() if label not in labels})
    done = tuple(WaveProgress(wave, tuple(one_service(s.name) for s in wave.services)) for wave in waves)
    return FleetProgress(done, tuple(strangers))


def _state(own: list[RegisteredInstance]) -> RegistrationState:
    if not own:
        return RegistrationState.MISSING
    return RegistrationState.PASSING if any(i.is_well for i in own) else RegistrationState.FAILING


def _waits_for(judged: Judged, states: dict[str, RegistrationState]) -> Iterator[str]:
    target = judged.target or ""
    if states[target] is not RegistrationState.PASSING:
        yield f"{target} is {states[target].value}"
    if states[judged.service] is RegistrationState.MISSING:
        yield f"{judged.service} is {RegistrationState.MISSING.value} itself, so that no agent is known beside it"


def status_text(progress: FleetProgress) -> Iterator[str]:
    """Return the status for people."""
    for wave in progress.waves:
        yield f"wave {wave.wave.number}, {wave.wave.title}: {_counts_text(wave.counts())}"
        for service in wave.services:
            of = f" ({service.well} of {service.instances})" if service.instances else ""
            yield printable(f"  {service.name}: {service.state.value}{of}")
            for a in service.addresses:
                what = "may go" if a.may_go else f"stays: {'; '.join(a.waits_for)}"
                yield printable(f"    {a.address.address.variable}={a.address.address.written}: {what}")
        yield ""
    if progress.strangers:
        yield printable(f"Registered and not in the file: {', '.join(progress.strangers[:20])}")
    yield f"Total: {_counts_text(progress.counts())}"


def _counts_text(counts: dict[str, int]) -> str:
    return (
        f"{counts['registered']} of {counts['services']} services registered, {counts['passing']} passing; "
        f"{counts['static_addresses']} hard-coded addresses in {counts['static_consumers']} services, "
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
