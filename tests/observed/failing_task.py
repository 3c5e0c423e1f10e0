"""Runs a registry whose task `sync` dies while a file exists: `python -m tests.observed.failing_task FILE registry`.

No fault from outside ends a background task: those that are known are handled. This one stands for the unknown ones.
"""

from __future__ import annotations

import sys
from pathlib import Path

from registry_core.replica import Replica

if __name__ == "__main__":
    file = Path(sys.argv.pop(1))
    _sync = Replica._sync

    async def failing(replica: Replica) -> None:
        """Do the task's work, unless the file is there."""
        if file.exists():
            raise RuntimeError("the test wants it so")
        await _sync(replica)

    Replica._sync = failing  # type: ignore[method-assign]  # the fault that is tested
    from cli.main import main

    sys.exit(main())
