"""Spans: what a request or an operation consists of, for those who record traces, and for log lines.

It knows no OpenTelemetry: `otel.py` does, which is loaded only where traces are on. While they are off, an operation
still has a trace id, which its log lines show and its requests carry on; and a span costs one look at a variable.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from contextvars import Token
from enum import StrEnum
from types import TracebackType
from typing import Any, Final, ParamSpec, Protocol, Self, TypeAlias, TypeVar

from registry_core.telemetry.trace_context import TraceContext, begun, parent, parsed, trace_id

P = ParamSpec("P")
T = TypeVar("T")
AttributeValue: TypeAlias = str | int | float | bool
Attributes: TypeAlias = Mapping[str, AttributeValue]
NONE: Final[Attributes] = {}


class SpanKind(StrEnum):
    """Whose part of a request a span is."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"


class RecordedSpan(Protocol):
    """One span that is recorded."""

    def set(self, name: str, value: AttributeValue) -> None:
        """Set an attribute."""

    def failed(self, kind: str) -> None:
        """Say that it failed; `kind` is the name of an error, or a status code."""

    def end(self) -> None:
        """End it now."""


class Tracer(Protocol):
    """Records spans."""

    def begin(
        self, name: str, kind: SpanKind, above: TraceContext | None, attributes: Attributes
    ) -> tuple[TraceContext, RecordedSpan | None]:
        """Begin a span below `above`, or a trace; return its context, and the span if it is recorded."""


class Tracing:
    """The recorder of this process's spans: none, unless its settings ask for traces."""

    def __init__(self) -> None:
        self.tracer: Tracer | None = None


tracing: Final = Tracing()


class Span:
    """One step of a request, for a `with` block. Outside of a recorded trace it does nothing.

    With `begins`, it begins a trace where there is none. `remote` is the context with which a request came. Without a
    name it is not recorded.
    """

    __slots__ = ("_above", "_attributes", "_before", "_begins", "_kind", "_name", "_recorded", "_remote")

    def __init__(
        self,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = NONE,
        *,
        begins: bool = False,
        remote: TraceContext | None = None,
    ) -> None:
        self._name = name
        self._kind = kind
        self._attributes = attributes
        self._begins = begins
        self._remote = remote
        self._recorded: RecordedSpan | None = None
        self._before: Token[str | None] | None = None
        self._above: Token[TraceContext | None] | None = None

    def __enter__(self) -> Self:
        tracer = tracing.tracer
        current = self._remote if self._kind is SpanKind.SERVER else parent.get()
        is_asked = self._begins if current is None else current.sampled or self._remote is not None
        if tracer is not None and self._name and is_asked:
            context, self._recorded = tracer.begin(self._name, self._kind, current, self._attributes)
        elif self._begins and (current is None or self._remote is not None):
            context = current or begun()
        else:
            return self
        self._before, self._above = trace_id.set(context.trace_id), parent.set(context)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._before is None or self._above is None:
            return
        parent.reset(self._above)
        trace_id.reset(self._before)
        if self._recorded is not None:
            if kind is not None:
                self._recorded.failed(kind.__name__)
            self._recorded.end()

    @property
    def is_recorded(self) -> bool:
        """Whether attributes are of any use."""
        return self._recorded is not None

    def set(self, name: str, value: AttributeValue) -> None:
        """Set an attribute, where the span is recorded."""
        if self._recorded is not None:
            self._recorded.set(name, value)

    def failed(self, kind: str) -> None:
        """Say that it failed though no error leaves the block."""
        if self._recorded is not None:
            self._recorded.failed(kind)

    def drop(self) -> None:
        """Record nothing after all: another span is recorded in its place."""
        self._recorded = None


class _NoSpan(Span):
    """What a step is while no spans are recorded: one for all of them, which does nothing."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None


_NO_SPAN: Final = _NoSpan("")


def span(name: str, kind: SpanKind = SpanKind.INTERNAL, attributes: Attributes = NONE) -> Span:
    """Return a step of the current request, for a `with` block."""
    return _NO_SPAN if tracing.tracer is None else Span(name, kind, attributes)


def operation(name: str, attributes: Attributes = NONE) -> Span:
    """Return work that is a trace of its own, unless a request asked for it."""
    return Span(name, SpanKind.INTERNAL, attributes, begins=True)


def serving(name: str, traceparent: str | None, attributes: Attributes = NONE) -> Span:
    """Return the work on a request that came with this header."""
    return Span(name, SpanKind.SERVER, attributes, begins=True, remote=parsed(traceparent))


def traced(name: str) -> Callable[[Callable[P, Coroutine[Any, Any, T]]], Callable[P, Coroutine[Any, Any, T]]]:
    """Return a decorator that makes each call of an asynchronous function an operation of that name."""

    def decorate(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        async def call(*args: P.args, **kwargs: P.kwargs) -> T:
            with operation(name):
                return await function(*args, **kwargs)

        return call

    return decorate
