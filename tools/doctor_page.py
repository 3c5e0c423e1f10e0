"""Writes the page of `vertice doctor` from its table of findings: each with why it matters and its cure."""

from __future__ import annotations

from collections.abc import Iterator

from cli.doctor.catalogue import CHAPTERS
from cli.doctor.finding import DoctorFinding, DoctorSeverity

_HEAD = """# What `vertice doctor` finds

Made by `make map` from the table of findings in `agent/doctor/`.

    vertice doctor              # what is wrong, the worst first; exit code 1 when there is an error
    vertice doctor --verbose    # what is fine, too
    vertice doctor --strict     # warnings count as errors: for a container's start script or a CI job
    vertice doctor --json       # {"errors": 1, ..., "findings": [{"id", "severity", "what", "why", "cure"}, ...]}

It looks at the machine, or the container, that it runs in, with the settings of its environment or of `--config`: so
run it where the agent runs and as the agent runs, for instance with `docker exec`. Beside a running agent it asks that
one what the environment does not say. It changes nothing, binds no port and takes no lock; it needs no privileges,
though only root sees whose program holds a port; and it ends within 10 seconds, whatever hangs.

It sends: to each server of resolv.conf, and to the agent, a question for `ns.<zone>`, which only an agent knows, and
where that fails one for the zone itself; to each registry `GET /ready`, `/openapi.json` and `/whoami` (which tells from
which address a request comes), and one heartbeat of an instance that does not exist, which shows whether the token is
accepted. Nobody is asked to connect back: whether others can reach a service is judged by its address alone.

An **error** is something that does not work now, or will not when the agent starts. A **warning** will hurt some
day. A **note** is good to know. What stands in angle brackets is filled in.
"""


def doctor_text() -> str:
    """Return docs/doctor.md."""
    return "\n".join([_HEAD, *_chapters()])


def _chapters() -> Iterator[str]:
    for chapter in CHAPTERS:
        yield f"## {chapter.title}\n"
        described = [kind.described() for kind in chapter.kinds]
        for finding in described:
            if finding.severity is not DoctorSeverity.OK:
                yield from _entry(finding)
        fine = [f"{finding.what} (`{finding.id}`)" for finding in described if finding.severity is DoctorSeverity.OK]
        if fine:
            yield f"Fine, and shown by `--verbose`: {_escaped('; '.join(fine))}.\n"


def _entry(finding: DoctorFinding) -> Iterator[str]:
    yield f"### `{finding.id}`\n"
    yield f"*{finding.severity}*: {_escaped(finding.what)}.\n"
    yield f"{_escaped(finding.why[:1].upper() + finding.why[1:])}.\n"
    yield f"    {finding.cure}\n"


def _escaped(text: str) -> str:
    # Outside of code, Markdown takes <word> for HTML, and * for emphasis.
    parts = text.split("`")
    return "`".join(
        part.replace("<", r"\<").replace("*", r"\*") if at % 2 == 0 else part for at, part in enumerate(parts)
    )
