"""Runs a registry whose task `sync` dies while a file exists: `python -m tests.observed.failing_task FILE registry`.

No fault from outside ends a background task: those that are known are handled. This one stands for the unknown ones.
"""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from registry_core.replica import Replica

if __name__ == "__main__":
    file = Path(sys.argv.pop(1))
    _sync = Replica._sync

    def failing(self: Replica) -> Coroutine[Any, Any, None]:
        """Do the task's work, unless the file is there."""
        if file.exists():
            raise RuntimeError("the test wants it so")
        return _sync(self)

    setattr(Replica, "_sync", failing)  # noqa: B010 - a type checker refuses to assign a method
    from cli.main import main

    sys.exit(main())
