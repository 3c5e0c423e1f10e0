"""A program with one stand-in: `python -m tests.scenarios.server SERVICE HOST PORT`."""

from __future__ import annotations

import asyncio
import sys

from agent.cli.process import run_until_signal
from agent.dev.plan import PlannedInstance
from agent.dev.standin import StandIns


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
