"""The fleets that every proof runs on: our example, and a real one where it is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "compose" / "example.yml"


def real_fleet() -> Path:
    """Return where a real compose file may be. It is no part of the project, and may be missing."""
    return Path(os.environ.get("VERTICE_FLEET", ROOT.parent / "shared" / "fleet" / "compose.yml"))


def fleet(name: str) -> Path:
    """Return the compose file of a fleet, or skip the test, saying why."""
    if name == "example":
        return EXAMPLE
    path = real_fleet()
    if not path.is_file():
        pytest.skip(f"there is no real fleet at {path} (VERTICE_FLEET names one)")
    return path


FLEETS = ("example", "real")
