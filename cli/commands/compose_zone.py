"""Shared by the commands that must know discovered names: the zones and the names that the agents of a fleet have.

Agents are in the compose files or in the override file that `inject` writes beside the first one.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping
from pathlib import Path

from cli.commands.compose_edit import opened, variables_with
from cli.commands.compose_inject import override_path
from cli.compose.discovered_names import ZONE, zones_of
from cli.compose.errors import ComposeError, Place
from cli.compose.existing_agents import ExistingAgents, existing_agents
from cli.compose.model import Project
from cli.compose.sidecars import with_names
from registry_core.domain.names import check_host
from registry_core.errors import ValidationError


def add_zone(parser: argparse.ArgumentParser) -> None:
    """Add the zone of the agents."""
    parser.add_argument(
        "--zone", help=f"the DNS zone of the agents (default: what the agents in the files say, else {ZONE})"
    )


def zones_for(
    path: Path, project: Project, zone: str | None, environment: Mapping[str, str], override: Path | None = None
) -> list[str]:
    """Return the given zone, else those of the agents in the project and in the override file of its first file.

    Raises ComposeError when the given zone is no name.
    """
    if zone is not None:
        try:
            return [check_host(zone)]
        except ValidationError as error:
            raise ComposeError(f"--zone: {error.message}", code="usage", place=Place(str(path))) from None
    zones = list(zones_of(project))
    beside = _beside(path, environment, override)
    if beside is not None:
        zones.append(beside.zone)
    return list(dict.fromkeys(zones))


def with_agents_names(
    path: Path, project: Project, environment: Mapping[str, str], override: Path | None = None
) -> Project:
    """Return the project with the names under which the agents in the override file register its services.

    They stay when the project is called otherwise, as those of agents in the project itself do.
    """
    beside = _beside(path, environment, override)
    return project if beside is None else with_names(project, beside.names)


def _beside(path: Path, environment: Mapping[str, str], override: Path | None) -> ExistingAgents | None:
    """Return the agents in an override file, None when it does not exist or cannot be read."""
    beside = override or override_path(path)
    if override is None and not beside.exists():
        return None
    with contextlib.suppress(ComposeError):
        return existing_agents(opened(beside).text, variables_with(str(path), environment))
    return None
