"""Migrate a fleet in waves: the plan and the progress.

`plan` orders the services of a compose file: a pilot first, then wave by wave, services on which few others depend
before services on which many do. Services that depend on each other in a circle stay together. `status` asks the
registry what is registered, and says for each hard-coded address whether it may go: whether `compose rewrite` would
replace it now. Both change nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from cli.client import Unreachable, add_registry_flag, ask, credentials, registry_url
from cli.commands.compose_audit import add_files
from cli.commands.compose_edit import opened, variables_with
from cli.commands.compose_inject import override_path
from cli.commands.compose_zone import add_zone, with_agents_names, zones_for
from cli.compose.audit import Audit, audit
from cli.compose.errors import ComposeError
from cli.compose.existing_agents import ExistingAgents, existing_agents
from cli.compose.model import Project
from cli.compose.outline import NotEditable
from cli.compose.progress import RegisteredInstance, progress_of, registered_agents, status_json, status_text
from cli.compose.reader import read_project
from cli.compose.rewrite import rewritten
from cli.compose.value_edits import Rewriting, UnchangedAddress
from cli.compose.waves import PILOT, WAVE_SIZE, By, plan_json, plan_text, waves_of
from cli.main import OK, USAGE
from registry_core.api.schemas import CatalogView
from registry_core.domain.records import Status
from registry_core.settings import integer
from registry_core.shared_secret import SECRET

OLD_S: Final = 10.0
ANSWER_S: Final = 30.0
MAX_ANSWER_BYTES: Final = 256 * 1024 * 1024

EPILOG: Final = f"""examples:
  vertice migrate plan compose.yml
  vertice migrate plan compose.yml --by category --format json
  vertice migrate status compose.yml --registry http://10.0.0.2:8888

`status` sends the secret in {SECRET.name}. Use the same --by, --pilot and --wave-size as for the plan, so
that the waves are the same.

exit codes:
  0    done
  2    wrong usage, the files cannot be used, or the registry does not know everything"""


def number(value: str) -> int:
    """Read a size for argparse."""
    try:
        return integer(1, 10_000)(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{value!r} cannot be used: {error}") from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice migrate`."""
    parser.add_argument("action", choices=("plan", "status"), help="the order of the waves, or their progress")
    add_files(parser)
    add_zone(parser)
    ways = [by.value for by in By]
    parser.add_argument(
        "--by", choices=ways, default=By.DEPENDENCY.value, help="what makes a wave (default: dependency)"
    )
    parser.add_argument(
        "--pilot", type=number, default=PILOT, metavar="N", help=f"services in the pilot (default: {PILOT})"
    )
    parser.add_argument(
        "--wave-size", type=number, default=WAVE_SIZE, metavar="N", help=f"services in a wave (default: {WAVE_SIZE})"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="the output format (default: text)")
    add_registry_flag(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice migrate` and return its exit code."""
    by = By(arguments.by)
    try:
        project = with_agents_names(arguments.files[0], read_project(arguments.files, environment), environment)
        zones = zones_for(arguments.files[0], project, arguments.zone, environment)
        found = audit(project, zones)
        waves = waves_of(found, by, arguments.pilot, arguments.wave_size)
        if arguments.action == "plan":
            lines = [json.dumps(plan_json(waves, by), indent=2)] if arguments.format == "json" else plan_text(waves)
        else:
            held = _held(registry_url(arguments, environment), credentials(environment))
            agents = registered_agents(found.project, held, _standing(arguments, environment), zones[-1])
            would = _would(arguments.files, found, project, agents)
            progress = progress_of(found, waves, held, would)
            as_json = arguments.format == "json"
            lines = [json.dumps(status_json(progress), indent=2)] if as_json else status_text(progress)
    except ComposeError as error:
        print(f"vertice: {error.hinted}", file=sys.stderr)
        return USAGE
    except Unreachable as error:
        print(f"vertice: {error}; what is registered is not known", file=sys.stderr)
        return USAGE
    print("\n".join(lines))
    return OK


def _standing(arguments: argparse.Namespace, environment: Mapping[str, str]) -> ExistingAgents | None:
    """Return the agents in the compose files, or in the override file beside the first; None when there are none."""
    files: list[Path] = arguments.files
    beside = override_path(files[0])
    variables = variables_with(str(files[0]), environment)
    for path in (*files, *([beside] if beside.exists() else [])):
        agents = existing_agents(opened(path).text, variables)
        if agents.ports:
            return agents
    return None


def _would(files: Sequence[Path], found: Audit, project: Project, agents: ExistingAgents) -> Rewriting:
    """Return what `rewrite` would do to the first file with these agents: nothing, where that cannot be edited."""
    file = opened(files[0])
    try:
        return rewritten(file.text, project, agents)
    except NotEditable as error:
        return Rewriting(
            file.text,
            unchanged=tuple(
                UnchangedAddress(a.address.place, a.service, a.address.variable, a.address.written, error.message)
                for a in found.addresses
            ),
        )


def _held(url: str, headers: Mapping[str, str]) -> list[RegisteredInstance]:
    """Return the registry's instances. Raises Unreachable when it does not answer, or may not know them all."""
    answer = ask("GET", url, "/catalog", headers, timeout_s=ANSWER_S, most_bytes=MAX_ANSWER_BYTES)
    if answer.status != 200:
        raise Unreachable(f"the registry at {url} answers: {answer.message}")
    try:
        catalog = msgspec.json.decode(answer.body, type=CatalogView)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Unreachable(f"{url} answers, but is not a registry") from None
    if catalog.state != "ready":
        raise Unreachable(f"the registry at {url} is {catalog.state}: it does not know everything yet")
    if catalog.store_age_s is not None and catalog.store_age_s > OLD_S:
        age = f"{catalog.store_age_s:.0f} s"
        print(f"vertice: the registry cannot reach its store; this is the state as of {age} ago", file=sys.stderr)
    well = (Status.PASSING, Status.WARNING)
    return [RegisteredInstance(view.service_name, view.status in well, view.port) for view in catalog.instances]
