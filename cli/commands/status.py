"""Show how the agent on this machine is: its health with the reasons, its registry, its view, and its own services."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

from cli.client import HttpResponse, Unreachable, agent_url, get, said_by
from cli.exit_codes import FAILED, OK, exit_codes
from cli.options import JSON, add_agent, add_output
from cli.plurals import counted
from cli.table import aligned
from cli.terminal import printable

UNHEALTHY: Final = "unhealthy"
EPILOG: Final = f"""examples:
  vertice status
  vertice status -o json | jq -r .health.status

{
    exit_codes(
        done="the agent answers lookups: it is healthy, or degraded",
        failed="failed: nothing answers at the address, or the agent is unhealthy",
    )
}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice status`."""
    add_output(parser, older=())
    add_agent(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice status` and return its exit code. Raises SettingsError."""
    url = agent_url(arguments)
    try:
        with said_by("an agent", url):
            health = _report(get(url, "/health"))
            about = _report(get(url, "/self"))
            if arguments.output == JSON:
                text = json.dumps({"agent": url, "health": health, "self": about}, indent=2)
            else:
                text = "\n".join(lines(url, health, about))
            well = health["status"] != UNHEALTHY
    except Unreachable as error:
        print(f"vertice: {error}", file=sys.stderr)
        return FAILED
    print(text)
    return OK if well else FAILED


def _report(answer: HttpResponse) -> dict[str, Any]:
    """Return the body of a report. Raises Unreachable; TypeError for another body. An unhealthy agent says 503."""
    said = answer.json()
    if not isinstance(said, dict) or answer.status not in (HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE):
        raise TypeError("it is no report")
    return said


def lines(url: str, health: Mapping[str, Any], about: Mapping[str, Any]) -> Iterator[str]:
    """Return the output: what is wrong first, then the registry, the view and the services."""
    yield f"agent     {url}: {health['status']}, up {_duration(about['uptime_seconds'])}"
    for reason in health.get("reasons", ()):
        yield f"          {printable(str(reason))}"
    sync, view = about["sync"], about["view"]
    registry = printable(str(sync["registry"] or "none"))
    yield f"registry  {registry}: {'connected' if sync['connected'] else 'not connected'}"
    age = "" if view["freshness"] == "fresh" else f", confirmed {_duration(view['age_seconds'])} ago"
    known = f"{counted(view['services'], 'service')}, {counted(view['instances'], 'instance')}"
    yield f"view      {known}, {view['freshness']}{age}"
    own = about["services"]
    yield f"services  {counted(len(own), 'service')} of this agent{':' if own else ''}"
    if own:
        yield from aligned([("  SERVICE", "INSTANCE", "STATUS", "REGISTRATION", "PROBLEM"), *map(_row, own)])


def _row(service: Mapping[str, Any]) -> tuple[str, ...]:
    cells = (
        f"  {service['service_name']}",
        service["instance_id"],
        service["held"] or service["status"] or "unchecked",
        service["phase"],
        service["problem"] or "-",
    )
    return tuple(printable(str(cell)) for cell in cells)


def _duration(seconds: float) -> str:
    for unit, length_s in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{seconds:.0f} s"
