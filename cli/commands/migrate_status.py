"""Show the progress of a migration: what is registered, and which hard-coded addresses may go.

An address may go when `vertice compose rewrite` would replace it now. The command asks the registry and changes
nothing.
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

from cli.client import Unreachable, ask, registry_url, signer_in
from cli.commands.compose_edit import opened, variables_with
from cli.commands.compose_inject import override_path
from cli.commands.migrate import add_waves, fleet_of
from cli.compose.audit import Audit
from cli.compose.errors import ComposeError
from cli.compose.existing_agents import ExistingAgents, existing_agents
from cli.compose.model import Project
from cli.compose.outline import NotEditable
from cli.compose.progress import RegisteredInstance, progress_of, registered_agents, status_json, status_text
from cli.compose.rewrite import rewritten
from cli.compose.value_edits import Rewriting, UnchangedAddress
from cli.exit_codes import FAILED, OK, USAGE, exit_codes
from cli.options import JSON, add_registry
from registry_core.api.schemas import CatalogView
from registry_core.domain.records import Status
from registry_core.security.sending import RequestSigner
from registry_core.shared_secret import SECRET

OLD_S: Final = 10.0
ANSWER_S: Final = 30.0
MAX_ANSWER_BYTES: Final = 256 * 1024 * 1024

EPILOG: Final = f"""examples:
  vertice migrate status compose.yml --registry 10.0.0.2:8888
  vertice migrate status compose.yml -o json

The secret in {SECRET.name} is sent to the registry. Use the same --by, --pilot and --wave-size as for the plan, so
that the waves are the same.

{exit_codes(failed="failed: nothing answers at the address, or the registry does not know everything")}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice migrate status`."""
    add_waves(parser)
    add_registry(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice migrate status` and return its exit code."""
    url, signer = registry_url(arguments, environment), signer_in(environment)
    try:
        fleet = fleet_of(arguments, environment)
        instances = _registered(url, signer)
        agents = registered_agents(fleet.found.project, instances, _standing(arguments, environment), fleet.zones[-1])
        would = _would(arguments.files, fleet.found, fleet.project, agents)
    except ComposeError as error:
        print(f"vertice: {error.hinted}", file=sys.stderr)
        return USAGE
    except Unreachable as error:
        print(f"vertice: {error}; what is registered is not known", file=sys.stderr)
        return FAILED
    progress = progress_of(fleet.found, fleet.waves, instances, would)
    if arguments.output == JSON:
        print(json.dumps(status_json(progress), indent=2))
    else:
        print("\n".join(status_text(progress)))
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


def _registered(url: str, signer: RequestSigner) -> list[RegisteredInstance]:
    """Return the registry's instances. Raises Unreachable when it does not answer, or may not know them all."""
    answer = ask("GET", url, "/catalog", signer=signer, timeout_s=ANSWER_S, most_bytes=MAX_ANSWER_BYTES)
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
