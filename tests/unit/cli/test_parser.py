"""The one shape of errors in usage."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from cli.parser import CommandParser, did_you_mean, file_path, plain_text, service, service_instance, value
from registry_core.settings import integer


@pytest.fixture
def parser() -> CommandParser:
    made = CommandParser("vertice try", "A command.", "exit codes")
    made.add_argument("files", nargs="+", type=file_path, metavar="FILE")
    made.add_argument("--color", choices=("auto", "never"))
    made.add_argument("--size", type=value(integer(1, 9)))
    made.add_argument("--old", action="store_true", help=argparse.SUPPRESS)
    made.add_argument("-o", "--output", default="text")
    one = made.add_mutually_exclusive_group()
    one.add_argument("--write", action="store_true")
    one.add_argument("--diff", action="store_true")
    return made


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "FILE is missing"),
        (["--colour"], "unknown option '--colour' (did you mean --color?)"),
        (["--colour=never"], "unknown option '--colour' (did you mean --color?)"),
        (["--col", "never", "a"], "unknown option '--col' (did you mean --color?)"),
        (["-color", "never", "a"], "unknown option '-color' (did you mean --color?)"),
        (["--ol", "a"], "unknown option '--ol'"),
        (["-x", "a"], "unknown option '-x'"),
        (["a", "--color"], "--color needs a value"),
        (["a", "--color", "nver"], "--color: 'nver' is not one of auto, never (did you mean never?)"),
        (["a", "--size", "12"], "--size: '12' cannot be used: it is not between 1 and 9"),
        (["a", "--size", "-1"], "--size: '-1' cannot be used: it is not between 1 and 9"),
        (["a", "--write=3"], "--write takes no value, but '3' was given"),
        (["a", "--write", "--diff"], "--diff cannot be combined with --write"),
        ([""], "FILE: the name of a file is empty"),
        (["a\0b"], "FILE: a name contains a NUL"),
        (["a", "--\x1b[2J"], "unknown option '--\\x1b[2J'"),
    ],
)
def test_an_error_is_one_line_that_names_the_command(
    parser: CommandParser, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parser.read(words)
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", f"vertice: try: {said}; see `vertice try --help`\n")


def test_a_word_too_many_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    parser = CommandParser("vertice try", "", "")
    with pytest.raises(SystemExit):
        parser.read(["much"])
    assert capsys.readouterr().err == "vertice: try: unexpected argument 'much'; see `vertice try --help`\n"


@pytest.mark.parametrize(
    ("words", "files", "output"),
    [
        (["a", "-o", "json", "b"], ["a", "b"], "json"),
        (["-ojson", "a", "b"], ["a", "b"], "json"),
        (["a", "--output=json"], ["a"], "json"),
        (["-o", "json", "--", "-a", "b"], ["-a", "b"], "json"),
        (["-"], ["-"], "text"),
        (["a b", "-1"], ["a b", "-1"], "text"),
    ],
)
def test_options_and_other_words_may_stand_in_any_order(
    parser: CommandParser, words: list[str], files: list[str], output: str
) -> None:
    arguments = parser.read(words)
    assert arguments.files == [Path(file) for file in files]
    assert arguments.output == output


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("servces", " (did you mean services?)"),
        ("reg", " (did you mean registry?)"),
        ("x", ""),
        ("kubernetes", ""),
        ("", ""),
    ],
)
def test_a_hint_is_near_or_absent(word: str, hint: str) -> None:
    assert did_you_mean(word, ["services", "registry"]) == hint


@pytest.mark.parametrize(("given", "said"), [("", "it is empty"), (" ", "it is empty"), ("a\udcff", "is not UTF-8")])
def test_a_text_is_not_empty_and_is_utf_8(given: str, said: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=said):
        plain_text(given)
    assert plain_text("é b") == "é b"


def test_an_instance_is_named_with_its_service() -> None:
    assert service_instance("billing") == ("billing", "")
    assert service_instance("billing/10.0.0.7:8034") == ("billing", "10.0.0.7:8034")
    assert service_instance("billing/a/b") == ("billing", "a/b")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "it is empty"),
        ("/", "'/' lacks the service"),
        ("/10.0.0.7:8034", "'/10.0.0.7:8034' lacks the service"),
        ("billing/", "'billing/' lacks the instance"),
        ("billing/ ", "'billing/ ' lacks the instance"),
    ],
)
def test_an_empty_part_of_a_name_does_not_mean_all(given: str, said: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        service_instance(given)
    assert str(refused.value) == said


def test_the_name_of_a_service_is_no_path() -> None:
    assert service("billing") == "billing"
    with pytest.raises(argparse.ArgumentTypeError, match="has a '/', which no service name has"):
        service("../self")
