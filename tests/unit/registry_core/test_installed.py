"""The version of the installation is known, whatever way it was installed."""

from __future__ import annotations

from registry_core.installed import VERSION, installed_version


def test_a_version_is_a_word() -> None:
    assert installed_version() == VERSION
    assert VERSION
    assert not VERSION.isspace()
