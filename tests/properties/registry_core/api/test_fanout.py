"""Whatever readers do, and however changes come, each reader is written every line once and in order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from registry_core.api.fanout import Fanout
from registry_core.api.watch_counts import WatchCounts
from registry_core.api.watcher import StreamEnd, Watcher, WatcherKind
from registry_core.watch.limits import PROTOCOL
from registry_core.watch.outbox import BATCH_BYTES, Outbox
from tests.programs import eventually

KIND = WatcherKind(None, PROTOCOL, renewals=False)
MOST_WAITING = 1000


class Wire(asyncio.Transport):
    """A connection with faults: it may be full, fail, or end. `got` is what was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.got = b""
        self.is_full = self.fails = self.is_gone = False

    def write(self, data: Any) -> None:
        if self.fails:
            raise RuntimeError("unable to perform operation; the handler is closed")
        self.got += data

    def get_write_buffer_size(self) -> int:
        return MOST_WAITING + 1 if self.is_full else 0

    def is_closing(self) -> bool:
        return self.is_gone


class Reader:
    """A watcher, and the task of its connection as `api/watch.py` runs it."""

    def __init__(self, fanout: Fanout, lines: Callable[[], list[bytes]]) -> None:
        self.wire = Wire()
        self.restarts = 0
        self.takes = 0
        self._fanout = fanout
        self._all = lines

        def everything(_: str) -> Iterator[bytes]:
            self.restarts += 1
            return iter([b"S%d\n" % len(self._all())])

        self.watcher = Watcher(
            Outbox(iter([b"S%d\n" % len(self._all())]), everything, fanout.audience(KIND).feed), KIND
        )
        fanout.enter(self.watcher)
        self.task = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        end = StreamEnd(self.wire, is_chunked=False, most_waiting=MOST_WAITING)
        while not (self.watcher.closed or self.wire.is_gone or self.wire.fails):
            if self.wire.is_full:
                await asyncio.sleep(0)
            elif taken := self.watcher.take():
                self.takes += 1
                self.wire.got += taken
            else:
                await self._fanout.stand_by(self.watcher, end)
        self._fanout.leave(self.watcher)

    def is_level(self) -> bool:
        return self.watcher.end is not None and not self.watcher.outbox.waiting

    def read(self) -> list[int]:
        """Return the numbers of the lines after the latest snapshot, and of what that had, checked on the way."""
        have: list[int] = []
        for line in self.wire.got.splitlines():
            if line.startswith(b"S"):
                have = list(range(int(line[1:])))
            else:
                number = int(line.partition(b" ")[0])
                assert number == len(have), "a line was lost or written twice"
                have.append(number)
        return have


class World:
    """Readers whose connections have faults, and changes."""

    def __init__(self, seed: int, most_lines: int) -> None:
        self.random = random.Random(seed)
        self.fanout = Fanout(WatchCounts(), most_lines=most_lines, most_bytes=10**6)
        self.lines: list[bytes] = []
        self.readers: list[Reader] = []
        for _ in range(3):
            self.add()

    def add(self) -> None:
        self.readers.append(Reader(self.fanout, lambda: self.lines))

    def change(self, size: int = 9) -> None:
        self.lines.append(b"%d %b\n" % (len(self.lines), b"x" * size))
        self.fanout.put(self.fanout.audience(KIND), self.lines[-1])

    async def step(self, step: str) -> None:
        match step:
            case "change":
                self.change()
            case "burst":
                for _ in range(9):
                    self.change()
            case "large":
                self.change(BATCH_BYTES)
            case "turn":
                await asyncio.sleep(0)
            case "round":
                await asyncio.sleep(0.001)
            case "new":
                self.add()
            case _:
                await self.befalls(step, self.random.choice(self.readers))

    async def befalls(self, step: str, reader: Reader) -> None:
        """Have something happen to one reader."""
        match step:
            case "stall":
                reader.wire.is_full = True
            case "read":
                reader.wire.is_full = False
            case "restart":
                reader.watcher.restart()
            case _:
                reader.wire.fails, reader.wire.is_gone = step == "fail", step == "leave"
                reader.watcher.wake()
                self.readers.remove(reader)
                self.add()
                await reader.task

    async def settle(self) -> None:
        """Have all read, until nothing is left to send."""
        for reader in self.readers:
            reader.wire.is_full = False
        await eventually(lambda: all(reader.is_level() for reader in self.readers), "all have everything")

    async def end(self) -> None:
        for reader in self.readers:
            reader.watcher.close()
        await asyncio.gather(*(reader.task for reader in self.readers))
        assert list(self.fanout) == []


async def live(seed: int, steps: list[str], most_lines: int) -> None:
    world = World(seed, most_lines)
    for step in steps:
        await world.step(step)
    await world.settle()
    for reader in world.readers:
        assert reader.read() == list(range(len(world.lines)))
        if most_lines > len(world.lines) and "restart" not in steps:
            assert not reader.restarts
    await world.end()


CHANGES = ["change", "change", "burst", "large"]
READERS = ["turn", "turn", "round", "stall", "read", "read", "restart", "new", "fail", "leave"]
STEPS = st.lists(st.sampled_from(CHANGES + READERS), max_size=60)


@settings(max_examples=150)
@given(seed=st.integers(0, 2**32), steps=STEPS)
def test_every_reader_is_written_every_line_once_and_in_order(seed: int, steps: list[str]) -> None:
    asyncio.run(live(seed, steps, most_lines=1000))


@settings(max_examples=150)
@given(seed=st.integers(0, 2**32), steps=STEPS, most_lines=st.integers(1, 6))
def test_with_hardly_any_room_for_slow_readers_they_get_snapshots(seed: int, steps: list[str], most_lines: int) -> None:
    asyncio.run(live(seed, steps, most_lines))


def test_a_reader_that_keeps_up_wakes_no_task() -> None:
    async def follow() -> None:
        world = World(0, most_lines=100)
        await world.settle()
        for _ in range(50):
            world.change()
            await asyncio.sleep(0)
        await world.settle()
        assert [reader.takes for reader in world.readers] == [1] * 3  # the opening
        assert {reader.wire.got for reader in world.readers} == {b"S0\n" + b"".join(world.lines)}
        feed = world.fanout.audience(KIND).feed
        assert feed.start == feed.end, "nothing is kept that all have"
        await world.end()

    asyncio.run(follow())
