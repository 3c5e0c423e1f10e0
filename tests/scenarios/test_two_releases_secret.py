"""Two releases with a secret between them: the previous one sends it as it is, this one signs."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.previous import THIS, Release, previous_release
from tests.programs import VERTICE, wait_until
from tests.scenarios.two_releases import Place, agent, ask, catalog, replica

pytestmark = pytest.mark.long

SECRET: Final = "q7-shared-by-both-z9"
SERVICE: Final = {
    "SERVICE_NAME": "billing",
    "SERVICE_HOST": "127.99.0.1",
    "SERVICE_PORT": "8034",
    "SERVICE_INSTANCE_ID": "billing-1",
    "VERTICE_REGISTRY_TOKEN": SECRET,
}


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return previous_release(tmp_path_factory.mktemp("previous"))


@contextlib.contextmanager
def places(tmp_path: Path) -> Iterator[tuple[Place, Place]]:
    """Return a registry with a secret, and an agent that has it, too; neither is started."""
    registry = replica(tmp_path, "registry", "memory:", {"REGISTRY_SECRET": SECRET, "REGISTRY_LEASE_TTL": "60"})
    its = agent(tmp_path, "agent", [registry], SERVICE)
    try:
        yield registry, its
    finally:
        its.stop()
        registry.stop()


def becomes(registry: Place, status: str) -> None:
    """Wait until the instance is at this status there; "" when it is gone."""
    wait_until(lambda: status_at(registry) == status, f"{status or 'gone'} at {registry.name}", timeout_s=30)


def status_at(registry: Place) -> str:
    return str(catalog(registry)[1].get("billing-1", ""))


@pytest.mark.timeout(120)
def test_an_agent_signs_for_every_release_of_the_registry_that_comes_and_goes(tmp_path: Path, before: Release) -> None:
    """Behind one address: the previous release, this one, a rollback, and this one again."""
    with places(tmp_path) as (registry, its):
        registry.start(before)
        its.start(THIS)
        for release in (before, THIS, before, THIS):
            if registry.release != release.name:
                registry.start(release)
            becomes(registry, "passing")
        assert ask(its.port, "POST", "/drain?service=billing")[0] == 200
        becomes(registry, "draining")
        its.stop()
        becomes(registry, "")


@pytest.mark.timeout(120)
def test_an_agent_of_the_previous_release_sends_its_secret_to_this_one(tmp_path: Path, before: Release) -> None:
    with places(tmp_path) as (registry, its):
        registry.start(THIS)
        its.start(before)
        becomes(registry, "passing")
        assert ask(registry.port, "POST", "/heartbeat", {"service_name": "billing"})[0] == 401
        its.stop()
        becomes(registry, "")


@pytest.mark.timeout(120)
def test_with_one_replica_of_each_release_an_agent_writes_to_whichever_is_there(
    tmp_path: Path, before: Release
) -> None:
    secret = {"REGISTRY_SECRET": SECRET, "REGISTRY_LEASE_TTL": "60"}
    old, new = (replica(tmp_path, name, "memory:", secret) for name in ("old", "new"))
    its = agent(tmp_path, "agent", [old, new], SERVICE)
    with contextlib.ExitStack() as stack:
        for place in (its, new, old):
            stack.callback(place.stop)
        old.start(before)
        new.start(THIS)
        its.start(THIS)
        wait_until(lambda: "passing" in (status_at(old), status_at(new)), "it is registered")
        for gone, left, release in ((old, new, before), (new, old, THIS), (old, new, before)):
            gone.stop()
            becomes(left, "passing")
            gone.start(release)


@pytest.mark.timeout(120)
def test_the_command_of_the_previous_release_drains_at_this_agent(tmp_path: Path, before: Release) -> None:
    with places(tmp_path) as (registry, its):
        registry.start(THIS)
        its.start(THIS)
        becomes(registry, "passing")
        for release, words, status in (
            (before, ("drain", "billing"), "draining"),
            (THIS, ("drain", "billing", "--undo"), "passing"),
            (THIS, ("drain", "billing"), "draining"),
        ):
            vertice = release.vertice if release is before else VERTICE
            done = subprocess.run(
                [*vertice, *words, "--agent", its.url], capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == 0, done.stderr
            becomes(registry, status)
