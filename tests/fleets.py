"""The fleets that are used for end-to-end tests: our example, and a real one if there is one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "compose" / "example.yml"


def real_fleet() -> Path:
    """Return where a real compose file may be. It is not part of the project and may be missing."""
    return Path(os.environ.get("VERTICE_FLEET", ROOT.parent / "shared" / "fleet" / "compose.yml"))


def fleet(name: str) -> Path:
    """Return the compose file of a fleet, or skip the test with the reason."""
    if name == "example":
        return EXAMPLE
    path = real_fleet()
    if not path.is_file():
        pytest.skip(f"there is no real fleet at {path} (VERTICE_FLEET names one)")
    return path


FLEETS = ("example", "real")
