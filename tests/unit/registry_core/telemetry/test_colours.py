"""When output has colours."""

from __future__ import annotations

import io

import pytest

from registry_core.telemetry.colours import coloured


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "on_terminal", "in_pipe"),
    [
        ({}, True, False),
        ({"TERM": "xterm"}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"CLICOLOR": "0"}, False, False),
        ({"CLICOLOR": "1"}, True, False),
        ({"CLICOLOR_FORCE": "1"}, True, True),
        ({"CLICOLOR_FORCE": "0"}, True, False),
        ({"FORCE_COLOR": "3"}, True, True),
        ({"CLICOLOR_FORCE": "1", "TERM": "dumb"}, True, True),
        ({"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False, False),
    ],
)
def test_the_environment_decides_and_otherwise_the_terminal(
    environment: dict[str, str], *, on_terminal: bool, in_pipe: bool
) -> None:
    assert coloured(Terminal(), environment) is on_terminal
    assert coloured(io.StringIO(), environment) is in_pipe


def test_the_command_line_precedes_the_environment() -> None:
    assert coloured(io.StringIO(), {"NO_COLOR": "1"}, "always")
    assert not coloured(Terminal(), {"CLICOLOR_FORCE": "1"}, "never")
