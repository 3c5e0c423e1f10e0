"""CPU and memory use of this process and its machine: sampled in a thread, shown from memory.

Reading /proc blocks, so a request may use nothing here but `latest`.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec
import psutil

from registry_core.blocking import Threads

# One busy moment must not make a registry unhealthy.
AVERAGED_SAMPLES: Final = 12
LOOK_S: Final = 5.0


class SystemSample(msgspec.Struct, frozen=True):
    """One sample: CPU of this process (100 is one core), memory of this process and of the machine."""

    cpu_percent: float
    memory_bytes: int
    machine_memory_percent: float


class SystemSampler:
    """Keeps the latest sample, and the average CPU of the last dozen."""

    def __init__(self) -> None:
        self._threads = Threads("system", 1)
        self._process: psutil.Process | None = None  # of the one thread
        self._cpu: deque[float] = deque(maxlen=AVERAGED_SAMPLES)
        self.latest: SystemSample | None = None

    async def refresh(self) -> None:
        """Take a sample; its CPU covers the time since the last one. Raises OSError when it cannot be taken now."""
        self.latest = await self._threads.run(self._look, timeout_s=LOOK_S)
        self._cpu.append(self.latest.cpu_percent)

    @property
    def average_cpu_percent(self) -> float:
        return sum(self._cpu) / len(self._cpu) if self._cpu else 0.0

    def _look(self) -> SystemSample:
        if self._process is None:  # made here, because it reads /proc
            self._process = psutil.Process()
        return SystemSample(
            cpu_percent=self._process.cpu_percent(None),
            memory_bytes=self._process.memory_info().rss,
            machine_memory_percent=psutil.virtual_memory().percent,
        )
