"""A child process of `vertice dev`: runs in its own session, logs to a file, and is stopped within a timeout.

In its own session Ctrl-C does not reach it: only the supervisor gets the signal, and stops the children in
the right order. This module does not know what the children do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

TAIL_BYTES: Final = 4096
# Settings of another agent or registry that the user runs; they must not affect `vertice dev`.
_OTHERS: Final = ("AGENT_", "REGISTRY_", "SERVICE_", "VERTICE_", "HEARTBEAT_INTERVAL", "INITIAL_WAIT_TIMEOUT")


class Child:
    """One child process."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @classmethod
    async def start(cls, name: str, argv: Sequence[str], settings: Mapping[str, str], log: Path) -> Child:
        """Start `argv` with `settings` as the only Vértice settings in its environment."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(_OTHERS)}
        out = await asyncio.to_thread(log.open, "ab")
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=asyncio.subprocess.STDOUT,
                env={**inherited, **settings},
                start_new_session=True,
            )
        finally:
            out.close()
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.returncode

    async def ended(self) -> int:
        """Wait until the child ends and return its exit code."""
        return await self._process.wait()

    async def stop(self, timeout_s: float) -> bool:
        """Send SIGTERM, and SIGKILL after `timeout_s`; return whether SIGTERM was enough."""
        if self.exit_code is not None:
            return True
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(timeout_s):
                await self._process.wait()
        except TimeoutError:
            await self.kill()
            return False
        return True

    async def kill(self) -> None:
        """Kill the child at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def last_lines(self, count: int = 5) -> list[str]:
        """Return the last lines of its log."""
        return (await asyncio.to_thread(_tail, self.log))[-count:]


def _tail(log: Path) -> list[str]:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        return [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
