"""Every command has a page of its own, and the same shape as all others."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator

import pytest

from cli.command_tree import COMMANDS, CommandGroup, LeafCommand, leaves
from cli.main import main

LEAVES = list(leaves())
GROUPS = [node for node in COMMANDS if isinstance(node, CommandGroup)]


def name_of(leaf: LeafCommand) -> str:
    return " ".join(leaf.words)


def page(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


def options(leaf: LeafCommand) -> Iterator[argparse.Action]:
    return (action for action in leaf.parser()._actions if action.option_strings)


@pytest.mark.parametrize("leaf", LEAVES, ids=name_of)
def test_each_command_has_a_page_with_its_description_its_options_and_its_exit_codes(
    leaf: LeafCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = page(capsys, *leaf.words)
    assert shown.startswith(f"usage: vertice {name_of(leaf)} ")
    assert (leaf.command.load().__doc__ or "").splitlines()[0] in shown
    assert "exit codes:\n  0    " in shown
    assert "  2    wrong usage" in shown
    assert "  130  interrupted by Ctrl-C" in shown
    for action in options(leaf):
        assert action.help, action.option_strings
        if action.help is not argparse.SUPPRESS:
            assert all(option in shown for option in action.option_strings)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_the_page_of_a_group_lists_its_commands(group: CommandGroup, capsys: pytest.CaptureFixture[str]) -> None:
    shown = " ".join(page(capsys, group.name).split())
    assert all(f"{command.name} {command.summary}" in shown for command in group.commands)


def test_the_first_page_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    shown = " ".join(page(capsys).split())
    assert all(f"{node.name} {node.summary}" in shown for node in COMMANDS)


@pytest.mark.parametrize("leaf", LEAVES, ids=name_of)
def test_the_examples_of_a_page_are_commands_that_can_be_read(leaf: LeafCommand) -> None:
    examples = re.findall(r"^  (vertice .*)$", getattr(leaf.command.load(), "EPILOG", ""), re.MULTILINE)
    known = {other.words: other for other in LEAVES}
    for example in examples:
        words = shlex.split(re.split(r"  +| [|>] | && ", example)[0])[1:]
        other = known.get(tuple(words[:2])) or known[(words[0],)]
        other.parser().read(words[len(other.words) :])


@pytest.mark.parametrize("leaf", LEAVES, ids=name_of)
def test_output_has_one_spelling_and_knows_text_and_json(leaf: LeafCommand) -> None:
    found = [action for action in options(leaf) if "--output" in action.option_strings]
    assert len(found) == 1
    for action in found:
        assert list(action.option_strings) == ["-o", "--output"]
        assert action.default == "text"
        assert action.choices is None or {"text", "json"} <= set(action.choices)


@pytest.mark.parametrize("leaf", LEAVES, ids=name_of)
def test_options_are_not_abbreviated(leaf: LeafCommand, capsys: pytest.CaptureFixture[str]) -> None:
    for action in options(leaf):
        option = action.option_strings[-1]
        if action.help is argparse.SUPPRESS or len(option) < 5:
            continue
        with pytest.raises(SystemExit) as ended:
            leaf.parser().read([option[:-1]])
        assert ended.value.code == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.startswith(f"vertice: {name_of(leaf)}: unknown option '{option[:-1]}' (did you mean --")
        assert len(shown.err.splitlines()) == 1


def test_no_option_takes_a_secret() -> None:
    """Every user of a machine sees the words of a command line, in ps(1)."""
    words = re.compile("token|secret|password|credential|key$|auth")
    found = {
        (name_of(leaf), option)
        for leaf in LEAVES
        for action in options(leaf)
        for option in action.option_strings
        if action.nargs != 0 and words.search(option)
    }
    assert found == set()
