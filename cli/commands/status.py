"""Show the deployment at a glance: replicas, shards, agents, services, guards, certificates; and this machine's agent.

It asks one registry, which asks the other replicas. What is wrong comes first. With --agent it shows that agent alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

from cli.client import Unreachable, agent_url, said_by, signer_in
from cli.exit_codes import FAILED, OK, exit_codes
from cli.options import JSON, add_agent, add_output, add_registry
from cli.parser import CommandParser
from cli.status.agent_lines import agent_lines
from cli.status.deployment_lines import deployment_lines
from cli.status.redraw import Screen, interval
from cli.status.sources import agent_at, agents_at, deployment_at, registry_of

UNHEALTHY: Final = "unhealthy"
EVERY_S: Final = 2.0
EPILOG: Final = f"""examples:
  vertice status
  vertice status --watch
  vertice status --registry registry.example.internal:8888 -o json | jq -r '.deployment.reasons[]'
  vertice status --agent 127.0.0.1:8880

-o json prints an object: "registry", "deployment" and "agents" as the registry says them, "agent", "health" and "self"
as the agent does; null for what does not answer, with "problem". With --watch it is one object a line.

{
    exit_codes(
        done="the deployment, and an agent on this machine, are healthy or degraded: lookups are answered",
        failed="failed: no registry answers (with --agent: no agent), or what answers is unhealthy",
    )
}"""


def add_arguments(parser: CommandParser) -> None:
    """Add the arguments of `vertice status`."""
    add_output(parser, older=("--format",))
    parser.add_argument(
        "--watch",
        nargs="?",
        const=EVERY_S,
        type=interval,
        metavar="SECONDS",
        help=f"show it again and again (default: every {EVERY_S:g} s) until Ctrl-C",
    )
    add_agent(parser)
    add_registry(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice status` and return its exit code. Raises SettingsError."""
    screen = Screen()
    while True:
        state = _state(arguments, environment)
        try:
            text = _text(state)
        except Unreachable as error:  # it answers with other fields than a registry or an agent
            state["problem"], text = str(error), ""
        if not text:
            print(f"vertice: {state['problem']}", file=sys.stderr, flush=True)
        elif arguments.output == JSON:
            print(json.dumps(state, indent=None if arguments.watch else 2), flush=True)
        else:
            screen.show(text)
        if not arguments.watch:
            return OK if is_well(state) else FAILED
        time.sleep(arguments.watch)


def _state(arguments: argparse.Namespace, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what answers say, and in "problem" what does not answer. Raises SettingsError."""
    state: dict[str, Any] = {"registry": None, "deployment": None, "agents": None}
    state |= {"agent": agent_url(arguments, environment), "health": None, "self": None, "problem": ""}
    alone = arguments.agent is not None and arguments.registry is None
    try:
        state["health"], state["self"] = agent_at(state["agent"])
    except Unreachable as error:
        if alone:
            state["problem"] = str(error)
    if alone:
        return state
    url = state["registry"] = registry_of(arguments, environment, state["self"])
    signer = signer_in(environment)
    try:
        state["deployment"] = deployment_at(url, signer)
        state["agents"] = agents_at(url, signer)
    except Unreachable as error:
        state["problem"] = str(error)
    return state


def is_well(state: Mapping[str, Any]) -> bool:
    """Return whether what was asked for answers, and nothing that answers is unhealthy."""
    told = [part["status"] for part in (state["deployment"], state["health"]) if part is not None]
    return not state["problem"] and UNHEALTHY not in told


def _text(state: Mapping[str, Any]) -> str:
    """Return the text for people; empty when nothing answers."""
    lines: list[str] = []
    if state["deployment"] is not None:
        with said_by("a registry", state["registry"]):
            lines += deployment_lines(state["registry"], state["deployment"], state["agents"])
    elif state["self"] is not None and state["registry"] is not None:
        lines += [f"deployment  unknown: {state['problem']}"]
    if lines and state["self"] is None:
        lines.append(f"agent       none on this machine ({state['agent']})")
    if state["self"] is not None:
        lines += [""] if lines else []
        with said_by("an agent", state["agent"]):
            lines += agent_lines(state["agent"], state["health"], state["self"])
    return "\n".join(lines)
