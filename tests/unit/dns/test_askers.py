"""The asker of a question, for fair turns."""

from __future__ import annotations

import pytest

from dns.askers import asker_of


@pytest.mark.parametrize(
    ("host", "over_tcp", "asker"),
    [
        ("127.0.0.1", False, ("127.0.0.1", 7)),
        ("::1", True, ("::1", 7)),
        ("10.1.2.3", False, "10.1.2"),
        ("10.1.2.3", True, "10.1.2.3"),
    ],
)
def test_who_asks_is_what_cannot_be_forged(host: str, asker: object, *, over_tcp: bool) -> None:
    assert asker_of(host, 7, over_tcp=over_tcp) == asker
