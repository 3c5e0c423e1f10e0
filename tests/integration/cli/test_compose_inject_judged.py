"""What `inject` writes, read by compose-go: each file loads, and its agents are told what was planned.

The judge is the library of `docker compose`; without Go these tests are skipped, saying so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.commands.compose_edit import project_with
from cli.compose.errors import ComposeError
from cli.compose.inject import injected, override_text
from cli.compose.outline import NotEditable
from cli.compose.sidecar_plan import Planning, planned
from cli.compose.sidecars import LABEL, REGISTRY_SERVICE, Options, Recipe
from tests.compose_judge import CASES, asked

pytestmark = pytest.mark.long

# As it is when nothing is set, and when everything is: agents follow the variables.
TOKEN = {"REGISTRY_SECRET": "s3cret"}
ENVIRONMENTS: list[dict[str, str]] = [
    TOKEN,
    {**TOKEN, "APP_PORT": "9000", "PREFIX": "x", "WEBPORT": "3000", "DB_PORT": "6000"},
]
OPTIONS = {
    Recipe.NETNS: Options(podman=True),
    Recipe.BESIDE: Options(recipe=Recipe.BESIDE, registry_image="vertice-registry"),
    Recipe.HOST: Options(recipe=Recipe.HOST, host_address="10.0.0.7", registry="http://127.0.0.1:8888"),
}
OWN = """\
name: mall
services:
  db: {image: postgres, container_name: "${PREFIX:-acme}-db", ports: ["${DB_PORT:-5432}:5432"]}
  Web:
    image: acme/web
    profiles: ["${STAGE:-all}"]
    ports: ["${APP_PORT:-8080}:${APP_PORT:-8080}"]
    healthcheck: {test: "curl -f http://localhost:${APP_PORT:-8080}/${PREFIX:-ok}?price=$$1"}
  api.v1: {image: acme/api, ports: ["8001:8001"], labels: {vertice.name: billing}}
  vertice-agent: {image: acme/other, ports: ["8002:8002"]}
  vertice-agent-agent: {image: acme/other, ports: ["8003:8003"]}
configs:
  vertice-agent: {content: theirs}
"""


def texts() -> dict[str, str]:
    files = sorted(CASES.glob("*.yml"))
    return {"own": OWN, **{path.name: path.read_text(encoding="utf-8") for path in files}}


def planned_of(path: Path, text: str, options: Options, environment: dict[str, str]) -> Planning | None:
    """Return the plan, None when the file cannot be read or has nothing to register."""
    try:
        found = planned(project_with(str(path), text, environment), options)
    except ComposeError:
        return None
    return found if found.sidecars else None


def written(path: Path, text: str, planning: Planning, options: Options) -> list[list[str]]:
    """Write both results beside `path`, and return the files of each."""
    sidecars = list(planning.sidecars)
    override = path.with_name("c.vertice.yml")
    override.write_text(override_text(sidecars, options, path.name, override.name, text), encoding="utf-8")
    inside = path.with_name("inside.yml")
    try:
        inside.write_text(injected(text, sidecars, options), encoding="utf-8")
    except NotEditable:
        return [[str(path), str(override)]]  # several documents are not edited in place
    return [[str(path), str(override)], [str(inside)]]


@pytest.mark.parametrize("recipe", Recipe)
@pytest.mark.parametrize("name", texts())
def test_compose_reads_what_inject_writes(name: str, recipe: Recipe, tmp_path: Path) -> None:
    text, options = texts()[name], OPTIONS[recipe]
    path = tmp_path / "c.yml"
    path.write_text(text, encoding="utf-8")
    for other in (*CASES.glob("*.inc"), *CASES.glob("*.empty")):
        (tmp_path / other.name).write_bytes(other.read_bytes())
    planning = planned_of(path, text, options, ENVIRONMENTS[0])
    if planning is None:
        return
    files = written(path, text, planning, options)
    questions = [(environment, given) for environment in ENVIRONMENTS for given in ([str(path)], *files)]
    answers = asked([{"environment": e, "files": f, "unchecked": True} for e, f in questions])
    for (environment, given), answer in zip(questions, answers, strict=True):
        if given == [str(path)]:
            base = answer
            assert name != "own" or "error" not in base
            continue
        assert ("error" in answer) == ("error" in base), answer
        if "error" in base:
            continue
        now = planned_of(path, text, options, environment)
        assert now is not None
        compare(base["project"]["services"], answer["project"], now, recipe)


def compare(base: dict[str, Any], project: dict[str, Any], planning: Planning, recipe: Recipe) -> None:
    """Compare compose-go's model with what was planned when the variables are what they are now."""
    services = project["services"]
    if recipe is Recipe.BESIDE:
        registry = services.pop(REGISTRY_SERVICE)
        assert registry["environment"]["REGISTRY_SECRET"] == "s3cret"
        assert registry["networks"].keys() == {n for s in planning.sidecars for n in s.networks or ("default",)}
    agents = {name: body for name, body in services.items() if LABEL in (body.get("labels") or {})}
    assert services.keys() - agents.keys() == base.keys()
    assert agents.keys() == {sidecar.agent for sidecar in planning.sidecars}
    for name, body in base.items():
        assert services[name]["image"] == body["image"]
        assert services[name].get("ports") == body.get("ports")
    for sidecar in planning.sidecars:
        if recipe is Recipe.HOST:
            assert f"port = {sidecar.port}\n" in "".join(c.get("content", "") for c in project["configs"].values())
            continue
        environment = agents[sidecar.agent]["environment"]
        assert environment["SERVICE_NAME"] == sidecar.registered_name
        assert environment["SERVICE_PORT"] == str(sidecar.port)
        assert environment["SERVICE_HEALTH_ENDPOINT"] == sidecar.health_endpoint
        assert "$" not in environment["SERVICE_HOST"]
        container = base[sidecar.service].get("container_name")
        assert environment["SERVICE_HOST"] in (sidecar.service, container)
