"""The dependencies that a compose file declares, by the names under which its services are registered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cli.commands.compose_zone import with_agents_names, zones_for
from cli.compose.audit import audit
from cli.compose.reader import read_project
from cli.compose.registered_names import RegisteredNames
from cli.usage.graph import DeclaredEdge


def declared_edges(files: Sequence[Path], zone: str | None, environment: Mapping[str, str]) -> list[DeclaredEdge]:
    """Return them, by address and by depends_on. Raises ComposeError."""
    project = with_agents_names(files[0], read_project(files, environment), environment)
    names = RegisteredNames(project)
    graph = audit(project, zones_for(files[0], project, zone, environment)).graph
    return [
        DeclaredEdge(names.of(edge.consumer).name or edge.consumer, names.of(edge.target).name or edge.target, edge.via)
        for edge in graph.edges
        if edge.consumer != edge.target
    ]
