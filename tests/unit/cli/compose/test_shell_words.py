"""A command as Compose splits it into words."""

from __future__ import annotations

import pytest

from cli.compose.shell_words import BadCommand, words_of


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("run  --port=80\t-v\n", ["run", "--port=80", "-v"]),
        ("sh -c 'a b' \"c d\" ''", ["sh", "-c", "a b", "c d", ""]),
        ("a\\ b 'c\\d' \"e\"f", ["a b", "c\\d", "ef"]),
        ("one && two", ["one"]),
        ("one 2>/dev/null", ["one"]),
        ("one; two | three", ["one"]),
        ("echo $(date -u) `a b`", ["echo", "$(date -u)", "`a b`"]),
        ("sh -c 'one && two'", ["sh", "-c", "one && two"]),
        ("", []),
    ],
)
def test_a_command_is_split_up_to_its_first_operator(command: str, words: list[str]) -> None:
    assert words_of(command) == words


@pytest.mark.parametrize("command", ["sh -c 'open", 'a "b', "a `b", "a $(b", "a (b)", "end\\"])
def test_what_is_opened_and_not_closed_is_refused(command: str) -> None:
    with pytest.raises(BadCommand):
        words_of(command)
