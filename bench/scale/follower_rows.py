"""The rows about followers: each is a difference, as for replicas. Nothing where a replica cannot follow a registry."""

from __future__ import annotations

import asyncio
from typing import Final

import uvloop

from bench.load import flood
from bench.scale.meter import SETTLED_S, beyond, idle_share
from bench.scale.replica_rows import (
    BATCH,
    BATCHES_PER_S,
    CHANGES,
    CHANGES_PER_S,
    CREATED,
    FILLED,
    MEGA,
    SINGLES,
    SINGLES_PER_S,
    Values,
)
from bench.scale.rig import Rig, beat, change, rig
from registry_core.replica_settings import SETTINGS

FOLLOW: Final = "REGISTRY_FOLLOW"


def measured() -> dict[str, Values]:
    """Return the constants of a follower by row; none when there are no followers."""
    if FOLLOW not in {setting.name for setting in SETTINGS}:
        print(f"NOT MEASURED: followers: this registry has no setting {FOLLOW}")
        return {}
    with rig() as made:
        return {"followers": uvloop.run(_measured(made))}


async def _measured(made: Rig) -> Values:
    first = made.start()
    url = f"http://127.0.0.1:{first}"
    follower = made.follow(url)
    await asyncio.sleep(3)
    empty_mb = made.memory_mb(1)
    idle = await idle_share(made)
    made.fill(FILLED)
    await made.known(first, FILLED)
    made.stop(1)
    follower = made.follow(url)
    await made.known(follower, FILLED)
    await asyncio.sleep(3)
    full_mb = made.memory_mb(1)
    quiet = await idle_share(made)
    requests = [change(number, 31) for number in range(CHANGES)]
    changed, _ = await beyond(made, quiet, first, requests, CHANGES_PER_S, status=CREATED)
    await flood(follower, [beat(0, 1)] * 20, 4)
    in_batches = [beat(number, BATCH) for number in range(0, FILLED, BATCH)]
    batches, _ = await beyond(made, quiet, follower, in_batches, BATCHES_PER_S, settled_s=SETTLED_S)
    one_by_one = [beat(number, 1) for number in range(SINGLES)]
    singles, _ = await beyond(made, quiet, follower, one_by_one, SINGLES_PER_S, settled_s=SETTLED_S)
    batch_us, single_us = batches.cpu_us[1] / (FILLED / BATCH), singles.cpu_us[1] / SINGLES
    instance_us = max(0.0, (batch_us - single_us) / (BATCH - 1))
    return {
        "follower.idle_us": idle.cpu_us[1],
        "follower.change_us": changed.cpu_us[1] / CHANGES,
        "follower.pass_us": single_us - instance_us,
        "follower.pass_instance_us": instance_us,
        "follower.memory": empty_mb,
        "follower.memory_instance": (full_mb - empty_mb) * MEGA / FILLED,
    }
