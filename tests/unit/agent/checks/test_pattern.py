"""Body patterns: what is taken, what is refused, and that no body makes one slow."""

from __future__ import annotations

import re

import pytest

from agent.checks import pattern
from agent.checks.pattern import MAX_PLACES, Pattern


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
    ],
)
def test_what_a_health_page_says_is_found(text: str, body: str, found: bool) -> None:
    assert Pattern(text).is_in(body) is found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "from 1 to 256"),
        ("a" * 257, "from 1 to 256"),
        ("(a", "not closed"),
        ("a)", "not opened"),
        ("[a", "not closed"),
        ("*a", "nothing to repeat"),
        ("a**", "side by side"),
        ("{3}", "nothing to repeat"),
        ("a{3,1}", "backwards"),
        ("(a)\\1", "\\1 is not known"),
        ("a\\b", "\\b is not known"),
        ("(?=a)", "only the groups"),
        ("(?P<x>a)", "only the groups"),
        ("a^b", "very beginning"),
        ("^a|b", "into a group"),
        ("[z-a]", "lower character"),
        ("[\\d-z]", "from one character"),
        ("((a{9}){9}){9}", f"more than {MAX_PLACES}"),
        ("(((){99}){99}){99}", "too many repetitions"),
    ],
)
def test_what_cannot_be_matched_in_linear_time_or_not_at_all_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        Pattern(text)


@pytest.mark.parametrize("text", ["(a+)+$", "^(a|a)*$", ".*.*.*.*x", "(a?){60}a{60}b"])
def test_the_work_for_a_character_is_bounded_whatever_the_body(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    places = 0
    real = pattern._bits

    def counted(bits: int) -> list[int]:
        nonlocal places
        found = real(bits)
        places += len(found)
        return found

    body = "a" * 4000 + "!"
    ours = Pattern(text)
    monkeypatch.setattr(pattern, "_bits", counted)
    assert not ours.is_in(body)
    assert places <= MAX_PLACES * len(body)


def test_what_is_remembered_is_bounded() -> None:
    ours = Pattern("[^x]{3}x")
    assert not ours.is_in("".join(map(chr, range(200, 20_000))))
    assert len(ours._next) <= pattern.MAX_REMEMBERED
    assert len(ours._masks) <= pattern.MAX_REMEMBERED
