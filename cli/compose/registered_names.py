"""The names under which the services of a fleet are registered.

Pure, and the one home of this mapping. A service keeps its name where that can be registered. The label `vertice.name`
chooses another one. Names that cannot be registered (`db`, `Web`, `api.v1`) are changed as little as possible; one that
is too short, or taken, gets the project's name behind it: `db` of the project `shop` is `db-shop`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from cli.compose.model import ComposeService, Project
from cli.compose.sidecars import LABEL, NAME_LABEL
from registry_core.domain.names import check_service_name, label_of
from registry_core.errors import ValidationError

# Behind a name that is too short, when the project has no usable name either.
_SUFFIX: Final = "service"


class RegisteredName(msgspec.Struct, frozen=True):
    """The name of one service in the registry, None when it has none; `why` it is not the service's own."""

    name: str | None
    why: str = ""


class RegisteredNames:
    """The names of a project's services in the registry."""

    def __init__(self, project: Project) -> None:
        services = [service for service in project.services.values() if LABEL not in service.labels]
        self._suffix = re.sub(r"[^a-z0-9_-]", "", project.name.lower()).strip("_-") or _SUFFIX
        self._names: dict[str, RegisteredName] = {}
        self._services: dict[str, str] = {}
        waiting: list[ComposeService] = []
        for service in services:
            given = service.labels.get(NAME_LABEL)
            label = given.value if given is not None else ""
            own = label or service.registered_as or service.name
            problem = _problem(own)
            if problem is None:
                chosen = f"its label {NAME_LABEL} says so" if label else _problem(service.name) or "its agent says so"
                why = "" if own == service.name else chosen
                self._names[service.name] = RegisteredName(own, why)
                self._services.setdefault(label_of(own), service.name)
            elif label:
                self._names[service.name] = RegisteredName(None, f"its label {NAME_LABEL}: {problem}")
            else:
                waiting.append(service)
        for service in waiting:
            self._names[service.name] = self._mapped(service.name, _problem(service.name) or "")

    def of(self, service: str) -> RegisteredName:
        """Return the name of a service in the registry."""
        return self._names.get(service) or RegisteredName(None, "it is not a service of the file")

    def service_of(self, name: str) -> str | None:
        """Return the service that is registered under a name, in any of its spellings."""
        return self._services.get(label_of(name))

    def _mapped(self, service: str, problem: str) -> RegisteredName:
        for candidate in self._candidates(service):
            if label_of(candidate) not in self._services and _problem(candidate) is None:
                self._services[label_of(candidate)] = service
                return RegisteredName(candidate, problem)
        return RegisteredName(None, problem)

    def _candidates(self, service: str) -> Iterator[str]:
        plain = re.sub(r"[^a-z0-9_-]", "-", service.lower()).strip("_-")
        if plain:
            yield plain
            yield f"{plain}-{self._suffix}"


def _problem(name: str) -> str | None:
    try:
        check_service_name(name)
    except ValidationError as error:
        return error.message
    return None
