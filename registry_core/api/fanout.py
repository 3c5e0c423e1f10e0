"""Writes each change to all its watchers: framed once, and handed to every connection without waking its task.

A *round* writes what is new. It goes over the watchers in several turns of the event loop, so that requests are
answered in between, and a rest follows in which changes gather for the next round: the faster they come, the more of
them share a write. The opening of a stream, and whatever a slow reader lacks, is sent by the task of its connection
(`watch.py`), which hands the watcher over once nothing is left to send.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from typing import Final

import msgspec

from registry_core.api.watch_counts import WatchCounts
from registry_core.api.watcher import StreamEnd, Watcher, WatcherKind
from registry_core.watch.feed import WatchFeed
from registry_core.watch.outbox import BATCH_BYTES

# Watchers written to in one turn of the loop: some 1 ms, for which others wait.
WATCHERS_PER_TURN: Final = 128
# After a round of one second, rest for so many, so that rounds take a third of a processor; more only when they take
# long. A change waits for the round before it, the rest, and its own round: with 1,000 watchers, some 50 ms.
REST: Final = 2.0
MOST_REST_S: Final = 0.1


class Frame(msgspec.Struct, frozen=True, gc=False):
    """What a round writes to the readers at one position: lines up to `end`, as they are and as a chunk of HTTP/1.1.

    `carries` the change that is followed.
    """

    end: int
    lines: bytes
    chunk: bytes
    carries: bool


class Audience:
    """The readers that get the same lines."""

    __slots__ = ("direct", "feed", "followed", "kind", "own")

    def __init__(self, kind: WatcherKind, feed: WatchFeed) -> None:
        self.kind = kind
        self.feed = feed
        self.direct: dict[Watcher, None] = {}  # those that rounds write to
        self.own: set[Watcher] = set()  # those whose own tasks write to them
        self.followed: tuple[float, int] | None = None  # when a change came that is followed, and the lines up to it

    def __len__(self) -> int:
        return len(self.direct) + len(self.own)

    def __iter__(self) -> Iterator[Watcher]:
        """Return its watchers, as of now."""
        return iter([*self.direct, *self.own])

    def follow(self, at: float) -> None:
        """Follow the change that was just put, which came at this time, to each of them."""
        number = self.feed.end
        if self.direct:
            self.followed = (at, number)
        for watcher in self.own:
            watcher.follow(at, number)

    def restart(self) -> None:
        """Have each of them start again with a snapshot."""
        for watcher in self:
            watcher.restart()

    def lacking(self) -> int:
        """Return how many of `direct` have not got the followed change."""
        if self.followed is None:
            return 0
        return sum(watcher.outbox.position < self.followed[1] for watcher in self.direct)


class AudienceRound:
    """The part of one audience in one round."""

    __slots__ = ("arrived", "audience", "end", "frames", "lacks", "next", "octets", "watchers")

    def __init__(self, audience: Audience) -> None:
        self.audience = audience
        self.end = audience.feed.end
        self.frames: dict[int, Frame | None] = {}  # by the position of their readers
        self.watchers = list(audience.direct)
        self.next = 0
        self.lacks: int | None = None  # the first line that did not fit into a frame
        self.octets = self.arrived = 0  # written, and to how many the followed change, since these were last read

    def is_over(self) -> bool:
        """Return whether all watchers have had their turn."""
        return self.next >= len(self.watchers)

    def write(self, room: int) -> list[Watcher]:
        """Write to the next `room` watchers, and return those whose own tasks have to go on."""
        turn = self.watchers[self.next : self.next + room]
        self.next += len(turn)
        frames, last, apart = self.frames, self.end, []
        for watcher in turn:
            end, outbox = watcher.end, watcher.outbox
            position = outbox.position
            if end is None or position >= last:
                continue  # its own task goes on, or it was handed over with all of this
            if position not in frames:
                frames[position] = self._frame(position)
            frame, transport = frames[position], end.transport
            if frame is None or transport.is_closing() or transport.get_write_buffer_size() > end.most_waiting:
                apart.append(watcher)
                continue
            try:
                transport.write(frame.chunk if end.is_chunked else frame.lines)
            except (OSError, RuntimeError):  # of one connection: the others get theirs
                apart.append(watcher)
                continue
            outbox.position = frame.end
            self.octets += len(frame.lines)
            self.arrived += frame.carries
        return apart

    def _frame(self, position: int) -> Frame | None:
        """Return what readers at `position` get; None when their own tasks have to send it."""
        feed, followed = self.audience.feed, self.audience.followed
        if position < feed.start:
            return None
        end, lines = feed.batch(position, self.end, BATCH_BYTES)
        if len(lines) > BATCH_BYTES:
            return None
        if end < self.end:
            self.lacks = end if self.lacks is None else min(end, self.lacks)
        carries = followed is not None and position < followed[1] <= end
        return Frame(end, lines, b"%x\r\n%b\r\n" % (len(lines), lines), carries)

    def finish(self) -> bool:
        """Drop the lines that every reader has got; return whether some reader lacks lines of this round."""
        audience, first = self.audience, self.end if self.lacks is None else self.lacks
        if audience.followed is not None and audience.followed[1] <= first:
            audience.followed = None
        audience.feed.forget(min(first, *(watcher.outbox.position for watcher in audience.own), first))
        return self.lacks is not None


class Fanout:
    """The audiences of one hub, and the rounds of writes to them."""

    def __init__(self, counts: WatchCounts, *, most_lines: int, most_bytes: int) -> None:
        """So many lines and bytes are kept for the slow readers of one audience."""
        self._counts = counts
        self._most = (most_lines, most_bytes)
        self._audiences: dict[str | None, dict[WatcherKind, Audience]] = {}  # by service
        self._due: dict[Audience, None] = {}
        self._parts: deque[AudienceRound] = deque()  # of the present round
        self._began: float | None = None  # the present round
        self._rests_until = float("-inf")
        self._is_called = False  # a turn of the loop is on its way
        self._written: list[tuple[int, float | None, int]] = []  # octets; when a change came, and how many got it

    def __iter__(self) -> Iterator[Audience]:
        """Return the audiences, as of now."""
        return iter([audience for kinds in self._audiences.values() for audience in kinds.values()])

    def of_service(self, label: str) -> list[Audience]:
        """Return the audiences that get the changes of a service."""
        return [audience for each in (None, label) for audience in self._audiences.get(each, {}).values()]

    def audience(self, kind: WatcherKind) -> Audience:
        """Return the readers of that kind."""
        kinds = self._audiences.setdefault(kind.label, {})
        if kind not in kinds:
            kinds[kind] = Audience(kind, WatchFeed(*self._most))
        return kinds[kind]

    def behind(self) -> int:
        """Return how many readers have not got a change that came over a second ago."""
        counts = self._counts
        late = sum(each.lacking() for each in self if each.followed is not None and counts.is_behind(each.followed[0]))
        return late + sum(counts.is_behind(watcher.followed_at) for each in self for watcher in each.own)

    def enter(self, watcher: Watcher) -> None:
        """Add a watcher, which its own task writes to."""
        self.audience(watcher.kind).own.add(watcher)

    def leave(self, watcher: Watcher) -> None:
        """Remove a watcher. Removing it again does nothing."""
        kinds = self._audiences.get(watcher.kind.label, {})
        audience = kinds.get(watcher.kind)
        if audience is None:
            return
        watcher.wake()
        audience.own.discard(watcher)
        audience.direct.pop(watcher, None)
        if not len(audience):
            self._due.pop(audience, None)
            del kinds[watcher.kind]
            if not kinds:
                del self._audiences[watcher.kind.label]

    async def stand_by(self, watcher: Watcher, end: StreamEnd) -> None:
        """Have rounds write to `watcher` at this end of its stream; return when its own task has to go on.

        That is when the reader is slow or gone, when it needs a snapshot, and when the watcher was closed.
        """
        if watcher.outbox.waiting or watcher.closed or end.transport.is_closing():
            return
        audience = self.audience(watcher.kind)
        audience.own.discard(watcher)
        audience.direct[watcher] = None
        watcher.end = end
        try:
            await watcher.until_woken()
        finally:
            self._hand_back(watcher, audience)

    def _hand_back(self, watcher: Watcher, audience: Audience) -> None:
        """Leave a watcher to its own task again."""
        watcher.wake()
        if watcher not in audience.direct:
            return
        del audience.direct[watcher]
        audience.own.add(watcher)
        if audience.followed is not None and watcher.outbox.position < audience.followed[1]:
            watcher.follow(*audience.followed)

    # -- rounds

    def put(self, audience: Audience, line: bytes) -> None:
        """Send a line to an audience, as soon as the rest is over."""
        audience.feed.put(line)
        if audience.direct and audience not in self._due:
            self._due[audience] = None
            self._go_on()

    def _go_on(self) -> None:
        if self._is_called or (self._began is None and not self._due):
            return
        self._is_called = True
        loop, left_s = asyncio.get_running_loop(), self._rests_until - time.monotonic()
        if self._began is not None or left_s <= 0:
            loop.call_soon(self._turn)
        else:
            loop.call_later(left_s, self._turn)

    def _turn(self) -> None:
        """Begin, go on with, or end a round. The loop has sent by now what was written in the turn before."""
        self._is_called = False
        try:
            self._count()
            if self._began is None:
                self._began = time.monotonic()
                self._parts.extend(map(AudienceRound, self._due))
                self._due.clear()
            if self._parts:
                self._write(WATCHERS_PER_TURN)
            else:
                now = time.monotonic()
                self._rests_until = now + min(MOST_REST_S, REST * (now - self._began))
                self._began = None
        finally:
            self._go_on()

    def _write(self, room: int) -> None:
        """Write to the next `room` watchers of the round."""
        while self._parts and room > 0:
            part = self._parts[0]
            before, followed = part.next, part.audience.followed
            for watcher in part.write(room):
                self._hand_back(watcher, part.audience)
            room -= part.next - before
            self._written.append((part.octets, followed[0] if followed is not None else None, part.arrived))
            part.octets = part.arrived = 0
            if part.is_over():
                self._parts.popleft()
                if part.finish():
                    self._due[part.audience] = None

    def _count(self) -> None:
        for octets, came_at, times in self._written:
            self._counts.sent(octets, came_at if times else None, times)
        self._written.clear()
