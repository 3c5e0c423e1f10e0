"""What the bench leaves out of the hot paths is there, and is what records."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from bench.agent_unrecorded import RECORDING, without

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("module", RECORDING)
def test_the_statements_stand_in_the_code(module: str) -> None:
    source = (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    left = ast.unparse(without(source, RECORDING[module]))
    assert all(f"{statement}\n" not in left for statement in RECORDING[module])
    compile(left, module, "exec")


def test_a_statement_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="not there: counted"):
        without("a = 1\nb += 1\n", {"b += 1": "pass", "counted += 1": "pass"})


def test_whole_statements_are_replaced() -> None:
    assert ast.unparse(without("if a:\n    b += 1\nc = b + 1\n", {"b += 1": "b = 0"})) == "if a:\n    b = 0\nc = b + 1"
