"""Results of checks, and how foreign text is shown: one short line that cannot affect a terminal."""

from __future__ import annotations

import pytest

from agent.checks.result import MAX_REASON, WELL, CheckResult, critical, shown
from registry_core.domain.records import Status


def test_only_a_passing_result_is_good() -> None:
    assert [status for status in Status if CheckResult(status).good] == [Status.PASSING]


def test_a_good_result_needs_no_reason() -> None:
    assert (WELL.good, WELL.status, WELL.because) == (True, Status.PASSING, "")


def test_a_bad_result_gives_its_reason_in_one_line() -> None:
    assert critical("HTTP 503:\r\n  overloaded\n") == CheckResult(Status.CRITICAL, "HTTP 503: overloaded")
    assert not critical("").good


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        (" \n\t ", ""),
        ("a  b\tc\nd\u2028e\u00a0f", "a b c d e f"),
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("\x00a\x07b\x7f\x9b", "ab"),
        ("\x00 a \x00 b \x00", "a b"),
        ("a\u202eb\u200bc\ufeff", "abc"),
        ("\ud800a", "a"),
        ("größer als 90 % 🙂", "größer als 90 % 🙂"),
    ],
)
def test_control_characters_and_line_breaks_are_removed(text: str, line: str) -> None:
    assert shown(text) == line


@pytest.mark.parametrize("text", ["x" * 1000, "x " * 1000, "ü" * MAX_REASON, "x" * 201, "\x00" * 100 + "x" * 500])
def test_a_line_is_short_and_its_beginning_is_kept(text: str) -> None:
    line = shown(text)
    assert MAX_REASON - 1 <= len(line) <= MAX_REASON
    assert line == line.strip()
    assert text.replace("\x00", "").startswith(line)


def test_only_the_start_of_an_endless_text_is_read() -> None:
    assert shown(" " * 4 * MAX_REASON + "late") == ""
    assert shown(" " * (4 * MAX_REASON - 4) + "just in time") == "just"
