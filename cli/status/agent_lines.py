"""The state of one agent, in lines for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cli.durations import lasting
from cli.plurals import counted
from cli.table import aligned
from cli.terminal import printable


def agent_lines(url: str, health: Mapping[str, Any], about: Mapping[str, Any]) -> Iterator[str]:
    """Return the lines: what is wrong first, then the registry, the view and the services."""
    yield f"agent     {url}: {health['status']}, up {lasting(about['uptime_seconds'])}"
    for reason in health.get("reasons", ()):
        yield f"          {printable(str(reason))}"
    sync, view = about["sync"], about["view"]
    registry = printable(str(sync["registry"] or "none"))
    yield f"registry  {registry}: {'connected' if sync['connected'] else 'not connected'}"
    age = "" if view["freshness"] == "fresh" else f", confirmed {lasting(view['age_seconds'])} ago"
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
