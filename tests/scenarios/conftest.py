"""The fleets that several scenarios use. Each is started once, whatever the order of the tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from cli.dev.plan_builder import read_plan
from tests.fleets import FLEETS, fleet
from tests.programs import start_as_installed
from tests.scenarios.system import Fleet, dev

start_as_installed()


def _up(name: str, folders: pytest.TempPathFactory) -> Iterator[Fleet]:
    file = fleet(name)
    with dev(file, folders.mktemp(name)) as system:
        yield Fleet(system, read_plan(file))


@pytest.fixture(scope="session")
def example_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    yield from _up("example", tmp_path_factory)


@pytest.fixture(scope="session")
def real_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    yield from _up("real", tmp_path_factory)


@pytest.fixture(params=FLEETS)
def up(request: pytest.FixtureRequest) -> Fleet:
    """A running fleet; a test that uses it runs once on each fleet, and must leave it unchanged."""
    return cast("Fleet", request.getfixturevalue(f"{request.param}_fleet"))
