"""Runs this release under another version's name, as a program: `python -m tests.observed.other_version agent ...`.

The release before this one does not report its version, so that two versions can be told apart only from now on.
"""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Final

VERSION: Final = "9.9.9"
_REAL: Final = importlib.metadata.version


def _version(distribution_name: str) -> str:
    return VERSION if distribution_name == "vertice-registry" else _REAL(distribution_name)


if __name__ == "__main__":
    importlib.metadata.version = _version
    from cli.main import main

    sys.exit(main())
