"""The shared parts of `vertice migrate`: the audited fleet and its waves."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final, NamedTuple

from cli.commands.compose_audit import add_files
from cli.commands.compose_zone import add_zone, with_agents_names, zones_for
from cli.compose.audit import Audit, audit
from cli.compose.model import Project
from cli.compose.reader import read_project
from cli.compose.waves import PILOT, WAVE_SIZE, By, Wave, waves_of
from cli.options import add_output
from cli.parser import value
from registry_core.settings import integer

_SIZE: Final = value(integer(1, 10_000))


class MigratedFleet(NamedTuple):
    """A fleet as its files describe it, its zones, what an audit finds in it, and its waves."""

    project: Project
    zones: list[str]
    found: Audit
    waves: tuple[Wave, ...]


def add_waves(parser: argparse.ArgumentParser) -> None:
    """Add the files and what decides on the waves."""
    add_files(parser)
    add_zone(parser)
    ways = [by.value for by in By]
    parser.add_argument(
        "--by", choices=ways, default=By.DEPENDENCY.value, help="what makes a wave (default: dependency)"
    )
    parser.add_argument(
        "--pilot", type=_SIZE, default=PILOT, metavar="N", help=f"services in the pilot (default: {PILOT})"
    )
    parser.add_argument(
        "--wave-size", type=_SIZE, default=WAVE_SIZE, metavar="N", help=f"services in a wave (default: {WAVE_SIZE})"
    )
    add_output(parser, older=("--format",))


def fleet_of(arguments: argparse.Namespace, environment: Mapping[str, str]) -> MigratedFleet:
    """Return the fleet of the files in `arguments`. Raises ComposeError."""
    project = with_agents_names(arguments.files[0], read_project(arguments.files, environment), environment)
    zones = zones_for(arguments.files[0], project, arguments.zone, environment)
    found = audit(project, zones)
    return MigratedFleet(project, zones, found, waves_of(found, By(arguments.by), arguments.pilot, arguments.wave_size))
