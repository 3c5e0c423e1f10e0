"""Unquoted numbers, booleans and dates, as a container gets them from Compose."""

from __future__ import annotations

import pytest

from cli.compose.yaml_values import as_passed_on


@pytest.mark.parametrize(
    ("written", "passed_on"),
    [
        ("010", "8"),
        ("08", "8"),
        ("0x1F", "31"),
        ("-0b11", "-3"),
        ("1_000", "1000"),
        ("+1", "1"),
        ("-0", "-0"),
        ("1.10", "1.1"),
        ("1.0", "1"),
        (".5", "0.5"),
        ("1e3", "1000"),
        ("1e6", "1e+06"),
        ("123456789.5", "1.234567895e+08"),
        ("0.00001", "1e-05"),
        ("18446744073709551616", "1.8446744073709552e+19"),
        ("True", "true"),
        ("FALSE", "false"),
        ("2020-1-2", "2020-01-02 00:00:00 +0000 UTC"),
    ],
)
def test_a_number_a_boolean_and_a_date_are_written_anew(written: str, passed_on: str) -> None:
    assert as_passed_on(written) == passed_on


@pytest.mark.parametrize(
    "text", ["", "yes", "off", "12:30", "0b12", "1.2.3", "2020-13-01", "1e400", "8000-8001", "tcp", "0x"]
)
def test_any_other_text_stays_as_it_is(text: str) -> None:
    assert as_passed_on(text) == text
