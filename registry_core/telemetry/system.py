"""What this process and its machine use. Read now and then in a thread; shown from memory.

Reading /proc blocks, so that nothing here may be called from a request but `latest`.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec
import psutil

from registry_core.blocking import Threads

# A registry is not unhealthy because of one busy moment.
AVERAGED_SAMPLES: Final = 12
LOOK_S: Final = 5.0


class SystemSample(msgspec.Struct, frozen=True):
    """One look: CPU of this process (100 is one core), memory of this process and of the machine."""

    cpu_percent: float
    memory_bytes: int
    machine_memory_percent: float


class SystemSampler:
    """Keeps the latest sample, and the CPU's average over the last dozen."""

    def __init__(self) -> None:
        self._threads = Threads("system", 1)
        self._process: psutil.Process | None = None  # of the one thread
        self._cpu: deque[float] = deque(maxlen=AVERAGED_SAMPLES)
        self.latest: SystemSample | None = None

    async def refresh(self) -> None:
        """Look again. The CPU is that since the last look. Raises OSError when that cannot be done now."""
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
