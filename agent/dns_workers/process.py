"""One DNS worker: a process that answers UDP beside its agent, out of what the agent tells it.

Started by the agent as `python -m agent.dns_workers.process FD`. It begins to answer when it knows everything that the
agent knows, and ends when the agent does, however that happens: the socket between them says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import signal
import socket
import sys
from collections.abc import Callable
from typing import Final

from agent.dns_workers.fetch import Reading
from agent.dns_workers.foreign import Relay
from agent.dns_workers.view import Mirror
from agent.dns_workers.wire import (
    PERIOD_S,
    Asked,
    Forwarded,
    Preference,
    Read,
    Services,
    Setup,
    ViewState,
    counts_of,
    read_order,
    send,
)
from dns.responder import Responder
from dns.udp import UdpServer, serve_udp
from registry_core.ports import SystemClock
from registry_core.telemetry import logs

# Reports between two tidy-ups, as often as the agent's own view has them.
_TIDY_EVERY: Final = int(60 / PERIOD_S)
ENDED: Final = 0
CANNOT_LISTEN: Final = 1


class Worker:
    """Answers as the agent tells it, and tells `writer` what it has counted."""

    def __init__(self, setup: Setup, writer: asyncio.StreamWriter) -> None:
        self._setup = setup
        self._writer = writer
        self.view = Mirror(SystemClock())
        self._relay = Relay(writer)
        self._reading = Reading(writer)
        self.view.fetcher = self._reading.fetch
        self.responder = Responder(
            self.view,
            setup.dns,
            random.Random(),  # noqa: S311 - spreads load, guards nothing
            self._relay if setup.forwards else None,
            cookie_secret=setup.cookie_secret,
        )
        self._udp: UdpServer | None = None

    async def follow(self, reader: asyncio.StreamReader) -> None:
        """Do as told until the agent is gone (EOFError). Raises OSError when the port cannot be had."""
        while True:
            match await read_order(reader):
                case Services() as services:
                    self.view.take(services)
                case ViewState() as state:
                    self.view.confirm(state)
                    if self._udp is None:
                        self._udp = await serve_udp(self.responder, self._setup.host, self._setup.port, shared=True)
                case Forwarded() as forwarded:
                    self._relay.take(forwarded)
                case Preference(local_zone=local_zone, when_none_pass=when_none_pass):
                    self.responder.prefer(local_zone, when_none_pass)
                case Read() as read:
                    self._reading.take(read)
                case Setup():
                    raise EOFError("told a second time how to answer")

    async def report(self) -> None:
        """Tell what was counted, every second, until the agent is gone."""
        for number in itertools.count(1):
            await send(self._writer, counts_of(self.responder, self._udp.dropped if self._udp is not None else 0))
            if asked := self.view.asked():
                await send(self._writer, Asked(asked))
            await asyncio.sleep(PERIOD_S)
            self.view.tick()
            if number % _TIDY_EVERY == 0:
                self.view.tidy()

    def close(self) -> None:
        """Stop answering."""
        if self._udp is not None:
            self._udp.close()
        self._relay.close()
        self._reading.close()


async def run(channel: socket.socket) -> int:
    """Work until the agent is gone; return the exit code."""
    reader, writer = await asyncio.open_connection(sock=channel)
    try:
        setup = await read_order(reader)
        if not isinstance(setup, Setup):
            return ENDED
        worker = Worker(setup, writer)
        reporting = asyncio.create_task(worker.report())
        try:
            await worker.follow(reader)
        finally:
            worker.close()
            reporting.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await reporting
    except (EOFError, ConnectionError):
        return ENDED
    except OSError as error:
        print(f"vertice agent: a DNS worker cannot listen: {error}", file=sys.stderr)  # noqa: T201 - its last word
        return CANNOT_LISTEN
    finally:
        writer.transport.abort()
    return ENDED


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the loop of a long-lived program; None for the standard one."""
    # uvloop doubles what one core serves, but nothing depends on it.
    with contextlib.suppress(ImportError):
        import uvloop  # noqa: PLC0415 - optional

        return uvloop.new_event_loop
    return None


def main() -> int:
    """Work until the agent is gone."""
    # The agent answers on while it drains, and so does this; it is the agent that is told to stop.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    logs.configure("info", "agent")
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(run(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    sys.exit(main())
