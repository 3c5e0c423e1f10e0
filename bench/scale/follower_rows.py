"""The rows about followers: each is a difference, as for replicas. Nothing where a replica cannot follow a registry."""

from __future__ import annotations

import asyncio
from typing import Final

import uvloop

from bench.scale.meter import beyond, middle_idle
from bench.scale.replica_rows import (
    BATCH,
    BATCHES_PER_S,
    CREATED,
    FILLED,
    MEGA,
    ConstantValues,
)
from bench.scale.rig import Rig, beat, change, rig
from registry_core.replica_settings import SETTINGS

FOLLOW: Final = "REGISTRY_FOLLOW"
CHANGES: Final = 80
CHANGES_PER_S: Final = 20.0
SINGLES: Final = 200
SINGLES_PER_S: Final = 50.0


def measured() -> dict[str, ConstantValues]:
    """Return the constants of a follower by row; none when there are no followers."""
    if FOLLOW not in {setting.name for setting in SETTINGS}:
        print(f"NOT MEASURED: followers: this registry has no setting {FOLLOW}")
        return {}
    with rig() as made:
        return {"followers": uvloop.run(_measured(made))}


async def _measured(made: Rig) -> ConstantValues:
    first = made.start()
    url = f"http://127.0.0.1:{first}"
    follower = made.follow(url)
    await asyncio.sleep(3)
    empty_mb = made.memory_mb(1)
    idle = await middle_idle(made)
    made.fill(FILLED)
    await made.known(first, FILLED)
    made.stop(1)
    follower = made.follow(url)
    await made.known(follower, FILLED)
    await asyncio.sleep(3)
    full_mb = made.memory_mb(1)
    changed, _ = await beyond(
        made,
        first,
        lambda turn: [change(number, 31 + turn) for number in range(CHANGES)],
        CHANGES_PER_S,
        status=CREATED,
    )
    in_batches = [beat(number, BATCH) for number in range(0, FILLED, BATCH)]
    batches, _ = await beyond(made, follower, lambda _: in_batches, BATCHES_PER_S)
    one_by_one = [beat(number, 1) for number in range(SINGLES)]
    singles, _ = await beyond(made, follower, lambda _: one_by_one, SINGLES_PER_S)
    instance_us = max(0.0, (batches.cpu_us[1] - singles.cpu_us[1]) / (BATCH - 1))
    return {
        "follower.idle_us": idle.cpu_us[1],
        "follower.change_us": changed.cpu_us[1],
        "follower.pass_us": max(0.0, singles.cpu_us[1] - instance_us),
        "follower.pass_instance_us": instance_us,
        "follower.memory": empty_mb,
        "follower.memory_instance": (full_mb - empty_mb) * MEGA / FILLED,
    }
