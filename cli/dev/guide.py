"""The texts of `vertice dev`: the findings, what to try next, and what a child's death means.

Pure: it returns lines and prints nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from cli.dev.plan import Plan, PlanFinding, PlannedInstance, Weight
from cli.plurals import counted
from registry_core.domain.names import label_of

DNS_ZONE: Final = "vertice.internal"
# Real fleets have dozens of wrong addresses: printing them all at the start would hide the rest.
SHOWN_DOUBTS: Final = 5
_LESSER: Final = ((Weight.DOUBTFUL, "Looks wrong, but does not matter here"), (Weight.NOTED, "Worth knowing"))


class Ports(msgspec.Struct, frozen=True):
    """The ports of the three listeners on 127.0.0.1."""

    registry: int = 8888
    http: int = 8880
    dns: int = 8653

    @property
    def registry_url(self) -> str:
        return f"http://127.0.0.1:{self.registry}"

    @property
    def agent_url(self) -> str:
        return f"http://127.0.0.1:{self.http}"


def findings_text(plan: Plan, check_command: str | None = None) -> Iterator[str]:
    """Return the findings, one per line. With a `check_command`, which shows all, only the first of the lesser ones."""
    unusable = plan.of_weight(Weight.UNUSABLE)
    if unusable:
        yield f"Cannot be used ({len(unusable)}):"
        yield from _indented(unusable)
    for weight, title in _LESSER:
        found = plan.of_weight(weight)
        if found:
            yield f"{title} ({len(found)}):"
            shown = found if check_command is None else found[:SHOWN_DOUBTS]
            yield from _indented(shown)
            if len(shown) < len(found):
                yield f"  ... and {len(found) - len(shown)} more: {check_command}"


def _indented(findings: Sequence[PlanFinding]) -> Iterator[str]:
    return (f"  - {finding}" for finding in findings)


def next_text(instances: Sequence[PlannedInstance], ports: Ports, command: str, registry_pid: int) -> Iterator[str]:
    """Return what to try next, with names and ports from this fleet."""
    if not instances:
        yield "There is nothing to look up: no service of the file can be used."
        return
    names = list(dict.fromkeys(i.service_name for i in instances))
    several = max(names, key=lambda name: sum(i.service_name == name for i in instances))
    spelled = next((name for name in names if "_" in name), names[0])
    other = next((name for name in names if name not in (several, spelled)), names[-1])
    first = next(i for i in instances if i.service_name == several)
    agent = "" if ports == Ports() else f" --agent {ports.agent_url}"
    registry = "" if ports == Ports() else f" --registry {ports.registry_url}"
    dig = f"dig @127.0.0.1 -p {ports.dns}"
    resolve_url = f"{ports.agent_url}/resolve/{other}?format=url"
    yield "In another terminal, try programs that know nothing about this one:"
    yield f"  {dig} _{several}._tcp.{DNS_ZONE} SRV"
    yield f"  {dig} {label_of(spelled)}.{DNS_ZONE} A        # '_' and '-' are the same"
    yield f"  curl {ports.agent_url}/services/{other}"
    yield f"""  curl "$(curl -s '{resolve_url}')/health\""""
    yield f"  {command} services{agent}"
    yield f"  {command} resolve {other}{agent}"
    yield f"  {command} watch{registry}"
    yield "Then break something, and look again:"
    alone = sum(i.service_name == several for i in instances) == 1
    then = "it turns critical, and stays because there is no other" if alone else "it leaves the answers"
    yield f"  curl -X POST http://{first.address}/fail      # its check fails: {then} (undo: /recover)"
    yield f"  kill {registry_pid}      # the registry: lookups continue"


def death_text(name: str, exit_code: int, lines: Sequence[str], restart: str) -> Iterator[str]:
    """Return the message about a child that ended on its own."""
    how = f"was ended by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
    yield f"The {name} {how}. Its last output:"
    yield from (f"  | {line[:200]}" for line in lines)
    if name == "registry":
        yield "Lookups continue, from the agent's memory. To start it again (the agent reconnects by itself):"
    else:
        yield f"The rest continues without the {name}. To start it again:"
    yield f"  {restart}"


def farewell_text(count: int, left: int | None, *, drained: bool) -> str:
    """Return what became of `count` instances; `left` are still registered, None if unknown."""
    if left is None:
        why = "the registry is down, or has just started, and cannot tell what it still has"
        return f"{counted(count, 'instance')} ended; {why}."
    how = "" if drained else " (the agent did not end in time, and was killed)"
    return f"{counted(max(0, count - left), 'instance')} deregistered; {left} left at the registry{how}."


def shown_command(executable: Path, cwd: Path) -> str:
    """Return how the user can call `vertice`: relative to the working directory when that is shorter."""
    script = executable.parent / "vertice"
    if not script.exists():
        return f"{executable} -m cli.main"
    return min(str(script), os.path.relpath(script, cwd), key=len)
