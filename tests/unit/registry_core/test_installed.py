"""The installed version."""

from __future__ import annotations

import re

from registry_core.installed import VERSION


def test_the_version_is_one_of_semver_or_0_in_a_checkout() -> None:
    assert re.fullmatch(r"0|\d+\.\d+\.\d+\S*", VERSION)
