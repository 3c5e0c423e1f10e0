"""Tables for people."""

from __future__ import annotations

from cli.table import aligned, settings_help
from registry_core import settings
from registry_core.settings import Setting


def test_columns_are_aligned_and_no_line_ends_in_blanks() -> None:
    assert aligned([("", "NAME", "WHY"), ("in", "a", ""), ("out", "much longer", "it drains")]) == [
        "     NAME         WHY",
        "in   a",
        "out  much longer  it drains",
    ]


def test_numbers_are_right_aligned() -> None:
    assert aligned([("", "n"), ("one", "7"), ("a", "1,234")], right=(1,)) == ["         n", "one      7", "a    1,234"]


def test_no_rows_are_an_empty_table() -> None:
    assert aligned([]) == []
    assert settings_help([]) == ""


def test_the_help_shows_every_setting_with_its_default() -> None:
    port = Setting("T_PORT", settings.integer(1, 65535), 8034, "the port", "8034")
    wait = Setting("T_WAITING", settings.positive_seconds, 30.0, "how long to wait", "2.5")
    secret = Setting("T_SECRET", settings.text, "", "the secret", "x", secret=True, aliases=("T_TOKEN",))
    assert settings_help([secret]) == "  T_SECRET  the secret (also T_TOKEN, T_SECRET_FILE, T_TOKEN_FILE) [none]"
    assert settings_help([port, wait]) == "  T_PORT     the port [8034]\n  T_WAITING  how long to wait [30 s]"
