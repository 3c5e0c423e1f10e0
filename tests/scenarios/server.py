"""A program that runs one stand-in: `python -m tests.scenarios.server SERVICE HOST PORT`."""

from __future__ import annotations

import asyncio
import sys

from cli.dev.plan import PlannedInstance
from cli.dev.standin import StandIns
from cli.process import run_until_signal


async def start() -> StandIns:
    stand_ins = StandIns()
    for error in (
        await stand_ins.start([PlannedInstance(sys.argv[1], sys.argv[2], int(sys.argv[3]), "/health")])
    ).values():
        raise error
    await asyncio.sleep(0)
    return stand_ins


if __name__ == "__main__":
    sys.exit(run_until_signal(start))
