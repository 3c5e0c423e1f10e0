"""What is a job and not a service."""

from __future__ import annotations

import pytest

from cli.compose.jobs import Jobs
from cli.compose.reader import project_of


def why(body: str, other: str = "{}") -> tuple[str | None, str | None]:
    project = project_of([("c.yml", f"services: {{work: {{image: x, {body}}}, other: {other}}}".encode())])
    jobs = Jobs(project)
    return jobs.why(project.services["work"]), jobs.why_likely(project.services["work"])


def test_whom_another_waits_for_until_it_has_ended_is_a_job() -> None:
    waits = "{depends_on: {work: {condition: service_completed_successfully}}}"
    certain, likely = why("ports: ['80']", waits)
    assert certain == likely == "it is a job: other waits until it has ended (service_completed_successfully)"
    assert why("", "{depends_on: {work: {condition: service_healthy}}}") == (None, None)


@pytest.mark.parametrize("mode", ["replicated-job", "global-job"])
def test_the_modes_of_jobs_are_jobs(mode: str) -> None:
    assert why(f"deploy: {{mode: {mode}}}")[0] == f"it is a job (mode: {mode})"


@pytest.mark.parametrize(
    ("body", "likely"),
    [
        ('restart: "no"', True),
        ("restart: no", True),
        ("deploy: {restart_policy: {condition: none}}", True),
        ("restart: always, deploy: {restart_policy: {condition: none}}", True),
        ('restart: "no", ports: ["80:80"]', False),
        ('restart: "no", healthcheck: {test: "true"}', False),
        ("restart: on-failure", False),
        ("expose: [80]", False),
    ],
)
def test_who_may_end_and_serves_nobody_is_probably_a_job(body: str, likely: bool) -> None:
    certain, probable = why(body)
    assert certain is None
    assert (probable is not None) is likely
