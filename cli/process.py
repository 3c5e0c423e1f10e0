"""Runs a long-lived program until a signal stops it or its parent dies.

It starts no server and knows no settings; the caller passes what to run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Protocol, TypeVar

from registry_core.causes import cause_of
from registry_core.errors import SettingsError, VerticeError

OK: Final = 0
FAILED: Final = 1
# How many objects are made before the youngest are scanned for garbage, with Python's 700 a twentieth of the time of a
# registration. Little of what a request leaves is garbage in cycles.
GARBAGE: Final = 5_000
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Closable(Protocol):
    """Something that runs until it is closed."""

    async def close(self) -> None: ...


P = TypeVar("P", bound=Closable)


def add_parent_flag(parser: argparse.ArgumentParser) -> None:
    """Add the hidden flag `--die-with-parent`, with which `vertice dev` starts its children."""
    parser.add_argument("--die-with-parent", action="store_true", help=argparse.SUPPRESS)


def die_with_parent() -> None:
    """Have the kernel send SIGTERM to this process when the thread that started it ends.

    Without it, a parent that is killed leaves orphans that hold its ports. Does nothing where there is
    no prctl (outside Linux).
    """
    parent = os.getppid()
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except AttributeError:
        return
    prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # the parent ended just before the call
        os.kill(os.getpid(), signal.SIGTERM)


def run_until_signal(
    start: Callable[[], Awaitable[P]],
    *,
    hang_up: Callable[[P], None] | None = None,
    until: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> int:
    """Start a program, run it until SIGTERM, SIGINT or the end of `until`, close it, and return the exit code.

    The first signal closes it, even while it starts; a second one ends it without waiting. An address that
    cannot be bound, or any other expected error of the start, gives one line on stderr and exit code 1.
    SettingsError goes to the caller. SIGHUP calls `hang_up`, if given; it is ignored until the program has started,
    since the program is still about to read its settings. Without `hang_up` it ends the program as SIGTERM does: its
    terminal is gone.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_run(start, hang_up, until))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the factory of the event loop; None for the standard one."""
    # uvloop doubles what one core serves, but nothing depends on it.
    with contextlib.suppress(ImportError):
        import uvloop  # noqa: PLC0415 - optional

        return uvloop.new_event_loop
    return None


async def _run(
    start: Callable[[], Awaitable[P]],
    hang_up: Callable[[P], None] | None,
    until: Callable[[], Coroutine[Any, Any, None]] | None,
) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    gc.collect()
    # Separate tasks, so that a signal that arrives as one ends has nothing to cancel, and a started
    # program is always closed.
    starting = asyncio.ensure_future(start())
    work: asyncio.Future[P] | asyncio.Future[None] = starting

    def on_signal() -> None:
        if stop.is_set() or not work.done():
            work.cancel()
        stop.set()

    program: P | None = None

    def on_hang_up() -> None:
        if hang_up is not None and program is not None and not stop.is_set():
            hang_up(program)

    handlers: dict[signal.Signals, Callable[[], None]] = dict.fromkeys(_SIGNALS, on_signal)
    # nohup(1) starts programs that ignore SIGHUP: they live on without their terminal.
    if hang_up is not None or signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        handlers[signal.SIGHUP] = on_signal if hang_up is None else on_hang_up
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    ended = asyncio.ensure_future(until()) if until is not None else None
    if ended is not None:
        ended.add_done_callback(lambda _: None if stop.is_set() else on_signal())
    try:
        try:
            program = await starting
        except asyncio.CancelledError:
            return OK
        except SettingsError:
            raise
        except (VerticeError, OSError) as error:
            print(f"vertice: {cause_of(error)}", file=sys.stderr)
            return FAILED
        # Modules, and everything loaded at the start, live as long as the process: scanning them for garbage
        # would block the loop for tens of milliseconds each time.
        gc.freeze()
        gc.set_threshold(GARBAGE)
        await stop.wait()
        work = asyncio.ensure_future(program.close())
        try:
            await work
        except asyncio.CancelledError:
            print("vertice: ended without waiting for the rest", file=sys.stderr)
            return FAILED
        return OK
    finally:
        if ended is not None:
            ended.cancel()
        for number in handlers:
            loop.remove_signal_handler(number)
