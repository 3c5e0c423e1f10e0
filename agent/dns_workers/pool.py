"""More processes that answer DNS over UDP on the agent's port: starts them, tells them the view, counts for them.

The kernel spreads askers over all who listen (SO_REUSEPORT), the agent itself being one. A worker that ends, or
says nothing for too long, is replaced; what was on its way to it is lost, and asked again by who asked. It
decides nothing about the view: workers get each service as it is when there is room to tell them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import socket
import sys
from collections.abc import Iterable
from functools import partial
from typing import Final

import msgspec
import structlog

from agent.dns_workers.wire import (
    PERIOD_S,
    Asked,
    DnsCounts,
    Foreign,
    Forwarded,
    Preference,
    Read,
    Services,
    Setup,
    ViewState,
    Wanted,
    added,
    post,
    read_report,
    send,
)
from agent.view.fallback import Fallback
from dns import codec
from dns.codec import Query
from dns.forwarding import Forwards
from dns.responder import DnsSettings
from registry_core.domain.catalog import Lived
from registry_core.domain.records import Instance
from registry_core.domain.selection import WhenNonePass
from registry_core.ports import LocalView

# Services in one message: a large view does not stand in memory a second time.
_PER_MESSAGE: Final = 64
# Questions of one worker that are forwarded in one turn of the loop; then the others have theirs.
_BATCH: Final = 16
# Reports that may be missing before a worker is taken for stuck. Seconds.
SILENT_AFTER_S: Final = 10 * PERIOD_S
RETRY_FIRST_S: Final = 0.1
RETRY_MOST_S: Final = 10.0
# Who has lived that long did not fail at the start.
_SETTLED_S: Final = 30.0

_log = structlog.get_logger(component="agent.workers")


class _Worker:
    """One place for a worker: the process in it comes and goes, what was counted stays."""

    def __init__(self, view: LocalView, fallback: Fallback, forwarder: Forwards | None, setup: Setup) -> None:
        self._view = view
        self._fallback = fallback
        self._forwarder = forwarder
        self._setup = setup
        self._changed: set[str] = set()  # labels that the process has not been told of
        self._preferences: list[Preference] = []  # which it has not been told of
        self._read: list[str] = []  # labels that it wanted read, and is to hear of when it was told the rest
        self._news = asyncio.Event()
        self._before = DnsCounts()  # of the processes that were here before
        self._now = DnsCounts()
        self.pid: int | None = None
        self.starts = 0

    @property
    def counts(self) -> DnsCounts:
        return added((self._before, self._now))

    def changed(self, labels: Iterable[str]) -> None:
        self._changed.update(labels)
        self._news.set()

    def prefer(self, preference: Preference) -> None:
        """Have this process, and those after it, answer so."""
        dns = msgspec.structs.replace(self._setup.dns, **msgspec.structs.asdict(preference))
        self._setup = msgspec.structs.replace(self._setup, dns=dns)
        self._preferences.append(preference)
        self._news.set()

    def use_fallback(self, fallback: Fallback) -> None:
        self.changed([*self._fallback.labels(), *fallback.labels()])
        self._fallback = fallback

    async def run(self) -> None:
        """Keep a process here until cancelled."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            try:
                why = await self._one_life()
            except Exception as error:  # noqa: BLE001 - the top of the loop: lookups go on, whatever it was
                why = f"{type(error).__name__}: {error}"
            failures = failures + 1 if loop.time() - began < _SETTLED_S else 1
            _log.warning("dns_worker_ended", why=why, failures=failures)
            await asyncio.sleep(min(RETRY_MOST_S, RETRY_FIRST_S * 2.0 ** min(failures - 1, 20)))

    async def _one_life(self) -> str:
        """Start a process, serve it until it ends, and return why it did."""
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "agent.dns_workers.process",
                    str(theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,  # Ctrl-C is for the agent
                )
            except BaseException:
                ours.close()
                raise
        self.starts += 1
        self.pid = process.pid
        reader, writer = await asyncio.open_connection(sock=ours)
        parts = [asyncio.ensure_future(part) for part in (self._tell(writer), self._hear(reader, writer))]
        ended = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait([*parts, ended], return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return f"exit code {ended.result()}"
            return ", ".join(repr(part.exception()) for part in parts if part.done())
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            writer.transport.abort()
            if not ended.done():
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGKILL)
            await ended
            self._before, self._now, self.pid = added((self._before, self._now)).ended(), DnsCounts(), None

    async def _tell(self, writer: asyncio.StreamWriter) -> None:
        self._preferences.clear()
        await send(writer, self._setup)
        self._changed = {*self._view.labels(), *self._fallback.labels()}
        self._read.clear()
        while True:
            while self._preferences:
                await send(writer, self._preferences.pop(0))
            while self._changed or self._read:
                labels = [self._changed.pop() for _ in range(min(_PER_MESSAGE, len(self._changed)))]
                await send(
                    writer,
                    Services(
                        {label: self._instances(label) for label in labels},
                        {label: self._elsewhere(label) for label in labels},
                        {label: self._view.transports(label) for label in labels if self._view.lacks(label)},
                    ),
                )
                if self._read and not self._changed:
                    read, self._read = tuple(self._read), []
                    await send(writer, Read(read))
            self._news.clear()
            await send(writer, ViewState(self._view.complete, self._view.age_s()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PERIOD_S):
                    await self._news.wait()

    def _instances(self, label: str) -> tuple[Lived, ...]:
        catalog = self._view.catalog
        found = catalog.find(label)
        return tuple(Lived(i, catalog.heartbeat_at(i.key)) for i in found.instances) if found is not None else ()

    def _elsewhere(self, label: str) -> tuple[Instance, ...]:
        found = self._fallback.find(label)
        return found.instances if found is not None else ()

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in itertools.count(1):
            async with asyncio.timeout(SILENT_AFTER_S):
                report = await read_report(reader)
            match report:
                case DnsCounts() as counts:
                    self._now = counts
                case Foreign() as foreign:
                    self._forward(foreign, writer)
                case Wanted(label=label):
                    self._fetch(label)
                case Asked(labels=labels):
                    for label in labels:
                        self._view.find(label)  # which takes note of it
            if number % _BATCH == 0:
                # What is there already is read without waiting, which alone would let nobody else in.
                await asyncio.sleep(0)

    def _fetch(self, label: str) -> None:
        fetched = self._view.fetch(label)
        if fetched is None:
            self._was_read(label)
        else:
            fetched.add_done_callback(lambda _: self._was_read(label))

    def _was_read(self, label: str) -> None:
        # Also when it cannot be had, or came by itself: what is said of it now is all there is.
        self._changed.add(label)
        self._read.append(label)
        self._news.set()

    def _forward(self, foreign: Foreign, writer: asyncio.StreamWriter) -> None:
        query = codec.read(foreign.message)
        if self._forwarder is None or not isinstance(query, Query):
            raise EOFError("it has something forwarded that it may not")
        answered = self._forwarder.answer(query, foreign.message, foreign.size)
        if isinstance(answered, bytes):
            post(writer, Forwarded(foreign.number, answered))
        else:
            answered.add_done_callback(partial(_pass_on, writer, foreign.number))


def _pass_on(writer: asyncio.StreamWriter, number: int, answered: asyncio.Future[bytes]) -> None:
    post(writer, Forwarded(number, None if answered.cancelled() else answered.result()))


class DnsWorkers:
    """The workers of one agent, besides the agent itself."""

    def __init__(self, view: LocalView, fallback: Fallback, forwarder: Forwards | None, cookie_secret: bytes) -> None:
        """Workers are told of `view` and `fallback`, and ask `forwarder` for names of others."""
        self._view = view
        self._fallback = fallback
        self._forwarder = forwarder
        self._cookie_secret = cookie_secret
        self._workers: list[_Worker] = []
        self._tasks: list[asyncio.Task[None]] = []
        view.subscribe(self._changed)

    def start(self, count: int, host: str, port: int, settings: DnsSettings) -> None:
        """Have `count` processes answer on an address where this one does (`serve_udp` with `shared`)."""
        setup = Setup(host, port, settings, self._cookie_secret, forwards=self._forwarder is not None)
        self._workers = [_Worker(self._view, self._fallback, self._forwarder, setup) for _ in range(count)]
        self._tasks = [asyncio.create_task(worker.run()) for worker in self._workers]

    def prefer(self, local_zone: str, when_none_pass: WhenNonePass) -> None:
        """Have all of them answer for this zone, and so when none passes, from now on."""
        for worker in self._workers:
            worker.prefer(Preference(local_zone, when_none_pass))

    def use_fallback(self, fallback: Fallback) -> None:
        """Tell them of another one from now on."""
        self._fallback = fallback
        for worker in self._workers:
            worker.use_fallback(fallback)

    async def close(self) -> None:
        """End them all. Safe to call twice."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def counts(self) -> DnsCounts:
        """What all of them have counted, also those that are no more."""
        return added(worker.counts for worker in self._workers)

    @property
    def pids(self) -> list[int]:
        """The processes that are there now."""
        return [worker.pid for worker in self._workers if worker.pid is not None]

    @property
    def restarts(self) -> int:
        """Processes that took the place of another."""
        return sum(max(0, worker.starts - 1) for worker in self._workers)

    def _changed(self, labels: frozenset[str]) -> None:
        for worker in self._workers:
            worker.changed(labels)
