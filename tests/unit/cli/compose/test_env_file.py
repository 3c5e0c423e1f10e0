"""The lines of an env file: names and values, quotes, variables, and invalid lines."""

from __future__ import annotations

import pytest

from cli.compose.env_file import MAX_LINES, EnvLine, Statement, filled_in, statements_of
from cli.compose.errors import ComposeError


def read(text: str, **variables: str) -> tuple[list[EnvLine], list[str]]:
    """Return the lines of a file, and what was reported."""
    reported: list[ComposeError] = []
    statements = statements_of(text, "some.env", reported.append)
    lines = filled_in(statements, variables, {}, "some.env", reported.append)
    assert {error.code for error in reported} <= {"env-file"}
    return lines, [str(error) for error in reported]


def values(text: str, **variables: str) -> dict[str, str]:
    lines, reported = read(text, **variables)
    assert reported == []
    return {line.name: line.value for line in lines}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=1", "1"),
        ("A = 1 ", "1"),
        ("  export A=1", "1"),
        ("A: 1", "1"),
        ("A=", ""),
        ("A=b=c", "b=c"),
        ("A=http://u:p@h:1/#top", "http://u:p@h:1/#top"),
        ("A=1 # said", "1"),
        ("A=1#2", "1#2"),
        ("A= # said", "# said"),
        ("A=1\t# said", "1\t# said"),
        ("export\tA=1", "1"),
        ("A='1 # 2' # said", "1 # 2"),
        ('A="1 # 2"', "1 # 2"),
        ("A=''", ""),
        ("A=it's", "it's"),
        ("A=1\r\n", "1"),
        ("A=ação", "ação"),
        ("A=a\u2028b\x0cc\x85d", "a\u2028b\x0cc\x85d"),
    ],
)
def test_a_line_gives_a_name_its_value(text: str, value: str) -> None:
    assert values(text) == {"A": value}


@pytest.mark.parametrize("text", ["", "\n\n", "# A=1", "   # A=1\n\t\n"])
def test_blank_lines_and_comments_give_nothing(text: str) -> None:
    assert read(text) == ([], [])


@pytest.mark.parametrize("text", ["A", "export A", "  A  "])
def test_a_name_alone_has_the_value_of_the_caller(text: str) -> None:
    assert read(text, A="given") == ([EnvLine("A", "given", "", 1)], [])
    assert read(text) == ([], [])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'A="a\nb\t\"c\"\\"', 'a\nb\t"c"\\'),
        (r'A="\$B \x"', r"$B \x"),
        (r"A='a\nb'", r"a\nb"),
        (r"A=a\nb", r"a\nb"),
        ('A="one\ntwo"', "one\ntwo"),
        ("A='one\r\n\r\ntwo'", "one\r\n\r\ntwo"),
        (r"A='it\'s'", "it's"),
        (r'A="\0101\07\0400"', r"A\7\400"),
    ],
)
def test_quotes_decide_what_is_escaped_and_where_the_value_ends(text: str, value: str) -> None:
    assert values(text) == {"A": value}


def test_line_numbers_are_right_after_multi_line_values() -> None:
    lines, _ = read('A="one\ntwo"\n\nB=2\n')
    assert [(line.name, line.line) for line in lines] == [("A", 1), ("B", 4)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=$B", "given"),
        ('A="<${B}>"', "<given>"),
        ("A='$B'", "$B"),
        ("A=${C:-none}", "none"),
        ("A=$$B", "$B"),
        ("A=$C", ""),
    ],
)
def test_variables_are_expanded_but_not_in_single_quotes(text: str, value: str) -> None:
    assert values(text, B="given") == {"A": value}


def test_a_value_is_also_kept_unexpanded() -> None:
    (line,), _ = read('A="<$B>"', B="given")
    assert (line.value, line.raw) == ("<given>", "<$B>")


def test_a_variable_may_come_from_earlier_lines() -> None:
    assert values("A=1\nB=$A$C\nC=3") == {"A": "1", "B": "1", "C": "3"}


def test_the_caller_overrides_earlier_lines() -> None:
    assert values("A=1\nB=$A", A="given") == {"A": "1", "B": "given"}


def test_the_later_value_of_a_duplicate_name_is_used() -> None:
    assert values("A=1\nA=2\nB=$A") == {"A": "2", "B": "2"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("=1", "it is not NAME=value"),
        ("two words", "it is not NAME=value"),
        ("A='open\n# B=2", "the quote of A is not closed"),
        ('A="open\\"', "the quote of A is not closed"),
    ],
)
def test_an_invalid_line_is_reported_with_its_number(text: str, reason: str) -> None:
    assert read(f"\n{text}") == ([], [f"some.env:2: {reason}"])


def test_the_lines_after_an_invalid_one_are_read() -> None:
    lines, reported = read("two words\nA=1")
    assert [line.name for line in lines] == ["A"]
    assert len(reported) == 1


@pytest.mark.parametrize("value", ["${B", "${B:?it is needed}", "${1}"])
def test_a_value_that_cannot_be_filled_in_is_reported_and_kept_as_it_is(value: str) -> None:
    (line,), (reported,) = read(f"A={value}")
    assert line.value == value
    assert reported.startswith("some.env:1: A: ")


def test_what_follows_a_closed_quote_is_the_next_statement() -> None:
    assert values("A='1'B=2 # said\nC=3") == {"A": "1", "B": "2", "C": "3"}


def test_a_file_sees_the_lines_of_the_file_before_and_the_later_one_wins() -> None:
    known: dict[str, str] = {}
    for text in ("A=1\nB=1\n", "A=2\nC=$A$B\n"):
        filled_in(statements_of(text, "some.env", _refuse), {}, known, "some.env", _refuse)
    assert known == {"A": "2", "B": "1", "C": "21"}


def _refuse(error: ComposeError) -> None:
    raise error


# -- the format `raw`


def test_a_raw_value_is_all_that_follows_the_sign() -> None:
    text = "# said\n A='1' # 2 \r\n\nB=$A\\n\nC\nD=\n"
    assert statements_of(text, "some.env", _refuse, raw=True) == [
        Statement("A", "'1' # 2 ", 2, literal=True),
        Statement("B", "$A\\n", 4, literal=True),
        Statement("C", None, 5, literal=True),
        Statement("D", "", 6, literal=True),
    ]


@pytest.mark.parametrize("text", ["=1", "two words=1", "A =1"])
def test_a_raw_line_without_a_name_is_reported_with_its_place(text: str) -> None:
    reported: list[ComposeError] = []
    assert statements_of(f"\n{text}", "some.env", reported.append, raw=True) == []
    assert [str(error) for error in reported] == ["some.env:2: it is not NAME=value"]


def test_a_file_is_read_up_to_its_bound_only() -> None:
    lines, _ = read("\n" * (MAX_LINES - 1) + "A=1\nB=2\n")
    assert [line.name for line in lines] == ["A"]
