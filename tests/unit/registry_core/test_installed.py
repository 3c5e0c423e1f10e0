"""The version is the one that is installed."""

from __future__ import annotations

from importlib.metadata import version

from registry_core.installed import VERSION


def test_the_version_is_that_of_the_installation() -> None:
    assert version("vertice-registry") == VERSION
