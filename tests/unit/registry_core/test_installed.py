"""The version is the one that is installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pytest

from registry_core.installed import VERSION


def test_the_version_is_that_of_the_installation() -> None:
    try:
        installed = version("vertice-registry")
    except PackageNotFoundError:
        pytest.skip("NOT TRIED: the product is run from a checkout that is not installed")
    assert installed == VERSION
