"""The answer to the request of a check: what is read of it, and where reading ends."""

from __future__ import annotations

import pytest

from agent.checks.http_answer import MAX_BODY_BYTES, MAX_HEAD_BYTES, MAX_INTERIM, MAX_OCTETS, BadAnswer, HttpAnswer

OK = b"HTTP/1.1 200 OK\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def read(*pieces: bytes, method: str = "GET", wants_body: bool = True, ends: bool = False) -> HttpAnswer:
    answer = HttpAnswer(method, wants_body=wants_body)
    for piece in pieces:
        answer.feed(piece)
    if ends:
        answer.end()
    return answer


@pytest.mark.parametrize(
    ("octets", "body"),
    [
        (OK + b"Content-Length: 2\r\n\r\nup", b"up"),
        (OK + b"content-length:2\r\nX: y\r\n\r\nup and more", b"up"),
        (OK + b"Content-Length: 2, 2\r\n\r\nup", b"up"),
        (OK + b"Content-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nup", b"up"),  # bare line feeds
        (b"HTTP/1.0 200\r\nContent-Length: 2\r\n\r\nup", b"up"),  # no reason phrase
        (b"\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nup", b"up"),
        (OK + b"X: a\r\n\tfolded: b\r\nContent-Length: 2\r\n\r\nup", b"up"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1;a=b\r\nu\r\n01\r\np\r\n0\r\nTrailer: x\r\n\r\n", b"up"),
        (OK + b"Transfer-Encoding: gzip, Chunked\r\nContent-Length: 9\r\n\r\n2\r\nup\r\n0\r\n\r\n", b"up"),
        (CONTINUE + b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nup", b"up"),
    ],
)
def test_an_answer_is_read_whole_or_octet_by_octet(octets: bytes, body: bytes) -> None:
    for pieces in ([octets], [bytes([octet]) for octet in octets]):
        answer = read(*pieces)
        assert (answer.done, answer.status, bytes(answer.body)) == (True, 200, body)


@pytest.mark.parametrize("status", [101, 204, 304])
def test_some_statuses_have_no_body(status: int) -> None:
    answer = read(b"HTTP/1.1 %d X\r\nContent-Length: 9\r\n\r\n" % status)
    assert (answer.done, answer.status) == (True, status)


def test_an_answer_to_head_has_no_body() -> None:
    assert read(OK + b"Content-Length: 9\r\n\r\n", method="HEAD").done


def test_a_body_without_a_length_lasts_until_the_end_of_the_connection() -> None:
    assert not read(OK + b"\r\nup").done
    answer = read(OK + b"\r\nup", ends=True)
    assert (answer.done, bytes(answer.body)) == (True, b"up")


@pytest.mark.parametrize("framing", [b"Content-Length: 99", b"Transfer-Encoding: chunked", b"X: y"])
def test_without_a_pattern_the_first_octet_of_the_body_is_enough(framing: bytes) -> None:
    assert not read(OK + framing + b"\r\n\r\n", wants_body=False).done
    answer = read(OK + framing + b"\r\n\r\n", b"5\r\nhello", wants_body=False)
    assert answer.done
    assert len(answer.body) == 1


@pytest.mark.parametrize("framing", [b"Content-Length: 999999999999", b"X: y"])
def test_a_giant_body_is_read_up_to_the_limit(framing: bytes) -> None:
    answer = read(OK + framing + b"\r\n\r\n", b"x" * 10_000_000)
    assert answer.done
    assert len(answer.body) == MAX_BODY_BYTES


@pytest.mark.parametrize(
    ("octets", "because"),
    [
        (CONTINUE * (MAX_INTERIM + 1), f"it sends more than {MAX_INTERIM} interim responses"),
        (OK + b"X: y\r\n" * MAX_HEAD_BYTES, f"the head of its answer has more than {MAX_HEAD_BYTES} bytes"),
        (OK + b"X: " + b"y" * MAX_HEAD_BYTES, f"the head of its answer has more than {MAX_HEAD_BYTES} bytes"),
        (b"\r\n" * MAX_HEAD_BYTES, f"the head of its answer has more than {MAX_HEAD_BYTES} bytes"),
        (
            (b"HTTP/1.1 103 X\r\nLink: " + b"y" * 8000 + b"\r\n\r\n") * MAX_INTERIM,
            f"the head of its answer has more than {MAX_HEAD_BYTES} bytes",
        ),
        (
            OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"0000000001;xxxxxxxx\r\ny\r\n" * MAX_OCTETS,
            f"its answer has more than {MAX_OCTETS} bytes",
        ),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 2000, "its chunked body cannot be read"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", "its chunked body cannot be read"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nupp\r\n", "its chunked body cannot be read"),
        (OK + b"Content-Length: -1\r\n\r\n", "its Content-Length cannot be read"),
        (OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", "its Content-Length cannot be read"),
        (b"220 smtp\r\n", "its answer is not HTTP/1.1"),
        (b"HTTP/2 200\r\n\r\n", "its answer is not HTTP/1.1"),
        (b"HTTP/1.1 OK\r\n\r\n", "its answer is not HTTP/1.1"),
        (OK + b"no colon\r\n\r\n", "its answer is not HTTP/1.1"),
    ],
)
@pytest.mark.parametrize("size", [100_000, 1000])
def test_what_is_endless_or_not_http_is_refused(octets: bytes, because: str, size: int) -> None:
    with pytest.raises(BadAnswer, match=f"^{because}$"):
        read(*(octets[at : at + size] for at in range(0, len(octets), size)))


@pytest.mark.parametrize(
    ("octets", "because"),
    [
        (b"", "the connection was closed before the answer"),
        (CONTINUE, "the connection was closed before the answer"),
        (OK + b"Content-Length: 3\r\n\r\nup", "the connection was closed in the middle of the answer"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", "the connection was closed in the middle of the answer"),
    ],
)
def test_an_answer_that_ends_early_is_refused(octets: bytes, because: str) -> None:
    with pytest.raises(BadAnswer, match=f"^{because}$"):
        read(octets, ends=True)
