"""Heads of ready answers: made once a second, with a date, and joined to small bodies."""

from __future__ import annotations

from registry_core.api.ready_heads import ReadyHeads

PLAIN = (("Content-Type", "text/plain"), ("Age", "3"))
DATE = b"Date: Mon, 24 Nov 2025 16:00:00 GMT\r\n"
NOW = 1_764_000_000.9


def test_an_answer_has_its_fields_the_date_and_the_length() -> None:
    assert ReadyHeads().ok(PLAIN, (b"on", b"e"), NOW) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nAge: 3\r\n" + DATE + b"Content-Length: 3\r\n\r\none",
    )


def test_what_else_is_said_is_not_kept() -> None:
    heads = ReadyHeads()
    head, *body = heads.ok(PLAIN, (b"x",), NOW, {"RateLimit": "r=1"})
    assert b"Content-Length: 1\r\nRateLimit: r=1\r\n\r\n" in head
    assert body == [b"x"]
    assert b"RateLimit" not in heads.ok(PLAIN, (b"x",), NOW)[0]


def test_the_date_is_that_of_the_second() -> None:
    heads = ReadyHeads()
    assert DATE in heads.ok((), (), NOW)[0]
    assert b"16:00:01" in heads.ok((), (), NOW + 1)[0]
    assert b"16:00:02" in heads.not_modified((), NOW + 2)[0]
    assert b"16:00:02" in heads.ok((), (), NOW + 2)[0]


def test_a_large_body_is_not_copied() -> None:
    large = b"x" * 100_000
    head, *body = ReadyHeads().ok(PLAIN, (large, b"y"), NOW)
    assert head.endswith(b"Content-Length: 100001\r\n\r\n")
    assert body[0] is large


def test_an_answer_without_a_body_has_no_length() -> None:
    assert ReadyHeads().not_modified((("ETag", 'W/"1"'),), NOW, {"RateLimit": "r=1"}) == (
        b'HTTP/1.1 304 Not Modified\r\nETag: W/"1"\r\n' + DATE + b"RateLimit: r=1\r\n\r\n",
    )
