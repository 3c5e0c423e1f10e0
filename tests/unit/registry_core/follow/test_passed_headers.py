"""Which headers go through a follower: what is signed and what identifies, and nothing of the connection."""

from __future__ import annotations

import pytest

from registry_core.follow.passed_headers import answer_headers, request_headers

VIA = "0" * 16


def test_credentials_signatures_and_unknown_headers_go_on_as_they_came() -> None:
    given = [
        ("X-Registry-Token", "secret"),
        ("Signature", "a"),
        ("signature", "b"),
        ("X-Of-A-Later-Release", "1"),
        ("Content-Type", "application/json"),
    ]
    passed = request_headers(given, client="", via=VIA)
    assert [*passed.items()] == [*given, ("X-Registry-Via", VIA)]


@pytest.mark.parametrize(
    "name",
    ["Host", "Content-Length", "Expect", "TE", "Transfer-Encoding", "X-Forwarded-For", "X-Real-IP", "X-Registry-For"],
)
def test_what_concerns_the_connection_or_another_proxy_stays(name: str) -> None:
    assert name not in request_headers([(name, "198.51.100.1")], client="", via=VIA)


def test_what_the_connection_names_stays_as_well() -> None:
    assert "X-Hop" not in request_headers([("Connection", "close, X-Hop"), ("X-Hop", "1")], client="", via=VIA)


@pytest.mark.parametrize(
    ("client", "forwarded"), [("203.0.113.9", "for=203.0.113.9"), ("2001:db8::9", 'for="[2001:db8::9]"')]
)
def test_the_client_is_named_in_both_forms(client: str, forwarded: str) -> None:
    passed = request_headers([("X-Forwarded-For", "1.2.3.4")], client=client, via=VIA)
    assert passed.getall("X-Forwarded-For") == [client]
    assert passed["Forwarded"] == forwarded


def test_an_answer_says_when_to_come_again_and_what_credentials_are_wanted() -> None:
    given = {"Retry-After": "2", "WWW-Authenticate": "Signature", "Content-Length": "3", "X-Registry-Zone": "eu-1a"}
    assert dict(answer_headers(given)) == {"Retry-After": "2", "WWW-Authenticate": "Signature"}
