"""Body patterns: which are accepted, which are refused, and that no body makes one slow."""

from __future__ import annotations

import subprocess
import sys

import pytest

from agent.checks.pattern import Pattern


@pytest.mark.parametrize(
    ("text", "body", "found"),
    [
        ('"status"\\s*:\\s*"(ok|up)"', '{"status": "up"}', True),
        ('"status"\\s*:\\s*"(ok|up)"', '{"status": "down"}', False),
        ("^ok$", "ok\n", True),
        ("^ok$", "not ok", False),
        ("(?i)ready", "Service READY.", True),
        ("v[0-9]{1,3}\\.[0-9]+", "version v12.4", True),
        ("grün", "alles grün", True),
        ("[^\\d]", "123", False),
        ("cost\\$", "cost$", True),
        ("^ok$", "ok\n\n", False),
        ("^(ok|up$)", "up\n", True),
        ("^a|b$", "xb", True),
        ("\\bup\\b", "is up.", True),
        ("(?m)^ok$", "fine\nok\nso far", True),
    ],
)
def test_text_in_a_health_page_is_found(text: str, body: str, found: bool) -> None:
    assert Pattern(text).is_in(body) is found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "from 1 to 256"),
        ("a" * 257, "from 1 to 256"),
        ("(a", "missing \\)"),
        ("a)", "unexpected \\)"),
        ("[a", "missing ]"),
        ("*a", "no argument for repetition"),
        ("a**", "bad repetition"),
        ("a{3,1}", "invalid repetition size"),
        ("(a)\\1", "invalid escape sequence"),
        ("(?=a)", "invalid perl operator"),
        ("[z-a]", "invalid character class range"),
        ("grün\\", "trailing"),
        ("[^a]{1000}", "too large"),
        ("((a{99}){99}){99}", "invalid repetition size"),
        ("\ud800", "surrogates"),
    ],
)
def test_a_pattern_that_is_invalid_or_not_linear_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Pattern(text)


@pytest.mark.parametrize("text", ["(a+)+$", "^(a|a)*$", ".*.*.*.*x", "(a?){60}a{60}b"])
def test_no_body_makes_a_pattern_backtrack(text: str) -> None:
    # With `re` each of these takes longer than any timeout.
    assert not Pattern(text).is_in("a" * 16_000 + "!")


def test_the_work_grows_with_the_pattern_and_the_body() -> None:
    small, large = Pattern("ok"), Pattern("a[ab]{200}c")
    assert small.steps("x" * 100) < large.steps("x" * 100) < large.steps("x" * 1000)
    assert small.steps("") > 0


def test_the_heavy_modules_are_loaded_by_the_first_pattern() -> None:
    check = """
import sys
import agent.sidecar
from agent.checks.pattern import Pattern
before = "re2" in sys.modules
Pattern("ok")
print(before, "re2" in sys.modules)
"""
    out = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=30, check=True)
    assert out.stdout.split() == ["False", "True"]
