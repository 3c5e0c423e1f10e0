"""Tells the jobs of a fleet, whose containers end when their work is done, from its services.

Pure. An agent beside a job would check a program that has ended, and restart for ever in a network that is gone.
"""

from __future__ import annotations

from cli.compose.model import ComposeService, Project


class Jobs:
    """The jobs of a project."""

    def __init__(self, project: Project) -> None:
        self._awaited: dict[str, str] = {}
        for service in project.services.values():
            for dependency in service.depends_on:
                if dependency.condition == "service_completed_successfully":
                    self._awaited.setdefault(dependency.name, service.name)

    def why(self, service: ComposeService) -> str | None:
        """Return why a service is certainly a job, None when it is not."""
        waits = self._awaited.get(service.name)
        if waits is not None:
            return f"it is a job: {waits} waits until it has ended (service_completed_successfully)"
        if (service.mode or "").endswith("-job"):
            return f"it is a job (mode: {service.mode})"
        return None

    def why_likely(self, service: ComposeService) -> str | None:
        """Return why a service is certainly or probably a job, None when it is not."""
        certain = self.why(service)
        if certain is None and service.restart == "no" and not service.ports and service.healthcheck is None:
            return 'it is a job, as it seems: `restart: "no"`, and neither `ports` nor a health check'
        return certain
