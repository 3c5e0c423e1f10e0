"""The disk of a Redis master is full for a while: writes are refused, lookups continue, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.chaos.system import Outcome, Trial, registry
from tests.programs import wait_until
from tests.redis_topology import RedisServer, Topology

# Enough for the append-only file of this load, and quickly filled by something else.
DISK: Final = "16m"
FULL_S: Final = 4.0
BREAKER_S: Final = 60.0


def why_not() -> str:
    """Return why no small disk can be created here, or an empty text."""
    return "" if os.geteuid() == 0 else "only root can mount a disk"


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Make `folder` a small in-memory disk for the duration of a `with`."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)], check=True, timeout=10)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=10)


def disk_full(folder: Path, seed: int) -> Outcome:
    """Fill the disk with the master's append-only file, and empty it again."""
    redis = Topology(folder / "redis")
    master = redis.shard("a").nodes[0]
    with contextlib.ExitStack() as stack:
        stack.enter_context(small_disk(master.folder))
        stack.callback(redis.stop)
        redis.start()
        master.ask("CONFIG", "SET", "appendonly", "yes")
        wait_until(lambda: "aof_enabled:1" in str(master.ask("INFO", "persistence")), "it has an append-only file")
        replica = stack.enter_context(registry(folder, redis.url))
        running = Trial(folder, redis, replica, seed)
        stack.callback(running.load.stop)
        running.grows()
        filler = master.folder / "filler"
        _fill(filler)
        wait_until(lambda: _refuses(master), "it can no longer append", timeout_s=20)
        running.go_on(FULL_S)
        filler.unlink()
        running.grows(timeout_s=BREAKER_S)
        return running.end("the master's disk full, then empty again")


def _fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def _refuses(master: RedisServer) -> bool:
    return "aof_last_write_status:err" in str(master.ask("INFO", "persistence"))
