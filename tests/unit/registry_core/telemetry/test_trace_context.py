"""The W3C trace context: what of a header counts, and how it is passed on."""

from __future__ import annotations

import asyncio

import pytest

from registry_core.supervision import Background
from registry_core.telemetry.trace_context import (
    TraceContext,
    begun,
    carried,
    parent,
    parsed,
    trace_headers,
    trace_id,
    within,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("ff", True)])
def test_a_context_is_read_from_its_header(flags: str, sampled: bool) -> None:
    assert parsed(f"00-{TRACE}-{SPAN}-{flags}") == TraceContext(TRACE, SPAN, sampled)


def test_a_later_version_may_say_more() -> None:
    assert parsed(f"01-{TRACE}-{SPAN}-01-more") == TraceContext(TRACE, SPAN, sampled=True)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
        f"01-{TRACE}-{SPAN}-01-{'x' * 10_000}",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_what_is_no_context_begins_a_new_trace(header: str | None) -> None:
    assert parsed(header) is None
    assert carried(header).trace_id != TRACE


def test_a_new_trace_is_valid_and_not_sampled() -> None:
    context = begun()
    assert parsed(str(context)) == context
    assert not context.sampled


def test_work_and_what_it_asks_others_belong_to_the_trace_of_the_request() -> None:
    context = TraceContext(TRACE, SPAN, sampled=True)
    with within(context):
        assert (trace_id.get(), parent.get()) == (TRACE, context)
        assert trace_headers() == {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    assert (trace_id.get(), trace_headers()) == (None, {})


async def test_work_that_a_request_starts_belongs_to_it_and_what_goes_on_for_ever_does_not() -> None:
    background, seen = Background(), dict[str, str | None]()

    async def once() -> None:
        seen["once"] = trace_id.get()

    async def for_ever() -> None:
        seen["for ever"] = trace_id.get()
        await asyncio.Event().wait()

    with within(TraceContext(TRACE, SPAN)):
        await background.begin("once", once)
        background.keep("for ever", for_ever)
    for _ in range(5):
        await asyncio.sleep(0)
    await background.close()
    assert seen == {"once": TRACE, "for ever": None}
