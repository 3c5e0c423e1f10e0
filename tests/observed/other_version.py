"""Runs this release under another version's name, as a program: `python -m tests.observed.other_version agent ...`.

The release before this one does not report its version, so that two versions can be told apart only from now on.
"""

from __future__ import annotations

import sys
from typing import Final

from registry_core import installed

VERSION: Final = "9.9.9"

if __name__ == "__main__":
    setattr(installed, "VERSION", VERSION)  # noqa: B010 - a type checker refuses to assign a constant
    from cli.main import main

    sys.exit(main())
