"""The exit codes on every page: the same numbers with the same kinds of meaning."""

from __future__ import annotations

import re

import pytest

from cli.command_tree import LeafCommand, leaves
from cli.exit_codes import CTRL_C_EARLY, EXIT_CODES, exit_codes


def test_only_a_command_that_looks_something_up_has_the_code_for_what_is_not_found() -> None:
    assert "  3    not found" in exit_codes(finds=True)
    assert "  3    " not in exit_codes()
    assert exit_codes(finds=True) == EXIT_CODES


@pytest.mark.parametrize("leaf", list(leaves()), ids=lambda leaf: " ".join(leaf.words))
def test_the_pages_list_no_other_codes(leaf: LeafCommand) -> None:
    _, _, listed = getattr(leaf.command.load(), "EPILOG", EXIT_CODES).partition("exit codes:\n")
    codes = [int(code) for code in re.findall(r"^  (\d+) ", listed, re.MULTILINE)]
    assert codes in ([0, 1, 2, 3, 130], [0, 1, 2, 130], [0, 2, 130])


@pytest.mark.parametrize("leaf", list(leaves()), ids=lambda leaf: " ".join(leaf.words))
def test_no_page_gives_ctrl_c_two_codes(leaf: LeafCommand) -> None:
    page = getattr(leaf.command.load(), "EPILOG", EXIT_CODES)
    ends_well = re.search(r"^  0    .*Ctrl-C", page, re.MULTILINE) is not None
    assert (CTRL_C_EARLY in page) is ends_well
