"""How the words of a command line lead to a command, and what is said when they lead nowhere."""

from __future__ import annotations

import pytest

from cli.main import find, main


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "vertice: a command is missing: dev, registry, agent, "),
        (["serivces"], "vertice: there is no command 'serivces' (did you mean services?); see `vertice --help`"),
        (["SERVICES"], "vertice: there is no command 'SERVICES' (did you mean services?); see `vertice --help`"),
        (["zzz"], "vertice: there is no command 'zzz'; see `vertice --help`"),
        ([""], "vertice: there is no command ''; see `vertice --help`"),
        (["\x1b[31m"], r"vertice: there is no command '\x1b[31m'; see `vertice --help`"),
        (["--agent", "x", "services"], "vertice: unknown option '--agent' before the command; options follow it"),
        (["--verison"], "vertice: unknown option '--verison' before the command (did you mean --version?)"),
        (["compose"], "vertice: compose: a command is missing: audit, inject, eject, rewrite; see `vertice compose -"),
        (["compose", "injekt"], "vertice: compose: there is no command 'injekt' (did you mean inject?); see `vertice"),
        (["guard", "-x", "status"], "vertice: guard: unknown option '-x' before the command"),
        (["compose", "--version"], "vertice: compose: unknown option '--version' before the command"),
        (["help", "guord"], "vertice: there is no command 'guord' (did you mean guard?)"),
    ],
)
def test_words_that_lead_to_no_command_are_one_line_with_the_nearest(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    shown = capsys.readouterr()
    assert (ended.value.code, shown.out) == (2, "")
    assert shown.err.startswith(said)
    assert len(shown.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "path", "rest"),
    [
        (["services"], ("services",), []),
        (["compose", "inject", "a.yml", "--write"], ("compose", "inject"), ["a.yml", "--write"]),
        (["resolve", "--help"], ("resolve",), ["--help"]),
    ],
)
def test_words_lead_to_a_command(words: list[str], path: tuple[str, ...], rest: list[str]) -> None:
    leaf, left = find(words)
    assert (leaf.words, left) == (path, rest)


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_the_version_is_one_line(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([option])
    assert ended.value.code == 0
    name, number = capsys.readouterr().out.split()
    assert name == "vertice"
    assert number[0].isdigit()


@pytest.mark.parametrize("words", [["help"], ["help", "guard"], ["help", "guard", "release"]])
def test_help_can_be_asked_for_in_front(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    asked_in_front = capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*words[1:], "--help"])
    assert capsys.readouterr().out == asked_in_front
