"""The actions of `vertice compose`: each has its own arguments, and runs its own module."""

from __future__ import annotations

import argparse
import importlib

import pytest

from cli.commands import compose
from cli.commands.compose import ACTIONS, EPILOG, add_arguments, run
from cli.main import EXIT_CODES


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="vertice compose")
    add_arguments(made)
    return made


@pytest.mark.parametrize("action", [action.name for action in ACTIONS])
def test_each_action_runs_its_own_module(parser: argparse.ArgumentParser, action: str) -> None:
    arguments = parser.parse_args([action, "compose.yml"])
    module = importlib.import_module(f"cli.commands.compose_{action}")
    assert (arguments.action, arguments.act) == (action, module.run)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
def test_the_help_of_each_action_describes_it(
    parser: argparse.ArgumentParser, action: compose.Action, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parser.parse_args([action.name, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    description = importlib.import_module(action.module).__doc__
    assert description is not None
    assert description.splitlines()[0] in shown
    assert EXIT_CODES.splitlines()[0] in shown


def test_the_list_of_actions_has_a_summary_of_each(
    parser: argparse.ArgumentParser, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert all(f"{action.name} {action.summary}" in shown for action in ACTIONS)


@pytest.mark.parametrize("given", [[], ["burn"], ["AUDIT", "compose.yml"]])
def test_a_missing_or_unknown_action_is_wrong_usage(
    parser: argparse.ArgumentParser, given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(given)
    assert ended.value.code == 2
    assert "ACTION" in capsys.readouterr().err


@pytest.mark.parametrize("actions", [ACTIONS[:1], ACTIONS[1:3]], ids=["audit", "inject and eject"])
def test_only_the_given_actions_are_offered(actions: tuple[compose.Action, ...]) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, actions)
    assert parser.parse_args([actions[0].name, "compose.yml"]).action == actions[0].name
    with pytest.raises(SystemExit):
        parser.parse_args(["rewrite", "compose.yml"])


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_exit_code_is_that_of_the_action(code: int) -> None:
    asked: list[argparse.Namespace] = []

    def act(arguments: argparse.Namespace) -> int:
        asked.append(arguments)
        return code

    arguments = argparse.Namespace(act=act)
    assert run(arguments) == code
    assert asked == [arguments]


def test_the_examples_can_be_read_by_the_parser(parser: argparse.ArgumentParser) -> None:
    examples = [line.split()[2:] for line in EPILOG.splitlines() if line.startswith("  vertice compose ")]
    assert [parser.parse_args(example).action for example in examples] == ["audit", "inject", "rewrite"]


def test_the_exit_codes_are_those_of_the_actions() -> None:
    assert "no such service" not in EPILOG
    assert "1    something is wrong, or was left out" in EPILOG
