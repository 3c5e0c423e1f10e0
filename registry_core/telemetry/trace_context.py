"""Which request this work belongs to: the W3C trace context (https://www.w3.org/TR/trace-context/) that it came with.

`trace_id`, which every log line shows, is in `logs.py`; here is the rest of it, and how both travel in a header. A
program that records no spans passes on the span that it was given, and that one's flags.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import msgspec

TRACEPARENT: Final = "traceparent"
SAMPLED: Final = 0x01
NO_TRACE_HEADERS: Final[Mapping[str, str]] = {}
# Version ff is forbidden, and so are ids of zeros alone. A later version may have more after the flags.
_TRACEPARENT: Final = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_MAX_LENGTH: Final = 256
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16
_random_bits: Final = random.getrandbits


class TraceContext(msgspec.Struct, frozen=True):
    """A trace, the span in it that work belongs to, and whether that one is recorded."""

    trace_id: str
    span_id: str
    sampled: bool = False

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{SAMPLED if self.sampled else 0:02x}"


# Of the current request or operation, if there is one.
trace_id: Final[ContextVar[str | None]] = ContextVar("trace_id", default=None)
parent: Final[ContextVar[TraceContext | None]] = ContextVar("parent", default=None)


def parsed(header: str | None) -> TraceContext | None:
    """Return what a `traceparent` says, or None when it is missing or not valid: a new trace begins then."""
    if header is None:
        return None
    match = _TRACEPARENT.fullmatch(header) if len(header) <= _MAX_LENGTH else None
    if match is None or match[2] == _NO_TRACE or match[3] == _NO_SPAN or (match[1] == "00" and match[5]):
        return None
    return TraceContext(match[2], match[3], bool(int(match[4], 16) & SAMPLED))


def begun() -> TraceContext:
    """Return a new trace, which nobody records yet."""
    ids = f"{_random_bits(192):048x}"  # once for both: each request of a lookup has a trace
    return TraceContext(ids[:32], ids[32:])


def carried(header: str | None) -> TraceContext:
    """Return the context that a request came with, or a new one."""
    return parsed(header) or begun()


def trace_headers() -> Mapping[str, str]:
    """Return the header that carries the current context on to another program; none outside of a request."""
    current = parent.get()
    return NO_TRACE_HEADERS if current is None else {TRACEPARENT: str(current)}


@contextmanager
def within(context: TraceContext) -> Iterator[None]:
    """Do the work of the block, and log its lines, in `context`."""
    before, above = trace_id.set(context.trace_id), parent.set(context)
    try:
        yield
    finally:
        parent.reset(above)
        trace_id.reset(before)


def outside() -> None:
    """Leave every trace: for work that goes on for ever, whatever happened to start it."""
    trace_id.set(None)
    parent.set(None)
