"""A TCP proxy that delays, stalls or refuses connections, to simulate a bad network.

It runs in a thread with its own loop, so that sync and async tests can use it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Final

_CHUNK: Final = 64 * 1024
# Chunks in flight in each direction of one connection; a full pipe stops its sender, as TCP would.
_MOST_CHUNKS: Final = 256


class FaultyProxy:
    """Forwards connections to `target_port` on loopback. `delay_s` and `stalled` can be changed at any time."""

    def __init__(self, target_port: int, *, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s  # applies to everything, in each direction
        self.stalled = False  # nothing passes, nothing is refused: a black hole
        # (old, new) in what the target sends: of equal length, and only within one chunk.
        self.replaced: tuple[bytes, bytes] = (b"", b"")
        self.port = 0
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        """Listen on a free port of loopback."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def close(self) -> None:
        """End all connections and stop listening."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.suppress(OSError, asyncio.CancelledError, ExceptionGroup):
            there, back = await asyncio.open_connection("127.0.0.1", self._target_port)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pass_on(reader, back))
                    group.create_task(self._pass_on(there, writer, answers=True))
            finally:
                back.transport.abort()
        writer.transport.abort()
        self._tasks.discard(task)

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool = False
    ) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_CHUNKS)

        async def deliver() -> None:
            while True:
                due_at, data = await under_way.get()
                await asyncio.sleep(max(0.0, due_at - self._loop.time()))
                while self.stalled:  # noqa: ASYNC110 - the flag is set from another thread
                    await asyncio.sleep(0.01)
                if not data:
                    raise ConnectionResetError
                writer.write(data)
                await writer.drain()

        async def take() -> None:
            while True:
                data = await reader.read(_CHUNK)
                if answers and self.replaced[0]:
                    data = data.replace(*self.replaced)
                await under_way.put((self._loop.time() + self.delay_s, data))
                if not data:
                    return

        async with asyncio.TaskGroup() as group:
            group.create_task(take())
            group.create_task(deliver())


@contextlib.contextmanager
def proxied(target_port: int, *, delay_s: float = 0.0) -> Iterator[FaultyProxy]:
    """Run a proxy for the duration of a `with`."""
    proxy = FaultyProxy(target_port, delay_s=delay_s)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.close()
