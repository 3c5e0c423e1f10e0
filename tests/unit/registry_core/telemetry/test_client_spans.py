"""What the span of a request to another server is called, and what it says."""

from __future__ import annotations

import pytest
from yarl import URL

from registry_core.telemetry.client_spans import client_span, first_word
from registry_core.telemetry.trace_context import parent


@pytest.mark.parametrize(
    ("path", "word"),
    [("/register", "/register"), ("/status/web/w1", "/status"), ("/", "/"), ("", "/"), ("/watch/ack", "/watch")],
)
def test_its_name_holds_no_service(path: str, word: str) -> None:
    assert first_word(path) == word


def test_outside_of_a_trace_it_does_nothing() -> None:
    with client_span("GET", URL("http://h/services?token=x")) as span:
        assert (span.is_recorded, parent.get()) == (False, None)
