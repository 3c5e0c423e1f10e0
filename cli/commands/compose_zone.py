"""Shared by the commands that must know discovered names: which zones the agents of a fleet answer for."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping
from pathlib import Path

from cli.commands.compose_edit import opened, variables_with
from cli.commands.compose_inject import override_path
from cli.compose.discovered_names import ZONE, zones_of
from cli.compose.errors import ComposeError, Place
from cli.compose.existing_agents import existing_agents
from cli.compose.model import Project
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
    beside = override or override_path(path)
    if override is not None or beside.exists():
        with contextlib.suppress(ComposeError):
            agents = existing_agents(opened(beside).text, variables_with(str(path), environment))
            zones.append(agents.zone)
    return list(dict.fromkeys(zones))
